"""What a report covers: the headline says no more than was looked at, and the rest is told in quiet lines."""

from __future__ import annotations

import contextlib
import json
import sys
import textwrap
from unittest.mock import ANY

import jax
import jax.numpy as jnp
import pytest
from programs import check_program
from test_html import parse

from jaxvjp_magic import Report, vjpcheck
from jaxvjp_magic.rendering.sentences import headline, quiet
from jaxvjp_magic.rendering.widget_view import WidgetView
from jaxvjp_magic.results.model import Call, Finding, NotChecked, ProgramError, Severity

CALL = Call(1, "grad", "f", 3, count=2)
VALUES = NotChecked("values", why="--verify")
ONE = NotChecked("values", "f", 3, why="it prints")
OUTPUT = NotChecked("output", "f", 3, why="it prints")
WARNING = Finding("VJP105", Severity.WARNING, "title", "message", line=7)
ERROR = Finding("VJP104", Severity.ERROR, "wrong", "message", line=9)
RAISED = ProgramError("KeyError", "x", 3)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (Report(calls=(CALL,)), "no problems found in 2 calls"),
        (Report(calls=(CALL,), not_checked=(VALUES,)), "no problems found in 2 calls; values not compared (--verify)"),
        (Report(calls=(CALL,), not_checked=(ONE,)), "no problems found in 2 calls; not all values compared"),
        (
            Report(calls=(CALL,), not_checked=(OUTPUT, VALUES)),
            "no problems found in 2 calls; values not compared (--verify); some parts were not looked at",
        ),
        (Report(calls=(CALL,), error=RAISED), "the program ended early, after 2 calls"),
        (Report(calls=(CALL,), error=ProgramError("SystemExit", "3")), "the program ended early, after 2 calls"),
        (Report(calls=(CALL,), findings=(WARNING,), not_checked=(VALUES,)), "1 warning, 2 calls"),
        (Report(), "no call of jax.vjp or of a custom_vjp function"),
        (
            Report(not_checked=(OUTPUT,)),
            "no call of jax.vjp or of a custom_vjp function; some parts were not looked at",
        ),
        (Report(calls=(CALL,), complete=False), "the check is not finished"),
        (Report(complete=False, notes=("x",)), "the check could not be done"),
    ],
)
def test_the_headline_says_no_more_than_was_seen(report, said):
    """No word of praise above an exception, none for what was not compared; `nothing wrong` is never said."""
    assert headline(report) == said
    assert str(report).startswith(f"vjpcheck: {said}\n" if report.calls and report.complete else f"vjpcheck: {said}")


def test_what_is_not_compared_is_said_once():
    """In the headline, or, where that has something else to say, in a line of its own."""
    for report, lines in (
        (Report(calls=(CALL,), not_checked=(VALUES,)), []),
        (Report(calls=(CALL,), not_checked=(VALUES, ONE)), ["not compared: the values of f: it prints"]),
        (Report(calls=(CALL,), findings=(WARNING,), not_checked=(VALUES,)), ["not compared: values (--verify)"]),
    ):
        assert [one.summary for one in quiet(report)] == lines


def test_what_was_silenced_is_counted_and_can_be_unfolded():
    """In the text a line; on the page and in the widget what they say, below it; in JSON all of them."""
    elsewhere = Finding("VJP115", Severity.WARNING, "none", "m", line=3, source="lib/flax.py", in_library=True)
    report = Report(calls=(CALL,), silenced=(ERROR, WARNING, elsewhere))
    ignored = "ignored: 1 error VJP104; 1 warning VJP105"
    libraries = "in library files (--libraries): 1 warning VJP115"
    assert str(report).splitlines()[-2:] == [ignored, libraries]
    assert [(one.summary, one.lines) for one in quiet(report)] == [
        (ignored, ("VJP104 line 9: wrong", "VJP105 line 7: title")),
        (libraries, ("VJP115 lib/flax.py, line 3: none",)),
    ]
    first, second = parse(report).all("details")
    assert [first.all("summary")[0].words, second.all("summary")[0].words] == [ignored, libraries]
    assert [node.words for node in first.all("li")] == ["VJP104 line 9: wrong", "VJP105 line 7: title"]
    assert [one["summary"] for one in WidgetView(report).saved()["quiet"]] == [ignored, libraries]
    data = json.loads(report.to_json())
    assert [one["code"] for one in data["silenced"]] == ["VJP104", "VJP105", "VJP115"]
    assert [one.get("in_library") for one in data["silenced"]] == [None, None, True]
    assert Report.from_json(report.to_json()) == report
    assert report.ok


