"""Put the findings of a report in the order in which they are shown: each cause with what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.model import ReportData


def groups(report: ReportData) -> Iterator[tuple[int, list[int]]]:
    """Each finding once: the index of a cause, and those of the findings that follow from it."""
    caused = {effect for finding in report.findings for effect in finding.cause_of}
    seen: set[int] = set()
    indices = range(len(report.findings))
    # The second pass is for findings that name each other as their cause.
    for index in [*(index for index in indices if index not in caused), *indices]:
        if index not in seen:
            seen.add(index)
            yield index, list(_followers(report, index, seen))


def _followers(report: ReportData, index: int, seen: set[int]) -> Iterator[int]:
    for effect in report.findings[index].cause_of:
        if effect in range(len(report.findings)) and effect not in seen:
            seen.add(effect)
            yield effect
            yield from _followers(report, effect, seen)
