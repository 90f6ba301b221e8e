"""A checked cell does what it does without the check: each promise, in real kernels, message by message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import same, value_of, without_magic

if TYPE_CHECKING:
    from conftest import Twins

# What is shown ---------------------------------------------------------------------------------


def test_the_last_expression_is_shown(twins: Twins):
    """The value of the last expression is the cell's result, with its number."""
    outcome = twins.same("%%vjpcheck\nx = jnp.arange(3.)\njax.grad(lambda x: square(x).sum())(x)")
    assert value_of(outcome) == "Array([0., 2., 4.], dtype=float32)"
    assert outcome.kinds == ["execute_result", "report"]
    assert [call["kind"] for call in outcome.report["calls"]] == ["grad", "custom_vjp"]


def test_a_semicolon_keeps_the_result_quiet(twins: Twins):
    """A trailing `;` hides the value, and only that."""
    assert twins.same("%%vjpcheck\njax.grad(square)(1.);").kinds == ["report"]


def test_a_cell_that_ends_in_a_statement_shows_no_value(twins: Twins):
    """An assignment at the end shows nothing."""
    assert twins.same("%%vjpcheck\ny = 3").kinds == ["report"]


def test_a_cell_of_comments_runs(twins: Twins):
    """A cell without a statement is no error."""
    assert twins.same("%%vjpcheck\n# nothing yet").report["calls"] == []


def test_prints_come_in_order_before_the_report(twins: Twins):
    """Standard output and standard error keep their order, and the report is last."""
    outcome = twins.same(
        "%%vjpcheck\n"
        "import sys\n"
        "for number in range(3):\n"
        "    print('out', number, flush=True)\n"
        "    print('err', number, file=sys.stderr, flush=True)\n"
        "    jax.grad(square)(1.)\n"
        "'value'"
    )
    assert outcome.kinds == [*["stream", "stream"] * 3, "execute_result", "report"]
    assert outcome.stream("stdout") == "out 0\nout 1\nout 2\n"


def test_displays_come_before_the_report(twins: Twins):
    """`display`, `clear_output` and updates stay as they are."""
    outcome = twins.same(
        "%%vjpcheck\n"
        "from IPython.display import Markdown, clear_output, display\n"
        "shown = display(Markdown('*a*'), display_id='one')\n"
        "shown.update(Markdown('*b*'))\n"
        "clear_output()\n"
        "display({'text/plain': 'c'}, raw=True)"
    )
    assert outcome.kinds == ["display_data", "update_display_data", "clear_output", "display_data", "report"]


def test_warnings_name_the_same_line(twins: Twins):
    """A warning names the line at which it is raised."""
    outcome = twins.same("%%vjpcheck\nimport warnings\n\nwarnings.warn('look')")
    assert "CELL.py:4: UserWarning: look" in outcome.stream("stderr")


def test_plots_come_before_the_report(twins: Twins):
    """Inline plots, which IPython shows when the cell has ended, still stand above the report."""
    twins.run("import matplotlib.font_manager, matplotlib.pyplot as plt\n%matplotlib inline")
    outcome = twins.same("%%vjpcheck\nplt.figure(figsize=(1, 1))\nplt.plot([1, float(jax.grad(square)(1.))])")
    assert outcome.kinds == ["execute_result", "display_data", "report"]
    assert "image/png" in outcome.messages[1][1]["data"]


def test_top_level_await_runs(twins: Twins):
    """A cell may await, before and after its JAX calls."""
    outcome = twins.same(
        "%%vjpcheck\n"
        "import asyncio\n"
        "await asyncio.sleep(0.01)\n"
        "value = jax.grad(square)(2.)\n"
        "await asyncio.sleep(0.01, float(value))"
    )
    assert value_of(outcome) == "4.0"
    assert len(outcome.report["calls"]) == 2


def test_line_magics_and_shell_commands_run(twins: Twins):
    """Other magics, `!command` and `%` assignments work in a checked cell."""
    outcome = twins.same(
        "%%vjpcheck\n%env VJPCHECK_TEST=3\nlines = !echo one\n!echo two\nwhere = %pwd\n%time 1 + 1\nlines, type(where)"
    )
    assert value_of(outcome) == "(['one'], str)"
    assert "two" in outcome.stream("stdout")


def test_future_imports_may_come_first(twins: Twins):
    """`from __future__` as the first statement below the magic is still allowed."""
    twins.same("%%vjpcheck\nfrom __future__ import annotations\ndef f(x: Unknown): pass\nf.__annotations__")
    twins.same("%%vjpcheck\n'''A text.'''\nfrom __future__ import generator_stop\n1")


# Other magics above and below ----------------------------------------------------------------------


