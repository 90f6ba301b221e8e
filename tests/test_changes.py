"""What changed since the last run: which calls and findings are the same ones, and what is said of the others."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_html import NOTHING_WRONG, SEED, Tree

from jaxvjp_magic.notebook.history import MOST_RUNS, Runs
from jaxvjp_magic.rendering import diff_text
from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.diff import Changes, Shape, compare
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity

pytestmark = pytest.mark.any_jax


def call(number, function="f", shape="float32[3]", **more):
    """A call with one primal."""
    return Call(number, "custom_vjp", function, primals=(Leaf("x", shape),), **more)


def finding(code="VJP101", title="title", **more):
    """A finding of a function."""
    return Finding(code, Severity.ERROR, title, "reason", function="f", **more)


def changes_of(before, now):
    """What changed from some calls to others."""
    return compare(Report(calls=tuple(before)), Report(calls=tuple(now)))


@pytest.mark.parametrize("report", [SEED, NOTHING_WRONG, Report()])
def test_the_same_report_twice_has_no_changes(report):
    """Nothing is new in what was there."""
    assert compare(report, report) == Changes()
    assert not compare(report, report)


def test_a_changed_shape_says_what_it_was():
    """Old and new, for the column that shows it."""
    changes = changes_of([call(1)], [call(1, shape="float32[7]")])
    assert changes == Changes(shapes=(Shape(1, "primals", ("x f32[3]",), ("x f32[7]",)),))


def test_a_call_that_moved_is_the_same_call():
    """Lines, ids and counts change whenever a line is added above."""
    before = [call(1, line=4), call(2, "g", line=5, parent=1)]
    now = [call(1, "new", line=3), call(2, line=5, count=3), call(3, "g", line=6, parent=2)]
    assert changes_of(before, now) == Changes(new_calls=(1,))


def test_a_call_that_stayed_is_never_taken_for_the_one_that_changed():
    """Of equal names, those that are wholly alike belong together, in whatever order they come."""
    before = [call(1, shape="float32[1]"), call(2, shape="float32[2]")]
    now = [call(1, shape="float32[9]"), call(2, shape="float32[1]")]
    assert changes_of(before, now).shapes == (Shape(1, "primals", ("x f32[2]",), ("x f32[9]",)),)


def test_a_call_that_is_gone_is_told():
    """As is one below another parent, which is another call."""
    changes = changes_of([call(1), call(2, "g", parent=1)], [call(1), call(2, "g")])
    assert changes.new_calls == (2,)
    assert [gone.function for gone in changes.gone_calls] == ["g"]


def test_a_phase_that_did_not_run_before():
    """Is said in words."""
    now = dataclasses.replace(call(1), cotangents_out=(Leaf("x", "float32[3]"),))
    (shape,) = changes_of([call(1)], [now]).shapes
    assert diff_text.difference(shape) == "gradients not run → x f32[3]"


def test_a_changed_vmap():
    """The sizes of the mapped axes are part of what is shown."""
    (shape,) = changes_of([call(1, vmap=(10,))], [call(1)]).shapes
    assert diff_text.difference(shape) == "vmap 10 → none"


def test_findings_gone_and_new():
    """The same finding is known by what it is about, not by its wording or line."""
    before = Report(findings=(finding(title="float32[3]", line=4), finding("NAM201")))
    now = Report(findings=(finding("VJP104"), finding(title="float32[4]", line=5)))
    changes = compare(before, now)
    assert changes.new_findings == (0,)
    assert [gone.code for gone in changes.gone_findings] == ["NAM201"]


def test_of_many_leaves_those_that_differ():
    """And not more of them than can be read."""
    old = tuple(f"x{i} f32[3]" for i in range(9))
    assert diff_text.difference(Shape(1, "primals", old, (*old[:8], "x8 f32[4]"))) == "primals x8 f32[3] → x8 f32[4]"
    all_new = tuple(f"x{i} f32[4]" for i in range(9))
    assert diff_text.difference(Shape(1, "primals", old, all_new)).count("and 6 more") == 2


def test_text_and_html_say_the_same():
    """One summary, one line for each change."""
    before, now = SEED, dataclasses.replace(NOTHING_WRONG, calls=(*SEED.calls[:2], call(3, "other")))
    changes = compare(before, now)
    text = render_text(now, changes)
    lines = [
        "since the last run: 3 findings gone, 1 call new, 1 call gone",
        "    gone     NAM201 test_func was overwritten; test_func_fwd calls it",
        "    new      call 3, other",
        "    gone     the call of inner",
    ]
    assert [line for line in lines if line not in text.splitlines()] == []
    root = Tree(render_html(now, changes)).root
    assert lines[0] in root.words
    assert [" ".join(line.split()) for line in lines[1:]] == [
        item.words for item in root.all("li") if not item.words.startswith(("gone VJP", "changed"))
    ]


def test_nothing_changed_is_said():
    """That is what somebody wants to know who changed something."""
    assert "since the last run: nothing changed" in render_text(SEED, compare(SEED, SEED))
    assert "since the last run" not in render_text(SEED)


def test_many_changes_are_counted():
    """A line each would be longer than the report."""
    changes = changes_of([], [call(i, f"f{i}") for i in range(1, 101)])
    lines = diff_text.lines(Report(calls=tuple(call(i, f"f{i}") for i in range(1, 101))), changes)
    assert len(lines) == diff_text.MOST_LINES
    assert lines[-1] == ("", "and 89 more")


CALLS = st.lists(st.builds(call, st.just(0), st.sampled_from("fgh"), st.sampled_from(["float32[1]", "int32[2]"])))


@given(CALLS, CALLS)
def test_every_call_is_the_same_or_new_or_gone(before, now):
    """None is lost, none is counted twice."""
    before, now = ([dataclasses.replace(one, id=i) for i, one in enumerate(calls, 1)] for calls in (before, now))
    changes = changes_of(before, now)
    assert len(before) - len(changes.gone_calls) == len(now) - len(changes.new_calls)
    assert {shape.call for shape in changes.shapes}.isdisjoint(changes.new_calls)


def test_thousands_of_calls_are_compared_in_no_time():
    """Equal names everywhere, and every shape another."""
    before = [call(i, shape=f"float32[{i}]") for i in range(1, 5001)]
    now = [call(i, shape=f"float32[{i + 1}]") for i in range(1, 5001)]
    assert len(changes_of(before, now).shapes) == 1


# Which run was the last of the same cell --------------------------------------------------------


def test_cells_are_known_by_their_name():
    """Whatever their text."""
    runs = Runs()
    assert runs.add("a", "text", SEED) is None
    assert runs.add("b", "text", SEED) is None
    assert runs.add("a", "other", NOTHING_WRONG) == compare(SEED, NOTHING_WRONG)
    assert runs.add("a", "other", NOTHING_WRONG) == Changes()


TEXT = "%%vjpcheck\nprimal, pullback = jax.vjp(f, x)\npullback(jnp.ones(10))\n"


def test_without_names_the_most_similar_text_is_the_same_cell():
    """A terminal has no names for cells: an edited line is the same cell, another program is not."""
    runs = Runs()
    assert runs.add("", TEXT, SEED) is None
    assert runs.add("", "%%vjpcheck\njax.grad(loss)(params)", NOTHING_WRONG) is None
    assert runs.add("", TEXT.replace("10", "7"), NOTHING_WRONG) == compare(SEED, NOTHING_WRONG)
    assert runs.add("named", TEXT, SEED) is None


def test_where_cells_have_no_names_nothing_is_said():
    """A whole notebook is executed: a cell that is like an earlier one is another cell, and ran never before."""
    runs = Runs()
    assert runs.add(None, TEXT, SEED) is None
    assert runs.add(None, TEXT, SEED) is None
    assert runs.add("", TEXT, SEED) is None


def test_long_cells_are_compared_line_by_line():
    """A text of a thousand lines, one of them changed."""
    runs = Runs()
    long = "\n".join(f"x{i} = f(x{i - 1})" for i in range(1000))
    runs.add("", long, SEED)
    assert runs.add("", long.replace("f(x500)", "g(x500)"), SEED) == Changes()


def test_runs_are_not_kept_without_end():
    """Neither many cells, nor the calls of large ones."""
    runs = Runs()
    for number in range(MOST_RUNS + 10):
        runs.add(str(number), "", SEED)
    assert runs.add("0", "", SEED) is None
    large = Report(calls=tuple(call(i) for i in range(1, 15_001)))
    runs.add("large", "", large)
    runs.add("larger", "", large)
    assert runs.add("large", "", SEED) is None
