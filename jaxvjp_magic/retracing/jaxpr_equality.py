"""Compares two jaxprs, and finds a jaxpr's twin: what is compiled for the twin serves the jaxpr, too.

The comparison is by structure, in one pass over both. It says yes only where
everything that XLA is given is equal: primitives, parameters, types, literals,
and constants, which are the same arrays. Names of variables, source lines and
the rules of functions that are no longer differentiated make no difference. A
wrong no costs a compilation, a wrong yes would give a wrong result.
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

# XLA compiles only the function of a call with derivative rules: the parameter that has its jaxpr.
_OF_RULES = {"custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr", "custom_vjp_call_jaxpr": "fun_jaxpr"}
_OF_CUSTOM_VJP3 = "CustomVJPTraced"  # the same of a hijax primitive
_MOST_BYTES = 2**26  # of a constant that is compared by value, which takes some milliseconds


class Watched:
    """What a check puts in the place of a user's rule; `__wrapped__` is the rule."""

    __slots__ = ()


class Known:
    """Jaxprs that JAX has compiled or run, found by their content; none is kept alive."""

    def __init__(self, jaxprs: Iterable[tuple[Any, tuple[Any, ...]]] = ()) -> None:
        """`jaxprs` has weak references to jaxprs, each with the arguments that it was lowered with."""
        self._known: dict[Any, list[Any]] = {}
        self._ids: set[int] = set()
        for reference, lowering_args in jaxprs:
            jaxpr = reference()
            if jaxpr is not None:
                self._ids.add(id(jaxpr))
                self._known.setdefault(_key(jaxpr, lowering_args), []).append(reference)

    def twin_of(self, jaxpr: Any, lowering_args: tuple[Any, ...] = ()) -> Any:
        """A known jaxpr with the same content and lowering arguments; `jaxpr` itself if there is none."""
        if id(jaxpr) in self._ids:
            return jaxpr
        candidates = self._known.get(_key(jaxpr, lowering_args), ())
        return next(
            (twin for twin in (reference() for reference in candidates) if twin is not None and same(twin, jaxpr)),
            jaxpr,
        )

    def canonical(self, value: Any) -> Any:
        """For a jaxpr, or each one in a tuple, the first known twin; any other value unchanged."""
        if isinstance(value, tuple):
            return (
                type(value)(*map(self.canonical, value))
                if hasattr(value, "_fields")
                else tuple(map(self.canonical, value))
            )
        if not _is_jaxpr(value):
            return value
        twin = self.twin_of(value)
        if twin is value:
            references = self._known.setdefault(_key(value, ()), [])
            references[:] = [reference for reference in references if reference() not in (None, value)]
            references.append(weakref.ref(value))
        return twin


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")


def _key(jaxpr: Any, lowering_args: tuple[Any, ...]) -> Any:
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    return len(inner.eqns), len(inner.invars), len(inner.outvars), lowering_args


def same(first: Any, second: Any) -> bool:
    """Whether two jaxprs have the same content."""
    constants = _constants(first), _constants(second)
    if len(constants[0]) != len(constants[1]) or not all(map(_same_constant, *constants)):
        return False
    first, second = getattr(first, "jaxpr", first), getattr(second, "jaxpr", second)
    lengths = [(len(jaxpr.eqns), len(jaxpr.constvars), len(jaxpr.invars)) for jaxpr in (first, second)]
    if lengths[0] != lengths[1]:
        return False
    variables: Variables = {}
    return (
        _same_binders((*first.constvars, *first.invars), (*second.constvars, *second.invars), variables)
        and all(_same_equation(a, b, variables) for a, b in zip(first.eqns, second.eqns, strict=True))
        and _same_atoms(first.outvars, second.outvars, variables)
    )


def _constants(jaxpr: Any) -> tuple[Any, ...]:
    return tuple(getattr(jaxpr, "consts", ()))


def _same_constant(first: Any, second: Any) -> bool:
    """Whether both are the same array, or equal ones in host memory; reading a jax.Array might block."""
    if first is second:
        return True
    if type(first) is not type(second) or isinstance(first, jax.Array):
        return False
    if not isinstance(first, (bool, int, float, complex)) and not hasattr(first, "__array__"):
        return False
    a, b = np.asarray(first), np.asarray(second)
    return a.dtype == b.dtype and a.shape == b.shape and a.nbytes <= _MOST_BYTES and _same_bytes(a, b)


