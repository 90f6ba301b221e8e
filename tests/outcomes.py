"""A pytest plugin: the outcome of each test, by its id, in one JSON file.

    python -m pytest -p outcomes --outcomes RESULTS.json PATH/TO/TESTS

A test is passed, failed, error (before or after its body), skipped, xfailed or
xpassed; of one that failed, the exception's type is told too. What
`every_test_checked` adds to a test's result is in the file as well.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

EXCEPTION, NOT_COLLECTED = "exception", "not collected"
_WORST_FIRST = ("error", "failed", "xpassed", "xfailed", "skipped", "passed")
results: dict[str, dict[str, Any]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where to write, and what tests of another release may import."""
    parser.addoption("--outcomes", metavar="PATH", help="write each test's outcome to this JSON file")
    parser.addoption(
        "--absent", action="append", default=[], metavar="MODULE:NAME[=NOW]", help="a name to be had nevertheless"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Where a name is absent, put what it is called now, or an empty class, so that what does without it can run."""
    for one in config.getoption("--absent"):
        where, _, now = one.partition("=")
        module, _, name = where.partition(":")
        known = importlib.import_module(module)
        if not hasattr(known, name):
            empty = type(name, (), {"__init__": lambda *_, **__: None})
            setattr(known, name, getattr(known, now) if now else empty)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Tell the exception's type, which otherwise does not leave this process."""
    report = yield
    if call.excinfo is not None and report.failed:
        report.user_properties.append((EXCEPTION, call.excinfo.typename))
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst outcome of a test's phases, and of its subtests."""
    known = results.setdefault(report.nodeid, {"outcome": "passed", EXCEPTION: "", "told": []})
    outcome = _outcome(report)
    if _WORST_FIRST.index(outcome) < _WORST_FIRST.index(known["outcome"]):
        known["outcome"] = outcome
    if report.failed:
        known[EXCEPTION] = next((value for name, value in report.user_properties if name == EXCEPTION), "")
    if report.when == "teardown":  # all that was told of the test has come by then
        known["told"] = [[name, value] for name, value in report.user_properties if name != EXCEPTION]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be read counts as a test, so that it is not passed over."""
    if report.failed:
        results[report.nodeid] = {"outcome": NOT_COLLECTED, EXCEPTION: "", "told": []}


def _outcome(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.failed:
        return "failed" if report.when == "call" else "error"
    return report.outcome


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the file; with workers, the process that started them does."""
    path = session.config.getoption("--outcomes")
    if path and not hasattr(session.config, "workerinput"):
        Path(path).write_text(json.dumps(results, indent=1), encoding="utf-8")
