"""The report as static HTML: complete without a style sheet, a script or a live kernel.

GitHub and nbviewer strip styles, so elements, words and symbols carry the whole
meaning, and inline styles only arrange it. Notebook front ends style tables and
code in their own ways: `all:revert` takes that off. Colours are mixed with the
text colour, so that they are readable in light, dark and high contrast themes.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering import diagram, diff_text, report_view
from jaxvjp_magic.rendering.diagram import HUES
from jaxvjp_magic.rendering.groups import groups
from jaxvjp_magic.rendering.quoting import GO_TO_LINE, is_in_a_cell, plain, split_line
from jaxvjp_magic.rendering.report_view import COLUMNS, SYMBOLS
from jaxvjp_magic.results.formatting import size
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import Finding, ReportData, Snippet

_SHARES = {Severity.ERROR: 80, Severity.WARNING: 60, Severity.NOTE: 70}
_FRAME = (
    "margin:6px 0;padding:10px 12px;"
    # Background and text colour come from one theme, or neither does.
    "background:var(--jp-layout-color1,var(--vscode-editor-background,#fff));"
    "color:var(--jp-content-font-color1,var(--vscode-editor-foreground,#1f1f1f));"
    "--mono:var(--jp-code-font-family,var(--vscode-editor-font-family,ui-monospace,monospace));"
    "--sans:var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));"
    "font:var(--jp-ui-font-size1,var(--vscode-font-size,13px))/1.5 var(--sans)"
)
_GREY = "opacity:.75"
_HIDDEN = "font-size:0"  # read by screen readers, and seen where styles are stripped
_MONO = "font:inherit;font-family:var(--mono)"
_ALIGNED = {"#": ";text-align:right", "line": ";text-align:right", "call": ";text-align:left"}
_MOST_BYTES = 29_500  # with its pictures; a notebook may have many reports
_WIDEST_LINE = 200
_WRAPPED_FROM = 48
_WIDEST_BAR = 6
_KEPT_WHOLE = 30
_NO_BREAK = "\u00a0"
_DEEPEST_INDENT = 12


def render_html(report: ReportData, changes: Changes | None = None) -> str:
    """The whole report as one `<div>`: the same facts as the text form, the findings before the table."""
    above = [*_head(report), *(_since(report, changes) if changes is not None else ())]
    above += (_card(report, *group) for group in groups(report))
    below = list(map(_quiet, report_view.quiet(report)))
    below += [_paragraph(f"note: {_text(note)}", "8px 0 0") for note in report.notes]
    room = _MOST_BYTES - _bytes(above) - _bytes(below)
    calls = _table_within(report, room) if report.calls else []
    below += _pictures(report, room - _bytes(calls))
    return f'<div style="{_FRAME}">\n' + "\n".join([*above, *calls, *below]) + "\n</div>"


def _bytes(parts: list[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def _table_within(report: ReportData, room: int) -> list[str]:
    """The table with as many leaves in a cell as there is room for, and with one in any case."""
    tables = (list(_table(report, leaves)) for leaves in range(report_view.MOST_LEAVES, 0, -1))
    return next((parts for parts in tables if _bytes(parts) <= room), None) or list(_table(report, 1))


def _text(text: str) -> str:
    """Text as HTML that cannot be taken for anything but text."""
    return html.escape(plain(text))


def _paragraph(content: str, margin: str = "0") -> str:
    return f'<p style="all:revert;margin:{margin};max-width:64em;text-wrap:pretty">{content}</p>'


def _ink(severity: Severity) -> str:
    """A colour for letters, which has a contrast of at least 4.5 on light and on dark."""
    return f"color:color-mix(in srgb,{HUES[severity]} {_SHARES[severity]}%,currentcolor)"


def _head(report: ReportData) -> Iterator[str]:
    version = f' <span style="{_GREY};margin-left:1em">jax {_text(report.jax)}</span>' if report.jax else ""
    yield _paragraph(f"<b>vjpcheck: {_text(report_view.headline(report))}</b>{version}")
    if report.error:
        yield _paragraph(_text(report_view.ending(report)))


def _since(report: ReportData, changes: Changes) -> Iterator[str]:
    """What changed since the last run of the same cell."""
    yield _paragraph(_text(diff_text.summary(changes)), "6px 0 0")
    items = [
        f'<li style="all:revert"><span style="{_GREY}">{word}</span> {_text(sentence)}</li>'
        for word, sentence in diff_text.lines(report, changes)
    ]
    if items:
        yield f'<ul style="all:revert;margin:2px 0;{_MONO}">{"".join(items)}</ul>'


def _quiet(quiet: report_view.Quiet) -> str:
    """What was not looked at, in grey: one line, and in it, where there is more, the rest on demand."""
    if not quiet.lines:
        return _paragraph(f'<span style="{_GREY}">{_text(quiet.summary)}</span>', "8px 0 0")
    summary = f'<summary style="all:revert;cursor:pointer">{_text(quiet.summary)}</summary>'
    items = "".join(f'<li style="all:revert">{_text(one)}</li>' for one in quiet.lines)
    style = f"all:revert;margin-top:8px;max-width:64em;{_GREY}"
    return f'<details style="{style}">{summary}<ul style="all:revert;margin:2px 0">{items}</ul></details>'


def _pictures(report: ReportData, room: int) -> Iterator[str]:
    """The calls that findings are about, as pictures: as many as there is room for, and one in any case."""
    shown = {call for finding in report.findings for call in finding.calls}
    opened = " open"
    for row in report_view.rows(report):
        if row.call.id not in shown:
            continue
        scene = diagram.scene(row)
        summary = f'<summary style="all:revert;cursor:pointer">{_text(scene.title)}, as a picture</summary>'
        picture = f'<details style="all:revert;margin-top:8px"{opened}>{summary}{diagram.draw(scene)}</details>'
        room -= len(picture.encode())
        if room < 0 and not opened:
            return
        opened = ""
        yield picture


def _card(report: ReportData, index: int, followers: list[int]) -> str:
    finding = report.findings[index]
    head = f"{_code(finding)} <b>{_heading(finding)}</b>{_relation(report, index)}"
    style = f"border-left:3px solid {HUES[finding.severity]};margin:12px 0;padding-left:12px"
    parts = [_paragraph(head), *_body(finding), *(_folded(report, follower) for follower in followers)]
    return f'<article style="{style}">\n' + "\n".join(parts) + "\n</article>"


def _folded(report: ReportData, index: int) -> str:
    """A finding that follows from another: one line, and the rest on demand."""
    finding = report.findings[index]
    head = f"{_code(finding)} {_text(report_view.heading(finding))}{_relation(report, index)}"  # no button in a button
    summary = f'<summary style="all:revert;cursor:pointer;padding-left:1.3em;text-indent:-1.3em">{head}</summary>'
    return f'<details style="all:revert;margin-top:8px">{summary}\n' + "\n".join(_body(finding)) + "\n</details>"


def _code(finding: Finding) -> str:
    sign = f"{SYMBOLS[finding.severity]} {finding.severity} {_text(finding.code)}"
    about = f"%vjpcheck explain {_text(finding.code)}"  # where the rule's section is to be read
    return f'<b style="{_ink(finding.severity)}" title="{about}">{sign}</b>&ensp;'


def _heading(finding: Finding) -> str:
    """The heading; the place in it is a button that our part of JupyterLab answers, and plain text elsewhere."""
    place = report_view.place(finding.line, finding.source)
    if finding.line is None or not is_in_a_cell(finding.source):
        return _text(report_view.heading(finding))
    target = html.escape(json.dumps({"line": finding.line, "source": finding.source}))
    button = f'<button data-commandlinker-command="{GO_TO_LINE}" data-commandlinker-args="{target}"'
    return f'{button} style="all:unset">{_text(place)}:</button> {_text(finding.title)}'


def _relation(report: ReportData, index: int) -> str:
    relation = report_view.relation(report, index)
    return f' <span style="{_GREY}">({_text(relation)})</span>' if relation else ""


def _body(finding: Finding) -> Iterator[str]:
    if finding.snippet:
        yield _snippet(finding.snippet, HUES[finding.severity])
    if finding.message:
        yield _paragraph(_text(finding.message))
    if finding.fix:
        yield _paragraph(f"<b>fix:</b> {_fix(finding)}", "4px 0 0")


def _fix(finding: Finding) -> str:
    """`in words:  code`, or one of them."""
    words, code = finding.fix_parts
    return _text(words) + (f'<code style="all:revert;{_MONO}">{_text(code)}</code>' if code else "")


def _snippet(snippet: Snippet, hue: str) -> str:
    """The source line, as text wraps: below itself, not below its number."""
    hanging = len(str(snippet.line)) + 3
    style = (
        f"all:revert;margin:6px 0;padding-left:{hanging}ch;text-indent:-{hanging}ch;"
        f"white-space:pre-wrap;overflow-wrap:anywhere;{_MONO}"
    )
    number = f'<span style="{_GREY}">{_text(str(snippet.line))} │</span>'
    return f'<pre style="{style}"><code style="all:revert;font:inherit">{number} {_source(snippet, hue)}</code></pre>'


def _source(snippet: Snippet, hue: str) -> str:
    """The line with what is meant underlined, and with carets for where styles and `<u>` are stripped."""
    before, meant, after = split_line(snippet)
    if not meant:
        return html.escape(before + after)
    underlined = f'<u style="text-decoration:underline 2px {hue};text-underline-offset:4px">{html.escape(meant)}</u>'
    gutter, space, carets = " " * len(str(snippet.line)), " " * len(before), "^" * len(meant)
    hidden = f'<span style="display:none">\n{gutter} │ {space}{carets}</span>'
    return f"{html.escape(before)}{underlined}{html.escape(after)}{hidden}"


def _table(report: ReportData, leaves: int) -> Iterator[str]:
    rows = report_view.rows(report, leaves=leaves)
    used = [column for column in COLUMNS if column == "call" or any(_shown(row.cells[column]) for row in rows)]
    caption = "Calls, each below the one that it is part of"
    if "vmap" in used:
        caption += "; types inside a vmap are those of one example"
    held = report_view.total_held(report.calls)
    if held and not (report.omitted and report.omitted.rows):
        caption += f"; residuals: {size(held)} in all"
    # The rows' lines are shadows: borders of rows need collapsed cells, and those need padding in each cell.
    # Pages without a doctype do not hand the text's colour on to tables.
    style = f"all:revert;color:inherit;border-spacing:14px 4px;margin:0;white-space:pre;{_MONO}"
    above = f"all:revert;text-align:left;padding:0 14px;font-family:var(--sans);{_GREY}"
    head = f'<tr style="all:revert">{"".join(map(_column, ["#", *used]))}</tr>'
    yield '<div style="overflow-x:auto;margin-top:12px" role="region" aria-label="calls" tabindex="0">'
    yield f'<table style="{style}">'
    yield f'<caption style="{above}">{caption}</caption>'
    yield f'<thead style="all:revert;text-align:left">{head}</thead>'
    yield '<tbody style="all:revert;text-align:left;vertical-align:baseline">'
    most = max(1, *map(report_view.held_bytes, report.calls))  # 0 where a vmap is over no examples
    # Numbers stand below each other by spaces, which are shorter than a style in each cell.
    widths = {
        "#": len(str(max(row.call.id for row in rows))),
        "line": max(len(row.cells["line"].lines[0]) for row in rows),
    }
    yield from (_row(row, used, most, widths) for row in rows)
    yield "</tbody></table></div>"
    if report_view.hidden_rows(report):
        yield _paragraph(f"... and {report_view.hidden_rows(report):,} more calls", "4px 14px 0")


def _shown(cell: report_view.Cell) -> bool:
    return cell.mark is not None or any(cell.lines)


def _column(name: str) -> str:
    style = "all:revert;font-weight:400;font-family:var(--sans)" + _ALIGNED.get(name, "")
    return f'<th scope="col" style="{style}"><span style="{_GREY}">{name}</span></th>'


def _row(row: report_view.Row, used: Iterable[str], most: int, widths: dict[str, int]) -> str:
    """A row, in few letters: there may be hundreds of cells. `most` is what the call with the most residuals holds."""
    number = f"<td style=all:revert>{row.call.id:>{widths['#']}}</td>"
    cells = "".join(_cell(row, column, most, widths.get(column, 0)) for column in used)
    return f'<tr style="all:revert;box-shadow:0 -1px #8884">{number}{cells}</tr>'


def _cell(row: report_view.Row, column: str, most: int, width: int) -> str:
    cell = row.cells[column]
    lines = [_line(line.rjust(width)) for line in cell.lines]
    if cell.mark:
        lines[cell.marked : cell.marked + 1] = [_marked(lines[cell.marked] if lines else "", cell.mark)]
    if column == "residuals" and row.call.residual_bytes:
        lines[-1] += f" <span aria-hidden=true>{_bar(report_view.held_bytes(row.call) / most)}</span>"
    content = "<br>".join(lines)
    if column == "call":
        indent = 2 * _NO_BREAK * (min(row.depth, _DEEPEST_INDENT) - 1) + f"└{_NO_BREAK}" * bool(row.depth)
        return f"<th scope=row style=all:unset;display:table-cell>{indent}{content}</th>"
    if not content:
        return "<td></td>"
    return f"<td style=all:revert>{content}</td>"


def _bar(share: float) -> str:
    """A bar of letters, which need no style."""
    return "▂" * max(1, round(share * _WIDEST_BAR))


def _marked(line: str, mark: Severity) -> str:
    tint = f"{HUES[mark]}22"
    style = f"{_ink(mark)};background:{tint};box-shadow:0 0 0 3px {tint}"
    return f'<b style="{style}">{SYMBOLS[mark]} <span style="{_HIDDEN}">{mark} </span>{line}</b>'


def _line(line: str) -> str:
    """One leaf; a long one may wrap before its size, its note or its type, an endless one ends."""
    shown = line if len(line) <= _WIDEST_LINE else line[: _WIDEST_LINE - 1] + "…"
    if len(line) > _WRAPPED_FROM:
        style = f"display:inline-block;max-width:{_WRAPPED_FROM}ch;vertical-align:top"
        return f'<span style="{style};white-space:pre-wrap;overflow-wrap:break-word">{_text(shown)}</span>'
    gap = next((gap for gap in ("  ", " (", " ") if gap in line), "")
    if len(line) <= _KEPT_WHOLE or not gap:
        return _text(shown)
    head, _, tail = line.rpartition(gap)
    return f"{_text(head)}<span style=white-space:pre-wrap>{gap.rstrip('(')}</span>{_text(gap.strip() + tail)}"
