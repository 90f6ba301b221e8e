"""Render a report as static HTML, complete without a style sheet, a script or a live kernel.

GitHub and nbviewer strip styles, so elements, words and symbols carry the whole
meaning, and inline styles only arrange it. Notebook front ends style tables and
code in their own ways: `all:revert` undoes that. Colours are mixed with the
text colour, so that they are readable in light, dark and high contrast themes.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering import diagram
from jaxvjp_magic.rendering.cells import COLUMNS
from jaxvjp_magic.rendering.diagram import HUES
from jaxvjp_magic.rendering.report_view import MOST_LEAVES, SYMBOLS, ReportView
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.rendering.cells import Cell
    from jaxvjp_magic.rendering.report_view import FindingView, RowView, Since
    from jaxvjp_magic.rendering.sentences import CoverageLine
    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import ReportData

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
_HIDDEN = "font-size:0"  # read by screen readers, and visible where styles are stripped
_MONO = "font:inherit;font-family:var(--mono)"
_ALIGNED = {"#": ";text-align:right", "line": ";text-align:right", "call": ";text-align:left"}
_MOST_BYTES = 29_500  # including its pictures: a notebook may have many reports
_WIDEST_LINE = 200
_WRAPPED_FROM = 48
_WIDEST_BAR = 6
_KEPT_WHOLE = 30
_NO_BREAK = "\u00a0"
_DEEPEST_INDENT = 12
_GO_TO_LINE = "jaxvjp:go-to-line"  # a command of our JupyterLab extension


def render_html(report: ReportData, changes: Changes | None = None) -> str:
    """The whole report as one `<div>`: the same facts as the text, with the findings before the table."""
    return html_of(ReportView(report, changes))


def html_of(view: ReportView) -> str:
    """The same, from a view."""
    above = [*_head(view), *(_since(view.since) if view.since is not None else ())]
    above += (_card(*group) for group in view.groups)
    below = list(map(_quiet, view.quiet))
    below += [_paragraph(f"note: {_text(note)}", "8px 0 0") for note in view.notes]
    room = _MOST_BYTES - _bytes(above) - _bytes(below)
    calls = _table_within(view, room) if view.total else []
    below += _pictures(view, room - _bytes(calls))
    return f'<div style="{_FRAME}">\n' + "\n".join([*above, *calls, *below]) + "\n</div>"


def _bytes(parts: list[str]) -> int:
    return sum(len(part.encode()) for part in parts)


def _table_within(view: ReportView, room: int) -> list[str]:
    """The table with as many leaves per cell as fit into `room` bytes, but at least one."""
    tables = (list(_table(view, leaves)) for leaves in range(MOST_LEAVES, 0, -1))
    return next((parts for parts in tables if _bytes(parts) <= room), None) or list(_table(view, 1))


def _text(text: str) -> str:
    """Text with HTML's special characters escaped."""
    return html.escape(text)


def _paragraph(content: str, margin: str = "0") -> str:
    return f'<p style="all:revert;margin:{margin};max-width:64em;text-wrap:pretty">{content}</p>'


def _ink(severity: Severity) -> str:
    """A text colour with a contrast of at least 4.5 on light and on dark backgrounds."""
    return f"color:color-mix(in srgb,{HUES[severity]} {_SHARES[severity]}%,currentcolor)"


def _head(view: ReportView) -> Iterator[str]:
    version = f' <span style="{_GREY};margin-left:1em">jax {_text(view.jax)}</span>' if view.jax else ""
    yield _paragraph(f"<b>vjpcheck: {_text(view.headline)}</b>{version}")
    if view.ending:
        yield _paragraph(_text(view.ending))


def _since(since: Since) -> Iterator[str]:
    """What changed since the last run of the same cell."""
    yield _paragraph(_text(since.summary), "6px 0 0")
    items = [
        f'<li style="all:revert"><span style="{_GREY}">{word}</span> {_text(sentence)}</li>'
        for word, sentence in since.lines
    ]
    if items:
        yield f'<ul style="all:revert;margin:2px 0;{_MONO}">{"".join(items)}</ul>'


def _quiet(quiet: CoverageLine) -> str:
    """What was not checked, in grey: one line, which unfolds if there is more."""
    if not quiet.lines:
        return _paragraph(f'<span style="{_GREY}">{_text(quiet.summary)}</span>', "8px 0 0")
    summary = f'<summary style="all:revert;cursor:pointer">{_text(quiet.summary)}</summary>'
    items = "".join(f'<li style="all:revert">{_text(line)}</li>' for line in quiet.lines)
    style = f"all:revert;margin-top:8px;max-width:64em;{_GREY}"
    return f'<details style="{style}">{summary}<ul style="all:revert;margin:2px 0">{items}</ul></details>'


