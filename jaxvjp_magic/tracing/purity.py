"""May a function run once more, on shapes? Not if that could be noticed.

JAX runs functions again as it likes, and asks for pure ones. The check is more
careful: a function that writes to a global, to an attribute or to an outer
variable, that appends somewhere, or that draws from a global random state is
not run again for a look at its output's shape.
"""

from __future__ import annotations

import dis
import functools
import inspect
import types
from typing import Any

import jax

from jaxvjp_magic.tracing import jax_internals
from jaxvjp_magic.tracing.frames import is_user_code
from jaxvjp_magic.tracing.functions import global_names, next_inside

_WRITES = {"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR"}
_TELLING_NAMES = {"append", "extend", "insert", "pop", "popitem", "setdefault", "next", "input", "open", "write"}
_RANDOM_MODULES = {"random", "numpy.random"}
_WITH_RULES = (jax_internals.CustomVjp, jax.custom_jvp)
_MOST_FUNCTIONS = 500  # that are looked at; of a program with more, it is not known


def may_run_again(function: Any) -> bool:
    """Whether nothing in the function, or in the user's functions that it may call, tells of an effect."""
    waiting, seen = [(function, True)], {}
    while waiting:
        one, is_asked_for = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if len(seen) > _MOST_FUNCTIONS:
            return False
        code: types.CodeType | None = getattr(one, "__code__", None)
        is_looked_at = code is not None and (is_asked_for or is_user_code(code.co_filename))
        if is_looked_at and code is not None and (_has_effects(code) or _draws(one, code)):
            return False
        waiting += [(inner, is_asked_for) for inner in _inside(one)]
        waiting += [(called, False) for called in _called(one, globally=is_looked_at)]
    return True


def _inside(function: Any) -> tuple[Any, ...]:
    """What runs in this callable's name: the function in a wrapper; of a function with rules, any part of it."""
    if isinstance(function, _WITH_RULES):  # which of its parts run is JAX's choice
        known = (getattr(function, name, None) for name in ("fun", "fwd", "bwd", "jvp"))
        return tuple(part for part in known if callable(part))
    inner = next_inside(function)
    if inner is None and not hasattr(function, "__code__"):
        inner = type(function).__call__  # of an object that a person made callable
        return (inner,) if inspect.isfunction(inner) and is_user_code(inner.__code__.co_filename) else ()
    return () if inner is None else (inner,)


def _called(function: Any, *, globally: bool) -> list[Any]:
    """The callables that a function has at hand, in its closure, among its globals, or bound by a partial."""
    if isinstance(function, functools.partial):
        values = [*function.args, *function.keywords.values()]
    elif inspect.isfunction(function):
        values = [_contents(cell) for cell in function.__closure__ or ()]
        if globally:
            values += [function.__globals__.get(name) for name in global_names(function.__code__)]
    else:
        values = []
    return [value for value in values if callable(value) and not isinstance(value, type)]


def _draws(function: Any, code: types.CodeType) -> bool:
    """Whether a function has one of the global random states at hand."""
    if not inspect.isfunction(function):
        return False
    values = [function.__globals__.get(name) for name in global_names(code)]
    values += [_contents(cell) for cell in function.__closure__ or ()]
    modules = {value.__name__ for value in values if isinstance(value, types.ModuleType)}
    return bool(modules & _RANDOM_MODULES) or ("numpy" in modules and "random" in code.co_names)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def _has_effects(code: types.CodeType) -> bool:
    if _TELLING_NAMES & set(code.co_names):
        return True
    for instruction in dis.get_instructions(code):
        if instruction.opname in _WRITES:
            return True
        if instruction.opname in ("STORE_DEREF", "DELETE_DEREF") and instruction.argval in code.co_freevars:
            return True
        if instruction.opname == "STORE_SUBSCR":  # an item of something; of a local dictionary is harmless,
            return True  # but of which one the code does not tell
    return any(_has_effects(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
