"""A long session: what a check does with earlier cells does not grow with their number."""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from jaxvjp_magic.notebook import cell_text, session
from jaxvjp_magic.source import bindings

pytestmark = pytest.mark.any_jax

SETUP = """
import jax, jax.numpy as jnp
@jax.custom_vjp
def f(x):
    return jnp.tanh(x)
def f_fwd(x):
    return f(x), x
f.defvjp(f_fwd, lambda x, g: (g * (1 - jnp.tanh(x) ** 2),))
"""


class Session(InteractiveShell):
    """One of its own, which asks nobody."""


@pytest.fixture
def shell():
    """A session with the extension, in which every cell is checked."""
    shell = Session(config=Config(HistoryManager={"hist_file": ":memory:"}))
    session.load(shell)
    shell.run_cell(SETUP, store_history=True)
    with capture_output():
        shell.run_line_magic("vjpcheck", "on")
    yield shell
    session.unload(shell)
    Session.clear_instance()


@pytest.fixture
def work(monkeypatch):
    """How often cells are transformed, parsed and read by the check."""
    counts = Counter()

    def counted(owner, name, what):
        original = getattr(owner, name)

        def run(*args, **kwargs):
            counts[what] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, run)

    counted(Session, "transform_cell", "transformed")
    counted(bindings.ast, "parse", "parsed")
    counted(cell_text.TypedCells, "transformed", "read")
    return counts


def _run(shell, cell):
    with capture_output():
        shell.run_cell(cell, store_history=True).raise_error()


CELLS = {
    "without JAX": "x{0} = {0} + 1",
    "with a rule": "y{0} = jax.grad(lambda x: f(x).sum())(jnp.ones({0} % 3 + 1))",
    "that defines": "def h{0}(x):\n    return f(x) * {0}\nz = jax.grad(h{0})(1.0)",
    "below a magic": "%%time\nx{0} = {0} + 1",
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_the_hundredth_cell_costs_what_the_twentieth_does(shell, work, cell):
    """Cells are transformed and parsed as often as in a young session."""
    seen = []
    for number in range(1, 101):
        work.clear()
        _run(shell, cell.format(number))
        seen.append(dict(work))
    assert seen[98] == seen[18]


def test_what_earlier_cells_say_is_still_known(shell):
    """A function is overwritten a hundred cells after it was defined."""
    for number in range(100):
        _run(shell, f"x{number} = {number}")
    with capture_output():  # JAX raises: the rule gets the mapped function
        shell.run_cell("f = jax.vmap(f)\njax.grad(lambda x: f(x).sum())(jnp.ones(3))", store_history=True)
    finding = session.load(shell).last.findings[0]
    assert (finding.code, finding.line) == ("NAM201", 1)
    assert ast.parse(finding.snippet.text)
