"""What of a large report is shown first, and what is saved with a notebook.

Thousands of calls, or a call with thousands of leaves, must not make a notebook
of megabytes: all findings stay, and the calls that they are about, and the
first of the others. The whole report is in the session.
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
SAVED_QUIET = 100  # of what was not looked at, and of what was silenced
_PHASES = ("primals", "nondiff", "outputs", "fwd_outputs", "residuals", "cotangents_in", "cotangents_out")
_LIMITS = (64, 32, 16, 8, 5)  # of the leaves of one phase; never fewer than a table shows
_SHOWN_OF_FINDING = 3


def kept_calls(report: ReportData, most: int) -> tuple[Call, ...]:
    """At most so many calls, in their order: those that findings are about, then the first."""
    if len(report.calls) <= most:
        return report.calls
    kept: set[int] = set()
    for number in itertools.chain(_with_findings(report), (call.id for call in report.calls)):
        if len(kept) == most:
            break
        kept.add(number)
    return tuple(call for call in report.calls if call.id in kept)


def _with_findings(report: ReportData) -> Iterator[int]:
    """The first calls of each finding, each after the calls around it."""
    by_id = {call.id: call for call in report.calls}
    for finding in report.findings:
        for number in finding.calls[:_SHOWN_OF_FINDING]:
            around = []
            call = by_id.get(number)
            while call is not None and call.id not in around:  # a damaged report may have a circle
                around.append(call.id)
                call = by_id.get(call.parent)
            yield from reversed(around)


def named_leaves(report: ReportData) -> dict[int, frozenset[str]]:
    """For each call that findings are about, the key paths that they name: these leaves are never left out."""
    named: dict[int, set[str]] = {}
    for finding in report.findings:
        for call in finding.calls if finding.path else ():
            named.setdefault(call, set()).add(finding.path)
    return {call: frozenset(paths) for call, paths in named.items()}


def kept_leaves(leaves: Leaves, most: int, named: frozenset[str]) -> tuple[Leaves, Leaves]:
    """So many leaves, in their order, and the rest: those that are named, then the first."""
    if len(leaves) <= most:
        return leaves, ()
    wanted = [i for i, leaf in enumerate(leaves) if leaf.path in named] if named else []
    kept = {*wanted, *itertools.islice((i for i in range(len(leaves)) if i not in wanted), max(0, most - len(wanted)))}
    shown = tuple(leaf for i, leaf in enumerate(leaves) if i in kept)
    return shown, tuple(leaf for i, leaf in enumerate(leaves) if i not in kept)


def shortened(report: ReportData) -> ReportData:
    """The report as it is saved: bounded, whatever the program did; the same report where it is small."""
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
        return dataclasses.replace(finding, calls=tuple(number for number in finding.calls if number in ids))

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
    long: dict[str, Any] = {
        phase: _fewer(leaves, limit, named) for phase in _PHASES if len(leaves := getattr(call, phase) or ()) > limit
    }
    return dataclasses.replace(call, **long) if long else call


def _fewer(leaves: Leaves, limit: int, named: frozenset[str]) -> Leaves:
    if leaves[-1].more and len(leaves) - 1 <= max(limit, sum(leaf.path in named for leaf in leaves)):
        return leaves  # it has been shortened before
    shown, rest = kept_leaves(leaves, limit - 1, named)
    number = sum(leaf.more or 1 for leaf in rest)
    sizes = [leaf.bytes for leaf in rest if leaf.bytes is not None]
    return (*shown, Leaf(bytes=sum(sizes) if sizes else None, more=number, note=f"and {number} more"))
