"""Whatever shows a report in a notebook is made to raise: the cells do not notice, and one note or one line tells."""

from __future__ import annotations

import pytest
from cells import CELLS, FIRST, in_passing, session_with_checks
from faults import FAULT, broken, functions_in, reached_by

from jaxvjp_magic.rendering.mime import MIME_TYPE, mime_bundle
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity

MODULES = (
    "rendering",
    "results.diff",
    "report",
    "notebook.display",
    "notebook.history",
    "notebook.cells",
    "notebook.progress",
    "notebook.session",
    "notebook.magics",
    "notebook.cell_transform",
)
NOT_BROKEN = {
    "the guard itself": {
        "notebook.session.Extension._could_not",
        "notebook.display.Screen.could_not",
        "notebook.session._RunningCheck.finish",
        "notebook.cell_transform._unchecked",
        "notebook.progress.Progress._run",
    },
    "broken in the tests of large reports below": {
        "rendering.limits._fewer",
        "rendering.limits._with_findings",
        "report.Report.__str__",
        "results.diff._sizes",
    },
    "a person asked for just this, and is told": {
        "notebook.magics.VjpCheckMagics.options",
        "notebook.magics.VjpCheckMagics._ignore",
        "notebook.magics._explain",
        "notebook.magics._cache",
        "notebook.magics.VjpCheckMagics._command",
        "notebook.magics.VjpCheckMagics._run",
        "notebook.magics._AlreadyShownError._render_traceback_",
        "notebook.session.FindingsError._render_traceback_",
        "notebook.session.Extension._fail",
        "notebook.session.Extension.run_inside",
        "notebook.session.Extension.check_every_cell",
        "notebook.session.Extension.ask",
        "notebook.session.Extension.parse",
        "report.Report.from_json",
        "report.Report.to_json",
        "report.Report._repr_mimebundle_",
        "report.Report.raise_if",
        "report.Report.__repr__",
    },
    "a cell that did not run": {"notebook.session._asks_for_check"},
    "IPython's way in: it shows a traceback, and runs the cell": {
        "notebook.session.Extension._before_cell",
        "notebook.session.Extension._after_cell",
        "notebook.magics.VjpCheckMagics.vjpcheck",
        "notebook.session.Extension.begin",
    },
    "runs when the extension is loaded or unloaded": {
        "notebook.session.load",
        "notebook.session.unload",
        "notebook.session.tell_of_jax",
        "notebook.session.Extension.__init__",
        "notebook.session.Extension.register",
        "notebook.session.Extension.unregister",
        "notebook.session._ChecksInProgress.__init__",
        "notebook.magics.VjpCheckMagics.__init__",
        "notebook.cell_transform.rewriter",
        "notebook.history.Runs.__init__",
        "notebook.display.Screen.__init__",
    },
    "answers the page, when a person clicks": {
        "rendering.widget.ReportWidget._answer",
        "rendering.widget.ReportWidget.close",
        "rendering.widget.ReportWidget.release",
        "rendering.widget_view.WidgetView.detail",
    },
}


@pytest.fixture(scope="module")
def shell():
    with session_with_checks() as shell:
        yield shell


FUNCTIONS = functions_in(*MODULES)
NAMED = {name for some in NOT_BROKEN.values() for name in some}


@pytest.fixture(scope="module")
def plain(shell):
    """What each cell gives, and the cells that run a function: by its name, the first."""
    found, seen = {}, {}
    for index in range(len(CELLS)):
        for _ in range(2):  # in some runs Python tells the profiler nothing of a call
            codes = reached_by(lambda index=index: seen.update({index: shell.see(*CELLS[index])[0]}))
            for one, function in FUNCTIONS.items():
                if function.__code__ in codes:
                    found.setdefault(one, index)
    shell.runs = shell.extension._runs._runs
    return found, seen


def test_whatever_shows_a_report_is_broken_below_or_said_why_not(plain):
    """A new function needs a cell that reaches it, or a reason."""
    assert FUNCTIONS.keys() >= NAMED
    assert FUNCTIONS.keys() - plain[0].keys() <= NAMED


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - NAMED))
def test_a_fault_in_showing_a_report_is_one_note_or_line(shell, plain, name, capsys):
    """The cell gives, raises and prints what it always does; the next cell and its report are whole."""
    found, seen = plain
    index = found[name]
    cell, cell_name = CELLS[index]
    shell.begin()
    before = in_passing(shell, index)
    capsys.readouterr()
    with broken(FUNCTIONS[name]):
        got, shown = shell.see(cell, cell_name)
    printed = capsys.readouterr()
    assert got == seen[index]
    told = [line for line in printed.out.splitlines() if FAULT in line]
    told += [line for data in shown for line in data.get("text/plain", "").splitlines() if FAULT in line]
    assert len(told) == 1, (told, shown, printed)
    assert told[0].startswith(("vjpcheck: could not ", "note: could not ", "note: a check failed "))
    assert FAULT not in printed.err
    if before:
        shell.see("%vjpcheck off")
    got, shown = shell.see(FIRST, "one")
    assert got == seen[0]
    assert [MIME_TYPE in data for data in shown] == [True]
    assert FAULT not in shown[0]["text/plain"]


def test_a_fault_in_showing_a_large_report_is_one_note():
    """What is saved of a report with many calls and leaves is made by functions that small ones do not need."""
    leaves = tuple(Leaf(f"[{i}]", "float32[3]", 12) for i in range(200))
    calls = tuple(Call(i, "vjp", "f", primals=leaves, vmap=(i,)) for i in range(1, 300))
    report = Report(findings=(Finding("VJP101", Severity.ERROR, "title", "message", calls=(280,)),), calls=calls)
    for name in ("rendering.limits._fewer", "rendering.limits._with_findings", "rendering.limits.shortened"):
        with broken(FUNCTIONS[name]):
            bundle = mime_bundle(report)
        assert bundle["text/plain"].count(FAULT) == bundle.get("text/html", FAULT).count(FAULT) == 1
        assert MIME_TYPE not in bundle
    with broken(FUNCTIONS["rendering.text.text_of"]):
        assert str(report) == f"vjpcheck: could not show the report: RuntimeError: {FAULT}"
        assert FAULT in mime_bundle(report)["text/html"]
