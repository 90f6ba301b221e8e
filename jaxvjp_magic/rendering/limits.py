"""Choose what of a large report is shown first, and shorten it for a notebook.

Thousands of calls, or a call with thousands of leaves, must not add megabytes to
a notebook. All findings stay, the calls that they are about, and the first of
the other calls. The session keeps the whole report.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.results.model import Leaf, Omitted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.model import Call, Finding, Leaves, ReportData

SAVED_ROWS = 100
SAVED_LEAVES = 4000
SAVED_QUIET = 100  # of the things not checked, and of the silenced findings
_PHASES = ("primals", "nondiff", "outputs", "fwd_outputs", "residuals", "cotangents_in", "cotangents_out")
_LIMITS = (64, 32, 16, 8, 5)  # leaves of one phase; never fewer than a table shows
_SHOWN_OF_FINDING = 3


def kept_calls(report: ReportData, limit: int) -> tuple[Call, ...]:
    """At most `limit` calls, in their order: those that findings are about take precedence, then the first."""
    if len(report.calls) <= limit:
        return report.calls
    kept: set[int] = set()
    for call_id in itertools.chain(_with_findings(report), (call.id for call in report.calls)):
        if len(kept) == limit:
            break
        kept.add(call_id)
    return tuple(call for call in report.calls if call.id in kept)


def _with_findings(report: ReportData) -> Iterator[int]:
    """The ids of the first calls of each finding, each after those of the enclosing calls."""
    by_id = {call.id: call for call in report.calls}
    for finding in report.findings:
        for call_id in finding.calls[:_SHOWN_OF_FINDING]:
            path = []
            call = by_id.get(call_id)
            while call is not None and call.id not in path:  # a damaged report may have a cycle
                path.append(call.id)
                call = by_id.get(call.parent)
            yield from reversed(path)


def named_leaves(report: ReportData) -> dict[int, frozenset[str]]:
    """The key paths that findings name, by call id: these leaves are never left out."""
    named: dict[int, set[str]] = {}
    for finding in report.findings:
        for call_id in finding.calls if finding.path else ():
            named.setdefault(call_id, set()).add(finding.path)
    return {call_id: frozenset(paths) for call_id, paths in named.items()}


def kept_leaves(leaves: Leaves, limit: int, named: frozenset[str]) -> tuple[Leaves, Leaves]:
    """The leaves to show, in their order, and the rest: all named leaves, then the first, up to `limit`."""
    if len(leaves) <= limit:
        return leaves, ()
    first = [i for i, leaf in enumerate(leaves) if leaf.path in named] if named else []
    kept = {*first, *itertools.islice((i for i in range(len(leaves)) if i not in first), max(0, limit - len(first)))}
    shown = tuple(leaf for i, leaf in enumerate(leaves) if i in kept)
    return shown, tuple(leaf for i, leaf in enumerate(leaves) if i not in kept)


def shortened(report: ReportData) -> ReportData:
    """The report as it is saved: of bounded size, whatever the program did. A small report stays as it is."""
    calls = kept_calls(report, SAVED_ROWS)
    ids = {call.id for call in calls}
    named = named_leaves(report)
    limit = next((limit for limit in _LIMITS if _leaves(calls, limit) <= SAVED_LEAVES), _LIMITS[-1])
    before = report.omitted or Omitted()
    omitted = Omitted(
        before.rows + len(report.calls) - len(calls),
        before.calls + sum(call.count for call in report.calls) - sum(call.count for call in calls),
        before.not_checked + max(0, len(report.not_checked) - SAVED_QUIET),
    )

    def without_calls_outside(finding: Finding) -> Finding:
        return dataclasses.replace(finding, calls=tuple(call_id for call_id in finding.calls if call_id in ids))

    return dataclasses.replace(
        report,
        calls=tuple(_with_fewer_leaves(call, limit, named.get(call.id, frozenset())) for call in calls),
        findings=tuple(map(without_calls_outside, report.findings)),
        omitted=omitted if omitted != Omitted() else None,
        not_checked=report.not_checked[:SAVED_QUIET],
        silenced=tuple(map(without_calls_outside, report.silenced)),
    )


def _leaves(calls: tuple[Call, ...], limit: int) -> int:
    return sum(min(len(getattr(call, phase) or ()), limit) for call in calls for phase in _PHASES)


def _with_fewer_leaves(call: Call, limit: int, named: frozenset[str]) -> Call:
    shorter: dict[str, Any] = {
        phase: _fewer(leaves, limit, named) for phase in _PHASES if len(leaves := getattr(call, phase) or ()) > limit
    }
    return dataclasses.replace(call, **shorter) if shorter else call


def _fewer(leaves: Leaves, limit: int, named: frozenset[str]) -> Leaves:
    if leaves[-1].more and len(leaves) - 1 <= max(limit, sum(leaf.path in named for leaf in leaves)):
        return leaves  # it has been shortened before
    shown, rest = kept_leaves(leaves, limit - 1, named)
    count = sum(leaf.more or 1 for leaf in rest)
    sizes = [leaf.bytes for leaf in rest if leaf.bytes is not None]
    return (*shown, Leaf(bytes=sum(sizes) if sizes else None, more=count, note=f"and {count} more"))
