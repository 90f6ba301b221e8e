"""A pytest plugin: every test runs inside an active check, and must not notice.

    python -m pytest -p tests.every_test_checked PATH/TO/jax/tests/custom_api_test.py

Compare the results with those of a run without the plugin. A report that has
notes is a failure of ours and is shown at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jaxvjp_magic import vjpcheck

if TYPE_CHECKING:
    from collections.abc import Generator

notes: dict[str, str] = {}
found: list[str] = []
reports = {"calls": 0, "findings": 0}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run the test's body in a check."""
    with vjpcheck() as report:
        result = yield
    _take(item, report)
    return result


def _take(item: pytest.Item, report: object) -> None:
    for note in report.notes:  # type: ignore[attr-defined]
        notes[item.nodeid] = note
    str(report), report.to_json()  # type: ignore[attr-defined]
    reports["calls"] += len(report.calls)  # type: ignore[attr-defined]
    reports["findings"] += len(report.findings)  # type: ignore[attr-defined]
    for finding in report.findings:  # type: ignore[attr-defined]
        found.append(f"{item.name}: {finding.severity} {finding.code} line {finding.line}: {finding.title}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the checks saw."""
    terminalreporter.write_line(f"checks: {reports['calls']} calls, {reports['findings']} findings, {len(notes)} notes")
    for line in found:
        terminalreporter.write_line(f"  {line}")
    for test, note in notes.items():
        terminalreporter.write_line(f"  {test}: {note}")
