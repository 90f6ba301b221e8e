"""One check's tracing, from start to stop; jax is imported here only once the program has done so."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from jaxvjp_magic import versions
from jaxvjp_magic.tracing import lazy
from jaxvjp_magic.tracing.facts import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.tracing.listener import Listener

_shared: dict[str, Any] = {}


def prepare() -> Callable[[], None]:
    """Get ready for later checks at the moment that costs the least; returns how to withdraw.

    JAX keys its caches by all user contexts that exist, so making one lets
    functions that are compiled already be traced again, once. Right after
    jax's import there are none.
    """
    if lazy.is_imported():
        _try(_retrace_context)
        return lambda: None
    return lazy.WhenImported(lambda: _try(_retrace_context)).cancel


def _try(action: Callable[[], object]) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 (said in the report of the first check, where it matters)
        return


def _retrace_context() -> Any:
    """A JAX setting of no meaning; a new value of it lets cached functions be traced again."""
    if "context" not in _shared:
        import jax

        _shared["context"] = jax.make_user_context(None)
    return _shared["context"]


def _hooks() -> Any:
    if "hooks" not in _shared:
        from jaxvjp_magic.tracing.hooks import Hooks

        _shared["hooks"] = Hooks()
    return _shared["hooks"]


class Tracer:
    """Listens to JAX between `start` and `stop`."""

    def __init__(self, *, retrace: bool = True) -> None:
        """With `retrace`, functions that jit has compiled before are traced, and so seen, again."""
        self._retrace = retrace
        self._listener: Listener | None = None
        self._notes: list[str] = []
        self._waiting: lazy.WhenImported | None = None
        self._context: Any = None
        self._thread = threading.get_ident()

    def start(self) -> None:
        """Listen from now on, or from the moment jax is imported."""
        if lazy.is_imported():
            self._begin(compiled_before=True)
        else:
            self._waiting = lazy.WhenImported(lambda: self._begin(compiled_before=False))

    def _begin(self, *, compiled_before: bool) -> None:
        self._waiting = None
        try:
            jax = sys.modules["jax"]
            if not versions.is_supported(jax.__version_info__):
                self._notes.append(versions.unsupported_message(jax.__version__))
                return
            from jaxvjp_magic.tracing.listener import Listener
            from jaxvjp_magic.tracing.recorder import Recorder

            self._listener = Listener(Recorder())
            _hooks().listen(self._listener)
            if self._retrace and compiled_before:
                self._context = _retrace_context()(object())
                self._context.__enter__()
        except Exception as error:  # noqa: BLE001 (the program runs on without the check)
            self._notes.append(f"could not trace JAX: {type(error).__name__}: {error}")

    def stop(self) -> Record:
        """Restore JAX and return what was recorded."""
        if self._waiting is not None:
            self._waiting.cancel()
            return Record(notes=tuple(self._notes))
        if self._context is not None and threading.get_ident() == self._thread:
            self._context.__exit__(None, None, None)
        if self._listener is None:
            return Record(notes=tuple(self._notes))
        _hooks().forget(self._listener)
        record = self._listener.recorder.close(sys.modules["jax"].__version__)
        self._listener = None
        return Record(record.jax, record.calls, record.names, (*self._notes, *record.notes))
