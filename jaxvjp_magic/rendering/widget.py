"""Show a report as a Jupyter widget: its state is saved with the notebook, the rest is sent on request."""

from __future__ import annotations

import functools
import json
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from jaxvjp_magic.rendering.widget_view import WidgetView

if TYPE_CHECKING:
    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import ReportData

VIEW = "application/vnd.jupyter.widget-view+json"
# These files become one ES module without a build: in one file they share their names, and need no imports.
_PARTS = ("dom", "findings", "reveal", "detail", "table", "keep", "main")
_FOLDER = Path(__file__).parent
_ROWS_AT_ONCE = 1000
_OF_A_FILE = re.compile(r"^(?:import [^;]*;\n|export (?!default ))", re.MULTILINE)


@functools.cache
def script(parts: tuple[str, ...] = _PARTS) -> str:
    """The widget's ES module."""
    text = "\n".join((_FOLDER / "widget_js" / f"{part}.js").read_text(encoding="utf-8") for part in parts)
    return _OF_A_FILE.sub("", text)


@functools.cache
def style() -> str:
    """The widget's style sheet."""
    return (_FOLDER / "widget.css").read_text(encoding="utf-8")


class ReportWidget(anywidget.AnyWidget):
    """A report that can be sorted, filtered and opened.

    `report` is bounded, because front ends save it. The whole report stays in the
    session until the widget is closed.
    """

    report = traitlets.Dict().tag(sync=True)

    def __init__(self, report: ReportData, changes: Changes | None = None) -> None:
        """Open the widget; its `mime_bundle` displays it."""
        self._view: WidgetView | None = WidgetView(report, changes)
        self._esm, self._css = script(), style()
        # A number that JavaScript holds exactly: see `mime_bundle`.
        super().__init__(report=self._view.saved(), model_id=str(secrets.randbits(52)))
        self.report = {**self.report, "id": self.model_id}
        self.on_msg(self._answer)

    def close(self) -> None:
        """Release the report as well."""
        self.release()
        super().close()

    def release(self) -> None:
        """Release the whole report; the saved part is still shown."""
        self._view = None

    def _answer(self, _: object, message: dict[str, Any], _buffers: object) -> None:
        view = self._view
        if view is None:
            return
        if message.get("kind") == "rows":
            for start in range(0, len(view.rows), _ROWS_AT_ONCE):
                rows = [view.row(row) for row in view.rows[start : start + _ROWS_AT_ONCE]]
                self.send({"kind": "rows", "from": start, "rows": rows})
        elif message.get("kind") == "detail":
            row = next((row for row in view.rows if row.call.id == message.get("id")), None)
            if row is not None:
                self.send({"kind": "detail", "id": row.call.id, "detail": view.detail(row)})

    def mime_bundle(self, static: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The data and the metadata that show this widget, with the `static` forms of the same report.

        A page that nbconvert exports shows the static table until the widget
        replaces it, which may never happen: the widget's front end comes from
        the network. If nbconvert finds the model's id, a string, among those
        that are saved, it shows the widget alone. So the view has the id as a
        number: not that string to Python, but the same key to JavaScript. The
        static page ends with a view of its own, in data that no browser runs.
        """
        data, metadata = self._repr_mimebundle_() or ({}, {})
        view = dict(data.get(VIEW, {}))
        if not view or "text/html" not in static:
            return {**data, **static}, metadata
        html = (
            f'<div>\n<div data-vjpcheck-static="">\n{static["text/html"]}\n</div>\n'
            f'<script type="{VIEW}">{json.dumps(view)}</script>\n</div>'
        )
        view["model_id"] = int(view["model_id"])
        return {**data, **static, VIEW: view, "text/html": html}, metadata


class ProgressWidget(anywidget.AnyWidget):
    """A line in the page below the cell with this text, until the widget is closed. It has no view."""

    text = traitlets.Unicode().tag(sync=True)
    cell = traitlets.Unicode().tag(sync=True)

    def __init__(self, cell: str, text: str) -> None:
        """Show the text."""
        self._esm, self._css = script(("dom", "progress")), style()
        super().__init__(cell=cell, text=text)
