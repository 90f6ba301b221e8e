"""Finds helpers of a rule whose names were overwritten by something made from them, and tries the rules without that.

`score = vmap(score)` may be intended: many correct programs do it. So the
rules are traced with the original helper, on shapes. A finding then rests on
two observations: with the present value the program failed, and with the
original helper it would not.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import jax

from jaxvjp_magic.introspect import avals, name_lookup
from jaxvjp_magic.introspect.callables import below_wrappers, with_variables
from jaxvjp_magic.introspect.static_attributes import attribute, name_of
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.introspect.name_lookup import Lookup


def overwritten(rule: Any, custom: Any) -> Iterator[tuple[Lookup, tuple[str, ...], Any]]:
    """The overwritten helpers that a rule calls, itself or through the custom_vjp function: lookup, chain, original."""
    function = below_wrappers(internals.primal_of(custom))
    lookups = list(name_lookup.lookups(rule))
    if type(function) is types.FunctionType and any(lookup.value is custom for lookup in lookups):
        lookups += name_lookup.lookups(function, helper=function.__name__)
    for lookup in lookups:
        chain, original = _original(lookup.value, lookup.name, rule.__globals__)
        if original is not None and original is not custom and original is not internals.primal_of(custom):
            yield lookup, chain, original


def _original(value: Any, name: str, scope: dict[str, Any]) -> tuple[tuple[str, ...], Any]:
    """The function of this name and file that a value was made from, and the steps; None where there is none."""
    for steps, function in name_lookup.made_from(value):
        is_of_the_file = isinstance(function, internals.CUSTOM_VJPS) or attribute(function, "__globals__") is scope
        if steps and is_of_the_file and name_of(function) == name:
            return steps, function
    return (), None


def may_be_tried(custom: Any) -> bool:
    """Whether the function and its rules are plain functions, which can be copied."""
    return all(
        type(function) is types.FunctionType for function in (internals.primal_of(custom), custom.fwd, custom.bwd)
    )


def fits_with(custom: Any, arguments: tuple[Any, ...], name: str, original: Any) -> bool:
    """Whether function and rules would agree on these shapes, if `name` meant `original`. Changes nothing."""
    fun, fwd, bwd = _with((internals.primal_of(custom), custom.fwd, custom.bwd), custom, name, original)
    static = set(internals.static_argnums_of(custom))

    def function_and_rules(*args: Any) -> Any:
        output, residuals = fwd(*args)
        return fun(*args), output, bwd(*(args[i] for i in sorted(static)), residuals, output)

    expected, output, gradients = avals.shapes_of(function_and_rules, arguments)
    dynamic = tuple(arg for i, arg in enumerate(arguments) if i not in static)
    return bool(_shapes(output) == _shapes(expected) and _shapes(tuple(gradients)) == _shapes(dynamic))


def _shapes(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: getattr(leaf, "shape", None), tree)


def _with(functions: tuple[Any, ...], custom: Any, name: str, original: Any) -> Iterator[Any]:
    """Copies of the functions for which `name` means `original`, with globals of their own."""
    scope = custom.fwd.__globals__
    copied_scope = dict(scope)

    def copy_of(function: Any) -> Any:
        if type(function) is not types.FunctionType or function.__globals__ is not scope:
            return function
        free = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        cells = tuple(types.CellType(copied(original)) if variable == name else cell for variable, cell in free)
        return with_variables(function, copied_scope, cells)

    def copied(value: Any) -> Any:
        return copy_of(internals.primal_of(custom) if value is custom else value)

    copied_scope.update({key: copied(value) for key, value in scope.items()})
    copied_scope[name] = copied(original)
    yield from map(copy_of, functions)
