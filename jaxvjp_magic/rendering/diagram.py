"""Draw a call as an SVG picture: primals to output on top, residuals down, cotangent to gradients below.

`scene` lays out boxes, arrows and texts; `draw` makes the SVG, for the static
page and for the widget.
"""

from __future__ import annotations

import dataclasses
import html
import math
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.cells import Cell, fitted
from jaxvjp_magic.rendering.quoting import plain
from jaxvjp_magic.rendering.report_view import SYMBOLS
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.rendering.report_view import RowView
    from jaxvjp_magic.results.model import Call

# From Okabe and Ito's palette, whose colours stay distinct with colour blindness.
HUES = {Severity.ERROR: "#d55e00", Severity.WARNING: "#e69f00", Severity.NOTE: "#0072b2"}
_ON_HUE = {Severity.ERROR: "#fff", Severity.WARNING: "#000", Severity.NOTE: "#fff"}
_CHARACTER = 7.3  # the width of a character of 12 px
_LINE = 17
_LABEL = 18  # the room for a label above a box
_ARROW = 44
_DROP = 20  # the length of the arrows to and from the residuals
_PADDING = 10
_PILL = 28
_STACKED = 3  # the most sheets behind a box
_SHEET = 4
_WIDEST = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A phase's leaves, or a rule (`round`); the `stack` sheets behind it are the axes of a vmap."""

    x: int
    y: int
    width: int
    height: int
    label: str = ""
    lines: tuple[str, ...] = ()
    mark: str = ""
    marked: int = 0
    stack: int = 0
    missing: bool = False
    round: bool = False
    aside: int = 0  # how far the label moves to the right to make room for an arrow from above


