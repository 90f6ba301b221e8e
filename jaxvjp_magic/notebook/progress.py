"""Show a live line for a checked cell that takes longer than a second: calls and findings so far, and the time.

The line is not an output of the cell: a display would split the cell's streams
and stay in the notebook. A widget without a view puts the line into the page,
if there is one, and removes it again. All of it runs in a thread of its own; a
failure there ends only the line.
"""

from __future__ import annotations

import contextvars
import threading
import time
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.rendering.sentences import number
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.report import Report

FIRST = 1.0  # seconds until the line comes
EVERY = 0.5  # seconds between updates
LAST = 1.0  # seconds that the end of the cell waits for the end of the line
SHARE = 50  # an update may take 1/SHARE of the time, because the cell has to wait for it


class Progress:
    """The live line of one cell. `report` makes the report of what was recorded so far, in any thread."""

    def __init__(self, cell: str, report: Callable[[], Report], make: Callable[..., Any] | None = None) -> None:
        """`cell` is the text of the cell; `make` makes the widget."""
        self._cell, self._report, self._make = cell, report, make or _widget
        self._pause = EVERY
        self._done = threading.Event()
        self._fault: Exception | None = None
        # Messages belong to the request that runs the cell, which is a context variable.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._run,), name="vjpcheck progress", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> Exception | None:
        """Remove the line; the exception that ended it earlier, if any."""
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=LAST)
        return self._fault

    def _run(self) -> None:
        try:
            self._show()
        except Exception as error:  # noqa: BLE001 (the cell must not notice)
            self._fault = error

    def _show(self) -> None:
        if self._done.wait(FIRST):
            return
        widget = self._make(cell=self._cell, text=self._text())
        try:
            while not self._done.wait(self._pause):
                widget.text = self._text()
        finally:
            widget.send({"done": True})
            widget.close()

    def _text(self) -> str:
        before = time.monotonic()
        report = self._report()
        now = time.monotonic()
        self._pause = max(EVERY, SHARE * (now - before))
        count = sum(finding.severity is not Severity.NOTE for finding in report.findings)
        calls = number(sum(call.count for call in report.calls), "call")
        findings = f"{number(count, 'finding')}, " if count else ""
        return f"vjpcheck: {calls} so far, {findings}{int(now - self._began)} s"


def _widget(**state: str) -> Any:
    from jaxvjp_magic.rendering.widget import ProgressWidget

    return ProgressWidget(**state)
