"""What the widget is given, what is saved, and when there is no widget. What it shows is in `browser`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
import threading

import pytest
from browser_reports import large_model
from conftest import LOAD
from test_html import HOSTILE, LEFT_OUT, SEED, _report_of

from jaxvjp_magic.notebook import progress
from jaxvjp_magic.rendering import diagram
from jaxvjp_magic.rendering.cells import fitted
from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.limits import SAVED_ROWS, kept_calls, shortened
from jaxvjp_magic.rendering.mime import MIME_TYPE, full_data, mime_bundle, with_widget
from jaxvjp_magic.rendering.report_view import ReportView
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.rendering.widget import ReportWidget, script, style
from jaxvjp_magic.rendering.widget_view import WidgetView
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Omitted, Severity

pytestmark = pytest.mark.any_jax

WIDGET_TYPE = "application/vnd.jupyter.widget-view+json"
MANY = Report(
    findings=(Finding("VJP101", Severity.ERROR, "title", "reason", calls=(4000, *range(4001, 4900))),),
    calls=tuple(
        Call(
            i, "custom_vjp", f"f{i}", parent=3999 if i == 4000 else 0, count=2, vmap=(10,),
            primals=tuple(Leaf(f"params['layer{j}']", f"float32[{i},{j}]", 4 * i * j) for j in range(1, 20)),
            residuals=(Leaf("", f"float32[{i}]", 4 * i),),
        )
        for i in range(1, 5001)
    ),
)  # fmt: skip


def test_what_is_saved_of_thousands_of_calls_is_small():
    """Every form together, and each of them, far below a megabyte."""
    bundle = mime_bundle(MANY)
    sizes = {kind: len(json.dumps(data)) for kind, data in bundle.items()}
    state = WidgetView(MANY).saved()
    assert max(sizes.values()) < 400_000
    assert len(json.dumps(state)) < 500_000
    assert len(script() + style()) < 50_000
    assert len(bundle["text/html"].encode()) <= 30_000


def test_the_saved_form_has_the_findings_and_their_calls_and_counts_the_rest():
    """A call that a finding is about is kept wherever it stands, with the calls around it."""
    short = shortened(MANY)
    assert short.findings[0].code == "VJP101"
    assert [call.id for call in short.calls][-4:] == [3999, 4000, 4001, 4002]
    assert len(short.calls) == SAVED_ROWS
    assert short.omitted == Omitted(4900, 9800)
    assert short.findings[0].calls == (4000, 4001, 4002)
    assert full_data(short)["omitted"] == {"rows": 4900, "calls": 9800}
    assert Report.from_json(short.to_json()) == short
    for form in (mime_bundle(MANY)["text/plain"], mime_bundle(short)["text/plain"]):
        assert form.startswith("vjpcheck: 1 error, 10,000 calls")
        assert "... and 4,950 more calls" in form


def test_a_small_report_is_saved_whole():
    """Nothing is left out, and nothing says so."""
    assert shortened(SEED) == SEED
    assert mime_bundle(SEED)[MIME_TYPE] == full_data(SEED)


def test_what_was_not_looked_at_is_saved_as_it_is_said():
    """In the widget's state and in the data, and in neither where all was looked at."""
    for report in (LEFT_OUT, SEED):
        widget = ReportWidget(report)
        state, data = widget.report["quiet"], mime_bundle(report)[MIME_TYPE].get("not_checked")
        widget.close()
        assert (not state) == (data is None) == (report is SEED)
        if state:
            assert [one["summary"] in mime_bundle(report)["text/plain"].splitlines() for one in state] == [True]
            assert [one["what"] for one in data] == ["output", "residuals", "calls"]


def test_leaves_without_end_are_counted():
    """Ten thousand parameters are a few, and the number and the bytes of the others; shortening twice is once."""
    leaves = tuple(Leaf(f"[{i}]", "float32[2]", 8) for i in range(10_000))
    report = Report(calls=(Call(1, "vjp", "f", primals=leaves, residuals=leaves),))
    short = shortened(report)
    assert short.calls[0].residual_bytes == 80_000
    assert len(short.calls[0].primals or ()) == 64
    assert "and 9996 more" in mime_bundle(short)["text/plain"]
    assert mime_bundle(short)["text/plain"] == mime_bundle(report)["text/plain"]
    assert shortened(short) == short


WRONG, NARROW = "params['layer_073']['w']", "params['layer_091']['b']"


