"""The report as plain text, for terminals and for `print(report)`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering import diff_text, report_view
from jaxvjp_magic.rendering.quoting import plain, split_line
from jaxvjp_magic.rendering.report_view import COLUMNS, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import Finding, ReportData

WIDEST_CELL = 40
_RIGHT = ("line",)


def render_text(report: ReportData, changes: Changes | None = None) -> str:
    """The whole report, and what changed since an earlier one; the lines have no trailing spaces."""
    version = f"jax {report.jax}" if report.jax else ""
    blocks = [[f"vjpcheck: {report_view.headline(report)}" + (f"   {version}" if version else "")]]
    if report.calls:
        blocks.append(list(_table(report)))
    if changes is not None:
        blocks.append(list(_since(report, changes)))
    blocks.extend(list(_finding(report, index)) for index in range(len(report.findings)))
    end = [*(one.summary for one in report_view.quiet(report)), report_view.ending(report)]
    end += (f"note: {note}" for note in report.notes)
    if any(end):
        blocks.append(list(filter(None, end)))
    return "\n\n".join("\n".join(plain(line).rstrip() for line in block) for block in blocks)


def _since(report: ReportData, changes: Changes) -> Iterator[str]:
    yield diff_text.summary(changes)
    for word, sentence in diff_text.lines(report, changes):
        yield f"    {word:<8} {sentence}" if word else f"    {sentence}"


def _table(report: ReportData) -> Iterator[str]:
    grid: list[list[list[str]]] = [[["#"], *([column] for column in COLUMNS)]]
    for row in report_view.rows(report):
        cells = [[str(row.call.id)]]
        for column in COLUMNS:
            cell = row.cells[column]
            lines = [report_view.fitted(line, WIDEST_CELL) for line in cell.lines or ("",)]
            if column == "call":
                lines[0] = "  " * (row.depth - 1) + "└ " * bool(row.depth) + lines[0]
            if cell.mark is not None:
                lines[cell.marked] = f"{SYMBOLS[cell.mark]} {lines[cell.marked]}"
            cells.append(lines)
        grid.append(cells)
    used = [i for i in range(len(grid[0])) if i <= 1 or any(any(row[i]) for row in grid[1:])]
    widths = {i: max(len(line) for row in grid for line in row[i]) for i in used}
    for row_of_cells in grid:
        for texts in itertools.zip_longest(*(row_of_cells[i] for i in used), fillvalue=""):
            yield "  " + "  ".join(_aligned(text, i, widths[i]) for text, i in zip(texts, used, strict=True))
    if report_view.hidden_rows(report):
        yield f"  ... and {report_view.hidden_rows(report):,} more calls"


def _aligned(line: str, column: int, width: int) -> str:
    return line.rjust(width) if column == 0 or COLUMNS[column - 1] in _RIGHT else line.ljust(width)


def _finding(report: ReportData, index: int) -> Iterable[str]:
    finding = report.findings[index]
    relation = report_view.relation(report, index)
    head = f"{SYMBOLS[finding.severity]} {finding.severity} {finding.code}  {report_view.heading(finding)}"
    yield f"{head}   [{relation}]" if relation else head
    yield from _snippet(finding)
    yield f"    {finding.message}"
    if finding.fix:
        yield f"    fix: {finding.fix}"


def _snippet(finding: Finding) -> Iterable[str]:
    snippet = finding.snippet
    if snippet is None:
        return
    number = str(snippet.line)
    before, meant, after = split_line(snippet)
    yield f"    {number} │ {before}{meant}{after}"
    if meant:
        yield f"    {' ' * len(number)} │ {' ' * len(before)}{'^' * len(meant)}"
