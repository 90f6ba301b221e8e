"""What JupyterLab's button and settings ask of the kernel: checks without a line in the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Kernel, Outcome

pytestmark = pytest.mark.any_jax

MODULE = "__import__('jaxvjp_magic.notebook.lab_api', fromlist=['_'])"
GRADIENT = "import jax\njax.grad(lambda x: x * x)(3.0)"
WRONG = """
import jax
import jax.numpy as jnp
@jax.custom_vjp
def f(x): return x.sum()
f.defvjp(lambda x: (x, x), lambda x, g: (x * g,))
jax.grad(lambda x: f(x).sum())(jnp.ones(3))
"""


@pytest.fixture(scope="module")
def kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel that has never heard of the extension."""
    return start_kernel()


def ask(kernel: Kernel, call: str) -> None:
    """Make a call as the front end does."""
    assert kernel.evaluate(f"{MODULE}.{call}") == "None"


def run(kernel: Kernel, text: str, name: str = "cell") -> Outcome:
    """Run a cell that the front end has a name for."""
    content = {"code": text, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = kernel.client.session.msg("execute_request", content, metadata={"cellId": name})
    kernel.client.shell_channel.send(message)
    return kernel.outcome(message["header"]["msg_id"])


def test_a_cell_is_checked_once(kernel: Kernel):
    """The one that was named, with the lines of its own text, and in a session that stays as it was."""
    names = kernel.evaluate("sorted(get_ipython().user_ns)")
    ask(kernel, "check_next(['cell'], '')")
    assert kernel.evaluate("sorted(get_ipython().user_ns)") == names
    assert run(kernel, GRADIENT, "another").reports == []
    outcome = run(kernel, GRADIENT)
    assert [call["line"] for call in outcome.report["calls"]] == [2]
    assert outcome.reply["execution_count"] == 2
    assert run(kernel, GRADIENT).reports == []


def test_what_was_asked_for_is_forgotten_by_the_next_request(kernel: Kernel):
    """A cell that an exception kept from running is not checked some other time."""
    ask(kernel, "check_next(['cell'], '')")
    ask(kernel, "check_next([], '')")
    assert run(kernel, GRADIENT).reports == []


def test_a_quiet_check_shows_findings_alone(kernel: Kernel):
    """For a run of the whole notebook."""
    ask(kernel, "check_next(['fine', 'wrong'], '', quiet=True)")
    assert run(kernel, GRADIENT, "fine").kinds == ["execute_result"]
    assert "VJP101" in run(kernel, WRONG, "wrong").codes


def test_a_cell_with_a_line_of_its_own_is_checked_by_that(kernel: Kernel):
    """One report, with the options of the line."""
    ask(kernel, "check_next(['cell'], '--ignore VJP101')")
    assert "VJP101" in run(kernel, f"%%vjpcheck\n{WRONG}").codes
    assert run(kernel, GRADIENT).reports == []


def test_options_are_those_of_the_line(kernel: Kernel):
    """They hold for the cell; wrong ones are told of by the request."""
    ask(kernel, "check_next(['cell'], '--ignore VJP101 --into seen')")
    assert "VJP101" not in run(kernel, WRONG).codes
    assert kernel.evaluate("type(seen).__name__") == "'Report'"
    for wrong, words in (("--nonsense", "unrecognized arguments"), ("last", "only options")):
        request = kernel.client.execute("", silent=True, user_expressions={"it": f"{MODULE}.check_next([], {wrong!r})"})
        answer = kernel.outcome(request).reply["user_expressions"]["it"]
        assert answer["ename"] == "UsageError"
        assert words in answer["evalue"]


def test_a_cell_that_is_no_python(kernel: Kernel):
    """Says that nothing was checked."""
    ask(kernel, "check_next(['cell'], '')")
    outcome = run(kernel, "1 +")
    assert outcome.reports == []
    assert "nothing was checked" in outcome.stream("stdout")


def test_every_cell(kernel: Kernel):
    """With a report where something is found; `None` ends it."""
    ask(kernel, "check_every_cell('--ignore VJP103')")
    assert run(kernel, GRADIENT).reports == []
    assert "VJP101" in run(kernel, WRONG).codes
    ask(kernel, "check_every_cell(None)")
    assert run(kernel, WRONG).reports == []
