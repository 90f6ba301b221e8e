"""Turn a report into JSON data for the widget: what is saved with the notebook, and the rest on request.

The widget's JavaScript lays out, sorts and filters; what a report *says* is in the view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxvjp_magic.rendering import diagram
from jaxvjp_magic.rendering.cells import leaf_type
from jaxvjp_magic.rendering.limits import shortened
from jaxvjp_magic.rendering.quoting import plain
from jaxvjp_magic.rendering.report_view import SYMBOLS, ReportView
from jaxvjp_magic.results.formatting import short_type, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.rendering.report_view import FindingView, Place, RowView
    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import Leaf, Leaves, ReportData

COLUMNS = ("call", "line", "vmap", "primals", "output", "residuals", "memory", "cotangent", "gradients", "count")
_NO_TANGENT = ("int", "uint", "bool", "key")


class WidgetView:
    """A report for the widget."""

    def __init__(self, report: ReportData, changes: Changes | None = None) -> None:
        """Rows are made on demand."""
        self._report, self._changes = report, changes
        self.view = ReportView(report, changes)

    @property
    def rows(self) -> tuple[RowView, ...]:
        """The rows of all calls."""
        return self.view.all_rows

    def saved(self) -> dict[str, Any]:
        """What is saved: everything, but of many calls only a part; these come with their details."""
        view, short = self.view, WidgetView(shortened(self._report), self._changes)
        data: dict[str, Any] = {
            "headline": view.headline,
            "jax": view.jax,
            "ending": view.ending,
            "notes": list(view.notes),
            "symbols": {severity.value: symbol for severity, symbol in SYMBOLS.items()},
            "columns": list(COLUMNS),
            "findings": [_card(cause) | {"followers": list(map(_card, followers))} for cause, followers in view.groups],
            "rows": [short.row(row) | {"detail": short.detail(row)} for row in short.rows],
            "total": view.total,
            "held": view.held,
            "caption": view.caption,
            "most_held": view.most_held,
            "quiet": [{"summary": line.summary, "lines": list(line.lines)} for line in view.quiet],
        }
        if view.since is not None:
            data["since"] = {"summary": view.since.summary, "lines": list(map(list, view.since.lines))}
        return data

    def row(self, row: RowView) -> dict[str, Any]:
        """A row without its details; empty values are left out, because there may be thousands of rows."""
        data = {
            "id": row.id,
            "depth": row.depth,
            "line": row.place.line if row.place.is_here else None,
            "elsewhere": _elsewhere(row.place),
            "held": row.held_bytes,
            "count": row.call.count if row.call.count > 1 else 0,
            "severities": list(row.severities),
            "new": row.is_new,
            "was": row.was,
        }
        data = {key: value for key, value in data.items() if value}
        cells = {column: _cell(row, column) for column in COLUMNS}
        return data | {"cells": {column: cell for column, cell in cells.items() if cell}}

    def detail(self, row: RowView) -> dict[str, Any]:
        """What an opened row shows: its picture, and the expected and the actual type of every leaf."""
        call = row.call
        phases = [
            ("primals", None, (*(call.primals or ()), *(call.nondiff or ()))),
            ("output", tuple(map(_typed, call.outputs or ())) if call.fwd_outputs else None, call.shown_outputs),
            ("residuals", None, call.residuals),
            ("cotangent", tuple(map(_tangent, call.shown_outputs or ())), call.cotangents_in),
            ("gradients", tuple(map(_tangent, call.primals or ())), call.cotangents_out),
        ]
        leaves = [entry for name, expected, got in phases for entry in _compared(name, expected, got, row)]
        picture = diagram.draw(diagram.scene(row))
        return {"picture": picture, "leaves": leaves, "findings": list(self.view.findings_of(row.id))}


def _cell(row: RowView, column: str) -> dict[str, Any]:
    if column == "memory":
        return {"lines": [row.held]} if row.held else {}
    if column == "count":
        return {"lines": [f"{row.call.count:,}"]} if row.call.count > 1 else {}
    cell = row.cells[column]
    lines = (row.label,) if column == "call" else cell.leaves  # count and size have columns of their own
    # The function may have no name, but this cell opens the row.
    data: dict[str, Any] = {"lines": list(lines)} if column == "call" or any(lines) else {}
    if cell.mark:
        data |= {"mark": cell.mark.value, "marked": cell.marked}
    return data


def _typed(leaf: Leaf) -> tuple[str, str]:
    return leaf.path, short_type(leaf.type)


def _tangent(leaf: Leaf) -> tuple[str, str]:
    """The path, and the type of a cotangent for a value of this type."""
    _, bracket, shape = leaf.type.partition("[")
    is_zero_size = bracket and leaf.type.startswith(_NO_TANGENT)
    return leaf.path, short_type(f"float0[{shape}" if is_zero_size else leaf.type)


def _compared(
    name: str, expected: tuple[tuple[str, str], ...] | None, got: Leaves | None, row: RowView
) -> Iterator[dict[str, Any]]:
    """The leaves of one phase; those that differ are marked where a finding is about the phase."""
    mark = row.cells[name].mark
    if got is None:
        return
    expected_types = _expected_types(expected or (), got)
    differing = [
        bool(wanted) and wanted != short_type(leaf.type) for wanted, leaf in zip(expected_types, got, strict=True)
    ]
    if mark and not any(differing):
        differing = [leaf.path in row.named for leaf in got]
    if mark and not any(differing):  # the finding is about all of them, or about something without a leaf here
        differing = [number == 0 for number in range(len(got))]
    for leaf, wanted, differs in zip(got, expected_types, differing, strict=True):
        actual = leaf.note if leaf.more else leaf_type(leaf.type, leaf.note) or leaf.note
        entry = {
            "phase": name,
            "path": plain(leaf.path),
            "expected": plain(wanted),
            "got": plain(actual),
            "size": size(leaf.bytes) if leaf.bytes is not None and name in ("primals", "residuals") else "",
            "mark": mark.value if mark and differs else "",
        }
        yield {key: value for key, value in entry.items() if value}


def _expected_types(expected: tuple[tuple[str, str], ...], got: Leaves) -> list[str]:
    """The expected type of each leaf: by path if the paths are unique, else by position; "" if unknown."""
    paths = [path for path, _ in expected]
    if len(set(paths)) == len(paths) and {leaf.path for leaf in got if not leaf.more} <= set(paths):
        types = dict(expected)
        return ["" if leaf.more else types[leaf.path] for leaf in got]
    return [type_text for _, type_text in expected] if len(expected) == len(got) else [""] * len(got)


def _card(finding: FindingView) -> dict[str, Any]:
    data: dict[str, Any] = {
        "index": finding.index,
        "code": finding.code,
        "severity": finding.severity.value,
        "place": "" if finding.place.is_here else finding.place.words,
        "line": finding.place.line if finding.place.is_here else None,
        "elsewhere": _elsewhere(finding.place),
        "title": finding.title,
        "relation": finding.relation,
        "message": finding.message,
        "fix": list(finding.fix) if any(finding.fix) else None,
        "about": finding.about,
        "calls": list(finding.calls[:1]),
        "new": finding.is_new,
        "snippet": list(finding.snippet) if finding.snippet else None,
    }
    return {key: value for key, value in data.items() if value}


def _elsewhere(place: Place) -> list[Any]:
    """The line and the number of another cell, which our JupyterLab extension finds in the notebook."""
    return [place.line, place.cell] if place.cell else []
