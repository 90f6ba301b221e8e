"""Objects of the program: recorded whatever their class is like, and nothing of theirs runs for it."""

from __future__ import annotations

import dataclasses
import types
import weakref
from typing import TYPE_CHECKING, Any
from unittest import mock

import jax
import jax.numpy as jnp
import pytest

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.introspect import static_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

X = jnp.arange(3.0)


@dataclasses.dataclass
class NoHash:
    """A plain dataclass cannot be hashed."""

    scale: float = 2.0

    def __call__(self, x: Any) -> Any:
        """The primal function."""
        return x * self.scale


class Slots:
    """It can neither be weakly referenced, nor be given attributes."""

    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 2.0

    def __call__(self, x: Any) -> Any:
        """The primal function."""
        return x * self.scale


class AnyName:
    """It has an attribute of any name, and each is None."""

    def __getattr__(self, name: str) -> None:
        """For `hasattr` it has everything."""

    def __call__(self, x: Any) -> Any:
        """The primal function."""
        return x * 2.0


class NoTruth:
    """It compares with nothing, and is neither true nor false; JAX asks for its hash alone."""

    def __eq__(self, other: object) -> Any:
        """An array, as NumPy's objects do it."""
        return jnp.zeros(2)

    __hash__ = object.__hash__

    def __call__(self, x: Any) -> Any:
        """The primal function."""
        return x * 2.0


OBJECTS = [NoHash, Slots, AnyName]


def as_rule(kind: type, rule: Callable[..., Any]) -> Any:
    """An object of the same kind that is a rule."""

    def call(_self: Any, first: Any, *others: Any) -> Any:
        return rule(first, *others)

    return type(kind.__name__, (kind,), {"__slots__": (), "__call__": call})()


def layer(fun: Any, fwd: Any, bwd: Any) -> Any:
    """A custom_vjp function of these parts."""
    made = jax.custom_vjp(fun)
    made.defvjp(fwd, bwd)
    return made


def fwd(x: Any) -> Any:
    """Of a function that doubles."""
    return x * 2.0, (x, x[:2])


def bwd(residuals: Any, g: Any) -> Any:
    """Of a function that doubles."""
    return (g * 2.0 + 0.0 * residuals[0] * residuals[1].sum(),)


def seen(function: Any, *, jitted: bool, verify: bool) -> tuple[Any, Any]:
    """What a check of a gradient says of the custom_vjp function, and the gradient."""

    def loss(x: Any) -> Any:
        return function(x).sum()

    with vjpcheck(verify=verify) as report:
        gradient = jax.grad(jax.jit(loss) if jitted else loss)(X)
    assert not report.notes
    assert [one.why for one in report.not_checked] == ([] if verify else ["--verify"])
    assert not report.findings
    (call,) = [call for call in report.calls if call.kind == "custom_vjp"]
    known = call.primals, call.outputs, call.residuals, call.cotangents_in, call.cotangents_out, call.count
    return known, gradient.tolist()


@pytest.mark.classic("jit takes the primal function, which has to have a hash and weak references")
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_recorded_like_a_function(kind: type, *, jitted: bool, verify: bool) -> None:
    """As primal function, and as both rules: the same types as of plain functions."""
    plain = seen(layer(lambda x: x * 2.0, fwd, bwd), jitted=jitted, verify=verify)
    assert seen(layer(kind(), fwd, bwd), jitted=jitted, verify=verify) == plain
    rules = as_rule(kind, fwd), as_rule(kind, bwd)
    assert seen(layer(kind(), *rules), jitted=jitted, verify=verify) == plain


def test_what_jax_may_not_call_ends_as_without_the_check() -> None:
    """An object whose comparison has no truth value, which JAX 0.10 asks for: its exception is the program's."""

    def outcome() -> Any:
        try:
            return layer(NoTruth(), fwd, bwd)(X).tolist()
        except ValueError as error:
            return str(error)

    plain = outcome()
    with vjpcheck() as report:
        assert outcome() == plain
    assert [call.function for call in report.calls] == ["NoTruth"]
    assert not report.notes


# What loads when it is used ------------------------------------------------------------------

LOADED: list[str] = []


def loads(name: str) -> Any:
    """A method that tells that it ran."""

    def method(_self: Any, *_: Any) -> Any:
        LOADED.append(name)
        return {"__class__": NoHash, "__dict__": {}, "__len__": 0}.get(name)

    return method


