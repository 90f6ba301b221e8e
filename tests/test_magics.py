"""The magics: what they are told, and what they answer; in a real kernel."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import LOAD, SQUARE

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Kernel

pytestmark = pytest.mark.any_jax

WRONG = """
@jax.custom_vjp
def {name}(x):
    return x

{name}.defvjp(lambda x: (x, None), lambda _, g: (jnp.ones(3),))
"""
USE = """
try:
    jax.grad({name})(1.)
except ValueError:
    pass
"""


@pytest.fixture(scope="module")
def kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel with the extension, JAX, and the correct function `square`."""
    kernel = start_kernel()
    kernel.run(LOAD)
    kernel.run(SQUARE)
    return kernel


@pytest.fixture(scope="module")
def wrong(kernel: Kernel) -> Kernel:
    """The same, with `wrong`, whose bwd rule returns a wrong shape: finding VJP104."""
    kernel.run(WRONG.format(name="wrong"))
    return kernel


def counter(kernel: Kernel) -> int:
    """The number of the cell that ran last."""
    return int(kernel.evaluate("get_ipython().execution_count - 1"))


# Options ------------------------------------------------------------------------------------


def test_into_binds_the_report(kernel: Kernel):
    """`--into NAME` gives the report itself, also where the cell raises."""
    kernel.run("%%vjpcheck --into report\njax.grad(square)(1.)")
    assert kernel.evaluate("type(report).__name__, report.ok, [call.kind for call in report.calls]") == (
        "('Report', True, ['grad', 'custom_vjp'])"
    )
    kernel.run("%%vjpcheck --into report\n1 / 0")
    assert kernel.evaluate("report.error.type") == "'ZeroDivisionError'"


def test_fail_on_error_ends_in_an_error_with_all_output(wrong: Kernel):
    """The cell's own value and the report are shown, then one line, and the kernel replies with an error."""
    outcome = wrong.run(f"%%vjpcheck --fail-on error\n{USE.format(name='wrong')}'value'")
    assert outcome.value == "'value'"
    assert outcome.kinds == ["execute_result", "report", "error"]
    assert outcome.reply["status"] == "error"
    assert outcome.error == "vjpcheck: 1 error, 2 calls (--fail-on error)"
    assert wrong.run("get_ipython().last_execution_succeeded").value == "False"


@pytest.mark.parametrize("option", ["", "--fail-on never", "--fail-on error --ignore VJP104"])
def test_without_fail_on_findings_end_nothing(wrong: Kernel, option: str):
    """Findings are no errors of the cell, unless they are asked to be."""
    outcome = wrong.run(f"%%vjpcheck {option}\n{USE.format(name='wrong')}")
    assert outcome.reply["status"] == "ok"
    assert len(outcome.reports) == 1


def test_fail_on_does_not_hide_the_cells_own_error(wrong: Kernel):
    """A cell that raises shows its exception, not ours."""
    outcome = wrong.run("%%vjpcheck --fail-on warning\njax.grad(wrong)(1.)")
    assert outcome.kinds == ["error", "report"]
    assert outcome.reply["ename"] == "ValueError"


def test_fail_on_warning_lets_notes_pass(kernel: Kernel):
    """A correct cell does not fail, whatever the level."""
    assert kernel.run("%%vjpcheck --fail-on warning\njax.grad(square)(1.)").reply["status"] == "ok"


@pytest.mark.parametrize("option", ["VJP104", "vjp104", "NAM201,VJP104", '"NAM201, VJP104"'])
def test_ignored_codes_are_not_reported(wrong: Kernel, option: str):
    """`--ignore` takes one code or several, in any case."""
    body = USE.format(name="wrong")
    assert wrong.run(f"%%vjpcheck\n{body}").codes == ["VJP104"]
    assert wrong.run(f"%%vjpcheck --ignore {option}\n{body}").codes == []


def test_codes_are_ignored_for_the_session(wrong: Kernel):
    """`%vjpcheck ignore` adds codes, shows them, and forgets them."""
    body = "%%vjpcheck\n" + USE.format(name="wrong")
    assert wrong.run("%vjpcheck ignore").stream("stdout") == "vjpcheck: ignores nothing in this session\n"
    assert wrong.run("%vjpcheck ignore vjp104 RES401").stream("stdout") == (
        "vjpcheck: ignores VJP104, RES401 in this session\n"
    )
    assert wrong.run(body).codes == []
    assert wrong.run("%vjpcheck ignore none").stream("stdout") == "vjpcheck: ignores nothing in this session\n"
    assert wrong.run(body).codes == ["VJP104"]


