"""Display a report: as a widget if the kernel can have one, and always as a static page."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from IPython.display import display

from jaxvjp_magic.notebook.history import cell_name, request_name
from jaxvjp_magic.rendering.mime import mime_bundle, with_widget
from jaxvjp_magic.results.notes import noted

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jaxvjp_magic.report import Report
    from jaxvjp_magic.results.diff import Changes

MOST_WHOLE = 50  # widgets that keep the whole report


class Screen:
    """Where one shell's reports are shown."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Nothing is shown yet."""
        self._shell = shell
        self.told: set[str] = set()  # the failures printed in the running cell
        self._of_cell: dict[str, tuple[str, list[Any]]] = {}
        self._whole: collections.deque[Any] = collections.deque()

    def show(self, report: Report, changes: Changes | None, *, widget: bool) -> None:
        """Display a report in full. Never raises."""
        try:
            if widget and self._can_have_widgets():
                bundle, metadata = self._with_widget(report, changes)
            else:
                bundle, metadata = mime_bundle(report, changes), {}
            display(bundle, metadata=metadata, raw=True)
        except Exception as error:  # noqa: BLE001 (a report that cannot be shown must not end the cell)
            self.could_not("show the report", error)

    def could_not(self, action: str, error: Exception) -> None:
        """Print what failed, in one line; each failure once in a cell."""
        detail = f"{type(error).__name__}: {error}"
        if detail not in self.told:
            self.told.add(detail)
            print(f"vjpcheck: could not {action}: {detail}")

    def can_show_progress(self) -> bool:
        """Whether a front end shows the cell while it runs: front ends name their cells, programs do not."""
        return self._can_have_widgets() and bool(cell_name(self._shell))

    def _can_have_widgets(self) -> bool:
        """False in a terminal, and in an engine of ipyparallel, whose widgets no page can reach."""
        kernel = getattr(self._shell, "kernel", None)
        return kernel is not None and not type(kernel).__module__.startswith("ipyparallel.")

    def _with_widget(self, report: Report, changes: Changes | None) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            bundle, metadata, widget = with_widget(report, changes)
        except ImportError:
            return mime_bundle(report, changes), {}
        except Exception as error:  # noqa: BLE001 (the static page says the same)
            return mime_bundle(noted(report, "make the widget", error), changes), {}
        self._keep(widget)
        return bundle, metadata

    def _keep(self, widget: Any) -> None:
        """Keep the widget, and close those of an earlier run: their output is gone, but front ends would save them."""
        cell, request = cell_name(self._shell), request_name(self._shell)
        if cell:
            shown_at, widgets = self._of_cell.get(cell, ("", []))
            if shown_at != request:
                for old in widgets:
                    old.close()
                widgets = []
            self._of_cell[cell] = (request, [*widgets, widget])
        self._whole.append(widget)
        if len(self._whole) > MOST_WHOLE:
            self._whole.popleft().release()
