"""Every check, and whatever makes a report or shows it, is made to raise: one note or one line tells, and no more."""

from __future__ import annotations

import pytest
from faults import FAULT, broken, functions_in, reaching
from recorded import recorded, report_of

MAKING = (
    "checks",
    "analyse",
    "source.program",
    "source.overwrites",
    "source.bindings",
    "source.rule_ast",
    "introspect.names_at_error",
)
NOT_BROKEN = {
    "the guard itself": {
        "checks.engine._Checks.__init__",
        "checks.engine._Checks.__call__",
        "source.program.FileSources.__init__",
    },
    "at the import of the checks": {"checks.register.check"},
    "used while the program runs, by what is broken in test_tracing_faults.py": {
        "source.bindings.loops_around",
        "source.bindings._function_around",
        "source.bindings._stored",
    },
    "a word of arguments.closed_over_values, which is broken": {"checks.view.RecordView.has_leaked"},
    "another's: the session of these tests takes its place": {
        "source.program.FileSources.searched",
        "source.program.FileSources.history",
    },
}


@pytest.fixture(scope="module")
def kept():
    """For each function, what was recorded of the first program whose report needs it."""
    wanted = {name: FUNCTIONS[name] for name in FUNCTIONS.keys() - NAMED}
    found = reaching(wanted, list(recorded().values()), report_of, lambda record: bool(report_of(record).notes))
    return {name: records[0] for name, records in found.items()}


FUNCTIONS = functions_in(*MAKING)
NAMED = {name for some in NOT_BROKEN.values() for name in some}


def test_every_check_is_broken_below_or_said_why_not(kept):
    """A new function needs a program that reaches it, or a reason."""
    assert FUNCTIONS.keys() >= NAMED
    assert FUNCTIONS.keys() - kept.keys() <= NAMED


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - NAMED))
def test_a_fault_in_making_the_report_is_one_note(kept, name):
    """The report comes, with what the other checks find, or with the note alone."""
    whole = report_of(kept[name])
    assert whole.notes == ()
    with broken(FUNCTIONS[name]):
        report = report_of(kept[name])
    assert [FAULT in note for note in report.notes] == [True]
    assert str(report).count(FAULT) == 1
    assert report_of(kept[name]) == whole
