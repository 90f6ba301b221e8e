"""`%vjpcheck on`: every later cell is checked, whatever it is; quiet where there is nothing to say, else one line."""

from __future__ import annotations

import pytest
from conftest import HOOKED, LOAD, SQUARE

pytestmark = pytest.mark.any_jax

WRONG = "g = jax.custom_vjp(lambda x: x * x)\ng.defvjp(lambda x: (x * x, x), lambda x, c: (c.astype(jnp.float16),))"
LINE = "vjpcheck: 1 warning, 2 calls; %vjpcheck last shows them\n"


@pytest.fixture(scope="module")
def kernel(start_kernel):
    """A kernel in which every cell is checked, with a right rule `square` and a wrong one `g`."""
    kernel = start_kernel()
    kernel.run(LOAD)
    kernel.run(SQUARE)
    kernel.run(WRONG)
    assert kernel.run("%vjpcheck on").kinds == []
    return kernel


QUIET = {
    "no JAX": ("print('said')", "said\n"),
    "a right rule": ("jax.grad(square)(1.)\nprint('said')", "said\n"),
    "a shell": ("%%bash\necho said", "said\n"),
    "no Python": ("%%javascript\n1", ""),
    "a cell that awaits": ("import asyncio\nawait asyncio.sleep(0)\njax.grad(square)(1.)\nprint('said')", "said\n"),
    "captured": ("%%capture\njax.grad(square)(1.)\nprint('said')", ""),
    "on once more": ("%vjpcheck on", ""),
}
TOLD = {
    "a wrong rule": "jax.grad(g)(1.)",
    "a wrong rule that is awaited": "import asyncio\nawait asyncio.sleep(0)\njax.grad(g)(1.)",
    "captured": "%%capture\njax.grad(g)(1.)",
    "timed": "%%time\njax.grad(g)(1.);",
}


@pytest.mark.parametrize("cell", QUIET.values(), ids=QUIET)
def test_a_cell_with_nothing_to_say_shows_what_it_always_shows(kernel, cell):
    """No line, no report, no error."""
    text, printed = cell
    outcome = kernel.run(text)
    assert outcome.reply["status"] == "ok"
    assert outcome.reports == []
    assert outcome.stream("stdout") == printed
    assert kernel.evaluate(HOOKED) == "0"


@pytest.mark.parametrize("cell", TOLD.values(), ids=TOLD)
def test_a_cell_with_something_to_say_gets_one_line(kernel, cell):
    """After its own output; `%vjpcheck last` shows the whole."""
    outcome = kernel.run(cell)
    assert outcome.reply["status"] == "ok"
    assert outcome.reports == []
    printed = outcome.stream("stdout")
    assert printed.endswith(LINE)
    assert printed.count("vjpcheck") == 2  # both in that line
    assert kernel.run("%vjpcheck last").codes == ["VJP105"]


def test_a_cell_that_ends_in_an_error_keeps_it(kernel):
    """The exception, then the line; after a cell that Python cannot read, nothing."""
    outcome = kernel.run("jax.grad(g)(1.)\n1 / 0")
    assert outcome.reply["ename"] == "ZeroDivisionError"
    assert outcome.stream("stdout") == LINE
    broken = kernel.run("jax.grad(g)(")
    assert broken.reply["ename"] in ("SyntaxError", "_IncompleteInputError")
    assert broken.kinds == ["error"]
    assert kernel.evaluate(HOOKED) == "0"


def test_a_cell_with_its_own_line_has_one_report(kernel):
    """And not a second check in passing."""
    assert kernel.run("%%vjpcheck\njax.grad(g)(1.)").codes == ["VJP105"]
    assert kernel.run("%%timeit -n1 -r1\njax.grad(g)(1.)").stream("stdout").endswith(LINE)


def test_off_ends_it_also_where_it_never_began(kernel):
    """Twice is as good as once; the next cell is not checked."""
    for _ in range(2):
        assert kernel.run("%vjpcheck off").kinds == []
    assert kernel.run("jax.grad(g)(1.)").stream("stdout") == ""
    assert kernel.run("%vjpcheck on --nope").stream("stderr").startswith("UsageError: ")
    assert kernel.run("jax.grad(g)(1.)").stream("stdout") == ""
