"""Calls that are running or whose pullback may still be called, and the keys that identify them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect.hijax_primitives import as_custom_vjp
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.recording.collector import Handle

if TYPE_CHECKING:
    from jaxvjp_magic.introspect.callables import Custom
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.recording.collector import Collector, State


class RuleCall(Handle):
    """One call of something with a rule: `custom` has its function and rules, `key` is equal for the same ones."""

    __slots__ = ("facts",)
    facts: Custom

    @property
    def custom(self) -> Any:
        """The custom_vjp object, or one that does the same."""
        raise NotImplementedError

    @property
    def key(self) -> tuple[Any, ...]:
        """Which function and rules these are."""
        raise NotImplementedError


class CustomCall(RuleCall):
    """One call of a custom_vjp function."""

    __slots__ = ("_parts", "_reference", "_type")

    def __init__(self, collector: Collector, state: State, custom: Any, facts: Custom) -> None:
        """A call of `custom`, of which `facts` are known."""
        self.collector, self.state, self.facts = collector, state, facts
        self._reference, self._type, self._parts = weakref.ref(custom), type(custom), custom.__dict__

    @property
    def custom(self) -> Any:
        """The custom_vjp object; if the program has dropped it, a new one like it.

        JAX's caches keep the rules alive, and with them this call, but not the object.
        """
        custom = self._reference()
        if custom is None:
            custom = object.__new__(self._type)
            custom.__dict__.update(self._parts)
        return custom

    @property
    def key(self) -> tuple[Any, ...]:
        """Which function and rules these are."""
        custom = self.custom
        return tuple(map(id, (internals.primal_of(custom), *internals.rules_of(custom))))


class PrimitiveCall(RuleCall):
    """One call of a hijax primitive."""

    __slots__ = ("_primitive",)

    def __init__(self, collector: Collector, state: State, primitive: Any, facts: Custom) -> None:
        """A call of `primitive`, of which `facts` are known."""
        self.collector, self.state, self.facts = collector, state, facts
        self._primitive = weakref.ref(primitive)

    @property
    def custom(self) -> Any:
        """Its rules as those of a custom_vjp function; its rules run, so it is alive."""
        return as_custom_vjp(self._primitive())

    @property
    def key(self) -> tuple[Any, ...]:
        """As `CustomCall.key`: primitives with equal parameters do the same. The user's objects are not asked."""
        primitive: Any = self._primitive()
        return type(primitive), tuple((name, _identity(value)) for name, value in primitive.params.items())


_PLAIN = (int, float, bool, str, type(None))


def _identity(value: Any) -> Any:
    """The value if it is plain, or a tuple of such; else its id, which tells as long as the primitive lives."""
    if type(value) is tuple:
        return tuple(map(_identity, value))
    return value if type(value) in _PLAIN else id(value)


class VjpCall(Handle):
    """One use of `jax.vjp`."""

    __slots__ = ("key",)
    key: int  # identifies its pullback, once there is one

    def __init__(self, collector: Collector, state: State) -> None:
        """A call in this state."""
        self.collector, self.state = collector, state

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its primals."""
        primals = self.state.origin.fact.primals
        return primals.names if primals else ()


class Pending(weakref.ref[Any]):
    """A pullback that may still be called: a weak reference to an object that lives as long, and the call that made it.

    With `--verify` also the arguments of jax.vjp.
    """

    __slots__ = ("asked", "call", "pullbacks")
    asked: Any
    call: VjpCall
    pullbacks: dict[int, Pending]


def forget(pending: Any) -> None:
    """Remove a pullback that no longer exists."""
    key = pending.call.key
    if pending.pullbacks.get(key) is pending:
        del pending.pullbacks[key]


def output_key(call: RuleCall, args: tuple[Any, ...]) -> Any:
    """What the types of the output depend on: those of the arguments, and which are in nondiff_argnums."""
    return call.state.origin.fact.primals, nondiff_ids(call, args)


def nondiff_ids(call: RuleCall, args: tuple[Any, ...]) -> tuple[int, ...]:
    """The ids of the arguments in nondiff_argnums."""
    return tuple([id(args[i]) for i in call.facts.static if i < len(args)])


def same_types(first: Tree, second: Tree) -> bool:
    """Whether two pytrees have the same containers, shapes and dtypes."""
    if first is second:
        return True
    pairs = zip(first.leaves, second.leaves, strict=False)
    return first.structure == second.structure and all(
        a.shape == b.shape and a.dtype == b.dtype for (_, a), (_, b) in pairs
    )