def _pictures(view: ReportView, room: int) -> Iterator[str]:
    """Pictures of the calls that findings are about: as many as fit into `room` bytes, but at least one."""
    opened = " open"
    for row in view.rows:
        if row.id not in view.shown_by_findings:
            continue
        scene = diagram.scene(row)
        summary = f'<summary style="all:revert;cursor:pointer">{_text(scene.title)}, as a picture</summary>'
        picture = f'<details style="all:revert;margin-top:8px"{opened}>{summary}{diagram.draw(scene)}</details>'
        room -= len(picture.encode())
        if room < 0 and not opened:
            return
        opened = ""
        yield picture


def _card(finding: FindingView, followers: Sequence[FindingView]) -> str:
    head = f"{_code(finding)} <b>{_heading(finding)}</b>{_relation(finding)}"
    style = f"border-left:3px solid {HUES[finding.severity]};margin:12px 0;padding-left:12px"
    parts = [_paragraph(head), *_body(finding), *map(_folded, followers)]
    return f'<article style="{style}">\n' + "\n".join(parts) + "\n</article>"


def _folded(finding: FindingView) -> str:
    """A finding that follows from another: one line, which unfolds."""
    head = f"{_code(finding)} {_text(finding.heading)}{_relation(finding)}"  # plain text: a summary is a button already
    summary = f'<summary style="all:revert;cursor:pointer;padding-left:1.3em;text-indent:-1.3em">{head}</summary>'
    return f'<details style="all:revert;margin-top:8px">{summary}\n' + "\n".join(_body(finding)) + "\n</details>"


def _code(finding: FindingView) -> str:
    sign = f"{SYMBOLS[finding.severity]} {finding.severity} {_text(finding.code)}"
    about = f"%vjpcheck explain {_text(finding.code)}"  # the command that shows the code's section
    return f'<b style="{_ink(finding.severity)}" title="{about}">{sign}</b>&ensp;'


def _heading(finding: FindingView) -> str:
    """The heading; its place is a button for our JupyterLab extension, and looks like plain text elsewhere."""
    place = finding.place
    if place.line is None:
        return _text(finding.heading)
    target = html.escape(json.dumps({"line": place.line, "source": place.cell}))
    button = f'<button data-commandlinker-command="{_GO_TO_LINE}" data-commandlinker-args="{target}"'
    return f'{button} style="all:unset">{_text(place.words)}:</button> {_text(finding.title)}'


def _relation(finding: FindingView) -> str:
    return f' <span style="{_GREY}">({_text(finding.relation)})</span>' if finding.relation else ""


def _body(finding: FindingView) -> Iterator[str]:
    if finding.snippet:
        yield _snippet(finding.snippet, HUES[finding.severity])
    if finding.message:
        yield _paragraph(_text(finding.message))
    if any(finding.fix):
        yield _paragraph(f"<b>fix:</b> {_fix(*finding.fix)}", "4px 0 0")


def _fix(words: str, code: str) -> str:
    """`words: code`, or only one of them."""
    return _text(words) + (f'<code style="all:revert;{_MONO}">{_text(code)}</code>' if code else "")


def _snippet(snippet: tuple[str, str, str, str], hue: str) -> str:
    """The source line, with a hanging indent: it wraps below itself, not below its number."""
    number, *source = snippet
    hanging = len(number) + 3
    style = (
        f"all:revert;margin:6px 0;padding-left:{hanging}ch;text-indent:-{hanging}ch;"
        f"white-space:pre-wrap;overflow-wrap:anywhere;{_MONO}"
    )
    gutter = f'<span style="{_GREY}">{number} │</span>'
    return (
        f'<pre style="{style}"><code style="all:revert;font:inherit">{gutter} '
        f"{_source(*source, hue=hue, indent=len(number))}</code></pre>"
    )


def _source(before: str, marked: str, after: str, *, hue: str, indent: int) -> str:
    """The line with its marked part underlined, and with carets for pages that strip styles and `<u>`."""
    if not marked:
        return html.escape(before + after)
    underlined = f'<u style="text-decoration:underline 2px {hue};text-underline-offset:4px">{html.escape(marked)}</u>'
    gutter, space, carets = " " * indent, " " * len(before), "^" * len(marked)
    hidden = f'<span style="display:none">\n{gutter} │ {space}{carets}</span>'
    return f"{html.escape(before)}{underlined}{html.escape(after)}{hidden}"