def test_a_rule_is_explained(kernel: Kernel):
    """`%vjpcheck explain` shows the section of docs/rules.md, its examples too."""
    (content,) = [content for kind, content in kernel.run("%vjpcheck explain nam201").own if kind == "display_data"]
    text = content["data"]["text/markdown"]
    assert text.startswith("## NAM201\n\n**A rule calls a name that has been overwritten.**")
    assert "*wrong:*\n\n```python\n@jax.custom_vjp\ndef norm2(x):" in text


def test_a_comment_on_the_line_silences_a_finding(kernel: Kernel):
    """`# vjpcheck: ignore[CODE]` on the finding's line silences that code there."""
    cell = WRONG.format(name="wrong_here") + USE.format(name="wrong_here")
    line = "lambda _, g: (jnp.ones(3),))"
    assert kernel.run(f"%%vjpcheck{cell}").codes == ["VJP104"]
    assert kernel.run(f"%%vjpcheck{cell.replace(line, line + '  # vjpcheck: ignore[VJP104]')}").codes == []
    assert kernel.run(f"%%vjpcheck{cell.replace(line, line + '  # vjpcheck: ignore[NAM201]')}").codes == ["VJP104"]


def test_calls_hidden_in_compiled_functions_are_seen_unless_told_otherwise(kernel: Kernel):
    """A function that jit compiled in an earlier cell is traced again; `--no-retrace` leaves it as it is."""
    kernel.run("compiled = jax.jit(jax.grad(lambda x: square(x)))\ncompiled(2.)")
    hidden = kernel.run("%%vjpcheck --no-retrace\ncompiled(2.)")
    assert hidden.report["calls"] == []
    seen = kernel.run("%%vjpcheck\ncompiled(2.)")
    assert [call["function"] for call in seen.report["calls"]][-1] == "square"
    assert hidden.value == seen.value == "Array(4., dtype=float32, weak_type=True)"


def test_a_check_leaves_compiled_functions_compiled(kernel: Kernel):
    """After a check, what was compiled before is not traced again, whether the checked cell called it or not."""
    kernel.run(
        "traces = []\n"
        "def noted(x):\n    traces.append(1)\n    return square(x)\n\n"
        "called, other = jax.jit(noted), jax.jit(lambda x: noted(x))\n"
        "called(1.), other(1.)"
    )
    assert kernel.run("%%vjpcheck\ncalled(1.)\nlen(traces)").value == "2"
    assert kernel.run("%%vjpcheck --retrace all\ncalled(1.)\nlen(traces)").value == "3"
    assert kernel.run("called(1.), other(1.)\nlen(traces)").value == "3"


def test_every_option_is_known(kernel: Kernel):
    """The options of the help are accepted, alone and together."""
    options = "--verify", "--ignore VJP104", "--into seen", "--fail-on warning", "--no-widget", "--retrace all"
    for line in (*options, "--no-retrace", " ".join(options)):
        outcome = kernel.run(f"%%vjpcheck {line}\njax.grad(square)(2.)")
        assert outcome.kinds == ["execute_result", "report"]


# Lines and cells ------------------------------------------------------------------------------


def test_lines_count_the_magic_and_leading_blank_lines(wrong: Kernel):
    """Line 1 is the first line of the cell as the person sees it."""
    body = "x = 1\njax.grad(square)(1.)"
    for above, expected in (("%%vjpcheck\n", 3), ("\n\n%%vjpcheck --ignore VJP104\n", 5), ("%%vjpcheck\n\n\n", 5)):
        outcome = wrong.run(above + body)
        assert {call["line"] for call in outcome.report["calls"]} == {expected}
        assert not any("source" in call for call in outcome.report["calls"])


def test_a_statement_that_another_cell_had_on_the_same_line_is_this_cells(kernel: Kernel):
    """A cell that is edited elsewhere and run again is not taken for the earlier one."""
    for x in (1, 2, 3):
        (call,) = kernel.run(f"%%vjpcheck\nx = {x}\njax.grad(jnp.sin)(1.)").report["calls"]
        assert (call["line"], call.get("source")) == (3, None)
        assert kernel.run(f"%%vjpcheck\nx = {x}\n\n1 / 0").report["error"].get("source") is None


def test_an_error_has_the_line_that_the_person_sees(kernel: Kernel):
    """The report's line for the exception counts leading blank lines too."""
    assert kernel.run("\n\n%%vjpcheck\nx = 1\n1 / 0").report["error"]["line"] == 5


