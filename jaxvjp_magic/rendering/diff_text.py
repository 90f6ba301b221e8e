"""Turn the changes since the last run of the same cell into sentences, for every form of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.sentences import label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.diff import Changes, Shape
    from jaxvjp_magic.results.model import ReportData

MOST_LINES = 12
_MOST_TYPES = 3


def summary(changes: Changes) -> str:
    """`since the last run: 3 findings gone, 2 calls changed`."""
    changed = len({shape.call for shape in changes.shapes})
    counts = [
        _count(len(changes.gone_findings), "finding", "gone"),
        _count(len(changes.new_findings), "finding", "new"),
        _count(changed, "call", "changed"),
        _count(len(changes.new_calls), "call", "new"),
        _count(len(changes.gone_calls), "call", "gone"),
    ]
    return f"since the last run: {', '.join(filter(None, counts)) or 'nothing changed'}"


def _count(number: int, noun: str, change: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'} {change}" if number else ""


def lines(report: ReportData, changes: Changes) -> list[tuple[str, str]]:
    """Each change as a word and a sentence: ("gone", "NAM201 f was overwritten ...")."""
    pairs = list(_lines(report, changes))
    if len(pairs) <= MOST_LINES:
        return pairs
    return [*pairs[: MOST_LINES - 1], ("", f"and {len(pairs) - MOST_LINES + 1:,} more")]


def _lines(report: ReportData, changes: Changes) -> Iterator[tuple[str, str]]:
    for finding in changes.gone_findings:
        yield "gone", f"{finding.code} {finding.title}"
    for index in changes.new_findings:
        yield "new", f"{report.findings[index].code} {report.findings[index].title}"
    labels = {call.id: f"call {call.id}, {label(call)}" for call in report.calls}
    for shape in changes.shapes:
        yield "changed", f"{labels[shape.call]}: {difference(shape)}"
    for call_id in changes.new_calls:
        yield "new", labels[call_id]
    for call in changes.gone_calls:
        yield "gone", f"the call of {label(call)}"


def difference(shape: Shape) -> str:
    """`output f32[3] → f32[]`; only the leaves that differ, if both have as many."""
    old, new = shape.before, shape.now
    if len(old) == len(new):
        pairs = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        old, new = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    return f"{shape.column} {few(old)} → {few(new)}"


def few(types: tuple[str, ...]) -> str:
    """The first types, and how many more there are."""
    more = f" and {len(types) - _MOST_TYPES} more" if len(types) > _MOST_TYPES else ""
    return (", ".join(types[:_MOST_TYPES]) or "nothing") + more