SPECIAL = ("__bool__", "__len__", "__iter__", "__eq__", "__hash__", "__repr__", "__str__", "__call__", "__getitem__")
Proxy = type(
    "Proxy",
    (),
    {
        **{name: loads(name) for name in (*SPECIAL, "__getattr__")},
        **{name: property(loads(name)) for name in ("__class__", "__dict__", "__name__", "__wrapped__")},
    },
)


class LazyModule(types.ModuleType):
    """As `importlib.util.LazyLoader` makes it: it is executed when anything is read of it."""

    def __getattribute__(self, name: str) -> Any:
        """Every attribute comes by here."""
        LOADED.append(name)
        return super().__getattribute__(name)


class Late:
    """Its attributes are made when they are asked for."""

    def __getattr__(self, name: str) -> Any:
        """Only what is not there comes by here."""
        LOADED.append(name)
        raise AttributeError(name)

    def __call__(self, x: Any) -> Any:
        """Never called."""
        raise AssertionError


TABLE: Any = None
TABLES: Any = None
USED = False


@pytest.mark.parametrize("kind", [Proxy, lambda: LazyModule("later"), Late], ids=["proxy", "module", "getattr"])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_loaded(kind: Callable[[], Any], *, fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A global, one in a dictionary, a closure's variable, one on the line that fails: named, and not used yet."""
    monkeypatch.setitem(globals(), "TABLE", kind())
    monkeypatch.setitem(globals(), "TABLES", {"first": kind()})
    local = kind()

    def fun(x: Any) -> Any:
        return TABLE.step(x) + TABLES["first"](x) + local(x) if USED else x * 2.0

    def fwd(x: Any) -> Any:
        return (TABLE.step(x) + TABLES["first"](x) + local.step(x) if USED else x * 2.0), x

    def bwd(x: Any, g: Any) -> Any:
        return (TABLE(g) + TABLES["first"].step(x) + local.step(x) if USED else g * 2.0,)

    function = layer(fun, fwd, bwd)

    def loss(x: Any) -> Any:
        return function(x).sum() + (TABLE.step(x) if USED else 0.0)

    def program() -> Any:
        jitted = jax.jit(loss)
        gradients = jax.grad(loss)(X), jax.grad(jitted)(X), jax.grad(jitted)(X)
        return TABLE(X) + local(X) if USED else jnp.dot(X, gradients[0] if not fails else jnp.ones(4))

    LOADED.clear()
    if fails:
        with pytest.raises(TypeError), vjpcheck(verify=True) as report:
            program()
    else:
        with vjpcheck(verify=True) as report:
            program()
    assert not LOADED
    assert not report.notes
    assert {call.function for call in report.calls} == {"loss", "fun"}


@pytest.mark.classic("what a function returns is known from JAX's own trace")
def test_what_uses_a_proxy_is_not_known_to_be_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the report says why, of a look that does not happen for it where nothing can be forked."""
    monkeypatch.setitem(globals(), "TABLE", Proxy())

    def fun(x: Any) -> Any:
        return x * 2.0 if TABLE is None else x + x

    monkeypatch.setattr("jaxvjp_magic.retracing.child_process.can_fork", lambda: "nothing can be forked")
    LOADED.clear()
    with vjpcheck() as report:
        jax.grad(lambda x: layer(fun, fwd, bwd)(x).sum())(X)
    assert not LOADED
    one, _ = report.not_checked
    assert "it uses a Proxy (line " in str(one)
    assert "whose class defines its own attribute access" in str(one)


def test_what_is_veiled() -> None:
    """What says itself what it is; everything that Python and JAX tell the type of is not."""
    alive = NoTruth()
    for veiled in (Proxy(), LazyModule("later"), mock.MagicMock(), weakref.proxy(alive)):
        assert static_attributes.is_veiled(veiled)
    for plain in (X, 1.0, "text", int, len, jnp, jnp.sin, jax.jit(fwd), layer, NoHash(), Slots(), AnyName(), Late()):
        assert not static_attributes.is_veiled(plain)
    assert static_attributes.name_of(jax.jit(fwd)) == static_attributes.name_of(fwd) == "fwd"
    assert static_attributes.name_of(AnyName()) == ""
    assert static_attributes.held_by(NoHash()) == {"scale": 2.0}
    assert static_attributes.held_by(Proxy()) == static_attributes.held_by(Slots()) == {}
    assert static_attributes.attribute(Slots(), "scale") == 2.0
    assert static_attributes.code_of(AnyName()) is None
