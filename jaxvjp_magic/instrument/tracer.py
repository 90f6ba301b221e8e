"""Starts and stops one check's tracing, and gives its `Record`; jax is imported only once the program has done so."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from jaxvjp_magic import versions
from jaxvjp_magic.instrument import import_hook
from jaxvjp_magic.record.notes import could_not
from jaxvjp_magic.record.record import NotChecked, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.instrument.compile_time import Compilation
    from jaxvjp_magic.record.facts import LinearFact, ValueFact
    from jaxvjp_magic.recording.recorder import Recorder


_hooks_lock = threading.Lock()


def _hooks() -> Any:
    """The hooks of this process; two threads may ask for them at once."""
    with _hooks_lock:
        return _the_hooks()


@functools.cache
def _the_hooks() -> Any:
    from jaxvjp_magic.instrument.hooks import Hooks

    return Hooks()


class Tracer:
    """Listens to JAX between `start` and `stop`."""

    def __init__(self, *, retrace: str = "pure", verify: bool = False) -> None:
        """`retrace`: which functions that jit compiled before are traced again, to be seen: "pure", "all", "none".

        With `verify`, the rules that ran are run once more when the check ends.
        """
        self._retrace, self._verify = retrace, verify
        self._recorder: Recorder | None = None
        self._notes: list[str] = []
        self._could_begin = True
        self._waiting: import_hook.WhenImported | None = None
        self._compilation: Compilation | None = None

    def start(self) -> None:
        """Listen from now on, or from the moment jax is imported."""
        if import_hook.is_imported():
            self._begin(compiled_before=True)
        else:
            self._waiting = import_hook.WhenImported(lambda: self._begin(compiled_before=False))

    def _begin(self, *, compiled_before: bool) -> None:
        self._waiting = None
        try:
            jax = sys.modules["jax"]
            if versions.is_too_old(jax.__version_info__):
                self._could_begin = False
                self._notes.append(versions.too_old_message(jax.__version__))
                return
            from jaxvjp_magic.instrument.compile_time import Compilation
            from jaxvjp_magic.jax_compat.internals import forget_the_fast_path
            from jaxvjp_magic.recording.collector import Collector
            from jaxvjp_magic.recording.recorder import Recorder

            self._recorder = Recorder(Collector(), retrace=self._retrace, verify=self._verify)
            for message in _hooks().listen(self._recorder):
                self._notes.append(message)
                self._recorder.collector.not_checked(NotChecked("jax", None, message))
            if self._retrace == "none" and compiled_before:
                self._recorder.collector.not_checked(NotChecked("calls", None, "--retrace none"))
            if versions.is_untested(jax.__version_info__):
                self._notes.append(versions.untested_message(jax.__version__))
            self._compilation = Compilation()
            if self._retrace != "none" and compiled_before:
                with self._recorder.collector.noting("see what jit compiled before"):
                    forget_the_fast_path()  # after `listen`: what runs from here on reaches the hooks
        except Exception as error:  # noqa: BLE001 (the program runs on without the check)
            self._could_begin = False
            self._could_not("trace JAX", error)

    def so_far(self) -> Record:
        """The record so far; may be called from any thread."""
        recorder = self._recorder
        return Record() if recorder is None else recorder.collector.so_far(sys.modules["jax"].__version__)

    def stop(self) -> Record:
        """Restore JAX and return what was recorded."""
        try:
            return self._finished()
        finally:
            self.abandon()

    def _finished(self) -> Record:
        recorder = self._recorder
        if recorder is None:
            self.abandon()
            return Record(notes=tuple(self._notes), complete=self._could_begin)
        with recorder.collector.noting("note how long compiling took"):
            if self._compilation is not None and self._compilation.note:
                recorder.collector.note(self._compilation.note)
        with recorder.collector.paused():  # a check around this one must not see these runs
            facts, notes, not_checked = _verified(recorder)
        self.abandon()
        with recorder.collector.noting("look at the names once more"):
            recorder.finish()
            recorder.names.finish()
            recorder.dependence.finish()
        record = recorder.collector.close(sys.modules["jax"].__version__)
        return dataclasses.replace(
            record,
            facts=(*record.facts, *facts),
            notes=(*self._notes, *record.notes, *notes),
            not_checked=(*record.not_checked, *not_checked),
            complete=self._could_begin,
            verified=self._verify,
        )

    def abandon(self) -> None:
        """Restore JAX, however far `start` came. Safe to call again."""
        waiting, recorder, compilation = self._waiting, self._recorder, self._compilation
        steps: list[tuple[str, Callable[[], None]]] = []
        if waiting is not None:
            steps.append(("stop waiting for jax", waiting.cancel))
        if compilation is not None:
            steps.append(("stop listening to JAX's events", compilation.stop))
        if recorder is not None:
            recorder.collector.active = False
            if recorder.retracing is not None:
                steps.append(("release copies", recorder.retracing.close))
            steps.append(("take the hooks out of JAX", lambda: _hooks().forget(recorder)))
            steps.append(("release the program's arrays", recorder.let_go))
        for action, undo in steps:
            try:
                undo()
            except Exception as error:  # noqa: BLE001 (each of them is tried)
                self._could_not(action, error)
        self._waiting = self._recorder = self._compilation = None

    def _could_not(self, action: str, error: Exception) -> None:
        self._notes.append(could_not(action, error))


def about_jax() -> list[str]:
    """What cannot be seen with the installed JAX, in a line or two; jax is not imported for it."""
    jax = sys.modules.get("jax")
    try:
        version = jax.__version__ if jax is not None else importlib.metadata.version("jax")
    except (importlib.metadata.PackageNotFoundError, AttributeError):
        return []
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if versions.is_too_old(numbers):
        return [versions.too_old_message(version)]
    lines = [versions.untested_message(version)] if versions.is_untested(numbers) else []
    if import_hook.is_imported():
        from jaxvjp_magic.instrument.hooks import not_seen

        lines += not_seen()
    return lines


def _verified(recorder: Recorder) -> tuple[list[ValueFact | LinearFact], list[str], list[NotChecked]]:
    """What comparing values finds, faults of the check, and the rules that were not run again."""
    if recorder.samples is None:
        return [], [], []
    from jaxvjp_magic.verify.compare import verify_all
    from jaxvjp_magic.verify.samples import MOST_SAMPLES

    samples = recorder.samples
    try:
        facts, faults, not_checked = verify_all(samples.take())
        not_checked += (
            NotChecked("values", function, f"only the first {MOST_SAMPLES} are compared")
            for function in samples.too_many
        )
        return facts, faults, not_checked  # noqa: TRY300 (one way out)
    except Exception as error:  # noqa: BLE001 (a fault of the check is a note)
        return [], [could_not("compare values", error)], []