@contextlib.contextmanager
def vjpcheck_of(text):
    """The report of a program, whatever notes it has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("programs.NOTES", ANY)
        yield check_program(text)


WRONG = """
    @jax.custom_vjp
    def f(x):
        return x * 2
    f.defvjp(lambda x: (x * 2, None), lambda _, g: (g.sum(),)){comment}
    try:
        jax.grad(lambda x: f(x).sum())(jnp.ones(3))
    except ValueError:
        pass
"""


@pytest.mark.parametrize(("comment", "ignore"), [("  # vjpcheck: ignore[VJP104]", ()), ("", ("VJP104",))])
def test_what_a_comment_or_an_option_silences_is_told(comment, ignore):
    """It is no finding, and it is not gone."""
    report = check_program(WRONG.format(comment=comment), ignore=ignore)
    assert (report.findings, report.ok) == ((), True)
    assert [(one.code, one.severity, one.line) for one in report.silenced] == [("VJP104", Severity.ERROR, 5)]
    assert "\n\nignored: 1 error VJP104" in str(report)


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("# vjpcheck: ignore", "the comment names no code, and silences nothing; as in # vjpcheck: ignore[VJP104]"),
        ("# vjpcheck: ignore[]", "the comment names no code, and silences nothing; as in # vjpcheck: ignore[VJP104]"),
        ("# vjpcheck:ignore [VJP1O4]", "the comment silences nothing: unknown code VJP1O4; did you mean VJP104?"),
        (
            "# vjpcheck: ignore[VJP105, VJP1O4]",
            "the comment silences nothing: unknown code VJP1O4; did you mean VJP104?",
        ),
        ("# vjpcheck: ignore [VJP104]", ""),
        ("# see vjpcheck: it ignores nothing", ""),
    ],
)
def test_a_comment_that_silences_nothing_is_told(comment, said):
    """The line, and what it should say; what it should have silenced is there."""
    with vjpcheck_of(WRONG.format(comment=f"  {comment}")) as report:
        pass
    assert report.notes == ((f"line 5: {said}",) if said else ())
    assert [one.code for one in report.findings] == ([] if "[VJP104]" in comment else ["VJP104"])


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library with a rule whose gradient has another dtype, as its authors want it."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "low_precision.py").write_text(
        textwrap.dedent("""
        import jax, jax.numpy as jnp
        @jax.custom_vjp
        def f(x):
            return x * 2
        def fwd(x):
            return x * 2, None
        def bwd(_, g):
            return (g.astype(jnp.bfloat16) * 2,)
        f.defvjp(fwd, bwd)
        """)
    )
    monkeypatch.syspath_prepend(folder)
    yield "low_precision"
    sys.modules.pop("low_precision", None)


@pytest.mark.parametrize("libraries", [False, True])
def test_what_stands_in_a_librarys_file_is_for_its_authors(library, libraries):
    """No warning of any code in a user's report, a quiet line, and one switch to see them."""
    f = __import__(library).f
    with vjpcheck(libraries=libraries) as report:
        jax.grad(lambda x: f(x).sum())(jnp.ones(3))
    shown, silenced = ((one.code, one.in_library) for one in (*report.findings, *report.silenced)), report.silenced
    assert list(shown) == [("VJP105", True)]
    assert bool(silenced) is not libraries
    assert ("in library files (--libraries): 1 warning VJP105" in str(report)) is not libraries


