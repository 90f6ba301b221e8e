"""Calls that are going on or whose pullback may still be called, and what they are known by."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.recording.collector import Handle

if TYPE_CHECKING:
    from jaxvjp_magic.introspect.callables import Custom
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.recording.collector import Collector, State


class CustomCall(Handle):
    """One call of a custom_vjp function."""

    __slots__ = ("_kind", "_parts", "_reference", "facts")

    def __init__(self, collector: Collector, state: State, custom: Any, facts: Custom) -> None:
        """A call of `custom`, of which `facts` are known."""
        self.collector, self.state, self.facts = collector, state, facts
        self._reference, self._kind, self._parts = weakref.ref(custom), type(custom), custom.__dict__

    @property
    def custom(self) -> Any:
        """The custom_vjp object; if the program has dropped it, another one like it.

        JAX keeps the rules in its caches, and with them this call: not the object.
        """
        known = self._reference()
        if known is None:
            known = object.__new__(self._kind)
            known.__dict__.update(self._parts)
        return known


class VjpCall(Handle):
    """One use of `jax.vjp`."""

    __slots__ = ("key",)
    key: int  # what its pullback is known by, once there is one

    def __init__(self, collector: Collector, state: State) -> None:
        """A call in this state."""
        self.collector, self.state = collector, state

    @property
    def names(self) -> tuple[str, ...]:
        """Those of its primals."""
        primals = self.state.origin.fact.primals
        return primals.names if primals else ()


class Pending(weakref.ref[Any]):
    """A pullback that may still be called: a reference to what lives as long as it does, and the call that made it.

    With `--verify` also what jax.vjp was given.
    """

    __slots__ = ("asked", "call", "pullbacks")
    asked: Any
    call: VjpCall
    pullbacks: dict[int, Pending]


def forget(gone: Any) -> None:
    """Take a pullback that is gone out of those that may be called."""
    key = gone.call.key
    if gone.pullbacks.get(key) is gone:
        del gone.pullbacks[key]


def output_key(call: CustomCall, args: tuple[Any, ...]) -> Any:
    """What the types of the output depend on: those of the arguments, and which are in nondiff_argnums."""
    return call.state.origin.fact.primals, nondiff_ids(call, args)


def nondiff_ids(call: CustomCall, args: tuple[Any, ...]) -> tuple[int, ...]:
    """Which objects these arguments are that are not differentiated."""
    return tuple([id(args[i]) for i in call.facts.static if i < len(args)])


def same_types(first: Tree, second: Tree) -> bool:
    """Whether two pytrees have the same containers, shapes and dtypes."""
    if first is second:
        return True
    pairs = zip(first.leaves, second.leaves, strict=False)
    return first.structure == second.structure and all(
        a.shape == b.shape and a.dtype == b.dtype for (_, a), (_, b) in pairs
    )
