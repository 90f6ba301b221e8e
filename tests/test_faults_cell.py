"""Whatever shows a report in a notebook is made to raise: the cells do not notice, and one note or one line tells."""

from __future__ import annotations

import itertools
import re

import pytest
from faults import FAULT, broken, functions_in, reached_by
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jaxvjp_magic.notebook import progress, session
from jaxvjp_magic.rendering.mime import MIME_TYPE, mime_bundle
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity

pytestmark = pytest.mark.any_jax

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
        "report.noted",
        "report.one_a_fault",
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
        "report.Report._repr_mimebundle_",
        "report.Report.reaches",
        "report.Report.raise_if",
        "report.Report.fails",
        "report.Report.ok",
        "report.Report.__bool__",
        "report.Report.__repr__",
        "report.Severity.__lt__",
        "report.Severity.__le__",
        "report.Severity.__gt__",
        "report.Severity.__ge__",
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
        "notebook.session._Going.__init__",
        "notebook.magics.VjpCheckMagics.__init__",
        "notebook.cell_transform.rewriter",
        "notebook.history.Runs.__init__",
        "notebook.display.Screen.__init__",
    },
    "answers the page, when a person clicks": {
        "rendering.widget.ReportWidget._answer",
        "rendering.widget.ReportWidget.close",
        "rendering.widget.ReportWidget.release",
        "rendering.widget_view.View.detail",
    },
}


class Shell(InteractiveShell):
    """A session in this process, for which a front end asks; what is displayed is kept."""

    kernel = object()

    def get_parent(self):
        if not self.cell:  # as in a terminal
            return {}
        return {"metadata": {"cellId": self.cell}, "header": {"msg_id": str(next(self.requests))}}

    def begin(self):
        """As after a restart, for the extension reads earlier cells; and as if each had run once, for it compares."""
        self.history_manager.input_hist_raw[:] = [""]
        self.history_manager.input_hist_parsed[:] = [""]
        self.execution_count = 1
        self.extension._runs._runs = list(self.runs)

    def see(self, cell, name="one"):
        """What a cell gives, raises and prints, without a word of ours; and every word of ours."""
        self.cell = name
        shown = []
        self.display_pub.publish = lambda data=None, **_: shown.append(data)
        result = self.run_cell(cell, store_history=True)
        error = result.error_in_exec or result.error_before_exec
        return (result.result, error and (type(error), re.sub(r"<ipython-input-[^>]*>", "CELL", str(error)))), shown

    requests = itertools.count()


RULE = """
import jax, jax.numpy as jnp, time
f = jax.custom_vjp(lambda x: {0})
f.defvjp(lambda x: ({0}, (x, x * 3)), lambda r, g: ({1},))
"""
USE = "print('said')\ntime.sleep(0.02)\njax.grad(lambda x: f(x).sum())(jnp.ones(3)).tolist()"
OVERWRITTEN = """
f = jax.custom_vjp(lambda x: jnp.dot(x, x))
def fwd(x):
    return f(x), x
f.defvjp(fwd, lambda x, g: (2 * x * g,))
f = jax.vmap(f)
print('said')
jax.vjp(f, jnp.ones((2, 3)))[0].tolist()
"""
CHECK = "%%vjpcheck --no-retrace\n"
FIRST = CHECK + RULE.format("x * 2", "g * 2") + USE
CELLS = (  # the first once more, with another name each time it is not seen as run before
    (FIRST, "one"),
    (CHECK + RULE.format("x * 2", "jnp.ones((3, 3))") + USE, "one"),
    (CHECK + RULE.format("x * jnp.ones(2)[:, None]", "g[0] * 2") + USE, "one"),
    (CHECK + RULE.format("(open('/dev/null', 'w').close(), x * 2)[1]", "g * 2") + USE, "one"),  # not looked at
    (CHECK + "import jax\nprint('said')\njax.grad(lambda x: x)(1.0).tolist()", "one"),
    (CHECK + OVERWRITTEN, "two"),
    (CHECK + "%%capture\n" + OVERWRITTEN, ""),
    (CHECK + OVERWRITTEN.replace("jax.vjp", "%time jax.vjp"), ""),
    ("%vjpcheck on --no-retrace", ""),
    (RULE.format("x * 2", "jnp.ones((3, 3))") + USE, ""),
    ("%vjpcheck off", ""),
)


@pytest.fixture(scope="module")
def shell():
    """A session with the extension; the line of a long cell comes soon, and tracebacks are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "FIRST", 0.001)
        patch.setattr(progress, "EVERY", 0.001)
        shell = Shell.instance(config=Config(HistoryManager={"hist_file": ":memory:"}))
        shell.run_line_magic("xmode", "Minimal")
        shell.extension = session.load(shell)
        yield shell
        session.unload(shell)
        Shell.clear_instance()


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


def in_passing(shell, index):
    """Check every cell from here on, if the cell of this index is not asked for by its first line."""
    is_needed = not CELLS[index][0].startswith("%")
    if is_needed:
        shell.see("%vjpcheck on --no-retrace")
    return is_needed


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
    with broken(FUNCTIONS["rendering.text.render_text"]):
        assert str(report) == f"vjpcheck: could not show the report: RuntimeError: {FAULT}"
        assert FAULT in mime_bundle(report)["text/html"]
