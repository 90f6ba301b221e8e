"""Takes a rule, and gives the names that it looks up, and which of them once meant its custom_vjp function.

This compares identities when the rule runs, and does not guess. If a value
leads to the custom_vjp object through `__wrapped__`, `.func` and the like, but
is not that object, its name has been overwritten by something made from it.
If a name is the function's own and its value does not lead there, it may have
been overwritten: that is recorded with an empty chain, and the checks decide.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
from collections.abc import ValuesView
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect import unwrap
from jaxvjp_magic.introspect.avals import describe
from jaxvjp_magic.introspect.callables import attribute_paths, below_wrappers, global_names, next_inside
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.introspect.static_attributes import held_by, is_veiled
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST_HELPER = 3
_LONGEST_CHAIN = 16
_LARGEST_CONTAINER = 1000
CONTAINERS = (dict, list, tuple, set)
_NEVER_A_FUNCTION = (types.ModuleType, type, str, int, float, tuple, list, dict)


class Lookup:
    """One name in a function's code, and what it means now."""

    __slots__ = ("helper", "name", "scope", "value")

    def __init__(self, name: str, scope: str, value: Any, helper: str) -> None:
        """`helper` names the function between the rule and the name, "" for none."""
        self.name, self.scope, self.value, self.helper = name, scope, value, helper


def lookups(function: Any, owner: Any = None, helper: str = "", seen: frozenset[Any] = frozenset()) -> Iterator[Lookup]:
    """The globals and closure variables of a function, and of the user's helpers that it calls.

    For a method bound to `owner`, also the attributes of that object.
    """
    seen |= {function}
    code, cells, scope = function.__code__, function.__closure__ or (), function.__globals__
    found: list[Lookup] = []
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found.append(Lookup(name, "closure", cell.cell_contents, helper))
        except ValueError:  # not yet bound
            continue
    found.extend(Lookup(name, "global", scope[name], helper) for name in global_names(code) if name in scope)
    found.extend(Lookup(_text(path), "attribute", value, helper) for path, value in attributes(function))
    found.extend(Lookup(f"self.{name}", "attribute", value, helper) for name, value in attributes_of(function, owner))
    found = [lookup for lookup in found if not is_veiled(lookup.value)]
    yield from found
    if len(seen) <= _DEEPEST_HELPER:
        for lookup in found:
            value = lookup.value
            if type(value) is types.FunctionType and value not in seen and is_user_code(value.__code__.co_filename):
                yield from lookups(value, None, helper or value.__name__, seen)