# Rules of other kinds -----------------------------------------------------------------------------


def test_retrace_none_says_what_it_does_not_see():
    """The calls inside what JAX had traced before; where JAX is imported in the check there is nothing of the kind."""
    with vjpcheck(retrace="none") as report:
        jax.grad(lambda x: x * 2)(1.0)
    assert report.not_checked == (NotChecked("calls", why="--retrace none"),)
    assert "not looked at: the calls inside functions that JAX had traced before (--retrace none)" in str(report)


# Values -------------------------------------------------------------------------------------------

RULE = """
    @jax.custom_vjp
    def f({names}):
        return {function}
    def fwd({names}):
        return f({names}), ({names},)
    def bwd(res, g):
        {names}, = res
        return {bwd}
    f.defvjp(fwd, bwd)
    {run}
"""
GRAD = "jax.grad(lambda x: f(x).sum())({})"
X = "jnp.arange(1.0, 4.0)"


def verified(function, bwd, run, names="x"):
    report = check_program(RULE.format(function=function, bwd=bwd, run=run, names=names), verify=True)
    return [one.code for one in report.findings if one.severity is not Severity.NOTE], [
        (one.function, one.why) for one in report.not_checked if one.what == "values"
    ]


HERE, THERE = "at the values of this run", "at the random values that were tried"
ZERO = "autodiff gives zero for {}, as in a search or a rounding"
VAL302 = ["VAL302"]
STOP = "jax.lax.stop_gradient(x)"


@pytest.mark.parametrize(
    ("function", "bwd", "run", "codes", "why"),
    [
        # NaN is equal to nothing: what is NaN is not compared, and the rest is
        ("jnp.log(x)", "(g / x,)", GRAD.format(f"-{X}"), [], f"its output is NaN {HERE}"),
        ("jnp.log(x)", "(2 * g / x,)", GRAD.format(f"-{X}"), [], f"its output is NaN {HERE}"),
        ("jnp.log(x)", "(g / x,)", GRAD.format(f"{X} - 2.5"), [], ""),
        ("jnp.log(x)", "(2 * g / x,)", GRAD.format(f"{X} - 2.5"), ["VAL302"], ""),
        ("jnp.sqrt(x - 5)", "(g / jnp.sqrt(x),)", f"jax.jit({GRAD[:-4]})({X} + 9)", [], f"its output is NaN {THERE}"),
        ("jnp.sqrt(x)", "(g,)", GRAD.format("jnp.zeros(3)"), [], f"autodiff gives no finite gradient for x {HERE}"),
        # zero is not stop_gradient: a rounding, a search, what is not used
        ("jnp.round(x)", "(g,)", GRAD.format(f"{X} + .3"), [], ZERO.format("x")),
        ("jnp.sign(x) * 2", "(g,)", GRAD.format(X), [], ZERO.format("x")),
        (f"{STOP} * 2", "(2 * g,)", GRAD.format(X), ["VAL302"], ""),
        ("jax.jit(lambda y: jax.lax.stop_gradient(y) * 2)(x)", "(2 * g,)", GRAD.format(X), ["VAL302"], ""),
        (f"jnp.round(x + {STOP})", "(g,)", GRAD.format(X), ["VAL302"], ""),
        # a term without the cotangent, and what is truly not linear
        ("x * x", "(2 * x * g + 0.1 * x,)", GRAD.format(X), ["VAL303"], ""),
        ("x * x", "(2 * x * jnp.clip(g, -1, 1),)", GRAD.format(X), ["VAL305"], ""),
        ("x * x", "(2 * x * g / jnp.linalg.norm(g),)", GRAD.format(X), ["VAL305"], ""),
        # what is rounded to bfloat16 inside
        ("x * x", "((2 * x.astype('bfloat16') * g.astype('bfloat16')).astype(x.dtype),)", GRAD.format(X), [], ""),
        ("x * x", "((3 * x.astype('bfloat16') * g.astype('bfloat16')).astype(x.dtype),)", GRAD.format(X), VAL302, ""),
    ],
)  # fmt: skip
def test_what_is_compared_and_what_is_not(function, bwd, run, codes, why):
    """A right rule gets no warning, a wrong one gets one, and what cannot be compared is said."""
    assert verified(function, bwd, run) == (codes, [("f", why)] if why else [])


