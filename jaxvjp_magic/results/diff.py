"""From two reports of the same program to what changed: calls, shapes, findings.

People experiment: they change a line, run the cell again, and want to see the
effect. Plain data in, plain data out; nothing here imports jax or IPython.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.results.formatting import short_type

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence
    from typing import TypeVar

    from jaxvjp_magic.results.model import Call, Finding, Leaves, ReportData

    _Item = TypeVar("_Item")

# A phase of a call, and the column of the table that shows it; a call's output is fwd's where fwd ran.
_PHASES = {
    "primals": "primals",
    "shown_outputs": "output",
    "residuals": "residuals",
    "cotangents_in": "cotangent",
    "cotangents_out": "gradients",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """A column of a call whose types changed."""

    call: int
    column: str
    before: tuple[str, ...]
    now: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Changes:
    """What changed from an earlier report to this one.

    `shapes` are the columns that changed, `new_calls` the ids of calls that only
    this report has, `gone_calls` the calls that only the earlier report has.
    `new_findings` are indices in this report, `gone_findings` findings of the
    earlier one.
    """

    shapes: tuple[Shape, ...] = ()
    new_calls: tuple[int, ...] = ()
    gone_calls: tuple[Call, ...] = ()
    new_findings: tuple[int, ...] = ()
    gone_findings: tuple[Finding, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changed."""
        return any(getattr(self, field.name) for field in dataclasses.fields(self))


def compare(before: ReportData, now: ReportData) -> Changes:
    """What changed from one report to the other."""
    pairs, new_calls, gone_calls = _matched(_calls(before), _calls(now), _CALL_KEYS)
    _, new_findings, gone_findings = _matched(
        tuple(enumerate(before.findings)), tuple(enumerate(now.findings)), (_finding_key,)
    )
    shapes = [shape for old, new in pairs for shape in _shapes(old.call, new.call)]
    order = {call.id: position for position, call in enumerate(now.calls)}
    return Changes(
        tuple(sorted(shapes, key=lambda shape: order[shape.call])),
        tuple(item.call.id for item in new_calls),
        tuple(item.call for item in gone_calls),
        tuple(index for index, _ in new_findings),
        tuple(finding for _, finding in gone_findings),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _NestedCall:
    """A call, and the names of the calls around it."""

    call: Call
    path: tuple[str, ...]


def _calls(report: ReportData) -> tuple[_NestedCall, ...]:
    paths: dict[int, tuple[str, ...]] = {}
    calls = []
    for call in report.calls:
        paths[call.id] = (*paths.get(call.parent, ()), f"{call.kind} {call.function}")
        calls.append(_NestedCall(call, paths[call.id]))
    return tuple(calls)


# From the strictest to the loosest key, so that an unchanged call is never taken for a changed one.
_CALL_KEYS: tuple[Callable[[_NestedCall], Hashable], ...] = (
    lambda item: (item.path, dataclasses.replace(item.call, id=0, parent=0)),
    lambda item: (item.path, dataclasses.replace(item.call, id=0, parent=0, line=None, count=1)),
    lambda item: (item.path, item.call.line, item.call.vmap),
    lambda item: (item.path, item.call.vmap),
    lambda item: item.path,
)


def _finding_key(item: tuple[int, Finding]) -> Hashable:
    finding = item[1]
    return finding.code, finding.function, finding.phase, finding.path


def _matched(
    before: Sequence[_Item], now: Sequence[_Item], keys: Sequence[Callable[[_Item], Hashable]]
) -> tuple[list[tuple[_Item, _Item]], list[_Item], list[_Item]]:
    """Pairs of items with equal keys, the first key first; then the items only in `now`, and those only in `before`."""
    pairs: list[tuple[_Item, _Item]] = []
    new, gone = list(now), list(before)
    for key in keys:
        waiting: dict[Hashable, collections.deque[_Item]] = collections.defaultdict(collections.deque)
        for item in gone:
            waiting[key(item)].append(item)
        unmatched = []
        for item in new:
            candidates = waiting[key(item)]
            if candidates:
                pairs.append((candidates.popleft(), item))
            else:
                unmatched.append(item)
        new = unmatched
        unmatched_ids = {id(item) for candidates in waiting.values() for item in candidates}
        gone = [item for item in gone if id(item) in unmatched_ids]
    return pairs, new, gone


def _shapes(before: Call, now: Call) -> Iterator[Shape]:
    for attribute, column in _PHASES.items():
        old, new = (_types(getattr(call, attribute)) for call in (before, now))
        if old != new:
            yield Shape(now.id, column, old, new)
    if before.vmap != now.vmap:
        yield Shape(now.id, "vmap", (_sizes(before.vmap),), (_sizes(now.vmap),))


def _types(leaves: Leaves | None) -> tuple[str, ...]:
    return ("not run",) if leaves is None else tuple(f"{leaf.path} {short_type(leaf.type)}".strip() for leaf in leaves)


def _sizes(vmap: tuple[int, ...]) -> str:
    return " ".join(map(str, vmap)) or "none"
