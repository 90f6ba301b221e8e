"""What was not looked at, and why: from the record into the report, its JSON, and every form that people read."""

from __future__ import annotations

import json
import linecache

import pytest
from test_html import parse

from jaxvjp_magic.analyse import build_report
from jaxvjp_magic.record import calls, record
from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.limits import SAVED_QUIET, shortened
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.rendering.widget_view import WidgetView
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.diff import compare
from jaxvjp_magic.results.model import Call, Finding, Leaf, NotChecked, Omitted, ProgramError, Severity, Snippet
from jaxvjp_magic.source.program import FileSources, Program, Text

TABLE = "it calls table (line 12), an lru_cache"
DECODE = NotChecked("output", "decode", 4, "", TABLE)
STEP = NotChecked("calls", "step", 9, "In[3]", "JAX has cached them")
PLAIN = "vjpcheck: no call of jax.vjp or of a custom_vjp function"
TWO = f"not looked at: what decode returns: {TABLE}; the calls inside step: JAX has cached them"
SOME = tuple(NotChecked("output", f"f{i}", i, why=f"reason {i}") for i in range(1, 6))
MANY = tuple(NotChecked("output", f"f{i}", i, why=f"reason {i}") for i in range(1, 251))
FIRST = "what f1 returns: reason 1; what f2 returns: reason 2; what f3 returns: reason 3"


class Cells(FileSources):
    """The checked file, and an earlier cell."""

    def text_of(self, filename):
        """The cell has a name that people know."""
        text = super().text_of(filename)
        return Text("In[3]", text.text) if filename == "not_checked_cell.py" else text


@pytest.fixture
def program():
    """A file and a cell, as a check finds them."""
    texts = {
        "not_checked_file.py": "import functools\n\n@functools.cache\ndef decode(x):\n    return x\n",
        "not_checked_cell.py": "def step(x):\n    return x\n",
    }
    for filename, text in texts.items():
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    yield Program(Cells("not_checked_file.py"))
    for filename in texts:
        del linecache.cache[filename]


def function(name, filename, line):
    """A function as the collector knows it: by a code object, which begins at its first decorator."""
    space = {}
    exec(compile(f"{chr(10) * (line - 1)}def {name}(x): pass", filename, "exec"), space)  # noqa: S102 (that is the purpose)
    return calls.Function(name, space[name].__code__)


def not_checked(program, *found):
    """What the report says of it."""
    return build_report(record.Record(not_checked=found), program).not_checked


def test_the_place_of_the_reason_becomes_words(program):
    """A line of the checked file, a line of another cell, and nothing where no place is known."""
    decode, step = function("decode", "not_checked_file.py", 3), function("step", "not_checked_cell.py", 1)
    why = "it calls table{at}, an lru_cache"
    here, there = calls.Place("not_checked_file.py", 12), calls.Place("not_checked_cell.py", 2)
    assert not_checked(
        program,
        record.NotChecked("output", decode, why, here),
        record.NotChecked("residuals", step, why, there),
        record.NotChecked("calls", None, why),
    ) == (
        NotChecked("output", "decode", 4, "", "it calls table (line 12), an lru_cache"),
        NotChecked("residuals", "step", 1, "In[3]", "it calls table (In[3], line 2), an lru_cache"),
        NotChecked("calls", "", None, "", "it calls table, an lru_cache"),
    )


def test_other_braces_of_a_reason_stay(program):
    """A reason may name a dict, or half of one."""
    (one,) = not_checked(program, record.NotChecked("values", None, "it writes to {'a': {}}{at} and {", None))
    assert one.why == "it writes to {'a': {}} and {"


def test_what_is_the_same_for_a_person_is_said_once(program):
    """Two columns of one line are one line, and two code objects of one `def` are one function."""
    places = [calls.Place("not_checked_file.py", 5, start, start + 1) for start in (0, 4)]
    found = [
        record.NotChecked("output", function("decode", "not_checked_file.py", 3), "it prints{at}", place)
        for place in places
    ]
    assert not_checked(program, *found) == (NotChecked("output", "decode", 4, "", "it prints (line 5)"),)


