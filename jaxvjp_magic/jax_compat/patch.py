"""Places where a function stands, and where another can stand instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class PatchPoint:
    """A place in JAX where a function stands, and where another can stand instead."""

    def __init__(self, owner: Any, name: str) -> None:
        """The function `owner.name`."""
        self._owner, self._name = owner, name
        self.original: Callable[..., Any] = getattr(owner, name)
        self._ours: Any = None

    def put(self, function: Callable[..., Any]) -> None:
        """Let `function` stand here."""
        self._ours = function
        setattr(self._owner, self._name, function)

    def restore(self) -> None:
        """Put back what stood here when the slot was made, unless the program has put something else here since."""
        if self._ours is not None and getattr(self._owner, self._name) is self._ours:
            setattr(self._owner, self._name, self.original)
