"""One display output for every reader: the widget, the static page, the text, the data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.limits import shortened
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.results.notes import noted
from jaxvjp_magic.results.schema import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import ReportData

MIME_TYPE = "application/vnd.jaxvjp.report.v1+json"


def mime_bundle(report: ReportData, changes: Changes | None = None) -> dict[str, Any]:
    """The report for a display output, by MIME type; bounded, for outputs are saved with the notebook.

    Never raises: a form that cannot be made is left out, and the others say so
    in a note; the text says it in one line.
    """
    forms: dict[str, Callable[[ReportData], Any]] = {
        "text/plain": lambda report: render_text(report, changes),
        "text/html": lambda report: render_html(report, changes),
        MIME_TYPE: lambda report: full_data(shortened(report)),
    }
    bundle, failed = _made(forms, report)
    if failed:
        kind, error = next(iter(failed.items()))
        bundle, _ = _made({one: forms[one] for one in bundle}, noted(report, f"show the report as {kind}", error))
        bundle.setdefault("text/plain", f"vjpcheck: could not show the report: {type(error).__name__}: {error}")
    return bundle


def _made(
    forms: dict[str, Callable[[ReportData], Any]], report: ReportData
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The forms that can be made, and what the others failed with."""
    bundle, failed = {}, {}
    for kind, make in forms.items():
        try:
            bundle[kind] = make(report)
        except Exception as error:  # noqa: BLE001 (whatever it is, another form may not have it)
            failed[kind] = error
    return bundle, failed


def full_data(report: ReportData) -> dict[str, Any]:
    """The report as JSON data."""
    data: dict[str, Any] = json.loads(write(report))
    return data


def with_widget(report: ReportData, changes: Changes | None = None) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """As `mime_bundle`, with the live widget; its metadata, and the widget, which somebody has to close.

    Raises ImportError where anywidget is not there, or what it raises.
    """
    from jaxvjp_magic.rendering.widget import ReportWidget

    static = mime_bundle(report, changes)
    widget = ReportWidget(report, changes)
    data, metadata = widget.mime_bundle(static)
    return data, metadata, widget
