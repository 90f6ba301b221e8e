"""What the names in a function meant when it was followed: as long as they mean that, its verdict holds.

A verdict rests on the globals and the shared variables that were read. Where it
rests on more, on attributes and items of live objects, which anyone may change,
it is not kept. Nothing of the user's is kept alive.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvjp_magic.introspect.purity.abstract_values import PLAIN, Atom, Heap, Known, Tup, Value, seen_as
from jaxvjp_magic.introspect.static_attributes import is_veiled

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Sequence

_ABSENT: Any = object()
_MOST = 8  # verdicts kept of one piece of code


class Meanings:
    """The names that were read while one function was followed, with what they meant."""

    def __init__(self, root: types.FunctionType | None) -> None:
        """Of `root`, or of what no verdict is kept of."""
        self._root = id(root)
        self._scopes: dict[int, weakref.ref[types.FunctionType]] = {}
        self._read: dict[Any, tuple[Callable[[], Any], Any, str, Callable[[Any], bool]]] = {}
        self.are_kept = root is not None

    def inside(self, function: types.FunctionType) -> None:
        """A function is followed: it leads to its globals, and to what it shares with others."""
        self._scopes.setdefault(id(function.__globals__), weakref.ref(function))
        for name in function.__code__.co_freevars:
            self._add(function, _shared, name)

    def is_global(self, scope: dict[str, Any], name: str) -> None:
        """A global was read, or looked for before the builtins."""
        function = self._scopes.get(id(scope), _gone)()
        if function is None:
            self.are_kept = False
        else:
            self._add(function, _global, name)

    def is_in(self, owner: Any, name: str) -> None:
        """An attribute of a module was read, or one of JAX's own of a function with rules."""
        self._add(owner, _attribute, name)

    def _add(self, owner: Any, meaning: Callable[[Any, str], Any], name: str) -> None:
        if not self.are_kept:
            return
        is_same = _recognizer(meaning(owner, name))
        if is_same is None:
            self.are_kept = False
        else:
            find = _gone if id(owner) == self._root else weakref.ref(owner)
            self._read[id(owner), meaning, name] = find, meaning, name, is_same

    def hold(self, root: types.FunctionType) -> bool:
        """Whether all these names mean the same now, in `root` and in what it calls."""
        for find, meaning, name, is_same in self._read.values():
            owner = root if find is _gone else find()
            if owner is None or not is_same(meaning(owner, name)):
                return False
        return True


class Verdicts:
    """What has been found of functions, by their code, their arguments, and what their names meant."""

    def __init__(self) -> None:
        """Nothing is found yet."""
        self._known: dict[int, tuple[Any, list[tuple[Any, Meanings, Any]]]] = {}

    def get(self, root: types.FunctionType, arguments: Any) -> Any:
        """The verdict on a function with such arguments; None where it has to be followed."""
        of_code, verdicts = self._known.get(id(root.__code__), (None, []))
        if of_code is None or of_code() is not root.__code__:
            return None
        return next((one for asked, names, one in list(verdicts) if asked == arguments and names.hold(root)), None)

    def put(self, root: types.FunctionType, arguments: Any, names: Meanings, verdict: Any) -> None:
        """Keep a verdict, where it may be kept."""
        if not names.are_kept:
            return
        key, known = id(root.__code__), self._known
        of_code, verdicts = known.get(key, (None, []))
        if of_code is None or of_code() is not root.__code__:
            verdicts = []
            known[key] = weakref.ref(root.__code__, lambda _: known.pop(key, None)), verdicts
        verdicts.append((arguments, names, verdict))
        del verdicts[:-_MOST]


def as_key(values: Sequence[Value], heap: Heap) -> Any:
    """Arguments as a key that keeps no object of the user's alive; None where one is among them."""
    content = heap.content()
    is_free = all(_is_free(atom) for value in (*values, *content.values()) for atom in value)
    return (tuple(values), content) if is_free else None


def _is_free(atom: Atom) -> bool:
    if isinstance(atom, Known):
        return isinstance(atom.obj, PLAIN)
    return not isinstance(atom, Tup) or all(_is_free(inner) for value in atom.items for inner in value)


def _gone() -> None:
    """Stands for the function that is asked about, which is not held."""


def _recognizer(obj: Any) -> Callable[[Any], bool] | None:
    """What tells whether a name means this object still; None where nothing can without keeping it alive."""
    if is_veiled(obj):
        return None
    value = seen_as(obj) if obj is not _ABSENT else frozenset()
    if all(not isinstance(atom, Known) or isinstance(atom.obj, (*PLAIN, np.ufunc)) for atom in value):
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
