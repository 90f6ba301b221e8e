"""Bad input to the magics: one clear line, and nothing has run; in a real kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conftest import LOAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Kernel, Outcome

pytestmark = pytest.mark.any_jax


@pytest.fixture(scope="module")
def kernel(start_kernel: Callable[..., Kernel]) -> Kernel:
    """A kernel with the extension and JAX."""
    kernel = start_kernel()
    kernel.run(LOAD)
    return kernel


def assert_one_line(outcome: Outcome, message: str) -> None:
    """One line on standard error, nothing else, and the kernel's reply is an error."""
    assert outcome.kinds == ["stream"]
    assert outcome.stream("stderr") == f"UsageError: {message}\n"
    assert outcome.reply["status"] == "error"
    assert outcome.reply["ename"] == "UsageError"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("%%vjpcheck --nope\nprint(1)", "unrecognized arguments: --nope"),
        ("%%vjpcheck --ignore VJP1044\nprint(1)", "unknown code VJP1044; did you mean VJP104?"),
        ("%%vjpcheck --ignore nam2011\nprint(1)", "unknown code NAM2011; did you mean NAM201?"),
        ("%%vjpcheck --into 1x\nprint(1)", "--into 1x: not a name"),
        ("%%vjpcheck --into class\nprint(1)", "--into class: not a name"),
        ("%%vjpcheck --into\nprint(1)", "argument --into: expected one argument"),
        ('%%vjpcheck --into "x\nprint(1)', "No closing quotation in the options of vjpcheck"),
        ("%vjpcheck ignore VJP1044", "unknown code VJP1044; did you mean VJP104?"),
        ("%vjpcheck explain", "%vjpcheck explain takes a code, as in: %vjpcheck explain NAM201"),
        ("%vjpcheck last VJP104", "%vjpcheck last takes options only"),
        ("%%vjpcheck on\nprint(1)", "%%vjpcheck takes options only; without a cell: %vjpcheck on"),
        ("%%vjpcheck\n  \n\n", "the cell below %%vjpcheck is empty"),
        (
            "%%vjpcheck",
            "%%vjpcheck is a cell magic, but the cell body is empty. Did you mean the line magic %vjpcheck (single %)?",
        ),
        ("%vjpcheck", "%vjpcheck takes on, off, last, ignore, explain, cache; %%vjpcheck on top of a cell checks it"),
        ("get_ipython().run_cell_magic('vjpcheck', '--nope', 'print(1)')", "unrecognized arguments: --nope"),
    ],
)
def test_bad_input_is_answered_in_one_line(kernel: Kernel, cell: str, message: str):
    """What is wrong is said in one line; the cell is not run, and the next cell is not checked."""
    assert_one_line(kernel.run(cell), message)
    assert kernel.run("'next'").reports == []


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("%%vjpcheck --fail-on nope\n1", "argument --fail-on: invalid choice: 'nope' (choose from "),
        ("%vjpcheck maybe", "argument command: invalid choice: 'maybe' (choose from "),
    ],
)
def test_a_wrong_choice_is_answered_with_the_right_ones(kernel: Kernel, line: str, start: str):
    """The message lists the choices, in the words of this Python's argparse."""
    outcome = kernel.run(line)
    assert_one_line(outcome, outcome.reply["evalue"])
    assert outcome.reply["evalue"].startswith(start)


def test_last_before_any_check_says_so(kernel: Kernel):
    """There is nothing to show again in a fresh session."""
    kernel.run("%reload_ext jaxvjp_magic")
    assert_one_line(kernel.run("%vjpcheck last"), "no cell has been checked yet")
