"""Render a report as plain text, for terminals and for `print(report)`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.cells import COLUMNS, fitted
from jaxvjp_magic.rendering.report_view import SYMBOLS, ReportView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.rendering.report_view import FindingView, Since
    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import ReportData

WIDEST_CELL = 40
_RIGHT = ("line",)


def render_text(report: ReportData, changes: Changes | None = None) -> str:
    """The whole report, and what changed since an earlier one."""
    return text_of(ReportView(report, changes))


def text_of(view: ReportView) -> str:
    """The same, from a view; the lines have no trailing spaces."""
    blocks = [[f"vjpcheck: {view.headline}" + (f"   jax {view.jax}" if view.jax else "")]]
    if view.total:
        blocks.append(list(_table(view)))
    if view.since is not None:
        blocks.append(list(_since(view.since)))
    blocks.extend(list(_finding(finding)) for finding in view.findings)
    end = [*(line.summary for line in view.quiet), view.ending, *(f"note: {note}" for note in view.notes)]
    if any(end):
        blocks.append(list(filter(None, end)))
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def _since(since: Since) -> Iterator[str]:
    yield since.summary
    for word, sentence in since.lines:
        yield f"    {word:<8} {sentence}" if word else f"    {sentence}"


def _table(view: ReportView) -> Iterator[str]:
    grid: list[list[list[str]]] = [[["#"], *([column] for column in COLUMNS)]]
    for row in view.rows:
        columns = [[str(row.id)]]
        for column in COLUMNS:
            cell = row.cells[column]
            lines = [fitted(line, WIDEST_CELL) for line in cell.lines or ("",)]
            if column == "call":
                lines[0] = "  " * (row.depth - 1) + "└ " * bool(row.depth) + lines[0]
            if cell.mark is not None:
                lines[cell.marked] = f"{SYMBOLS[cell.mark]} {lines[cell.marked]}"
            columns.append(lines)
        grid.append(columns)
    used = [i for i in range(len(grid[0])) if i <= 1 or any(any(row[i]) for row in grid[1:])]
    widths = {i: max(len(line) for row in grid for line in row[i]) for i in used}
    for row_of_cells in grid:
        for texts in itertools.zip_longest(*(row_of_cells[i] for i in used), fillvalue=""):
            yield "  " + "  ".join(_aligned(text, i, widths[i]) for text, i in zip(texts, used, strict=True))
    if view.hidden_rows:
        yield f"  ... and {view.hidden_rows:,} more calls"


def _aligned(line: str, column: int, width: int) -> str:
    return line.rjust(width) if column == 0 or COLUMNS[column - 1] in _RIGHT else line.ljust(width)


def _finding(finding: FindingView) -> Iterator[str]:
    head = f"{SYMBOLS[finding.severity]} {finding.severity} {finding.code}  {finding.heading}"
    yield f"{head}   [{finding.relation}]" if finding.relation else head
    if finding.snippet:
        number, before, marked, after = finding.snippet
        yield f"    {number} │ {before}{marked}{after}"
        if marked:
            yield f"    {' ' * len(number)} │ {' ' * len(before)}{'^' * len(marked)}"
    yield f"    {finding.message}"
    if any(finding.fix):
        yield f"    fix: {''.join(finding.fix)}"