def _same_bytes(first: Any, second: Any) -> bool:
    first_bytes, second_bytes = (np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (first, second))
    return bool(np.array_equal(first_bytes, second_bytes))


def _same_binders(first_variables: Any, second_variables: Any, variables: Variables) -> bool:
    if len(first_variables) != len(second_variables):
        return False
    for first, second in zip(first_variables, second_variables, strict=True):
        if first.aval != second.aval:
            return False
        variables[id(first)] = second
    return True


def _same_atoms(first_atoms: Any, second_atoms: Any, variables: Variables) -> bool:
    return len(first_atoms) == len(second_atoms) and all(
        _same_atom(a, b, variables) for a, b in zip(first_atoms, second_atoms, strict=True)
    )


def _same_atom(first: Any, second: Any, variables: Variables) -> bool:
    if hasattr(first, "val"):  # a literal
        return hasattr(second, "val") and first.aval == second.aval and _same_constant(first.val, second.val)
    return variables.get(id(first)) is second


def _same_equation(first: Any, second: Any, variables: Variables) -> bool:
    if first.primitive is not second.primitive or first.effects != second.effects or first.ctx != second.ctx:
        return False
    if not _same_atoms(first.invars, second.invars, variables):
        return False
    primal = _OF_RULES.get(first.primitive.name)
    if primal is not None and primal in first.params:
        return same(first.params[primal], second.params[primal]) and _same_binders(
            first.outvars, second.outvars, variables
        )
    return (
        first.params.keys() == second.params.keys()
        and all(_same_value(value, second.params[name]) for name, value in first.params.items())
        and _same_binders(first.outvars, second.outvars, variables)
    )


def _same_value(first: Any, second: Any) -> bool:
    """Whether two parameters are equal; what cannot be compared is not. A watched rule is the rule itself."""
    first, second = map(_unwatched, (first, second))
    if first is second or type(first) is not type(second):
        return first is second
    if isinstance(first, (np.ndarray, jax.Array)):
        return _same_constant(first, second)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(_same_value, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same_value(value, second[key]) for key, value in first.items())
    return _same_object(first, second)


def _unwatched(value: Any) -> Any:
    return value.__wrapped__ if issubclass(type(value), Watched) else value  # asks nothing of the user's objects


def _same_object(first: Any, second: Any) -> bool:
    if _is_jaxpr(first):
        return same(first, second)
    if isinstance(first, types.FunctionType):
        return _same_function(first, second)
    parts = _parts(first)
    return _equal(first, second) if parts is None else _same_value(parts, _parts(second))


def _parts(value: Any) -> Any:
    """What to compare of an object that each trace makes anew, so that `==` says no; None for other objects."""
    if isinstance(value, (functools.partial, types.MethodType)):
        return value.__reduce__()[1:]
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if hasattr(value, "in_avals") and isinstance(getattr(value, "params", None), dict):
        # A hijax primitive, custom_root's for example: JAX compares it by these, and they contain jaxprs.
        if type(value).__name__ == _OF_CUSTOM_VJP3:
            return [value.params["traced"].jaxpr, value.in_avals, value.effects]
        return [value.params, value.in_avals, value.effects]
    # A JAX object that is equal only to itself: the rule of a custom_vmap function, for example.
    value_type: Any = type(value)
    by_identity = value_type.__module__.startswith("jax.") and value_type.__hash__ is object.__hash__
    return vars(value) if by_identity and hasattr(value, "__dict__") else None


def _same_function(first: types.FunctionType, second: types.FunctionType) -> bool:
    """Whether two functions that a trace made anew, for a callback say, have the same code and closure."""
    if first.__code__ is not second.__code__ or first.__globals__ is not second.__globals__:
        return False
    if not _same_value((first.__defaults__, first.__kwdefaults__), (second.__defaults__, second.__kwdefaults__)):
        return False
    cells = zip(first.__closure__ or (), second.__closure__ or (), strict=True)
    return all(_same_cell(a, b, (first, second)) for a, b in cells)


def _same_cell(first: types.CellType, second: types.CellType, owners: tuple[Any, Any]) -> bool:
    try:
        first_value, second_value = first.cell_contents, second.cell_contents
        recursive = first_value is owners[0] and second_value is owners[1]
        return recursive or _same_value(first_value, second_value)
    except ValueError:  # not yet bound
        return False


def _equal(first: Any, second: Any) -> bool:
    try:
        return bool(first == second)
    except Exception:  # noqa: BLE001 (an object whose `==` raises)
        return False
