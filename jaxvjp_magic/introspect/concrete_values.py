"""Takes values and functions of a running program, and gives them with concrete arrays in the place of tracers."""

from __future__ import annotations

import functools
import types
from typing import Any

import jax
from jax import tree_util

from jaxvjp_magic.introspect.callables import with_variables
from jaxvjp_magic.introspect.static_attributes import is_veiled
from jaxvjp_magic.jax_compat import internals

_DEEPEST = 8


def concrete(value: Any, depth: int = 0) -> Any:
    """The value with each tracer replaced by the array behind it, of a vmap's first example; also in closures.

    Raises LookupError below jit, where there is no array yet.
    """
    if is_veiled(value) or depth > _DEEPEST:
        return value
    if isinstance(value, functools.partial):
        keywords = {name: concrete(item, depth + 1) for name, item in value.keywords.items()}
        return functools.partial(
            concrete(value.func, depth + 1), *(concrete(x, depth + 1) for x in value.args), **keywords
        )
    if type(value) is types.FunctionType:
        return _function(value, depth)
    if isinstance(value, (jax.Array, list, tuple, dict)):
        return tree_util.tree_map(internals.value_behind, value)
    return value


def _function(function: types.FunctionType, depth: int) -> Any:
    cells = []
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not yet bound
            cells.append(cell)
            continue
        made = content if content is function else concrete(content, depth + 1)
        cells.append(cell if made is content else types.CellType(made))
    if all(new is old for new, old in zip(cells, function.__closure__ or (), strict=True)):
        return function
    return with_variables(function, function.__globals__, tuple(cells))
