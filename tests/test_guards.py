"""Whatever of ours fails, the user's program goes on and one note says so: tested where that is kept, at the guards.

`python -m pytest tests/exhaustive` breaks every function of ours instead, one at a time.
"""

from __future__ import annotations

import inspect

import pytest
from cells import CELLS, FIRST, session_with_checks
from fault_programs import HAS_CUSTOM_VJP3, HAS_HIJAX, PROGRAMS, options_of, outcome, raising, right
from faults import FAULT, broken, reaching, standing
from recorded import recorded, report_of

from jaxvjp_magic import analyse
from jaxvjp_magic.checks import register
from jaxvjp_magic.instrument import compile_time, hooks, tracer
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.recording.recorder import Recorder
from jaxvjp_magic.rendering import html, limits, mime, text, widget
from jaxvjp_magic.rendering.report_view import ReportView
from jaxvjp_magic.report import Report
from jaxvjp_magic.results import diff
from jaxvjp_magic.results.model import Call, Finding, Severity
from jaxvjp_magic.retracing import rerun
from jaxvjp_magic.verify import compare, nan_origin

# What the hooks tell the recorder, and what the tracer asks for before, while and after the program runs.
TOLD = [one for name, one in inspect.getmembers(Recorder, inspect.isfunction) if not name.startswith("_")]
TOLD.remove(Recorder.untraced)  # of some versions and flags alone
if not HAS_HIJAX:
    TOLD = [one for one in TOLD if "primitive" not in one.__name__]
if not HAS_CUSTOM_VJP3:
    TOLD.remove(Recorder.primal_traced)
ASKED = [
    compile_time.Compilation.__init__,
    hooks.Hooks.listen,
    compare.verify_all,
    nan_origin.began,
    rerun.judged,
    internals.aval_of,
]


@pytest.fixture(scope="module")
def reached():
    """For each function the first program that runs it, and all that raise."""

    def run(program):
        return outcome(program, **options_of(program))[1]

    wanted = {one.__qualname__: one for one in (*TOLD, *ASKED)}
    found = reaching(wanted, PROGRAMS, run, lambda program: bool(run(program).notes))
    return {name: [some[0], *(one for one in some[1:] if one is raising)] for name, some in found.items()}


@pytest.mark.parametrize("function", [*TOLD, *ASKED], ids=lambda one: one.__qualname__)
def test_a_fault_while_the_program_runs_is_one_note(reached, function, capsys):
    """Value, exception, traceback and output are the program's own, JAX is as before, and the next check is clean."""
    before = standing()
    for program in reached[function.__qualname__]:
        plain, _ = outcome(program)
        with broken(function):
            got, report = outcome(program, **options_of(program))
        assert got == plain
        assert standing() == before
        assert [FAULT in note for note in report.notes] == [True]
    said = capsys.readouterr()
    assert (said.out.replace("said\n", ""), said.err) == ("", "")
    got, report = outcome(right, verify=False)
    assert (got, report.notes, len(report.calls)) == (outcome(right)[0], (), 2)


@pytest.fixture(scope="module")
def kept():
    return recorded()


@pytest.mark.any_jax
@pytest.mark.xdist_group("recorded")
@pytest.mark.parametrize("index", range(len(register.CHECKS)), ids=lambda i: register.CHECKS[i].function.__name__)
def test_a_fault_in_a_check_costs_what_that_check_finds(monkeypatch, kept, index):
    """One note names it; the others find what they find."""
    check = register.CHECKS[index]
    record = kept[check.codes[0]]
    whole = report_of(record)

    def fault(_):
        raise RuntimeError(FAULT)
        yield

    fault.__name__ = check.function.__name__
    others = [*register.CHECKS]
    others[index] = register.Check(fault, check.codes, check.of_each_call, check.only_unexplained)
    monkeypatch.setattr("jaxvjp_magic.checks.engine.CHECKS", others)
    report = report_of(record)
    assert report.notes == (f"a check failed ({check.function.__name__}): RuntimeError: {FAULT}",)
    assert whole.notes == ()
    left = {finding.code for finding in whole.findings} - set(check.codes)
    assert left <= {finding.code for finding in report.findings}


@pytest.mark.any_jax
@pytest.mark.parametrize(
    ("function", "left"),
    [
        (text.text_of, {"text/html", mime.MIME_TYPE, "text/plain"}),
        (html.html_of, {"text/plain", mime.MIME_TYPE}),
        (limits.shortened, {"text/plain", "text/html"}),
        (ReportView.__init__, {"text/plain", mime.MIME_TYPE}),
    ],
    ids=["text", "html", "data", "view"],
)
def test_a_form_that_cannot_be_made_is_left_out_and_the_others_say_so(function, left):
    """Where not even the text can be made, it is one line."""
    report = Report(findings=(Finding("VJP101", Severity.ERROR, "title", "message"),), calls=(Call(1, "vjp", "f"),))
    with broken(function):
        bundle = mime.mime_bundle(report)
    assert bundle.keys() == left
    assert bundle["text/plain"].count(FAULT) == 1
    assert bundle.get("text/html", FAULT).count(FAULT) == 1


@pytest.mark.any_jax
@pytest.mark.parametrize(
    "function",
    [
        tracer.Tracer.start, tracer.Tracer.stop, analyse.build_report, diff.compare, mime.mime_bundle,
        mime.with_widget, widget.ReportWidget.__init__, widget.ProgressWidget.__init__,
    ],
    ids=lambda one: one.__qualname__,
)  # fmt: skip
def test_a_fault_in_a_cell_is_one_note_or_line(function, capsys):
    """The cell gives, raises and prints what it always does; the next cell and its report are whole."""
    with session_with_checks() as shell:
        plain = [shell.see(*cell)[0] for cell in CELLS[:2]]
        capsys.readouterr()
        with broken(function):
            found = [shell.see(*cell) for cell in CELLS[:2]]
        printed = capsys.readouterr()
        assert [got for got, _ in found] == plain
        told = [line for line in printed.out.splitlines() if FAULT in line]
        told += [
            line
            for _, shown in found
            for data in shown
            for line in data.get("text/plain", "").splitlines()
            if FAULT in line
        ]
        assert 1 <= len(told) <= len(found)
        assert all(line.startswith(("vjpcheck: could not ", "note: could not ")) for line in told)
        assert FAULT not in printed.err
        got, shown = shell.see(FIRST, "one")
        assert got == plain[0]
        assert [mime.MIME_TYPE in data for data in shown] == [True]
        assert FAULT not in shown[0]["text/plain"]
