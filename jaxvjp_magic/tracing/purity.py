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

from jaxvjp_magic.tracing.frames import is_user_code
from jaxvjp_magic.tracing.functions import below_wrappers, global_names

_WRITES = {"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR"}
_TELLING_NAMES = {"append", "extend", "insert", "pop", "popitem", "setdefault", "next", "input", "open", "write"}
_RANDOM_MODULES = {"random", "numpy.random"}
_DEEPEST = 4


def may_run_again(function: Any, depth: int = 0) -> bool:
    """Whether nothing in the function, or in the user's functions that it calls, tells of an effect."""
    function = below_wrappers(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    if _has_effects(code):
        return False
    if not inspect.isfunction(function) or depth >= _DEEPEST:
        return True
    cells = [_contents(cell) for cell in function.__closure__ or ()]
    values = [function.__globals__.get(name) for name in global_names(code)] + cells
    modules = {value.__name__ for value in values if isinstance(value, types.ModuleType)}
    if modules & _RANDOM_MODULES or ("numpy" in modules and "random" in code.co_names):
        return False
    called = (below_wrappers(value) for value in values if callable(value) and not isinstance(value, type))
    return all(
        may_run_again(value, depth + 1)
        for value in called
        if inspect.isfunction(value) and value is not function and is_user_code(value.__code__.co_filename)
    )


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
