"""Which helpers of a rule mean something made from them by now, and whether the rules would fit with the helpers.

A name that means `vmap(score)`, where a function of the same file is called
`score`, may be meant so: many correct programs map a helper under its own
name. So the rules are tried with the helper itself, on shapes. What is then
said rests on two things that happened: with what the name means now the
program failed, and with the helper it would not.
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
    """The helpers that a rule calls, or its function in its place, and that were overwritten: what each was, too."""
    function = below_wrappers(custom.fun)
    found = list(name_lookup.lookups(rule))
    if type(function) is types.FunctionType and any(one.value is custom for one in found):
        found += name_lookup.lookups(function, helper=function.__name__)
    for lookup in found:
        chain, original = _original(lookup.value, lookup.name, rule.__globals__)
        if original is not None and original is not custom and original is not custom.fun:
            yield lookup, chain, original


def _original(value: Any, name: str, scope: dict[str, Any]) -> tuple[tuple[str, ...], Any]:
    """What of this name and of this file a value was made from, and how; None where there is nothing."""
    for steps, one in name_lookup.made_from(value):
        is_of_the_file = isinstance(one, internals.CustomVjp) or attribute(one, "__globals__") is scope
        if steps and is_of_the_file and name_of(one) == name:
            return steps, one
    return (), None


def may_be_tried(custom: Any) -> bool:
    """Whether the function and its rules are plain functions, of which there can be copies."""
    return all(type(one) is types.FunctionType for one in (custom.fun, custom.fwd, custom.bwd))


def fits_with(custom: Any, arguments: tuple[Any, ...], name: str, original: Any) -> bool:
    """Whether function and rules would agree on these shapes, if `name` meant `original`; nothing is changed."""
    fun, fwd, bwd = _with((custom.fun, custom.fwd, custom.bwd), custom, name, original)
    static = set(custom.nondiff_argnums)

    def all_of_them(*args: Any) -> Any:
        output, residuals = fwd(*args)
        return fun(*args), output, bwd(*(args[i] for i in sorted(static)), residuals, output)

    expected, output, gradients = avals.shapes_of(all_of_them, arguments)
    dynamic = tuple(arg for i, arg in enumerate(arguments) if i not in static)
    return bool(_shapes(output) == _shapes(expected) and _shapes(tuple(gradients)) == _shapes(dynamic))


def _shapes(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: getattr(leaf, "shape", None), tree)


def _with(parts: tuple[Any, ...], custom: Any, name: str, original: Any) -> Iterator[Any]:
    """The functions as they would be if a name meant `original`: copies, in variables of their own."""
    scope = custom.fwd.__globals__
    known = dict(scope)

    def copy_of(function: Any) -> Any:
        if type(function) is not types.FunctionType or function.__globals__ is not scope:
            return function
        free = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        cells = tuple(types.CellType(meant(original)) if one == name else cell for one, cell in free)
        return with_variables(function, known, cells)

    def meant(value: Any) -> Any:
        return copy_of(custom.fun if value is custom else value)

    known.update({key: meant(value) for key, value in scope.items()})
    known[name] = meant(original)
    yield from map(copy_of, parts)
