"""Keeps what the names in a rule meant when they were inspected, and says whether they have to be inspected again.

A rule that is called a million times is inspected once, as long as its names
mean the same. A snapshot keeps no value of a name alive.
"""

from __future__ import annotations

import types
import weakref
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect import name_lookup
from jaxvjp_magic.introspect.callables import global_names
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.introspect.static_attributes import is_veiled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Same = Callable[[Any], bool]  # whether inspecting a name with this value would give the same result

_DEEPEST_HELPER = 3
_PLAIN = (int, float, complex, str, bytes, type(None))
_UNBOUND = object()


class Snapshot:
    """The names of one rule, and of the user's helpers that it calls."""

    __slots__ = ("_functions", "_rule", "has_data")

    def __init__(self, rule: Any, function: Any) -> None:
        """Inspect `function`, which is below the wrappers of `rule`; None where there is nothing to inspect."""
        self._rule = _reference(rule)
        self._functions = tuple(_watched(function, set())) if function is not None else ()
        self.has_data = function is not None and any(True for _ in name_lookup.global_data(function))

    def is_of(self, rule: Any) -> bool:
        """Whether this is a snapshot of this very rule."""
        return self._rule() is rule

    def is_outdated(self) -> bool:
        """Whether a name may mean something else by now."""
        for reference, cells, variables, attributes in self._functions:
            function = reference()
            if function is None:
                return True
            scope = function.__globals__
            for name, earlier, is_same in variables:
                now = scope.get(name, _UNBOUND)
                if not is_same(now) if earlier is None else earlier() is not now:
                    return True
            for index, earlier, is_same in cells:
                now = _contents(function.__closure__[index])
                if not is_same(now) if earlier is None else earlier() is not now:
                    return True
            for path, earlier, is_same in attributes:
                now = name_lookup.attribute(function, path)
                if not is_same(now) if earlier is None else earlier() is not now:
                    return True
        return False


def _watched(function: Any, seen: set[int]) -> Iterator[tuple[Any, Any, Any, Any]]:
    """References to the function and its cells, globals and attributes; then the same for its helpers."""
    seen.add(id(function))
    code, scope = function.__code__, function.__globals__
    cells = [(index, _contents(cell)) for index, cell in enumerate(function.__closure__ or ())]
    variables = [(name, scope.get(name, _UNBOUND)) for name in global_names(code) | {function.__name__}]
    # Attributes with data may change in each step; only the functions matter.
    attributes = [(path, value) for path, value in name_lookup.attributes(function) if callable(value)]
    yield (
        weakref.ref(function),
        tuple((index, *_same(value)) for index, value in cells),
        tuple((name, *_same(value)) for name, value in variables),
        tuple((path, *_same(value)) for path, value in attributes),
    )
    for _, value in (*cells, *variables, *attributes):
        is_helper = type(value) is types.FunctionType and is_user_code(value.__code__.co_filename)
        if is_helper and id(value) not in seen and len(seen) <= _DEEPEST_HELPER:
            yield from _watched(value, set(seen))


def _same(value: Any) -> tuple[Callable[[], Any] | None, Same]:
    """A reference to the value that a name must keep, or None; then the function says whether another will do."""
    if value is _UNBOUND:
        return None, lambda now: now is _UNBOUND
    if is_veiled(value):
        return _reference(value), lambda _: False
    if isinstance(value, name_lookup.CONTAINERS):
        value_type = type(value)
        return None, lambda now: type(now) is value_type and not name_lookup.holds_tracer(now)
    if type(value) in _PLAIN or type(value) is bool:  # which number it is makes no difference
        value_type = type(value)
        return None, lambda now: type(now) is value_type
    return None if name_lookup.holds_tracer(value) else _reference(value), lambda _: False


def _reference(value: Any) -> Callable[[], Any]:
    """A weak reference; where there can be none, one that matches no value."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: _UNBOUND


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _UNBOUND
