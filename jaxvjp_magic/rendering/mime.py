"""Make one display output of a report, for every front end: the widget, the static page, the text, the data."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.rendering.html import html_of
from jaxvjp_magic.rendering.limits import shortened
from jaxvjp_magic.rendering.report_view import ReportView
from jaxvjp_magic.rendering.text import text_of
from jaxvjp_magic.results.notes import noted
from jaxvjp_magic.results.schema import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import ReportData

MIME_TYPE = "application/vnd.jaxvjp.report.v1+json"
_FORMS = ("text/plain", "text/html", MIME_TYPE)


def mime_bundle(report: ReportData, changes: Changes | None = None) -> dict[str, Any]:
    """The report for a display output, by MIME type; bounded, because outputs are saved with the notebook.

    Never raises. A form that cannot be made is left out, and a note in the others
    says so; the text is replaced by one line.
    """
    bundle, failed = _made(report, changes, _FORMS)
    if failed:
        mime_type, error = next(iter(failed.items()))
        bundle, _ = _made(noted(report, f"show the report as {mime_type}", error), changes, tuple(bundle))
        bundle.setdefault("text/plain", f"vjpcheck: could not show the report: {type(error).__name__}: {error}")
    return bundle


def _made(
    report: ReportData, changes: Changes | None, mime_types: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The forms that can be made, and the exceptions of the others."""

    @functools.cache
    def view() -> ReportView:
        return ReportView(report, changes)

    forms: dict[str, Callable[[], Any]] = {
        "text/plain": lambda: text_of(view()),
        "text/html": lambda: html_of(view()),
        MIME_TYPE: lambda: full_data(shortened(report)),
    }
    bundle, failed = {}, {}
    for mime_type in mime_types:
        try:
            bundle[mime_type] = forms[mime_type]()
        except Exception as error:  # noqa: BLE001 (another form may work all the same)
            failed[mime_type] = error
    return bundle, failed


def full_data(report: ReportData) -> dict[str, Any]:
    """The report as JSON data."""
    data: dict[str, Any] = json.loads(write(report))
    return data


def with_widget(report: ReportData, changes: Changes | None = None) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """As `mime_bundle`, with the live widget: the data, the metadata and the widget, which the caller has to close.

    Raises ImportError without anywidget, and whatever anywidget raises.
    """
    from jaxvjp_magic.rendering.widget import ReportWidget

    static = mime_bundle(report, changes)
    widget = ReportWidget(report, changes)
    data, metadata = widget.mime_bundle(static)
    return data, metadata, widget
