"""Takes the names that were read while a function was followed, and says whether its verdict still holds.

It holds while these globals and shared variables mean the same. A verdict that
also depends on attributes and items of live objects is not kept, since anyone
may change these. No object of the user's is kept alive.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvjp_magic.introspect.purity.abstract_values import PLAIN, Atom, Concrete, Heap, TupleValue, Value, seen_as
from jaxvjp_magic.introspect.static_attributes import is_veiled

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Sequence

_ABSENT: Any = object()
_MOST = 8  # verdicts that are kept for one code object


class Meanings:
    """The names that were read while one function was followed, with what they meant then."""

    def __init__(self, root: types.FunctionType | None) -> None:
        """For the function `root`; with None, no verdict is kept."""
        self._root = id(root)
        self._scopes: dict[int, weakref.ref[types.FunctionType]] = {}
        self._read: dict[Any, tuple[Callable[[], Any], Any, str, Callable[[Any], bool]]] = {}
        self.are_kept = root is not None

    def inside(self, function: types.FunctionType) -> None:
        """Note that a function is followed, and the variables that it shares with others."""
        self._scopes.setdefault(id(function.__globals__), weakref.ref(function))
        for name in function.__code__.co_freevars:
            self._add(function, _shared, name)

    def is_global(self, scope: dict[str, Any], name: str) -> None:
        """Note that a global was read, or looked up before the builtins."""
        function = self._scopes.get(id(scope), _gone)()
        if function is None:
            self.are_kept = False
        else:
            self._add(function, _global, name)

    def is_in(self, owner: Any, name: str) -> None:
        """Note that an attribute of a module was read, or a rule of a function with rules."""
        self._add(owner, _attribute, name)

    def _add(self, owner: Any, look_up: Callable[[Any, str], Any], name: str) -> None:
        if not self.are_kept:
            return
        is_same = _recognizer(look_up(owner, name))
        if is_same is None:
            self.are_kept = False
        else:
            find_owner = _gone if id(owner) == self._root else weakref.ref(owner)
            self._read[id(owner), look_up, name] = find_owner, look_up, name, is_same

    def hold(self, root: types.FunctionType) -> bool:
        """Whether all these names still mean the same, in `root` and in the functions that it calls."""
        for find_owner, look_up, name, is_same in self._read.values():
            owner = root if find_owner is _gone else find_owner()
            if owner is None or not is_same(look_up(owner, name)):
                return False
        return True


class Verdicts:
    """A cache of verdicts on functions: by code, arguments, and what the names meant."""

    def __init__(self) -> None:
        """Start empty."""
        self._by_code: dict[int, tuple[Any, list[tuple[Any, Meanings, Any]]]] = {}

    def get(self, root: types.FunctionType, arguments: Any) -> Any:
        """The verdict on a function with these arguments; None where it has to be followed."""
        of_code, verdicts = self._by_code.get(id(root.__code__), (None, []))
        if of_code is None or of_code() is not root.__code__:
            return None
        valid = (verdict for key, names, verdict in list(verdicts) if key == arguments and names.hold(root))
        return next(valid, None)

    def put(self, root: types.FunctionType, arguments: Any, names: Meanings, verdict: Any) -> None:
        """Keep a verdict if the names permit it."""
        if not names.are_kept:
            return
        key, by_code = id(root.__code__), self._by_code
        of_code, verdicts = by_code.get(key, (None, []))
        if of_code is None or of_code() is not root.__code__:
            verdicts = []
            by_code[key] = weakref.ref(root.__code__, lambda _: by_code.pop(key, None)), verdicts
        verdicts.append((arguments, names, verdict))
        del verdicts[:-_MOST]


def as_key(values: Sequence[Value], heap: Heap) -> Any:
    """A cache key for arguments; None where it would keep an object of the user's alive."""
    content = heap.content()
    is_free = all(_is_free(atom) for value in (*values, *content.values()) for atom in value)
    return (tuple(values), content) if is_free else None


def _is_free(atom: Atom) -> bool:
    if isinstance(atom, Concrete):
        return isinstance(atom.obj, PLAIN)
    return not isinstance(atom, TupleValue) or all(_is_free(inner) for value in atom.items for inner in value)


def _gone() -> None:
    """Stands for the root function, of which no reference is kept."""


def _recognizer(obj: Any) -> Callable[[Any], bool] | None:
    """A predicate: does a name still mean this object? None where that would keep the object alive."""
    if is_veiled(obj):
        return None
    value = seen_as(obj) if obj is not _ABSENT else frozenset()
    if all(not isinstance(atom, Concrete) or isinstance(atom.obj, (*PLAIN, np.ufunc)) for atom in value):
        return lambda now: not is_veiled(now) and (seen_as(now) if now is not _ABSENT else frozenset()) == value
    try:
        held = weakref.ref(obj)
    except TypeError:
        return None
    return lambda now: held() is now


def _global(function: types.FunctionType, name: str) -> Any:
    return function.__globals__.get(name, _ABSENT)


def _attribute(owner: Any, name: str) -> Any:
    return vars(owner).get(name, _ABSENT)


def _shared(function: types.FunctionType, name: str) -> Any:
    try:
        return (function.__closure__ or ())[function.__code__.co_freevars.index(name)].cell_contents
    except ValueError:  # not yet bound
        return _ABSENT