def _table(view: ReportView, leaves: int) -> Iterator[str]:
    rows = [(row, row.cells_with(leaves)) for row in view.rows]
    used = [column for column in COLUMNS if column == "call" or any(_shown(cells[column]) for _, cells in rows)]
    caption = view.caption + (f"; residuals: {view.held} in all" if view.held and view.is_whole else "")
    # The rules between rows are shadows: row borders need collapsed cells, and those need padding in each cell.
    # In a page without a doctype, a table does not inherit the text colour.
    style = f"all:revert;color:inherit;border-spacing:14px 4px;margin:0;white-space:pre;{_MONO}"
    caption_style = f"all:revert;text-align:left;padding:0 14px;font-family:var(--sans);{_GREY}"
    head = f'<tr style="all:revert">{"".join(map(_column, ["#", *used]))}</tr>'
    yield '<div style="overflow-x:auto;margin-top:12px" role="region" aria-label="calls" tabindex="0">'
    yield f'<table style="{style}">'
    yield f'<caption style="{caption_style}">{caption}</caption>'
    yield f'<thead style="all:revert;text-align:left">{head}</thead>'
    yield '<tbody style="all:revert;text-align:left;vertical-align:baseline">'
    # Spaces align the numbers; they are shorter than a style in each cell.
    widths = {
        "#": len(str(max(row.id for row, _ in rows))),
        "line": max(len(cells["line"].lines[0]) for _, cells in rows),
    }
    most_held = max(1, view.most_held)  # 0 if a vmap is over no examples
    for row, cells in rows:
        number = f"<td style=all:revert>{row.id:>{widths['#']}}</td>"
        line = "".join(_cell(row, cells[column], column, most_held, widths.get(column, 0)) for column in used)
        # Short, because there may be hundreds of rows.
        yield f'<tr style="all:revert;box-shadow:0 -1px #8884">{number}{line}</tr>'
    yield "</tbody></table></div>"
    if view.hidden_rows:
        yield _paragraph(f"... and {view.hidden_rows:,} more calls", "4px 14px 0")


def _shown(cell: Cell) -> bool:
    return cell.mark is not None or any(cell.lines)


def _column(name: str) -> str:
    style = "all:revert;font-weight:400;font-family:var(--sans)" + _ALIGNED.get(name, "")
    return f'<th scope="col" style="{style}"><span style="{_GREY}">{name}</span></th>'


def _cell(row: RowView, cell: Cell, column: str, most_held: int, width: int) -> str:
    """A cell; `most_held` is the size of the residuals of the call that holds the most."""
    lines = [_line(line.rjust(width)) for line in cell.lines]
    if cell.mark:
        lines[cell.marked : cell.marked + 1] = [_marked(lines[cell.marked] if lines else "", cell.mark)]
    if column == "residuals" and row.call.residual_bytes:
        lines[-1] += f" <span aria-hidden=true>{_bar(row.held_bytes / most_held)}</span>"
    content = "<br>".join(lines)
    if column == "call":
        indent = 2 * _NO_BREAK * (min(row.depth, _DEEPEST_INDENT) - 1) + f"└{_NO_BREAK}" * bool(row.depth)
        return f"<th scope=row style=all:unset;display:table-cell>{indent}{content}</th>"
    if not content:
        return "<td></td>"
    return f"<td style=all:revert>{content}</td>"


def _bar(share: float) -> str:
    """A bar of block characters, which need no style."""
    return "▂" * max(1, round(share * _WIDEST_BAR))


def _marked(line: str, mark: Severity) -> str:
    tint = f"{HUES[mark]}22"
    style = f"{_ink(mark)};background:{tint};box-shadow:0 0 0 3px {tint}"
    return f'<b style="{style}">{SYMBOLS[mark]} <span style="{_HIDDEN}">{mark} </span>{line}</b>'


def _line(line: str) -> str:
    """A leaf's line; a long one may wrap before its size, its note or its type, a very long one is cut."""
    shown = line if len(line) <= _WIDEST_LINE else line[: _WIDEST_LINE - 1] + "…"
    if len(line) > _WRAPPED_FROM:
        style = f"display:inline-block;max-width:{_WRAPPED_FROM}ch;vertical-align:top"
        return f'<span style="{style};white-space:pre-wrap;overflow-wrap:break-word">{_text(shown)}</span>'
    gap = next((gap for gap in ("  ", " (", " ") if gap in line), "")
    if len(line) <= _KEPT_WHOLE or not gap:
        return _text(shown)
    head, _, tail = line.rpartition(gap)
    return f"{_text(head)}<span style=white-space:pre-wrap>{gap.rstrip('(')}</span>{_text(gap.strip() + tail)}"
