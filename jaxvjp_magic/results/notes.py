"""From a report and an exception to the report with a note about what the check could not do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic.record.notes import could_not, one_per_fault

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import ReportData

    R = TypeVar("R", bound=ReportData)


def noted(report: R, action: str, error: Exception) -> R:
    """The report with a note that this action failed; the same exception is noted once."""
    return dataclasses.replace(report, notes=one_per_fault((*report.notes, could_not(action, error))))