def test_the_leaves_that_findings_name_are_never_left_out():
    """Of 200: in the text, on the page, in the picture, in the table of leaves, whole and saved, and as JSON."""
    report = large_model()
    findings = {one.path: one for one in report.findings}
    assert findings.keys() == {WRONG, NARROW}
    number = findings[WRONG].calls[0]
    for one in (report, shortened(report), Report.from_json(json.dumps(mime_bundle(report)[MIME_TYPE]))):
        (row,) = (row for row in ReportView(one).rows if row.id == number)
        gradients = row.cells["gradients"]
        assert gradients.lines[gradients.marked] == f"{WRONG} f32[3,4]"
        assert gradients.lines[-3:] == (f"{WRONG} f32[3,4]", f"{NARROW} bf16[3]", "and 197 more")
        assert f"{WRONG} f32[4,3]" in row.cells["primals"].lines
        assert "layer_073']['w'] f32[3,4]" in render_text(one)
        assert "073&#x27;][&#x27;w&#x27;] f32[3,4]" in render_html(one)
        assert any("['w'] f32[3,4]" in line for box in diagram.scene(row).boxes for line in box.lines)
        view = WidgetView(one)
        for detail in (view.detail(row), next(row for row in view.saved()["rows"] if row["id"] == number)["detail"]):
            marked = [leaf for leaf in detail["leaves"] if leaf.get("mark")]
            assert marked == [
                {"phase": "gradients", "path": WRONG, "expected": "f32[4,3]", "got": "f32[3,4]", "mark": "error"},
                {"phase": "gradients", "path": NARROW, "expected": "f32[3]", "got": "bf16[3]", "mark": "error"},
            ]


def test_a_path_loses_its_middle_and_never_its_type():
    """What is narrow shows where it begins and ends."""
    line = "params['encoder']['layer_12']['attention']['query']['kernel'] f32[768,12,64]"
    assert fitted(line, 40) == "params['enco…']['kernel'] f32[768,12,64]"
    assert [len(fitted(line, width)) for width in (30, 40, 60)] == [30, 40, 60]
    assert fitted("x" * 50, 40) == "x" * 39 + "…"
    assert fitted("x f32[3]", 40) == "x f32[3]"


def test_calls_in_a_circle_are_shown():
    """A damaged report has an end, too."""
    calls = tuple(Call(i, "vjp", "f", parent=3 - i if i < 3 else 0) for i in range(1, 60))
    report = Report(findings=(Finding("X", Severity.ERROR, "", "", calls=(1,)),), calls=calls)
    assert {1, 2} <= {call.id for call in kept_calls(report, 5)}


def test_the_widgets_rows_are_those_of_the_report():
    """All of them on request, with the details of one."""
    view = WidgetView(MANY)
    assert len(view.rows) == 5000
    row = view.row(view.rows[3999])
    assert row["severities"] == ["error"]
    assert row["held"] == 160_000
    assert row["cells"]["memory"] == {"lines": ["10 × 16.0 kB"]}  # noqa: RUF001 (a sign of multiplication)
    assert len(view.detail(view.rows[3999])["leaves"]) == 20


def test_the_widget_answers_while_it_has_the_report():
    """Rows in portions, one call's details; nothing once it has let go, nothing for nonsense."""
    widget = ReportWidget(MANY)
    sent = []
    widget.send = sent.append
    widget._answer(widget, {"kind": "rows"}, [])
    assert [message["from"] for message in sent] == [0, 1000, 2000, 3000, 4000]
    widget._answer(widget, {"kind": "detail", "id": 7}, [])
    assert "<title>Call 7, f7</title>" in sent[-1]["detail"]["picture"]
    count = len(sent)
    for message in ({"kind": "detail", "id": -1}, {"kind": "?"}, {}):
        widget._answer(widget, message, [])
    widget.close()
    widget._answer(widget, {"kind": "rows"}, [])
    assert len(sent) == count


def test_the_bundle_has_every_form():
    """The widget, the page, the text, the data."""
    bundle, _, widget = with_widget(SEED)
    assert set(bundle) == {WIDGET_TYPE, "text/html", "text/plain", MIME_TYPE}
    assert str(bundle[WIDGET_TYPE]["model_id"]) == widget.model_id == widget.report["id"]
    assert type(bundle[WIDGET_TYPE]["model_id"]) is int  # no text, which nbconvert would find among the saved ones
    assert bundle["text/plain"].startswith("vjpcheck:")
    widget.close()


def test_the_widgets_state_is_plain_text():
    """No control character and no mark of direction comes to the browser at all."""
    state = json.dumps(WidgetView(_report_of(HOSTILE)).saved(), ensure_ascii=False)
    assert not {character for character in "\x1b\u202e\u2028\x00" if character in state}