def test_a_function_without_code_has_no_line(program):
    """A function of C is named, and no more."""
    found = record.NotChecked("output", calls.Function("sin"), "it is not Python")
    assert not_checked(program, found) == (NotChecked("output", "sin", why="it is not Python"),)


def test_json_and_back():
    """Beside the error, before the findings; what does not apply is left out; nothing is there where all was seen."""
    report = Report("0.10.2", error=ProgramError("KeyError"), not_checked=(DECODE, STEP, NotChecked("values")))
    data = json.loads(report.to_json())
    assert list(data) == ["schema", "jax", "ok", "error", "not_checked", "findings", "calls"]
    assert data["not_checked"] == [
        {"what": "output", "function": "decode", "line": 4, "why": TABLE},
        {"what": "calls", "function": "step", "line": 9, "source": "In[3]", "why": "JAX has cached them"},
        {"what": "values"},
    ]
    assert Report.from_json(report.to_json()) == report
    assert "not_checked" not in json.loads(Report().to_json())


def test_it_is_no_finding():
    """A report is ok or not by its findings, and what was left out is no change."""
    report = Report(not_checked=(DECODE,))
    assert report.ok
    assert not report.reaches("note")
    assert not compare(Report(), report)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "not_checked is not a list"),
        ("null", "not_checked is not a list"),
        ("[3]", "not_checked[0] is not an object"),
        ("[{}]", "not_checked[0].what is missing"),
        ('[{"what": 3}]', "not_checked[0].what is not a string"),
        ('[{"what": "calls", "line": "4"}]', "not_checked[0].line is not an integer"),
        ('[{"what": "calls", "line": true}]', "not_checked[0].line is not an integer"),
        ('[{"what": "calls", "why": "\\ud800"}]', "not_checked[0].why has half of a surrogate pair"),
        (json.dumps([{"what": "calls", "why": "x" * 1_000_001}]), "not_checked[0].why has 1,000,001 characters, more"),
        (json.dumps([{}] * 500_001), "not_checked has 500,001 entries, more than 500,000"),
    ],
    ids=str.__len__,
)
def test_damaged_json_is_told_in_one_line(value, message):
    """It is read as strictly as the rest."""
    with pytest.raises(ValueError, match=r".") as caught:
        Report.from_json(f'{{"schema": 1, "findings": [], "calls": [], "not_checked": {value}}}')
    assert str(caught.value).startswith(f"a damaged vjpcheck report: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("what", "of_one", "of_several"),
    [
        ("output", "what f returns", "what some functions return"),
        ("residuals", "which residuals f uses", "which residuals some functions use"),
        ("calls", "the calls inside f", "the calls inside some functions"),
        ("rules", "the rule of f", "the rules of some functions"),
        ("values", "the values of f", "values"),
        ("of later", "of later of f", "of later of some functions"),
    ],
)
def test_the_words(what, of_one, of_several):
    """Of one function, and of several; a word that this version does not know stays a word."""
    head = "not all values compared" if what == "values" else "some parts were not looked at"
    line = "not compared" if what == "values" else "not looked at"
    for name, said in (("f", of_one), ("", of_several)):
        assert str(Report(not_checked=(NotChecked(what, name),))) == f"{PLAIN}; {head}\n\n{line}: {said}"
        text = str(Report(not_checked=(NotChecked(what, name, why="it {prints}"),)))
        assert text == f"{PLAIN}; {head}\n\n{line}: {said}: it {{prints}}"


def test_a_name_with_braces_stays():
    """Whatever a function is called."""
    assert "not looked at: what {}{0} returns" in str(Report(not_checked=(NotChecked("output", "{}{0}"),)))


