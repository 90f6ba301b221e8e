"""Takes JAX's compile events, and gives a note on how long a check waited for them, and how to wait less next time."""

from __future__ import annotations

from typing import Any

import jax

LONG = 10.0  # seconds
_EVENT = "/jax/core/compile/backend_compile_duration"
_NOTE = (
    "compiling took {:.0f} s of this run. JAX keeps the result until this session ends; its cache on disk keeps it "
    "longer: %vjpcheck cache on, or jax_compilation_cache_dir in a script"
)


class Compilation:
    """Adds up the time that JAX spends compiling, from when this is made until `stop`."""

    def __init__(self) -> None:
        """Listen to JAX's own events."""
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_: Any) -> None:
        if event == _EVENT:
            self.seconds += duration_secs

    def stop(self) -> None:
        """Listen no longer."""
        jax.monitoring.unregister_event_duration_listener(self._listen)

    @property
    def note(self) -> str:
        """The note for the report; "" if compiling was short, or JAX keeps the result on disk."""
        if self.seconds < LONG or kept_in():
            return ""
        return _NOTE.format(self.seconds)


def kept_in() -> str | None:
    """The folder of JAX's compilation cache; None if it keeps nothing on disk."""
    return jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined, no-any-return]


def keep_in(folder: str | None) -> float:
    """Let JAX keep what it compiles in this folder; returns the seconds below which it does not."""
    from jax.experimental.compilation_cache import compilation_cache

    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # JAX reads the setting once, at the first compilation
    return jax.config.jax_persistent_cache_min_compile_time_secs  # type: ignore[attr-defined, no-any-return]
