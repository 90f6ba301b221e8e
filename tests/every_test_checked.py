"""A pytest plugin: every test runs inside an active check, and must not notice.

    PYTHONPATH=tests python -m pytest -p every_test_checked PATH/TO/jax/tests/custom_api_test.py

`docs/neutrality.py` compares the results with those of a run without the
plugin. A report that has notes is a failure of ours and is shown at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jaxvjp_magic import Report, Severity, vjpcheck

if TYPE_CHECKING:
    from collections.abc import Generator

CALLS, NOTE, FINDING = "checked calls", "check note", "check finding"
notes: list[str] = []
found: list[str] = []
calls: list[int] = []


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
    assert str(report)
    assert Report.from_json(report.to_json()) == report
    # Travels with the test's result, from other processes and into a results file, too.
    item.user_properties.append((CALLS, len(report.calls)))
    item.user_properties.extend((NOTE, note) for note in report.notes)
    item.user_properties.extend(
        (FINDING, f"{one.severity} {one.code} line {one.line}: {one.title}")
        for one in report.findings
        if one.severity is not Severity.NOTE
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather what the checks told, of other processes too."""
    if report.when != "teardown":
        return
    for name, value in report.user_properties:
        if name == CALLS:
            calls.append(int(str(value)))
        elif name in (NOTE, FINDING):
            (notes if name == NOTE else found).append(f"  {report.nodeid}: {value}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the checks saw."""
    terminalreporter.write_line(f"checks: {sum(calls)} calls, {len(found)} errors and warnings, {len(notes)} notes")
    for line in (*found, *notes):
        terminalreporter.write_line(line)
