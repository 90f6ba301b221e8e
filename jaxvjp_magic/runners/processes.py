"""Run several programs, each in a process of its own, and merge their reports."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic.report import Report
from jaxvjp_magic.runners.merge import merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxvjp_magic.results.model import Call, Finding, NotChecked, ProgramError

    Placed = TypeVar("Placed", Call, Finding, NotChecked, ProgramError)


def run_several(paths: Sequence[Path], options: Sequence[str], arguments: Sequence[str]) -> tuple[Report, list[int]]:
    """The report of all programs, and the exit status of each; each gets the command line's `options`.

    What a program prints, and its own report, is printed below its name.
    """
    reports: list[tuple[str, Report]] = []
    statuses: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            print(f"== {path}", flush=True)
            written = Path(folder) / f"{number}.json"
            command = [sys.executable, "-m", "jaxvjp_magic", str(path), *options, "--json", str(written)]
            completed = subprocess.run([*command, "--", *arguments], check=False)  # noqa: S603 (our own module, with these files)
            statuses.append(completed.returncode)
            try:
                report = _qualified(str(path), Report.from_json(written.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # it could not be run, and said why; or it ended the whole process
                report = Report(notes=(f"{path}: it left no report",), complete=False)
            reports.append((str(path), report))
    return merged(reports), statuses


def _qualified(path: str, report: Report) -> Report:
    """The report with the notebook's path in the places of cells."""
    return dataclasses.replace(
        report,
        calls=tuple(_placed(path, call) for call in report.calls),
        findings=tuple(_placed(path, finding) for finding in report.findings),
        silenced=tuple(_placed(path, finding) for finding in report.silenced),
        not_checked=tuple(_placed(path, entry) for entry in report.not_checked),
        error=None if report.error is None else _placed(path, report.error),
        notes=tuple(f"{path}: {note}" for note in report.notes),
    )


def _placed(path: str, entry: Placed) -> Placed:
    return dataclasses.replace(entry, source=f"{path}, {entry.source}") if entry.source.startswith("In[") else entry
