"""Replace a function of JAX, and put it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class PatchPoint:
    """A function of JAX that can be replaced, and put back."""

    def __init__(self, owner: Any, name: str) -> None:
        """The function `owner.name`."""
        self._owner, self._name = owner, name
        self.original: Callable[..., Any] = getattr(owner, name)
        self._hook: Any = None

    def put(self, function: Callable[..., Any]) -> None:
        """Replace the function."""
        self._hook = function
        setattr(self._owner, self._name, function)

    def restore(self) -> None:
        """Put JAX's function back, unless the program has replaced it, too."""
        if self._hook is not None and getattr(self._owner, self._name) is self._hook:
            setattr(self._owner, self._name, self.original)


class PatchItem(PatchPoint):
    """A function in one of JAX's dictionaries, of the rules of primitives for instance."""

    def __init__(self, owner: dict[Any, Callable[..., Any]], key: Any) -> None:
        """The function `owner[key]`."""
        self._rules, self._key = owner, key
        self.original = owner[key]
        self._hook = None

    def put(self, function: Callable[..., Any]) -> None:
        """Replace the function."""
        self._hook = function
        self._rules[self._key] = function

    def restore(self) -> None:
        """Put JAX's function back, unless the program has replaced it, too."""
        if self._hook is not None and self._rules.get(self._key) is self._hook:
            self._rules[self._key] = self.original
