"""Keep the last report of each cell, and compare the next one with it."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING

from jaxvjp_magic.results.diff import compare

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from jaxvjp_magic.report import Report
    from jaxvjp_magic.results.diff import Changes

MOST_RUNS = 50
MOST_CALLS = 20_000  # of all the reports that are kept
_ALIKE = 0.8
_LONG_TEXT = 2000


@dataclasses.dataclass(frozen=True, slots=True)
class _Run:
    cell: str
    text: str
    report: Report


class Runs:
    """The last report of each cell."""

    def __init__(self) -> None:
        """No cell has been checked yet."""
        self._runs: list[_Run] = []  # the last run last

    def add(self, cell: str | None, text: str, report: Report) -> Changes | None:
        """Add a run of a cell: what changed since its last run, or None if this is the first.

        `cell` is the front end's name for it. A terminal has no cells (""): the
        run with the most similar text counts as the last one. Cells without
        names (None), as when a whole notebook is executed, cannot be matched.
        """
        if cell is None:
            return None
        last = next((run for run in self._runs if run.cell == cell), None) if cell else self._most_similar(text)
        self._runs = [run for run in self._runs if run is not last][-(MOST_RUNS - 1) :]
        self._runs.append(_Run(cell, text, report))
        while len(self._runs) > 1 and sum(len(run.report.calls) for run in self._runs) > MOST_CALLS:
            self._runs.pop(0)
        return None if last is None else compare(last.report, report)

    def _most_similar(self, text: str) -> _Run | None:
        best, best_ratio, likeness = None, _ALIKE, _Likeness(text)
        for run in reversed(self._runs):
            if run.cell:
                continue
            if run.text == text:
                return run
            ratio = likeness.more_than(best_ratio, run.text)
            if ratio is not None:
                best, best_ratio = run, ratio
        return best


class _Likeness:
    """How similar texts are to this one, from 0 to 1. Long texts are compared line by line, which is faster."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._characters: difflib.SequenceMatcher[str] = difflib.SequenceMatcher(None, "", text, autojunk=False)
        self._lines: difflib.SequenceMatcher[str] = difflib.SequenceMatcher(None, [], text.splitlines(), autojunk=False)

    def more_than(self, bound: float, other: str) -> float | None:
        """How similar another text is; None if not above `bound`, which mostly shows early."""
        matcher = self._characters
        if len(other) + len(self._text) > _LONG_TEXT:
            matcher = self._lines
            matcher.set_seq1(other.splitlines())
        else:
            matcher.set_seq1(other)
        if matcher.real_quick_ratio() <= bound or matcher.quick_ratio() <= bound:
            return None
        ratio = matcher.ratio()
        return ratio if ratio > bound else None


def cell_name(shell: InteractiveShell) -> str:
    """The front end's name for the cell that runs; "" if it has none, or there is no front end."""
    return str(_parent(shell).get("metadata", {}).get("cellId") or "")


def run_name(shell: InteractiveShell) -> str | None:
    """The same, for `Runs.add`: None if a front end runs cells and does not say which."""
    return cell_name(shell) or (None if _parent(shell) else "")


def request_name(shell: InteractiveShell) -> str:
    """The id of the request that runs the cell; each run has its own."""
    return str(_parent(shell).get("header", {}).get("msg_id") or "")


def _parent(shell: InteractiveShell) -> dict[str, dict[str, object]]:
    parent = shell.get_parent() if hasattr(shell, "get_parent") else None
    return parent if isinstance(parent, dict) else {}