@pytest.mark.parametrize("magics", ["%%time\n%%vjpcheck", "%%vjpcheck\n%%time", "%%vjpcheck\n\n%%time"])
def test_time_above_or_below(twins: Twins, magics: str):
    """`%%time` shows its times and the value, on whichever side it stands, and findings have the cell's lines."""
    body = "\nvalue = jax.grad(square)(3.)\nfloat(value)"
    plain = twins.plain.send(without_magic(magics + body) if magics.startswith("%%time") else "%%time" + body)
    checked = twins.checked.send(magics + body)
    outcome = same(twins.plain.outcome(plain), twins.checked.outcome(checked))
    assert value_of(outcome) == "6.0"
    assert "Wall time: TIME" in outcome.stream("stdout")
    assert outcome.kinds[-1] == "report"
    assert outcome.report["calls"][0]["line"] == (magics + body).split("\n").index("value = jax.grad(square)(3.)") + 1


def test_timeit_above_is_one_check(twins: Twins):
    """`%%timeit` runs the magic's line many times; there is one report."""
    outcome = twins.checked.run("%%timeit -n 3 -r 2\n%%vjpcheck\njax.grad(square)(3.)")
    twins.plain.run("%%timeit -n 3 -r 2\njax.grad(square)(3.)")
    assert "per loop" in outcome.stream("stdout")
    assert outcome.report["calls"][0]["count"] == 6


def test_capture_below(twins: Twins):
    """`%%capture` below takes the cell's output, and leaves the report."""
    body = "%%capture seen\nprint('said')\njax.grad(square)(1.)"
    plain, checked = twins.plain.send(body), twins.checked.send(f"%%vjpcheck\n{body}")
    outcome = same(twins.plain.outcome(plain), twins.checked.outcome(checked))
    assert outcome.kinds == ["report"]
    assert [call["line"] for call in outcome.report["calls"]] == [4, 4]
    assert value_of(twins.same("seen.stdout, len(seen.outputs)")) == r"('said\n', 1)"


def test_capture_above(twins: Twins):
    """`%%capture` above takes the report as well: all output is what was asked for."""
    outcome = twins.same("%%capture seen\n%%vjpcheck\nprint('said')\njax.grad(square)(1.)")
    assert outcome.kinds == []
    assert value_of(twins.same("seen.stdout")) == r"'said\n'"
    assert "application/vnd.jaxvjp.report.v1+json" in twins.checked.evaluate("list(seen.outputs[-1].data)")


def test_a_magic_that_is_no_python_below(twins: Twins):
    """The body of another cell magic is left to it, whatever language it is in."""
    body = "%%bash\nif true; then echo hello; fi"
    plain, checked = twins.plain.send(body), twins.checked.send(f"%%vjpcheck\n{body}")
    outcome = same(twins.plain.outcome(plain), twins.checked.outcome(checked))
    assert outcome.kinds == ["stream", "report"]


# The session's history ------------------------------------------------------------------------


def test_history_and_numbers_stay(twins: Twins):
    """`Out`, `_`, `In` and the counter are those of the plain run; the raw history has the cell as it was typed."""
    cell = "%%vjpcheck\nkept = jax.grad(square)(21.)\nfloat(kept)"
    twins.same(cell)
    assert value_of(twins.same("_, Out[max(Out)], max(Out) == len(In) - 2")) == "(42.0, 42.0, True)"
    raw = twins.checked.evaluate("get_ipython().history_manager.input_hist_raw[-2]")
    assert raw == repr(cell)
    assert twins.plain.evaluate("In[-2].split('\\n')[1:]") == twins.checked.evaluate("In[-2].split('\\n')[1:]")
    assert twins.plain.evaluate("len(In), sorted(Out)") == twins.checked.evaluate("len(In), sorted(Out)")


def test_a_failed_cell_has_no_result(twins: Twins):
    """A cell that raises leaves `_` and `Out` alone."""
    twins.same("%%vjpcheck\n7")
    twins.same("%%vjpcheck\n1 / 0")
    assert value_of(twins.same("_")) == "7"


def test_nothing_is_left_in_the_namespace(twins: Twins):
    """After checked cells the user's names are those of the plain session."""
    twins.same("%%vjpcheck\nlast_name = jax.grad(square)(1.)")
    names = "sorted(name for name in get_ipython().user_ns if not name.startswith('_'))"
    assert "'last_name'" in twins.checked.evaluate(names)
    assert twins.checked.evaluate(names) == twins.plain.evaluate(names)


def test_a_function_has_the_source_that_was_typed(twins: Twins):
    """`inspect` finds the lines of a function that a checked cell defined."""
    twins.same("%%vjpcheck\ndef third(x):\n    return x / 3")
    outcome = twins.same("import inspect\nprint(inspect.getsource(third), inspect.getsourcelines(third)[1])")
    assert outcome.stream("stdout") == "def third(x):\n    return x / 3\n 2\n"
