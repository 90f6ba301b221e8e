"""A report with a note about what the check itself could not do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic.record.notes import could_not, one_per_fault

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import ReportData

    R = TypeVar("R", bound=ReportData)


def noted(report: R, what: str, error: Exception) -> R:
    """The report with a note on what could not be done; of one fault of ours there is one note."""
    return dataclasses.replace(report, notes=one_per_fault((*report.notes, could_not(what, error))))
