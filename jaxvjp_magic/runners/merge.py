"""Merge the reports of several cells, or of several programs, into one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, NotChecked, Omitted

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import ProgramError


def merged(reports: list[tuple[str, Report]], error: ProgramError | None = None) -> Report:
    """One report of several: places name their cell or file, ids of calls and indices of findings are renumbered."""
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
            dataclasses.replace(
                finding, source=finding.source or name, calls=tuple(call + first_call for call in finding.calls)
            )
            for finding in report.silenced
        ]
        notes.update(dict.fromkeys(report.notes))
        for entry in report.not_checked:
            source = entry.source or (name if entry.line else "")
            not_checked[dataclasses.replace(entry, source=source)] = None
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
    """The findings, worst first. Of equal ones from several cells the worst is kept: a later cell may be certain."""
    kept: dict[tuple[object, ...], int] = {}
    for index, finding in enumerate(findings):
        key = (finding.code, finding.function, finding.source, finding.line, finding.path)
        first = kept.setdefault(key, index)
        if finding.severity.rank < findings[first].severity.rank:
            kept[key] = index
    order = sorted(kept.values(), key=lambda index: findings[index].severity.rank)
    positions = {index: position for position, index in enumerate(order)}
    return tuple(
        dataclasses.replace(
            findings[index],
            cause_of=tuple(positions[other] for other in findings[index].cause_of if other in positions),
        )
        for index in order
    )
