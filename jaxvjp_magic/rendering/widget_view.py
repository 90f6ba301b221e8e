"""The report as the widget gets it: every sentence and every type ready to be shown.

The widget's JavaScript lays out, sorts and filters; what a report *says* is
said here, by the same functions that the text and the static HTML use. All
strings are plain already: no control characters, no marks of direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxvjp_magic import catalogue
from jaxvjp_magic.rendering import diagram, diff_text, report_view
from jaxvjp_magic.rendering.groups import groups
from jaxvjp_magic.rendering.limits import SAVED_QUIET, shortened
from jaxvjp_magic.rendering.quoting import is_in_a_cell, plain, split_line
from jaxvjp_magic.rendering.report_view import SYMBOLS
from jaxvjp_magic.results.formatting import short_type, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import Call, Finding, Leaf, Leaves, ReportData

COLUMNS = ("call", "line", "vmap", "primals", "output", "residuals", "memory", "cotangent", "gradients", "count")
_NO_TANGENT = ("int", "uint", "bool", "key")


class View:
    """A report for the widget: what is saved with the notebook, and the rest as it is asked for."""

    def __init__(self, report: ReportData, changes: Changes | None = None) -> None:
        """The rows are made when they are asked for."""
        self.report, self.changes = report, changes
        self.rows = report_view.rows(report, len(report.calls))
        self._severities: dict[int, set[str]] = {}
        for finding in report.findings:
            for call in finding.calls:
                self._severities.setdefault(call, set()).add(finding.severity.value)
        self._was: dict[int, dict[str, str]] = {}
        for shape in changes.shapes if changes else ():
            self._was.setdefault(shape.call, {})[shape.column] = plain(diff_text.few(shape.before))
        self._new = frozenset(changes.new_calls) if changes else frozenset()

    def saved(self) -> dict[str, Any]:
        """What is saved: everything but most of the calls; those that are there come with their details."""
        report, changes = self.report, self.changes
        short = View(shortened(report), changes)
        data: dict[str, Any] = {
            "headline": plain(report_view.headline(report)),
            "jax": plain(report.jax),
            "ending": plain(report_view.ending(report)),
            "notes": [plain(note) for note in report.notes],
            "symbols": {severity.value: symbol for severity, symbol in SYMBOLS.items()},
            "hues": {severity.value: hue for severity, hue in diagram.HUES.items()},
            "columns": list(COLUMNS),
            "findings": [_finding(report, *group, changes) for group in groups(report)],
            "rows": [short.row(row) | {"detail": short.detail(row)} for row in short.rows],
            "total": len(report.calls),
            "held": size(report_view.total_held(report.calls))
            if any(call.residual_bytes for call in report.calls)
            else "",
            "mapped": any(call.vmap for call in report.calls),
            "most_held": max(map(report_view.held_bytes, report.calls), default=0),
        }
        data["quiet"] = [
            {"summary": plain(one.summary), "lines": list(map(plain, one.lines))}
            for one in report_view.quiet(report, SAVED_QUIET)
        ]
        if changes is not None:
            lines = [[plain(word), plain(sentence)] for word, sentence in diff_text.lines(report, changes)]
            data["since"] = {"summary": diff_text.summary(changes), "lines": lines}
        return data

    def row(self, row: report_view.Row) -> dict[str, Any]:
        """A row without its details; empty things are left out, for there may be thousands."""
        call = row.call
        data = {
            "id": call.id,
            "depth": row.depth,
            "line": None if call.source else call.line,
            "elsewhere": _elsewhere(call),
            "held": report_view.held_bytes(call),
            "count": call.count if call.count > 1 else 0,
            "severities": sorted(self._severities.get(call.id, ())),
            "new": call.id in self._new,
            "was": self._was.get(call.id),
        }
        data = {key: value for key, value in data.items() if value}
        cells = {column: _cell(row, column) for column in COLUMNS}
        return data | {"cells": {column: cell for column, cell in cells.items() if cell}}

    def detail(self, row: report_view.Row) -> dict[str, Any]:
        """What an opened row shows: its picture, and every leaf, what was expected beside what was there."""
        call = row.call
        phases = [
            ("primals", None, (*(call.primals or ()), *(call.nondiff or ()))),
            ("output", tuple(map(_typed, call.outputs or ())) if call.fwd_outputs else None, call.shown_outputs),
            ("residuals", None, call.residuals),
            ("cotangent", tuple(map(_tangent, call.shown_outputs or ())), call.cotangents_in),
            ("gradients", tuple(map(_tangent, call.primals or ())), call.cotangents_out),
        ]
        leaves = [entry for name, expected, got in phases for entry in _compared(name, expected, got, row)]
        findings = [index for index, finding in enumerate(self.report.findings) if call.id in finding.calls]
        return {"picture": diagram.scene(row).to_data(), "leaves": leaves, "findings": findings}


def _cell(row: report_view.Row, column: str) -> dict[str, Any]:
    call = row.call
    if column == "memory":
        return {"lines": [held]} if (held := report_view.held(call)) else {}
    if column == "count":
        return {"lines": [f"{call.count:,}"]} if call.count > 1 else {}
    cell = row.cells[column]
    lines = cell.lines
    if column == "call":
        lines = (report_view.label(call),)
    if column == "residuals":
        lines = report_view.leaf_lines(call.residuals, named=row.named)
    # What was called may have no name: its row is opened there all the same.
    is_shown = column == "call" or any(lines)
    data: dict[str, Any] = {"lines": [plain(line) for line in lines]} if is_shown else {}
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
    name: str, expected: tuple[tuple[str, str], ...] | None, got: Leaves | None, row: report_view.Row
) -> Iterator[dict[str, Any]]:
    """The leaves of one phase; those that differ are marked where a finding is about the phase."""
    mark = row.cells[name].mark
    if got is None:
        return
    beside = _beside(expected or (), got)
    differing = [bool(want) and want != short_type(leaf.type) for want, leaf in zip(beside, got, strict=True)]
    if mark and not any(differing):
        differing = [leaf.path in row.named for leaf in got]
    if mark and not any(differing):  # it is about all of them, or about what has no leaf here
        differing = [number == 0 for number in range(len(got))]
    for leaf, want, differs in zip(got, beside, differing, strict=True):
        found = leaf.note if leaf.more else report_view.leaf_type(leaf.type, leaf.note) or leaf.note
        entry = {
            "phase": name,
            "path": plain(leaf.path),
            "expected": plain(want),
            "got": plain(found),
            "size": size(leaf.bytes) if leaf.bytes is not None and name in ("primals", "residuals") else "",
            "mark": mark.value if mark and differs else "",
        }
        yield {key: value for key, value in entry.items() if value}


def _beside(expected: tuple[tuple[str, str], ...], got: Leaves) -> list[str]:
    """What was expected for each leaf: of the same path, where paths tell; else of the same place."""
    paths = [path for path, _ in expected]
    if len(set(paths)) == len(paths) and {leaf.path for leaf in got if not leaf.more} <= set(paths):
        types = dict(expected)
        return ["" if leaf.more else types[leaf.path] for leaf in got]
    return [kind for _, kind in expected] if len(expected) == len(got) else [""] * len(got)


def _finding(report: ReportData, index: int, followers: list[int], changes: Changes | None) -> dict[str, Any]:
    finding = report.findings[index]
    data = _card(report, finding, index, changes)
    data["followers"] = [_card(report, report.findings[other], other, changes) for other in followers]
    return data


def _card(report: ReportData, finding: Finding, index: int, changes: Changes | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "index": index,
        "code": finding.code,
        "severity": finding.severity.value,
        "place": "" if finding.line and not finding.source else report_view.place(finding.line, finding.source),
        "line": None if finding.source else finding.line,
        "elsewhere": _elsewhere(finding),
        "title": finding.title,
        "relation": report_view.relation(report, index),
        "message": finding.message,
        "fix": [*finding.fix_parts] if finding.fix else None,
        "about": catalogue.summary(finding.code),
        "calls": list(finding.calls[:1]),
        "new": changes is not None and index in changes.new_findings,
    }
    if finding.snippet:
        data["snippet"] = [str(finding.snippet.line), *split_line(finding.snippet)]
    return {key: _plain(value) for key, value in data.items() if value}


def _elsewhere(place: Finding | Call) -> list[Any]:
    """The line and the number of another cell, which our part of JupyterLab finds in the notebook."""
    known = place.line is not None and place.source and is_in_a_cell(place.source)
    return [place.line, place.source] if known else []


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return plain(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value
