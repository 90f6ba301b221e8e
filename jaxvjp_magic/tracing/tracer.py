"""One check's tracing, from start to stop; jax is imported here only once the program has done so."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from jaxvjp_magic import versions
from jaxvjp_magic.tracing import lazy, retrace
from jaxvjp_magic.tracing.facts import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.tracing.facts import ValueFact
    from jaxvjp_magic.tracing.listener import Listener


def prepare() -> Callable[[], None]:
    """Get ready for later checks at the moment that costs the least; returns how to withdraw."""
    if lazy.is_imported():
        _prepare_retracing()
        return lambda: None
    return lazy.WhenImported(_prepare_retracing).cancel


def _prepare_retracing() -> None:
    with contextlib.suppress(Exception):  # said in the report of the first check, where it matters
        if versions.is_supported(sys.modules["jax"].__version_info__):
            retrace.prepare()


@functools.cache
def _hooks() -> Any:
    from jaxvjp_magic.tracing.hooks import Hooks

    return Hooks()


class Tracer:
    """Listens to JAX between `start` and `stop`."""

    def __init__(self, *, retrace: bool = True, verify: bool = False) -> None:
        """With `retrace`, functions that jit has compiled before are traced, and so seen, again.

        With `verify`, the rules that ran are run once more when the check ends.
        """
        self._retrace, self._verify = retrace, verify
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

            self._listener = Listener(Recorder(), verify=self._verify)
            _hooks().listen(self._listener)
            if self._retrace and compiled_before:
                self._context = retrace.fresh()
                self._context.__enter__()
        except Exception as error:  # noqa: BLE001 (the program runs on without the check)
            self._notes.append(f"could not trace JAX: {type(error).__name__}: {error}")

    def so_far(self) -> Record:
        """What is recorded by now; may be asked from any thread."""
        listener = self._listener
        return Record() if listener is None else listener.recorder.so_far(sys.modules["jax"].__version__)

    def stop(self) -> Record:
        """Restore JAX and return what was recorded."""
        if self._waiting is not None:
            self._waiting.cancel()
            return Record(notes=tuple(self._notes))
        if self._context is not None and threading.get_ident() == self._thread:
            self._context.__exit__(None, None, None)
        if self._listener is None:
            return Record(notes=tuple(self._notes))
        listener, self._listener = self._listener, None
        with listener.recorder.paused():  # a check around this one need not see our own runs
            found, notes = _verified(listener)
        _hooks().forget(listener)
        with listener.noting("look at the names once more"):
            listener.looks.finish()
        record = listener.recorder.close(sys.modules["jax"].__version__)
        return dataclasses.replace(record, facts=(*record.facts, *found), notes=(*self._notes, *record.notes, *notes))


def _verified(listener: Listener) -> tuple[list[ValueFact], list[str]]:
    """What comparing values finds, and a word about the rules that could not be run again."""
    if listener.probes is None:
        return [], []
    from jaxvjp_magic.tracing.verify import verify_all

    try:
        return verify_all(listener.probes.take())
    except Exception as error:  # noqa: BLE001 (as everywhere: a fault of ours is a note)
        return [], [f"could not compare values: {type(error).__name__}: {error}"]
