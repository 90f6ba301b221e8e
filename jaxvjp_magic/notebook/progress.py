"""A live line for a checked cell that takes longer than a second: the calls so far, and the time.

It is no output of the cell: a display would cut the cell's own streams in two
and stay in the notebook. A widget without a view puts the line into the page,
where there is a page, and takes it away again. All of it runs in a thread of
its own, and whatever fails there ends the line and nothing else.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 1.0  # seconds until the line comes
EVERY = 0.5


class Progress:
    """The live line of one cell. `calls` counts what was recorded so far, from any thread."""

    def __init__(self, cell: str, calls: Callable[[], int], make: Callable[..., Any] | None = None) -> None:
        """`cell` is the text of the cell; `make` makes the widget."""
        self._cell, self._calls, self._make = cell, calls, make or _widget
        self._done = threading.Event()
        # The messages belong to the request that runs the cell, which is known by the context.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="vjpcheck progress", daemon=True)

    def start(self) -> None:
        """From now on."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """The line is gone when this returns."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=FIRST)

    def _run(self) -> None:
        with contextlib.suppress(Exception):
            if self._done.wait(FIRST):
                return
            widget = self._make(cell=self._cell, text=self._text())
            try:
                while not self._done.wait(EVERY):
                    widget.text = self._text()
            finally:
                widget.send({"done": True})
                widget.close()

    def _text(self) -> str:
        calls = self._calls()
        seconds = int(time.monotonic() - self._began)
        return f"vjpcheck: {calls:,} call{'' if calls == 1 else 's'} so far, {seconds} s"


def _widget(**state: str) -> Any:
    from jaxvjp_magic.rendering.widget import ProgressWidget

    return ProgressWidget(**state)
