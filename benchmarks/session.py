"""Measure what a cell costs in a notebook where every cell is checked: `%vjpcheck on`, early and late in a session."""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time

from measuring import Figure, duration, of_another_process

ROUNDS, EARLY, LATE = 15, 20, 300
SETUP = """
import jax, jax.numpy as jnp
@jax.custom_vjp
def f(x):
    return jnp.tanh(x)
def f_fwd(x):
    return f(x), x
f.defvjp(f_fwd, lambda x, g: (g * (1 - jnp.tanh(x) ** 2),))
"""
WITHOUT_JAX = "y = [n * 2 for n in range(100)]"
WITH_A_RULE = "jax.grad(lambda x: f(x).sum())(jnp.ones(3))"


@functools.cache
def _of_a_session() -> dict[str, float]:
    return of_another_process(__file__, "session")


def without_jax(rounds: int) -> Figure:
    """A cell without JAX with `%vjpcheck on`: how much longer it takes."""
    del rounds
    figures = _of_a_session()
    added = figures["checked"] - figures["plain"]
    beside = f"{duration(figures['plain'])} plain, {duration(figures['checked'])} checked"
    return Figure(added * 1e3, 8, "ms", beside)


def late_by_early(rounds: int) -> Figure:
    """Cell 300 of a session with `%vjpcheck on`, by cell 20."""
    del rounds
    figures = _of_a_session()
    beside = f"a cell with a gradient: {duration(figures['early'])} then {duration(figures['late'])}"
    return Figure(figures["late"] / figures["early"], 1.25, "", beside)


# What runs in the other process ------------------------------------------------------------------


def session() -> dict[str, float]:
    """Run cells in a shell of its own, and time some of them."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    from jaxvjp_magic.notebook import session

    shell = InteractiveShell(config=Config(HistoryManager={"hist_file": ":memory:"}))

    def run(cell: str) -> float:
        with capture_output():
            began = time.perf_counter()
            done = shell.run_cell(cell, store_history=True)
            took = time.perf_counter() - began
        done.raise_error()
        return took

    def median(cell: str) -> float:
        return statistics.median(run(cell) for _ in range(ROUNDS))

    session.load(shell)
    run(SETUP)
    run(WITH_A_RULE)
    plain = median(WITHOUT_JAX)
    run("%vjpcheck on")
    run(WITH_A_RULE)
    while shell.execution_count < EARLY:
        run(WITHOUT_JAX)
    early = median(WITH_A_RULE)
    while shell.execution_count < LATE:
        run(f"x{shell.execution_count} = {shell.execution_count} + 1")
    late, checked = median(WITH_A_RULE), median(WITHOUT_JAX)
    return {"plain": plain, "checked": checked, "early": early, "late": late}


if __name__ == "__main__":
    print(json.dumps({"session": session}[sys.argv[1]]()))