def test_a_search_that_moves_with_its_argument_is_measured():
    """Autodiff gives zero through it; finite differences tell a right rule from a wrong one."""
    search = "jax.lax.fori_loop(0, 50, lambda i, s: ({}, {}), (0 * x, 0 * x + 10))[0]".format(
        "jnp.where((s[0] + s[1]) ** 2 / 4 > x, s[0], (s[0] + s[1]) / 2)",
        "jnp.where((s[0] + s[1]) ** 2 / 4 > x, (s[0] + s[1]) / 2, s[1])",
    )
    assert verified(search, "(g * 0.5 / jnp.sqrt(x),)", "jax.grad(f)(2.0)") == ([], [])
    assert verified(search, "(g * 0.7 / jnp.sqrt(x),)", "jax.grad(f)(2.0)") == (["VAL302"], [])


def test_an_argument_that_is_not_used_may_have_any_gradient():
    """A step size that the rule alone reads."""
    run = f"jax.grad(lambda x: f(x, 2.0).sum())({X})"
    assert verified("x * 2", "(2 * g, s * jnp.sum(g))", run, "x, s") == ([], [("f", ZERO.format("s"))])


@pytest.mark.parametrize("jit", ["", "jax.jit"])
@pytest.mark.parametrize(
    "key", ["jax.random.key(0)", "jax.random.PRNGKey(0)", "jax.random.split(jax.random.key(0))[0]"]
)
@pytest.mark.parametrize(("factor", "codes"), [(1, []), (2, ["VAL302"])])
def test_a_key_is_an_argument_as_others(jit, key, factor, codes):
    """A typed one too, and below jit."""
    function, bwd = "x * jax.random.normal(k, x.shape)", f"(None, {factor} * g * jax.random.normal(k, x.shape))"
    run = f"{jit}(jax.grad(lambda x, k: f(k, x).sum()))({X}, {key})"
    assert verified(function, bwd, run, "k, x") == (codes, [])


def test_a_rule_that_needs_an_axis_of_the_program_is_told():
    """Outside of the vmap there is none."""
    run = f'jax.vmap(jax.grad(lambda x: f(x).sum()), axis_name="rows")(jnp.ones((2, 3)) * {X})'
    function = 'jax.lax.psum(x, "rows")'
    assert verified(function, "(g * 2,)", run) == (
        [],
        [("f", "it needs the axis rows, which exists only in the program")],
    )


def test_more_rules_than_are_compared_are_told(monkeypatch):
    """Each of them."""
    monkeypatch.setattr("jaxvjp_magic.verify.samples.MOST_SAMPLES", 2)
    run = "\n    ".join(f"jax.grad(lambda x: f(x).sum())(jnp.ones({n}))" for n in range(1, 5))
    assert verified("x * 2", "(g * 2,)", run) == ([], [("f", "only the first 2 are compared")])


def test_a_nan_in_bfloat16_is_a_nan():
    """NumPy does not know that it is a float."""
    text = RULE.format(
        names="x", function="jnp.sqrt(x)", bwd="(g * 0 / x,)", run=GRAD.format("jnp.zeros(3, 'bfloat16')")
    )
    report = check_program(text, verify=True)
    assert "VAL304" in [one.code for one in report.findings]