def test_a_finding_in_an_earlier_cell_names_the_cell(kernel: Kernel):
    """What another cell defined is shown as `In[3], line 6`, counted in that cell as it was typed."""
    kernel.run("\n" + WRONG.format(name="wrong_earlier"))
    number = counter(kernel)
    outcome = kernel.run(f"%%vjpcheck{USE.format(name='wrong_earlier')}")
    (finding,) = outcome.report["findings"]
    assert (finding["source"], finding["line"]) == (f"In[{number}]", 7)
    assert "defvjp" in finding["snippet"]["text"]
    assert f"In[{number}], line 7" in outcome.text
    assert {call["line"] for call in outcome.report["calls"]} == {3}


def test_the_overwriting_line_of_an_earlier_cell_is_named(kernel: Kernel):
    """A name that an earlier cell overwrote is found there, also below `%%time`."""
    kernel.run(
        "from functools import partial\n"
        "@jax.custom_vjp\ndef total(x):\n    return jnp.dot(x, x)\n\n"
        "def total_fwd(x):\n    return total(x), x\n\n"
        "total.defvjp(total_fwd, lambda x, g: (2 * x * g,))"
    )
    kernel.run("%%time\n\ny = 1\ntotal = jax.vmap(total)")
    number = counter(kernel)
    outcome = kernel.run("%%vjpcheck\njax.vjp(total, jnp.ones((10, 3)));")
    finding = outcome.report["findings"][0]
    assert (finding["code"], finding["source"], finding["line"]) == ("NAM201", f"In[{number}]", 4)


@pytest.mark.parametrize("above", ["%%vjpcheck\n%%capture seen\n", "%%vjpcheck\n%%time\n", "%%time\n%%vjpcheck\n"])
def test_below_other_magics_lines_are_those_of_the_whole_cell(kernel: Kernel, above: str):
    """A magic that runs its body as a cell, or compiles it, does not change what line 5 is."""
    cell = above + WRONG.format(name="wrong_below").strip() + USE.format(name="wrong_below")
    outcome = kernel.run(cell)
    (finding,) = outcome.report["findings"]
    lines = cell.split("\n")
    assert lines[finding["line"] - 1] == finding["snippet"]["text"].rstrip()
    assert "defvjp" in finding["snippet"]["text"]
    assert "source" not in finding
    assert {lines[call["line"] - 1].strip() for call in outcome.report["calls"]} == {"jax.grad(wrong_below)(1.)"}


def test_a_timed_line_has_its_line(kernel: Kernel):
    """`%time expression` compiles the expression by itself; the report has the line it stands on."""
    outcome = kernel.run("%%vjpcheck\nx = 1.\n%time jax.grad(square)(x)")
    assert {call["line"] for call in outcome.report["calls"]} == {3}


# %vjpcheck ------------------------------------------------------------------------------------


def test_on_checks_every_cell_and_speaks_only_of_findings(wrong: Kernel):
    """With `%vjpcheck on` a correct cell is as ever; one with findings has one line, and `last` shows them."""
    assert wrong.run("%vjpcheck on").messages == ()
    try:
        assert wrong.run("jax.grad(square)(1.);").messages == ()
        assert wrong.run("1 + 1").kinds == ["execute_result"]
        outcome = wrong.run(USE.format(name="wrong"))
        assert outcome.kinds == ["stream"]
        assert outcome.stream("stdout") == "vjpcheck: 1 error, 2 calls; %vjpcheck last shows them\n"
        last = wrong.run("%vjpcheck last")
        assert last.codes == ["VJP104"]
        assert {call["line"] for call in last.report["calls"]} == {3}
        assert len(wrong.run("%%vjpcheck\njax.grad(square)(1.);").reports) == 1
    finally:
        assert wrong.run("x = 1\n%vjpcheck off").messages == ()
    assert wrong.run(USE.format(name="wrong")).messages == ()


def test_on_takes_options(wrong: Kernel):
    """`%vjpcheck on --fail-on error` fails each cell with such findings, and `--ignore` holds for all."""
    try:
        wrong.run("%vjpcheck on --fail-on error")
        outcome = wrong.run(USE.format(name="wrong"))
        assert outcome.kinds == ["stream", "error"]
        assert outcome.reply["ename"] == "FindingsError"
        wrong.run("%vjpcheck on --ignore VJP104")
        assert wrong.run(USE.format(name="wrong")).messages == ()
    finally:
        wrong.run("%vjpcheck off")


