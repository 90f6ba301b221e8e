"""Two jaxprs that say the same: what is compiled for the one serves the other.

The comparison is by structure, in one pass over both. It says yes only where
everything that XLA is given is equal: primitives, parameters, types, literals,
and constants, which are the same arrays. Names of variables, lines of the
source and the rules of functions that are no longer differentiated make no
difference. A wrong no costs a compilation, a wrong yes would be a wrong result.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import weakref
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    Variables = dict[int, Any]

# What is compiled of a call with rules is its function alone.
_OF_RULES = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}
_MOST_BYTES = 2**26  # of a constant that is compared by its values: that takes some milliseconds


class Known:
    """Jaxprs that JAX has worked on, found by what they say; none is kept alive."""

    def __init__(self, known: Iterable[tuple[Any, tuple[Any, ...]]] = ()) -> None:
        """`known` has references to jaxprs, and how each was worked on."""
        self._known: dict[Any, list[Any]] = {}
        self._ids: set[int] = set()
        for reference, how in known:
            jaxpr = reference()
            if jaxpr is not None:
                self._ids.add(id(jaxpr))
                self._known.setdefault(_key(jaxpr, how), []).append(reference)

    def twin_of(self, jaxpr: Any, how: tuple[Any, ...] = ()) -> Any:
        """One that was worked on before in the same way and says the same; the jaxpr itself where there is none."""
        if id(jaxpr) in self._ids:
            return jaxpr
        alike = self._known.get(_key(jaxpr, how), ())
        return next(
            (one for one in (reference() for reference in alike) if one is not None and same(one, jaxpr)), jaxpr
        )

    def canonical(self, value: Any) -> Any:
        """For a jaxpr, or each in a tuple of them, the first that said the same; anything else as it is."""
        if isinstance(value, tuple):
            return (
                type(value)(*map(self.canonical, value))
                if hasattr(value, "_fields")
                else tuple(map(self.canonical, value))
            )
        if not _is_jaxpr(value):
            return value
        known = self.twin_of(value)
        if known is value:
            references = self._known.setdefault(_key(value, ()), [])
            references[:] = [reference for reference in references if reference() not in (None, value)]
            references.append(weakref.ref(value))
        return known


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _key(jaxpr: Any, how: tuple[Any, ...]) -> Any:
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return len(inner.eqns), len(inner.invars), len(inner.outvars), how


def same(first: Any, second: Any) -> bool:
    """Whether two jaxprs say the same."""
    constants = _constants(first), _constants(second)
    if len(constants[0]) != len(constants[1]) or not all(map(_same_constant, *constants)):
        return False
    one, other = getattr(first, "jaxpr", first), getattr(second, "jaxpr", second)
    lengths = [(len(jaxpr.eqns), len(jaxpr.constvars), len(jaxpr.invars)) for jaxpr in (one, other)]
    if lengths[0] != lengths[1]:
        return False
    variables: Variables = {}
    return (
        _same_binders((*one.constvars, *one.invars), (*other.constvars, *other.invars), variables)
        and all(_same_equation(a, b, variables) for a, b in zip(one.eqns, other.eqns, strict=True))
        and _same_atoms(one.outvars, other.outvars, variables)
    )


def _constants(jaxpr: Any) -> tuple[Any, ...]:
    return tuple(getattr(jaxpr, "consts", ()))


def _same_constant(one: Any, other: Any) -> bool:
    """The same array, or an equal one in the host's memory; an array of JAX may have to be waited for."""
    if one is other:
        return True
    if type(one) is not type(other) or isinstance(one, jax.Array):
        return False
    if not isinstance(one, (bool, int, float, complex)) and not hasattr(one, "__array__"):
        return False
    a, b = np.asarray(one), np.asarray(other)
    return a.dtype == b.dtype and a.shape == b.shape and a.nbytes <= _MOST_BYTES and _same_bytes(a, b)


def _same_bytes(one: Any, other: Any) -> bool:
    ones, others = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (one, other))
    return bool(np.array_equal(ones, others))


def _same_binders(ones: Any, others: Any, variables: Variables) -> bool:
    if len(ones) != len(others):
        return False
    for one, other in zip(ones, others, strict=True):
        if one.aval != other.aval:
            return False
        variables[id(one)] = other
    return True


def _same_atoms(ones: Any, others: Any, variables: Variables) -> bool:
    return len(ones) == len(others) and all(_same_atom(a, b, variables) for a, b in zip(ones, others, strict=True))


def _same_atom(one: Any, other: Any, variables: Variables) -> bool:
    if hasattr(one, "val"):  # a literal
        return hasattr(other, "val") and one.aval == other.aval and _same_constant(one.val, other.val)
    return variables.get(id(one)) is other


def _same_equation(one: Any, other: Any, variables: Variables) -> bool:
    if one.primitive is not other.primitive or one.effects != other.effects or one.ctx != other.ctx:
        return False
    if not _same_atoms(one.invars, other.invars, variables):
        return False
    only = _OF_RULES.get(one.primitive.name)
    if only is not None and only in one.params:
        return same(one.params[only], other.params[only]) and _same_binders(one.outvars, other.outvars, variables)
    return (
        one.params.keys() == other.params.keys()
        and all(_same_value(value, other.params[name]) for name, value in one.params.items())
        and _same_binders(one.outvars, other.outvars, variables)
    )


def _same_value(one: Any, other: Any) -> bool:
    """Whether two parameters are equal; what cannot be compared is not."""
    if one is other or type(one) is not type(other):
        return one is other
    if isinstance(one, (np.ndarray, jax.Array)):
        return _same_constant(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_same_value, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_value(value, other[key]) for key, value in one.items())
    return _same_object(one, other)


def _same_object(one: Any, other: Any) -> bool:
    if _is_jaxpr(one):
        return same(one, other)
    if isinstance(one, types.FunctionType):
        return _same_function(one, other)
    parts = _parts(one)
    return _equal(one, other) if parts is None else _same_value(parts, _parts(other))


def _parts(value: Any) -> Any:
    """What makes an object that a trace may have made anew, and that Python takes for another; None for others."""
    if isinstance(value, (functools.partial, types.MethodType)):
        return value.__reduce__()[1:]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if hasattr(value, "in_avals") and isinstance(getattr(value, "params", None), dict):
        # A primitive of hijax, custom_root's for one, which JAX compares by these. Jaxprs are in them, too.
        return [value.params, value.in_avals, value.effects]
    # An object of JAX, the rule of a custom_vmap function for one, that is equal only to itself.
    kind: Any = type(value)
    by_identity = kind.__module__.startswith("jax.") and kind.__hash__ is object.__hash__
    return vars(value) if by_identity and hasattr(value, "__dict__") else None


def _same_function(one: types.FunctionType, other: types.FunctionType) -> bool:
    """Whether two functions that a trace made anew, for a callback say, are of one text and close over the same."""
    if one.__code__ is not other.__code__ or one.__globals__ is not other.__globals__:
        return False
    if not _same_value((one.__defaults__, one.__kwdefaults__), (other.__defaults__, other.__kwdefaults__)):
        return False
    cells = zip(one.__closure__ or (), other.__closure__ or (), strict=True)
    return all(_same_cell(a, b, (one, other)) for a, b in cells)


def _same_cell(one: types.CellType, other: types.CellType, owners: tuple[Any, Any]) -> bool:
    try:
        ones, others = one.cell_contents, other.cell_contents
        recursive = ones is owners[0] and others is owners[1]
        return recursive or _same_value(ones, others)
    except ValueError:  # not yet bound
        return False


def _equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 (an object that does not like to be compared)
        return False
