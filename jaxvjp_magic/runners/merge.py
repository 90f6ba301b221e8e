"""One report of what several cells, or several programs, reported."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, NotChecked, Omitted

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import ProgramError


def merged(reports: list[tuple[str, Report]], error: ProgramError | None = None) -> Report:
    """One report of several; places say in which cell or file they are, and ids and indices count through."""
    calls: list[Call] = []
    findings: list[Finding] = []
    silenced: list[Finding] = []
    notes: dict[str, None] = {}
    not_checked: dict[NotChecked, None] = {}
    more_not_checked = 0
    for name, report in reports:
        first_call, first_finding = len(calls), len(findings)
        calls += [
            dataclasses.replace(
                call,
                id=call.id + first_call,
                parent=call.parent + first_call if call.parent else 0,
                source=call.source or name,
            )
            for call in report.calls
        ]
        findings += [
            dataclasses.replace(
                finding,
                source=finding.source or name,
                calls=tuple(call + first_call for call in finding.calls),
                cause_of=tuple(other + first_finding for other in finding.cause_of),
            )
            for finding in report.findings
        ]
        silenced += [
            dataclasses.replace(one, source=one.source or name, calls=tuple(call + first_call for call in one.calls))
            for one in report.silenced
        ]
        notes.update(dict.fromkeys(report.notes))
        for left in report.not_checked:
            source = left.source or (name if left.line else "")
            not_checked[dataclasses.replace(left, source=source)] = None
        more_not_checked += report.omitted.not_checked if report.omitted else 0
        if report.error is not None:
            error = dataclasses.replace(report.error, source=report.error.source or name)
    version = next((report.jax for _, report in reports if report.jax), "")
    return Report(
        version,
        _ordered(findings),
        tuple(calls),
        error,
        tuple(notes),
        Omitted(not_checked=more_not_checked) if more_not_checked else None,
        tuple(not_checked),
        complete=all(report.complete for _, report in reports),
        silenced=_ordered(silenced),
    )


def _ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first, and once what several cells show: a later cell may know it for certain."""
    known: dict[tuple[object, ...], int] = {}
    for index, one in enumerate(findings):
        key = (one.code, one.function, one.source, one.line, one.path)
        first = known.setdefault(key, index)
        if one.severity.rank < findings[first].severity.rank:
            known[key] = index
    order = sorted(known.values(), key=lambda index: findings[index].severity.rank)
    place = {index: position for position, index in enumerate(order)}
    return tuple(
        dataclasses.replace(
            findings[index], cause_of=tuple(place[other] for other in findings[index].cause_of if other in place)
        )
        for index in order
    )
