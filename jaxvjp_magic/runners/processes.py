"""Run several programs, each in a process of its own, and bring their reports together."""

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
    """The report of all of them, and how each ended; `options` are those of the command line, for each.

    What a program prints, and its own report, goes where it always goes, below its name.
    """
    reports: list[tuple[str, Report]] = []
    ended: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate(paths):
            print(f"== {path}", flush=True)
            written = Path(folder) / f"{number}.json"
            command = [sys.executable, "-m", "jaxvjp_magic", str(path), *options, "--json", str(written)]
            done = subprocess.run([*command, "--", *arguments], check=False)  # noqa: S603 (it is us, with these files)
            ended.append(done.returncode)
            try:
                report = _told_apart(str(path), Report.from_json(written.read_text(encoding="utf-8")))
            except (OSError, ValueError):  # it could not be run, and has said why; or it took the whole process along
                report = Report(notes=(f"{path}: it left no report",), complete=False)
            reports.append((str(path), report))
    return merged(reports), ended


def _told_apart(path: str, report: Report) -> Report:
    """The report with places in cells that say in which notebook."""
    return dataclasses.replace(
        report,
        calls=tuple(_placed(path, call) for call in report.calls),
        findings=tuple(_placed(path, finding) for finding in report.findings),
        silenced=tuple(_placed(path, finding) for finding in report.silenced),
        not_checked=tuple(_placed(path, left_out) for left_out in report.not_checked),
        error=None if report.error is None else _placed(path, report.error),
        notes=tuple(f"{path}: {note}" for note in report.notes),
    )


def _placed(path: str, one: Placed) -> Placed:
    return dataclasses.replace(one, source=f"{path}, {one.source}") if one.source.startswith("In[") else one