@dataclasses.dataclass(frozen=True, slots=True)
class Arrow:
    """A straight arrow; `mark` is the severity of a mismatch there."""

    x1: int
    y1: int
    x2: int
    y2: int
    mark: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A laid-out picture; `title` and `words` describe it as text."""

    title: str
    words: str
    width: int
    height: int
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    above: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """One phase, before layout."""

    label: str
    cell: Cell
    missing: bool = False

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(fitted(line, _WIDEST) for line in self.cell.lines or ("nothing",))

    @property
    def width(self) -> int:
        symbol = 2 if self.cell.mark else 0
        return _wide(max(max(map(len, self.lines)) + symbol, len(self.label)))

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + _PADDING

    def at(self, x: int, middle: int, width: int, stack: int, aside: int = 0) -> Box:
        mark = self.cell.mark.value if self.cell.mark else ""
        top = middle - self.height // 2
        return Box(
            *(x, top, width, self.height, self.label, self.lines, mark, self.cell.marked, stack),
            missing=self.missing,
            aside=aside,
        )


def _wide(characters: int) -> int:
    return math.ceil(characters * _CHARACTER) + 2 * _PADDING


def scene(row: RowView) -> Scene:
    """The picture of a row of the table."""
    call = row.call
    primals = _part("primals", row, ran=True)
    output = _part("output", row, ran=call.shown_outputs is not None)
    residuals = _part("residuals", row, ran=call.residuals is not None)
    cotangent = _part("cotangent", row, ran=call.cotangents_in is not None)
    gradients = _part("gradients", row, ran=call.cotangents_out is not None)
    backward = not (residuals.missing and cotangent.missing and gradients.missing)
    forward_name, backward_name = _names(call)
    stack = min(len(call.vmap), _STACKED)
    above = f"one of {' × '.join(f'{size:,}' for size in call.vmap)} examples" if call.vmap else ""  # noqa: RUF001 (a multiplication sign)

    left = max(primals.width, gradients.width)
    pill = max(_wide(len(forward_name)), _wide(len(backward_name)))
    middle = max(pill, residuals.width if backward else 0)
    right = max(output.width, cotangent.width)
    centre = left + _ARROW + middle // 2
    x_right = left + middle + 2 * _ARROW
    half, sheets = pill // 2, _SHEET * stack
    high = max(primals.height, output.height, _PILL)
    top = _LABEL * (2 if above else 1) + sheets + high // 2 + 2
    boxes = [
        primals.at(1, top, left, stack),
        _pill(centre, top, pill, forward_name),
        output.at(x_right, top, right, stack),
    ]
    arrows = [
        Arrow(left + 1 + sheets, top, centre - half, top, boxes[0].mark),
        Arrow(centre + half, top, x_right, top, boxes[2].mark),
    ]
    bottom = top
    if backward:
        low = max(gradients.height, cotangent.height, _PILL)
        between = 2 * _DROP + _LABEL + residuals.height
        bottom = top + max(_PILL // 2 + between + _PILL // 2, high // 2 + low // 2 + 2 * _LABEL + sheets)
        held_width = residuals.width
        held = residuals.at(
            centre - held_width // 2, (top + bottom + _LABEL) // 2, held_width, stack, held_width // 2 + 6
        )
        boxes += [
            held,
            gradients.at(1, bottom, left, stack),
            _pill(centre, bottom, pill, backward_name),
            cotangent.at(x_right, bottom, right, stack),
        ]
        arrows += [
            Arrow(centre, top + _PILL // 2, centre, held.y - sheets, held.mark),
            Arrow(centre, held.y + held.height, centre, bottom - _PILL // 2, held.mark),
            Arrow(x_right, bottom, centre + half, bottom, boxes[6].mark),
            Arrow(centre - half, bottom, left + 1 + sheets, bottom, boxes[4].mark),
        ]
        high = low
    width = max(x_right + right, centre + half, centre + 6 + _wide(9)) + 2 + sheets
    title = f"Call {call.id}, {row.label}"
    parts = (primals, output, *((residuals, cotangent, gradients) if backward else ()))
    return Scene(title, _words(parts, above), width, bottom + high // 2 + 2, tuple(boxes), tuple(arrows), above)


def _part(column: str, row: RowView, *, ran: bool) -> _Part:
    cell = row.cells[column]
    if ran or cell.mark:
        return _Part(column, cell)
    return _Part(column, Cell(("not run",)), missing=True)


def _names(call: Call) -> tuple[str, str]:
    """The two rules, as the pills name them."""
    name = plain(call.function)
    name = name if len(name) <= _WIDEST else name[: _WIDEST - 1] + "…"
    if call.has_rules:
        return (f"{name}: fwd" if call.fwd_outputs is not None else name), f"{name}: bwd"
    return name, "pullback"


def _pill(centre: int, middle: int, width: int, name: str) -> Box:
    return Box(centre - width // 2, middle - _PILL // 2, width, _PILL, lines=(name,), round=True)


def _words(parts: Iterable[_Part], above: str) -> str:
    """The picture in words, for screen readers."""
    phases = []
    for part in parts:
        misfit = f" ({part.cell.mark}: does not fit)" if part.cell.mark else ""
        phases.append(f"{part.label} {', '.join(part.lines)}{misfit}")
    return "; ".join([*phases, *([above] if above else [])])


# The drawing -----------------------------------------------------------------------------------
# Shapes that look alike share an element, because each picture is saved with the notebook.

_TEXT = "var(--jp-code-font-family,var(--vscode-editor-font-family,ui-monospace,monospace))"


def draw(picture: Scene) -> str:
    """The picture as inline SVG: text and lines take the colour of the surrounding text."""
    parts = [f"<title>{_text(picture.title)}</title>", f"<desc>{_text(picture.words)}</desc>"]
    plain_arrows = "".join("".join(_line_and_head(arrow)) for arrow in picture.arrows if not arrow.mark)
    parts.append(f'<path d="{plain_arrows}" stroke="currentColor"/>')
    for arrow in picture.arrows:
        if arrow.mark:
            parts += _marked_arrow(arrow)
    sheets = "".join(_sheet(box, number) for box in picture.boxes for number in range(box.stack, 0, -1))
    if sheets:
        parts.append(f'<path d="{sheets}" fill="none" stroke="currentColor" stroke-opacity=".4"/>')
    parts += _group('fill="none" stroke="currentColor" stroke-opacity=".5"', map(_rectangle, picture.boxes))
    parts += (_marked_rectangle(box) for box in picture.boxes if box.mark)
    parts += _group('opacity=".75"', _grey_texts(picture))
    parts += _group('text-anchor="middle"', (_pill_text(box) for box in picture.boxes if box.round))
    parts += (text for box in picture.boxes if not box.missing and not box.round for text in _texts(box))
    size = f'viewBox="0 0 {picture.width} {picture.height}" width="{picture.width}" height="{picture.height}"'
    style = f"max-width:100%;height:auto;font:12px {_TEXT}"
    return f'<svg {size} role="img" fill="currentColor" style="{style}">{"".join(parts)}</svg>'


def _group(attributes: str, elements: Iterable[str]) -> Iterator[str]:
    inside = "".join(elements)
    if inside:
        yield f"<g {attributes}>{inside}</g>"


def _text(text: str) -> str:
    return html.escape(text)


def _line_and_head(arrow: Arrow) -> tuple[str, str]:
    """The paths of an arrow's line and of its head."""
    along = (arrow.x2 > arrow.x1) - (arrow.x2 < arrow.x1)
    down = (arrow.y2 > arrow.y1) - (arrow.y2 < arrow.y1)
    x, y = arrow.x2 - 7 * along, arrow.y2 - 7 * down
    head = f"M{arrow.x2} {arrow.y2}L{x - 4 * down} {y - 4 * along}L{x + 4 * down} {y + 4 * along}Z"
    return f"M{arrow.x1} {arrow.y1}L{x} {y}", head


