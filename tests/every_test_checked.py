"""A pytest plugin: every test runs inside an active check, and must not notice.

    python -m pytest -p tests.every_test_checked PATH/TO/jax/tests/custom_api_test.py

Compare the results with those of a run without the plugin. A report that has
notes is a failure of ours and is shown at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jaxvjp_magic import Report, vjpcheck

if TYPE_CHECKING:
    from collections.abc import Generator

notes: dict[str, str] = {}
found: list[str] = []
reports = {"calls": 0, "findings": 0}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Run the test's body in a check."""
    report = Report()
    try:
        with vjpcheck() as report:
            return (yield)
    finally:
        _take(item, report)


def _take(item: pytest.Item, report: Report) -> None:
    for note in report.notes:
        notes[item.nodeid] = note
    assert str(report)
    assert Report.from_json(report.to_json()) == report
    # Travels with the test's result, from other processes and into a results file, too.
    item.user_properties.append(("checked calls", len(report.calls)))
    item.user_properties.extend(("check note", note) for note in report.notes)
    reports["calls"] += len(report.calls)
    reports["findings"] += len(report.findings)
    found.extend(
        f"{item.name}: {finding.severity} {finding.code} line {finding.line}: {finding.title}"
        for finding in report.findings
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the checks saw."""
    terminalreporter.write_line(f"checks: {reports['calls']} calls, {reports['findings']} findings, {len(notes)} notes")
    for line in found:
        terminalreporter.write_line(f"  {line}")
    for test, note in notes.items():
        terminalreporter.write_line(f"  {test}: {note}")