def test_rendering_a_report_imports_neither_jax_nor_ipython():
    """Reports are read where neither is installed; the widget is its own, optional part."""
    code = """import sys; from jaxvjp_magic.report import Report; from jaxvjp_magic.rendering.mime import mime_bundle
mime_bundle(Report()); print({"jax", "IPython", "anywidget"} & set(sys.modules))"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "set()\n"


# In a kernel -----------------------------------------------------------------------------------

CELL = "%%vjpcheck{}\nimport jax\njax.grad(lambda x: x * x)(1.0);"


@pytest.fixture(scope="module")
def kernel(start_kernel):
    """A kernel with the extension."""
    kernel = start_kernel()
    kernel.run(LOAD)
    return kernel


def forms(outcome):
    """The MIME types of the only display."""
    (data,) = [content["data"] for kind, content in outcome.messages if kind == "display_data"]
    return set(data)


def test_a_kernel_shows_the_widget(kernel):
    """With everything else beside it."""
    assert forms(kernel.run(CELL.format(""))) == {WIDGET_TYPE, "text/html", "text/plain", MIME_TYPE}
    assert WIDGET_TYPE in forms(kernel.run("%vjpcheck last"))


def test_no_widget_is_no_widget(kernel):
    """The option leaves it out, and everything else in."""
    assert forms(kernel.run(CELL.format(" --no-widget"))) == {"text/html", "text/plain", MIME_TYPE}
    assert forms(kernel.run("%vjpcheck last --no-widget")) == {"text/html", "text/plain", MIME_TYPE}


def test_without_anywidget_there_is_the_static_page(kernel):
    """A front end's packages may be missing in the kernel's environment."""
    hide = "import sys; hidden = {n: sys.modules.pop(n) for n in list(sys.modules) if 'widget' in n}; "
    kernel.run(hide + "sys.modules['anywidget'] = None")
    outcome = kernel.run(CELL.format(""))
    kernel.run("del sys.modules['anywidget']; sys.modules.update(hidden)")
    assert forms(outcome) == {"text/html", "text/plain", MIME_TYPE}
    assert outcome.error == ""
    assert "notes" not in outcome.report


def test_a_widget_that_cannot_be_made_is_a_note(kernel):
    """The report is there all the same."""
    kernel.run("import jaxvjp_magic.rendering.widget as w; kept = w.script; w.script = None")
    outcome = kernel.run(CELL.format(""))
    kernel.run("w.script = kept")
    assert forms(outcome) == {"text/html", "text/plain", MIME_TYPE}
    assert "could not make the widget: TypeError" in outcome.text


# The live line ---------------------------------------------------------------------------------


class _Line:
    def __init__(self, **state):
        self.texts = [state["text"]]
        self.ended = threading.Event()

    def __setattr__(self, name, value):
        if name == "text":
            self.texts.append(value)
        else:
            super().__setattr__(name, value)

    def send(self, message):
        assert message == {"done": True}

    def close(self):
        self.ended.set()


@pytest.fixture
def lines(monkeypatch):
    """The lines that were made, at a faster clock."""
    made = []
    monkeypatch.setattr(progress, "FIRST", 0.02)
    monkeypatch.setattr(progress, "EVERY", 0.01)

    def make(**state):
        made.append(_Line(**state))
        return made[-1]

    return made, make


def test_a_slow_cell_has_a_line_until_it_ends(lines):
    """It counts calls and findings, and it is closed when `stop` returns."""
    made, make = lines
    calls = tuple(Call(number, "vjp", "f") for number in range(1, 3))
    warning = Finding("VJP105", Severity.WARNING, "title", "message")
    note = dataclasses.replace(warning, severity=Severity.NOTE)
    reports = itertools.chain(
        [Report(calls=calls[:1])], itertools.repeat(Report(calls=calls, findings=(warning, note)))
    )
    line = progress.Progress("text", lambda: next(reports), make)
    line.start()
    while not made or len(made[0].texts) < 3:
        threading.Event().wait(0.01)
    line.stop()
    assert made[0].ended.is_set()
    assert made[0].texts[:2] == ["vjpcheck: 1 call so far, 0 s", "vjpcheck: 2 calls so far, 1 finding, 0 s"]


def test_a_fast_cell_has_none(lines):
    """It ends before the line would come."""
    made, make = lines
    line = progress.Progress("text", Report, make)
    line.start()
    line.stop()
    assert made == []


def test_what_fails_there_ends_the_line_alone(lines):
    """Neither the count nor the widget can disturb the cell."""
    made, make = lines
    line = progress.Progress("text", lambda: 1 // 0, make)
    line.start()
    line._thread.join(timeout=5)
    line.stop()
    assert made == []
