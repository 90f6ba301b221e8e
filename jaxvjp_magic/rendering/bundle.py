"""One display output for every reader: the data, the static page, the text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.text import render_text

if TYPE_CHECKING:
    from jaxvjp_magic.report import Report

MIME_TYPE = "application/vnd.jaxvjp.report.v1+json"


def mime_bundle(report: Report) -> dict[str, object]:
    """The report for a display output, by MIME type."""
    return {
        "text/plain": render_text(report),
        "text/html": render_html(report),
        MIME_TYPE: json.loads(report.to_json()),
    }