def test_the_line_comes_after_the_findings_and_before_the_end():
    """One line, and the program's own error and the notes below it."""
    finding = Finding("VJP101", Severity.WARNING, "title", "message")
    report = Report("", (finding,), (), ProgramError("KeyError", "x", 3), ("a note",), None, (DECODE, STEP))
    assert str(report).splitlines()[-6:] == [
        *("! warning VJP101  title", "    message", "", TWO),
        *("ended in KeyError at line 3: no finding explains it", "note: a note"),
    ]


def test_three_are_told_and_the_rest_is_counted():
    """The text stays one line; the page and the widget have the rest folded below it."""
    report = Report(not_checked=SOME)
    line = f"not looked at: {FIRST}; and 2 more"
    rest = ["what f4 returns: reason 4", "what f5 returns: reason 5"]
    assert render_text(report).splitlines()[-1] == line
    (folded,) = parse(report).all("details")
    assert "open" not in folded.attributes
    assert [node.words for node in folded.all("summary")] == [line]
    assert [node.words for node in folded.all("li")] == rest
    assert WidgetView(report).saved()["quiet"] == [{"summary": line, "lines": rest}]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_few_are_one_line_and_nothing_is_folded(number):
    """On the page it is grey, below the calls and above the notes."""
    report = Report(calls=(Call(1, "grad", "f", 3),), notes=("a note",), not_checked=SOME[:number])
    line = render_text(report).splitlines()[-2]
    assert line.startswith("not looked at: what f1 returns: reason 1")
    assert "more" not in line
    root = parse(report)
    assert [node.words for node in root.all("p")] == [
        "vjpcheck: no problems found in 1 call; some parts were not looked at",
        line,
        "note: a note",
    ]
    assert [node.attributes for node in root.all("p")[1].all("span")] == [{"style": "opacity:.75"}]
    assert not root.all("details")
    assert root.words.index("Calls, nested") < root.words.index(line)
    assert WidgetView(report).saved()["quiet"] == [{"summary": line, "lines": []}]


def test_where_all_was_looked_at_no_line_says_so():
    """Nothing is no news."""
    assert str(Report()) == PLAIN
    assert "not looked at" not in render_html(Report())
    assert WidgetView(Report()).saved()["quiet"] == []


def test_hundreds_are_saved_in_part_and_counted_in_every_form():
    """At most a hundred are kept; shortening twice is once; the number is right, before and after."""
    report = Report(not_checked=MANY)
    short = shortened(report)
    assert short.not_checked == MANY[:SAVED_QUIET]
    assert short.omitted == Omitted(not_checked=150)
    assert json.loads(short.to_json())["omitted"] == {"not_checked": 150}
    assert shortened(short) == short == Report.from_json(short.to_json())
    for one in (report, short):
        line = f"not looked at: {FIRST}; and 247 more"
        assert render_text(one) == f"{PLAIN}; some parts were not looked at\n\n{line}"
        items = [node.words for node in parse(one).all("li")]
        assert items[-2:] == ["what f100 returns: reason 100", "and 150 more"]
        lines = WidgetView(one).saved()["quiet"][0]["lines"]
        assert lines[-2:] == ["what f100 returns: reason 100", "and 150 more"]
        assert len(lines) == 98
    assert len(render_html(report).encode()) < 30_000


def test_what_is_left_out_there_is_not_left_out_of_the_calls():
    """A table that is whole has its total."""
    call = Call(1, "vjp", "f", residuals=(Leaf("", "float32[3]", 12),))
    (caption,) = parse(shortened(Report(calls=(call,), not_checked=MANY))).all("caption")
    assert caption.words.endswith("residuals: 12 B in all")


# What is empty, and what is zero -----------------------------------------------------------------