def attributes_of(method: Any, owner: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of `owner` that a method names, with their values."""
    held = held_by(owner)
    yield from ((name, held[name]) for name in method.__code__.co_names if name in held)


def attributes(function: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What a function looks up in the user's objects, modules and containers: paths and values."""
    resolved = ((path, attribute(function, path)) for path in attribute_paths(function.__code__))
    yield from ((path, value) for path, value in resolved if value is not None)


def attribute(function: Any, path: tuple[Any, ...]) -> Any:
    """The value at one of the `attribute_paths`, found without running anything; None where there is none."""
    value, free = function.__globals__.get(path[0]), function.__code__.co_freevars
    if path[0] in free:
        try:
            value = function.__closure__[free.index(path[0])].cell_contents
        except ValueError:  # not yet bound
            return None
    for step in path[1:]:
        value = _item(value, step[0]) if isinstance(step, tuple) else _attribute(value, step)
    return value


def _item(value: Any, key: Any) -> Any:
    if not is_veiled(value) and isinstance(value, dict):
        return dict.get(value, key)
    is_inside = type(value) in (list, tuple) and isinstance(key, int) and -len(value) <= key < len(value)
    return value[key] if is_inside else None


def _attribute(value: Any, name: str) -> Any:
    if is_veiled(value):
        return None
    if isinstance(value, types.ModuleType):
        filename = held_by(value).get("__file__")
    elif isinstance(value, type):
        filename = _file_of(value)
    else:
        return held_by(value).get(name)
    if not isinstance(filename, str) or not is_user_code(filename):
        return None
    value = inspect.getattr_static(value, name, None)
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def _file_of(owner: type) -> Any:
    """The file of a class: that of a method in its body, or of its module where there is no such method.

    The methods come first, because a program's classes may be in a `__main__`
    that has no file, or that of a runner such as `python -m pytest`.
    """
    for held in vars(owner).values():
        method = below_wrappers(held.__func__ if isinstance(held, (staticmethod, classmethod)) else held)
        if isinstance(method, types.FunctionType) and method.__qualname__ == f"{owner.__qualname__}.{method.__name__}":
            filename = method.__code__.co_filename
            if not filename.startswith("<") or is_user_code(filename):  # `<string>`: what a dataclass generates
                return filename
    if owner.__module__ == "__main__":
        return "<stdin>"
    return getattr(sys.modules.get(owner.__module__), "__file__", None) or "<stdin>"


def _text(path: tuple[Any, ...]) -> str:
    """A path as `ast.unparse` writes it: `Layer.norm`, `table['norm']`."""
    return "".join([path[0], *(f"[{step[0]!r}]" if isinstance(step, tuple) else f".{step}" for step in path[1:])])


def leaked_tracers(rule: Any, owner: Any = None) -> Iterator[str]:
    """The globals of a rule that are a tracer, or a container with one in it.

    Also the attributes of the object that a method is bound to. Closures are
    left out: they may hold a tracer of the enclosing function.
    """
    held = [(name, rule.__globals__.get(name)) for name in global_names(rule.__code__)]
    held += [(f"self.{name}", value) for name, value in attributes_of(rule, owner)]
    yield from (name for name, value in held if holds_tracer(value))


def holds_tracer(value: Any) -> bool:
    """Whether a value is a tracer, or a dictionary, list, tuple or set with one in it."""
    if is_veiled(value):
        return False
    container = value.values() if isinstance(value, dict) else value
    inside = container if isinstance(container, (list, tuple, set, ValuesView)) else (container,)
    return len(inside) <= _LARGEST_CONTAINER and any(map(internals.is_tracer, inside))


def data_lookups(rule: Any) -> Iterator[tuple[str, Any]]:
    """The names in a rule that mean data and not functions, each with its cell or the globals."""
    for name, cell in zip(rule.__code__.co_freevars, rule.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not yet bound
            if _is_data(cell.cell_contents):
                yield name, cell
    for name, _ in global_data(rule):
        yield name, rule.__globals__


def global_data(rule: Any) -> Iterator[tuple[str, Any]]:
    """The globals of a rule that are data and not functions, with their values."""
    for name in global_names(rule.__code__):
        value = rule.__globals__.get(name)
        if name in rule.__globals__ and _is_data(value):
            yield name, value


def _is_data(value: Any) -> bool:
    if is_veiled(value) or callable(value):
        return False
    return not (isinstance(value, types.ModuleType) or internals.is_tracer(value))


def defined_again(rule: Any) -> Any:
    """The function that a rule's own name means now, where that is another function with other code; else None."""
    name = rule.__name__
    now = rule.__globals__.get(name)
    if rule.__qualname__ != name or now is rule or type(now) is not types.FunctionType:
        return None
    is_wrapper = below_wrappers(now) is not now
    if is_wrapper or now.__module__ != rule.__module__ or _text_of(now.__code__) == _text_of(rule.__code__):
        return None
    return now


def _text_of(code: types.CodeType) -> tuple[Any, ...]:
    """Equal for code that does the same wherever it is defined, as when a cell is run again unchanged."""
    constants = tuple(_text_of(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


def made_from(value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A function, what it was made from, and so on, each with the steps that were applied to it, outermost first."""
    steps: tuple[str, ...] = ()
    while callable(value) and not isinstance(value, _NEVER_A_FUNCTION) and len(steps) < _LONGEST_CHAIN:
        yield steps, value
        steps = (*steps, unwrap.transformation_name(value) or describe(value))
        value = next_inside(value)


def chain_to(value: Any, custom: Any) -> tuple[str, ...] | None:
    """The steps that made `value` from `custom`, outermost first; None where it was not made from it."""
    return next((steps for steps, function in made_from(value) if function is custom), None)


def own_names_of(custom: Any) -> tuple[Any, Any]:
    """The `__name__` and `__qualname__` that a custom_vjp object copied from its function."""
    return vars(custom).get("__name__"), vars(custom).get("__qualname__")


def overwritten(rule: Any, custom: Any, owner: Any = None) -> Iterator[tuple[Lookup, tuple[str, ...]]]:
    """The lookups of a rule that used to mean `custom`, with the chain that leads back to it."""
    own_names = own_names_of(custom)
    for lookup in lookups(rule, owner):
        value = lookup.value
        if value is custom:
            continue
        chain = chain_to(value, custom)
        if chain:
            yield lookup, chain
        elif chain is None and lookup.name in own_names and value is not internals.primal_of(custom):
            yield lookup, ()
