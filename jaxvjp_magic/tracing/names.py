"""Which names a rule looks up that once meant its custom_vjp function, and no longer do.

Identity at the moment the rule runs, no guessing: a name whose value leads to
the custom_vjp object through `__wrapped__`, `.func` and the like, but is not
it, has been overwritten by something made from it. A name like the function's
own, with a value that does not lead there, may have been: that is recorded
with an empty chain, and the checks decide.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import ValuesView
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.tracing import jax_internals
from jaxvjp_magic.tracing.array_types import describe
from jaxvjp_magic.tracing.frames import is_user_code
from jaxvjp_magic.tracing.functions import global_names, next_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST_HELPER = 3
_LONGEST_CHAIN = 16
_LARGEST_CONTAINER = 1000
_NEVER_A_FUNCTION = (types.ModuleType, type, str, int, float, tuple, list, dict)


class Lookup:
    """One name in a function's code, and what it means now."""

    __slots__ = ("helper", "name", "scope", "value")

    def __init__(self, name: str, scope: str, value: Any, helper: str) -> None:
        """`helper` names the function between the rule and the name, "" for none."""
        self.name, self.scope, self.value, self.helper = name, scope, value, helper


def lookups(function: Any, helper: str = "", seen: frozenset[Any] = frozenset()) -> Iterator[Lookup]:
    """The globals and closure variables of a function, and of the user's helpers that it calls."""
    seen |= {function}
    code, cells, scope = function.__code__, function.__closure__ or (), function.__globals__
    found: list[Lookup] = []
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found.append(Lookup(name, "closure", cell.cell_contents, helper))
        except ValueError:  # not yet bound
            continue
    found.extend(Lookup(name, "global", scope[name], helper) for name in global_names(code) if name in scope)
    yield from found
    if len(seen) <= _DEEPEST_HELPER:
        for lookup in found:
            value = lookup.value
            if inspect.isfunction(value) and value not in seen and is_user_code(value.__code__.co_filename):
                yield from lookups(value, helper or value.__name__, seen)


def leaked_tracers(rule: Any) -> Iterator[str]:
    """The globals of a rule that hold a tracer, themselves or in a dictionary, a list or a set.

    A closure may hold one by right: that of the function around it.
    """
    for name in global_names(rule.__code__):
        value = rule.__globals__.get(name)
        container = value.values() if isinstance(value, dict) else value
        inside = container if isinstance(container, (list, tuple, set, ValuesView)) else (container,)
        if len(inside) <= _LARGEST_CONTAINER and any(map(jax_internals.is_tracer, inside)):
            yield name


def chain_to(value: Any, custom: Any) -> tuple[str, ...] | None:
    """What was made of `custom` to give `value`, outermost first; None where value is not made of it."""
    steps: list[str] = []
    for _ in range(_LONGEST_CHAIN):
        if value is custom:
            return tuple(steps)
        if value is None or isinstance(value, _NEVER_A_FUNCTION) or not callable(value):
            return None
        steps.append(jax_internals.transformation_name(value) or describe(value))
        value = next_inside(value)
    return None


def overwritten(rule: Any, custom: Any) -> Iterator[tuple[Lookup, tuple[str, ...]]]:
    """The lookups of a rule that used to be `custom`, with the chain that leads back to it."""
    own_name = getattr(custom, "__name__", None)
    for lookup in lookups(rule):
        value = lookup.value
        if value is custom or isinstance(value, _NEVER_A_FUNCTION):
            continue
        chain = chain_to(value, custom)
        if chain:
            yield lookup, chain
        elif chain is None and lookup.name == own_name and value is not custom.fun:
            yield lookup, ()