def test_on_sees_errors_and_lines_below_other_magics(wrong: Kernel):
    """Every cell means those with another magic on top, and those that raise."""
    try:
        wrong.run("%vjpcheck on")
        assert wrong.run("%%capture seen\njax.grad(wrong)(1.)").kinds == ["error", "stream"]
        assert wrong.run("%vjpcheck last").report["error"]["line"] == 2
        assert wrong.run("%%time\n\njax.grad(wrong)(1.)").kinds[-1] == "stream"
        assert wrong.run("%vjpcheck last").report["error"]["line"] == 3
        assert wrong.run("\n\njax.grad(wrong)(1.)").kinds == ["error", "stream"]
        assert wrong.run("%vjpcheck last").report["error"]["line"] == 3
    finally:
        wrong.run("%vjpcheck off")


def test_last_shows_the_last_report_again(kernel: Kernel):
    """`%vjpcheck last` shows what was shown."""
    first = kernel.run("%%vjpcheck\njax.grad(square)(1.);")
    again = kernel.run("%vjpcheck last")
    assert again.report == first.report
    assert again.text == first.text


def test_help_shows_the_options(kernel: Kernel):
    """`%%vjpcheck?` shows how it is used, without what only the first line of a cell becomes."""
    for question in ("%%vjpcheck?", "%vjpcheck?"):
        (page,) = kernel.run(question).reply["payload"]
        text = page["data"]["text/plain"]
        for option in ("--verify", "--ignore", "--into", "--fail-on", "--no-retrace", "--no-widget"):
            assert option in text
        assert "Run a cell as without this magic" in text
        assert "begin" not in text


def test_the_name_is_completed(kernel: Kernel):
    """`%%v` and `%v` complete to the magic."""
    for typed, expected in (("%%v", "%%vjpcheck"), ("%vj", "%vjpcheck")):
        kernel.client.complete(typed)
        assert expected in kernel.client.get_shell_msg(timeout=60)["content"]["matches"]


def test_names_in_a_checked_cell_are_completed(kernel: Kernel):
    """Completion in the body knows the session's names."""
    cell = "%%vjpcheck\njax.gr"
    kernel.client.complete(cell)
    matches = kernel.client.get_shell_msg(timeout=60)["content"]["matches"]
    assert any(match.endswith("grad") for match in matches)


def test_a_checked_cell_ends_at_an_empty_line_in_a_terminal(kernel: Kernel):
    """Like every cell magic, it is not run after its first line."""
    for typed, status in (
        ("%%vjpcheck", "incomplete"),
        ("%%vjpcheck\nx = 1", "incomplete"),
        ("%%vjpcheck\nx = 1\n", "incomplete"),
        ("%%vjpcheck\nx = 1\n\n", "complete"),
    ):
        kernel.client.is_complete(typed)
        reply = kernel.client.get_shell_msg(timeout=60)["content"]
        kernel.client.is_complete(typed.replace("%%vjpcheck", "%%capture"))
        assert reply == kernel.client.get_shell_msg(timeout=60)["content"]
        if status == "complete" or not typed.endswith("\n"):
            assert reply["status"] == status


# From a program ---------------------------------------------------------------------------------


def test_run_cell_magic_checks_its_text(kernel: Kernel):
    """`run_cell_magic`, as nbconvert writes it into a script, runs and reports once."""
    outcome = kernel.run("get_ipython().run_cell_magic('vjpcheck', '', 'x = 1.\\njax.grad(square)(x)\\n')\n'after'")
    assert outcome.kinds == ["execute_result", "report", "execute_result"]
    assert {call["line"] for call in outcome.report["calls"]} == {2}


def test_run_cell_magic_ends_where_its_text_raises(kernel: Kernel):
    """The exception is shown once with its traceback, the report comes, and what stands below does not run."""
    outcome = kernel.run("get_ipython().run_cell_magic('vjpcheck', '', 'x = 1\\n1 / 0\\n')\nprint('not reached')")
    assert outcome.kinds == ["error", "report", "error"]
    errors = [content for kind, content in outcome.messages if kind == "error"]
    assert "1 / 0" in "".join(errors[0]["traceback"])
    assert errors[1] == {"ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": []}
    assert (outcome.reply["ename"], outcome.reply["evalue"]) == ("ZeroDivisionError", "division by zero")


def test_with_every_cell_checked_a_terminal_has_lines_of_the_cell_too():
    """A terminal counts its cells at another moment than a kernel."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in ('%load_ext jaxvjp_magic', 'import jax', '%vjpcheck on', 'jax.grad(jax.numpy.sin)(1.0)'):\n"
        "    shell.run_cell(cell, store_history=True)\n"
        "from jaxvjp_magic.notebook.session import load\n"
        "print([(call.line, call.source) for call in load(shell).last.calls])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[(1, '')]"
