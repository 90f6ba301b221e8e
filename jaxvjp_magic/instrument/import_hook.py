"""Calls a function when the program imports jax: a check may begin before that.

Importing jax on the program's behalf would read JAX's environment variables
too early (`JAX_ENABLE_X64`, `XLA_FLAGS` set in the program's first lines), so
the check waits, and steps in when the import is done.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


def is_imported(name: str = "jax") -> bool:
    """Whether a module is imported, and its import is complete."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return module is not None and not getattr(spec, "_initializing", False)


class WhenImported(MetaPathFinder):
    """Calls a function once, right after a module's first import; `cancel` withdraws it."""

    def __init__(self, callback: Callable[[], None], name: str = "jax") -> None:
        """Become the first finder; the import itself is left to the others."""
        self._name, self._callback, self._searching = name, callback, False
        sys.meta_path.insert(0, self)

    def cancel(self) -> None:
        """Remove this finder."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the other finders give, with a loader that calls back when it is done.

        A search for the spec is no import yet: this finder is removed only by the import.
        """
        del path, target
        if fullname != self._name or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            spec.loader = _NotifyingLoader(spec.loader, self._imported)
        return spec

    def _imported(self) -> None:
        if self in sys.meta_path:  # not cancelled meanwhile
            self.cancel()
            self._callback()


class _NotifyingLoader(Loader):
    """Runs another loader, gives the module that loader back, and calls back."""

    def __init__(self, loader: Loader, callback: Callable[[], None]) -> None:
        self._loader, self._callback = loader, callback

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._callback()