EMPTY = Report(
    findings=(Finding("", Severity.ERROR, "", "", snippet=Snippet(0, ""), line=0, calls=(1,), phase="fwd"),),
    calls=(
        Call(
            1, "", "", 0, vmap=(0,), status="", primals=(Leaf("", "", 0),), nondiff=(Leaf(),), outputs=(Leaf(),),
            fwd_outputs=(), residuals=(Leaf("", "float32[0]", 0), Leaf("", "float32[3]", 12)), cotangents_in=(Leaf(),),
        ),
        Call(2, "custom_vjp", "", 0, parent=1, residuals=(Leaf("", "float32[0,4]", 0),)),
    ),
    error=ProgramError("", line=0),
    notes=("",),
    omitted=Omitted(),
    not_checked=(NotChecked("", line=0),),
)  # fmt: skip


def test_a_report_of_empty_and_zero_things_goes_to_json_and_back():
    """An empty name is a name, 0 is a number, and neither is the same as not known."""
    again = Report.from_json(EMPTY.to_json())
    assert again == EMPTY
    assert again.to_json() == EMPTY.to_json()
    data = json.loads(EMPTY.to_json())
    assert data["calls"][1]["residuals"] == [{"path": "", "type": "float32[0,4]", "bytes": 0}]
    assert (data["calls"][0]["kind"], data["calls"][0]["function"], data["calls"][0]["status"]) == ("", "", "")


@pytest.mark.parametrize(
    "key", ['"error": 0', '"error": ""', '"error": []', '"omitted": 0', '"omitted": false', '"omitted": []']
)
def test_what_is_empty_but_no_object_is_damaged(key):
    """Nothing is read as if it were not there."""
    with pytest.raises(ValueError, match=r"a damaged vjpcheck report: (error|omitted) is not an object"):
        Report.from_json(f'{{"schema": 1, "findings": [], "calls": [], {key}}}')


@pytest.mark.parametrize("value", ["0", "false", '""', "{}"])
def test_leaves_that_are_empty_but_no_list_are_damaged(value):
    """Only null is a phase without leaves."""
    call = f'{{"id": 1, "kind": "vjp", "function": "f", "primals": {value}}}'
    with pytest.raises(ValueError, match=r"a damaged vjpcheck report: calls\[0\].primals is not a list"):
        Report.from_json(f'{{"schema": 1, "findings": [], "calls": [{call}]}}')


def test_a_report_of_empty_and_zero_things_is_shown():
    """In every form; a vmap over no examples holds nothing, and a call without a name has its row."""
    text = render_text(EMPTY)
    assert "could not show" not in str(EMPTY)
    assert "float32" not in text
    assert "f32[0,4]  0 B" in text
    rows = [[cell.words for cell in row.all("th", "td")] for row in parse(EMPTY).all("tbody")[0].all("tr")]
    assert [(row[0], row[1]) for row in rows] == [("1", "()"), ("2", "└")]
    assert "f32[0,4] 0 B" in rows[1]
    view = WidgetView(EMPTY)
    first, second = (view.row(row)["cells"] for row in view.rows)
    assert (first["call"], second["call"]) == ({"lines": ["()"]}, {"lines": [""]})
    assert (first["memory"], second["memory"]) == ({"lines": ["0 × 12 B"]}, {"lines": ["0 B"]})  # noqa: RUF001 (a sign of multiplication)
    assert view.detail(view.rows[1])["leaves"] == [{"phase": "residuals", "got": "f32[0,4]", "size": "0 B"}]


def test_many_arrays_without_elements_have_a_size_when_they_are_counted():
    """The rest of a large pytree of empty arrays has 0 bytes; of leaves without a size it has none."""
    for known in (0, None):
        leaves = tuple(Leaf(f"[{i}]", "float32[0]", known) for i in range(5000))
        short = shortened(Report(calls=(Call(1, "vjp", "f", primals=leaves),)))
        (call,) = short.calls
        assert call.primals[-1] == Leaf(bytes=known, more=4937, note="and 4937 more")
