"""One display output for every reader: the widget, the static page, the text, the data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.shorten import shortened
from jaxvjp_magic.rendering.text import render_text

if TYPE_CHECKING:
    from jaxvjp_magic.changes import Changes
    from jaxvjp_magic.report import Report

MIME_TYPE = "application/vnd.jaxvjp.report.v1+json"


def mime_bundle(report: Report, changes: Changes | None = None) -> dict[str, Any]:
    """The report for a display output, by MIME type; bounded, for outputs are saved with the notebook."""
    return {
        "text/plain": render_text(report, changes),
        "text/html": render_html(report, changes),
        MIME_TYPE: full_data(shortened(report)),
    }


def full_data(report: Report) -> dict[str, Any]:
    """The report as JSON data."""
    data: dict[str, Any] = json.loads(report.to_json())
    return data


def with_widget(report: Report, changes: Changes | None = None) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """As `mime_bundle`, with the live widget; its metadata, and the widget, which somebody has to close.

    Raises ImportError where anywidget is not there, or what it raises.
    """
    from jaxvjp_magic.rendering.widget import ReportWidget

    widget = ReportWidget(report, changes)
    data, metadata = widget.mime_bundle()
    return {**data, **mime_bundle(report, changes)}, metadata, widget