def _marked_arrow(arrow: Arrow) -> Iterator[str]:
    severity = Severity(arrow.mark)
    colour = HUES[severity]
    line, head = _line_and_head(arrow)
    yield f'<path d="{line}" stroke="{colour}" stroke-width="2"/>'
    yield f'<path d="{head}" fill="{colour}"/>'
    along = (arrow.x2 > arrow.x1) - (arrow.x2 < arrow.x1)
    down = (arrow.y2 > arrow.y1) - (arrow.y2 < arrow.y1)
    x, y = (arrow.x1 + arrow.x2) // 2 - 3 * along, (arrow.y1 + arrow.y2) // 2 - 3 * down
    yield f'<circle cx="{x}" cy="{y}" r="8" fill="{colour}"/>'
    yield (
        f'<text x="{x}" y="{y + 4}" text-anchor="middle" fill="{_ON_HUE[severity]}" font-weight="700">'
        f"{SYMBOLS[severity]}</text>"
    )


def _sheet(box: Box, number: int) -> str:
    """The upper and the right edge of a sheet behind the box, the only visible parts."""
    x, y = box.x + _SHEET * number, box.y - _SHEET * number
    return f"M{x} {y + _SHEET}V{y}H{x + box.width}V{y + box.height}H{x + box.width - _SHEET}"


def _rectangle(box: Box, more: str = "") -> str:
    """The box as an element; "" for a marked box, which `_marked_rectangle` draws."""
    if box.mark and not more:
        return ""
    dashes = ' stroke-dasharray="3 3"' if box.missing else ""
    radius = box.height // 2 if box.round else 3
    return f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="{radius}"{dashes}{more}/>'


def _marked_rectangle(box: Box) -> str:
    colour = HUES[Severity(box.mark)]
    return _rectangle(box, f' fill="{colour}22" stroke="{colour}"')


def _grey_texts(picture: Scene) -> Iterator[str]:
    """The texts above the picture and the boxes, and those of phases that did not run."""
    if picture.above:
        yield f'<text x="1" y="13">{_text(picture.above)}</text>'
    for box in picture.boxes:
        if box.label:
            y = box.y - 5 - _SHEET * box.stack
            yield f'<text x="{box.x + box.aside}" y="{y}">{_text(box.label)}</text>'
        if box.missing:
            yield from _texts(box)


def _pill_text(box: Box) -> str:
    return f'<text x="{box.x + box.width // 2}" y="{box.y + 18}">{_text(box.lines[0])}</text>'


def _texts(box: Box) -> Iterator[str]:
    for number, line in enumerate(box.lines):
        bold, symbol = "", ""
        if box.mark and number == box.marked:
            bold, symbol = ' font-weight="700"', f"{SYMBOLS[Severity(box.mark)]} "
        y = box.y + _PADDING // 2 + _LINE * number + 13
        yield f'<text x="{box.x + _PADDING}" y="{y}"{bold}>{symbol}{_text(line)}</text>'
