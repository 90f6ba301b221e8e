"""Errors in a checked cell: the same traceback as without the check, whatever shows it, and how a cell ends."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import nbformat
import pytest
from conftest import HOOKED, LOAD, NO_FILE_OF_OURS, same, value_of, without_magic
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from jaxvjp_magic.runners.notebook import connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Kernel, Twins

# Tracebacks -----------------------------------------------------------------------------------

RULES = """
@jax.custom_vjp
def raises_in_fwd(x):
    return x

def fwd(x):
    y = jnp.sin(x)
    return jnp.dot(jnp.ones(3), jnp.ones(4)), y

raises_in_fwd.defvjp(fwd, lambda y, g: (g,))

@jax.custom_vjp
def raises_in_bwd(x):
    return x

def bwd(y, g):
    raise RuntimeError("in bwd")

raises_in_bwd.defvjp(lambda x: (x, x), bwd)

@jax.custom_vjp
def wrong_shape(x):
    return x

wrong_shape.defvjp(lambda x: (x, None), lambda _, g: (jnp.ones(7),))
"""
FAILURES = {
    "plain error": "def f(x):\n    return x / 0\n\nf(1)",
    "fwd": "jax.grad(raises_in_fwd)(1.)",
    "bwd": "out, pull = jax.vjp(raises_in_bwd, 1.)\npull(out)",
    "bwd, grad": "jax.grad(raises_in_bwd)(1.)",
    "bwd, jit": "jax.jit(jax.grad(raises_in_bwd))(1.)",
    "bwd, vmap of jit": "jax.vmap(jax.jit(jax.grad(raises_in_bwd)))(jnp.ones(2))",
    "bwd, scan": (
        "def body(c, x):\n    return raises_in_bwd(c), x\n\n"
        "jax.grad(lambda c: jax.lax.scan(body, c, jnp.ones(3))[0])(1.)"
    ),
    "bwd's shape": "jax.grad(wrong_shape)(1.)",
    "bwd's shape, jit": "jax.jit(jax.grad(wrong_shape))(1.)",
    "pullback": "out, pull = jax.vjp(jnp.sin, jnp.ones((10, 3)))\npull(jnp.ones(10))",
    "pullback's structure": "out, pull = jax.vjp(jnp.sin, jnp.ones(3))\npull((out, out))",
    "pullback, jit": "def f(x):\n    out, pull = jax.vjp(square, x)\n    return pull(jnp.ones(5))\n\njax.jit(f)(1.)",
    "signature": "jax.grad(square)(1., 2., 3.)",
    "a function in jit": "@jax.jit\ndef f(x):\n    return jax.grad(lambda x: x @ jnp.ones(3))(x)\n\nf(jnp.ones(4))",
    "a concrete value": "jax.jit(jax.grad(lambda x: square(x) if x > 0 else x))(1.)",
    "grad of a vector": "jax.grad(square)(jnp.ones(3))",
    "raise from": "try:\n    jax.grad(raises_in_bwd)(1.)\nexcept RuntimeError as e:\n    raise KeyError(1) from e",
    "inside a library": "jax.tree.map(lambda a, b: a, {'a': 1}, {'b': 1})",
    "group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
    "nested functions": "def f(x):\n    return g(x)\n\ndef g(x):\n    return jax.grad(raises_in_fwd)(x)\n\nf(1.)",
}


@pytest.fixture(scope="module")
def failing(twins: Twins) -> Twins:
    """The twins, with functions whose rules raise."""
    twins.run(RULES)
    return twins


@pytest.mark.parametrize("failure", FAILURES)
def test_an_error_looks_the_same(failing: Twins, failure: str):
    """The same exception, message, frames and lines as without the check, nothing of ours, and the report after it."""
    outcome = failing.same(f"%%vjpcheck\n{FAILURES[failure]}")
    assert outcome.reply["status"] == "error"
    assert not any(name in str(outcome.own) for name in NO_FILE_OF_OURS)
    assert outcome.kinds[-1] == "report"
    assert outcome.report["error"]["type"] == outcome.reply["ename"]
    assert "notes" not in outcome.report


@pytest.mark.parametrize("mode", ["off", "tracebackhide", "remove_frames", "quiet_remove_frames"])
def test_an_error_looks_the_same_in_each_of_jax_filters(failing: Twins, mode: str):
    """Whatever JAX is told to hide of its own frames, ours are never there."""
    failing.run(f"jax.config.update('jax_traceback_filtering', '{mode}')")
    for failure in ("fwd", "bwd, jit", "pullback", "bwd's shape"):
        outcome = failing.same(f"%%vjpcheck\n{FAILURES[failure]}")
        assert not any(name in str(outcome.own) for name in NO_FILE_OF_OURS)
    failing.run("jax.config.update('jax_traceback_filtering', 'auto')")


@pytest.mark.parametrize("mode", ["Plain", "Verbose", "Minimal"])
def test_an_error_looks_the_same_in_each_of_ipython_modes(failing: Twins, mode: str):
    """`%xmode` changes the traceback of a checked cell as it does that of a plain one."""
    failing.run(f"%xmode {mode}")
    for failure in ("plain error", "nested functions"):  # no frames of the kernel, whose variables are chance
        failing.same(f"%%vjpcheck\n{FAILURES[failure]}")
    failing.run("%xmode Context")


def test_an_error_in_an_async_cell_looks_the_same(failing: Twins):
    """The traceback of a cell that awaits is the plain one too."""
    outcome = failing.same("%%vjpcheck\nimport asyncio\nawait asyncio.sleep(0)\njax.grad(raises_in_bwd)(1.)")
    assert outcome.reply["ename"] == "RuntimeError"


def test_python_shows_a_syntax_error_as_ever(twins: Twins):
    """A SyntaxError has its line and its mark; one line of ours says that nothing was checked."""
    plain, checked = twins.run("%%vjpcheck\nx = 1\ny = (x +")
    assert checked.error == plain.error
    assert checked.error.startswith("  Cell In[")
    assert "line 3" in checked.error
    assert checked.reply == plain.reply
    assert checked.kinds == ["error", "stream"]
    assert checked.stream("stdout") == "vjpcheck: nothing was checked, the cell did not run\n"


def test_a_late_syntax_error_comes_with_the_report(twins: Twins):
    """What Python only sees when it compiles, after the statements above it have run, is in the report."""
    outcome = twins.same("%%vjpcheck\njax.grad(square)(1.)\nreturn 3")
    assert outcome.kinds == ["error", "report"]
    assert outcome.report["error"]["type"] == "SyntaxError"
    assert outcome.report["error"]["line"] == 3
    assert len(outcome.report["calls"]) == 2


def test_a_debugger_finds_the_users_frames(failing: Twins):
    """`sys.last_value` is the exception, and its traceback is free of our frames."""
    failing.same(f"%%vjpcheck\n{FAILURES['bwd']}")
    own = failing.same(
        "import sys, traceback\n[f.filename for f in traceback.extract_tb(sys.last_value.__traceback__) "
        "if 'jaxvjp' in f.filename.replace('\\\\', '/').split('/')[-3:]]"
    )
    assert value_of(own) == "[]"


# The end of a cell --------------------------------------------------------------------------


def test_an_interrupted_cell_is_reported(twins: Twins):
    """An interrupt stops the cell as ever, the report comes, and the next cell runs without hooks."""
    cell = "%%vjpcheck\nimport time\njax.grad(square)(1.)\nprint('ready', flush=True)\ntime.sleep(60)"
    outcome = same(twins.plain.interrupt(without_magic(cell)), twins.checked.interrupt(cell))
    assert outcome.kinds == ["stream", "error", "report"]
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert outcome.report["error"] == {"type": "KeyboardInterrupt", "line": 5}
    assert len(outcome.report["calls"]) == 2
    assert twins.checked.evaluate(HOOKED) == "0"
    assert twins.same("jax.grad(square)(1.)").reports == []


def test_an_interrupted_async_cell_is_reported(twins: Twins):
    """An interrupt while the cell awaits ends the check as well."""
    cell = "%%vjpcheck\nimport asyncio\njax.grad(square)(1.)\nprint('ready', flush=True)\n"
    cell += "while True:\n    await asyncio.sleep(0.01)"
    outcome = same(twins.plain.interrupt(without_magic(cell)), twins.checked.interrupt(cell))
    assert outcome.kinds[-1] == "report"
    assert outcome.reply["status"] == "error"
    assert twins.checked.evaluate(HOOKED) == "0"
    assert twins.same("'next'").reports == []


def test_an_interrupt_in_a_rule_is_reported(twins: Twins):
    """An interrupt that reaches our hooks passes through them like any exception."""
    cell = (
        "%%vjpcheck\nimport time\n"
        "@jax.custom_vjp\ndef slow(x):\n    return x\n\n"
        "def wait(x):\n    print('ready', flush=True)\n    time.sleep(60)\n\n"
        "slow.defvjp(wait, lambda r, g: (g,))\njax.grad(slow)(1.)"
    )
    outcome = same(twins.plain.interrupt(without_magic(cell)), twins.checked.interrupt(cell))
    assert outcome.report["error"]["type"] == "KeyboardInterrupt"
    assert outcome.report["error"]["line"] == 9
    assert not any(name in str(outcome.own) for name in NO_FILE_OF_OURS)
    assert twins.checked.evaluate(HOOKED) == "0"


def test_system_exit_is_reported(twins: Twins):
    """`raise SystemExit` in a cell shows what it always shows, and the kernel lives on."""
    outcome = twins.same("%%vjpcheck\njax.grad(square)(1.)\nraise SystemExit(3)")
    assert outcome.kinds[-1] == "report"
    assert outcome.report["error"] == {"type": "SystemExit", "message": "3", "line": 3}
    assert value_of(twins.same("'alive'")) == "'alive'"


@pytest.mark.any_jax
def test_exit_is_reported(start_kernel: Callable[..., Kernel]):
    """`exit()` ends the session as ever; the report still comes."""
    plain, checked = start_kernel(), start_kernel()
    plain.run("pass")
    checked.run(LOAD)
    outcome = same(plain.run("pass\nprint('bye')\nexit()"), checked.run("%%vjpcheck\nprint('bye')\nexit()"))
    assert outcome.kinds == ["stream", "report"]
    assert outcome.reply["payload"] == [{"source": "ask_exit", "keepkernel": False}]


def run_all(folder: Path, *cells: str) -> tuple[list[list[str]], CellExecutionError | None]:
    """Run a notebook as nbconvert and Run All do, up to the first error: what each cell shows, and the error."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    error = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as sockets:
        manager = AsyncKernelManager(**connection(sockets))
        client = NotebookClient(notebook, km=manager, timeout=120, resources={"metadata": {"path": str(folder)}})
        try:
            client.execute(cleanup_kc=True, env={**os.environ, "JAX_PLATFORMS": "cpu", "IPYTHONDIR": str(folder)})
        except CellExecutionError as raised:
            error = raised
    shown = [[output.get("name") or output.output_type for output in cell.outputs] for cell in notebook.cells]
    return shown, error


@pytest.mark.any_jax
def test_run_all_stops_at_an_error(tmp_path: Path):
    """A checked cell that raises ends the run, and its report is in the notebook."""
    shown, error = run_all(tmp_path, LOAD, "%%vjpcheck\nprint('one')\n1 / 0", "print('not reached')")
    assert error is not None
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    assert shown == [[], ["stdout", "error", "display_data"], []]


@pytest.mark.any_jax
def test_run_all_stops_at_a_bad_option(tmp_path: Path):
    """A checked cell that did not run ends the run as well, with one line."""
    shown, error = run_all(tmp_path, LOAD, "%%vjpcheck --nope\nprint('not run')", "print('not reached')")
    assert error is not None
    assert (error.ename, error.evalue) == ("UsageError", "unrecognized arguments: --nope")
    assert shown == [[], ["stderr"], []]


@pytest.mark.any_jax
def test_run_all_stops_where_findings_fail_the_cell(tmp_path: Path):
    """With `--fail-on error` the cell runs to its end, shows its value and its report, and then ends the run."""
    rule = (
        "@jax.custom_vjp\ndef f(x):\n    return x\n\n"
        "f.defvjp(lambda x: (x, None), lambda _, g: (jnp.ones(3),))\n"
        "try:\n    jax.grad(f)(1.)\nexcept ValueError:\n    pass\n'value'"
    )
    start = f"import jax, jax.numpy as jnp\n{LOAD}"
    shown, error = run_all(
        tmp_path, start, f"%%vjpcheck\n{rule}", f"%%vjpcheck --fail-on error\n{rule}", "print('not reached')"
    )
    assert error is not None
    assert error.ename == "FindingsError"
    assert error.evalue.endswith("(--fail-on error)")
    seen = ["execute_result", "display_data"]
    assert shown == [[], seen, [*seen, "error"], []]


@pytest.mark.any_jax
def test_run_all_ends_well(tmp_path: Path):
    """A notebook without errors runs to its end, `--fail-on` or not."""
    cells = "%%vjpcheck --fail-on warning\nprint('one')", "get_ipython().run_cell_magic('vjpcheck', '', '1')\n2"
    shown, error = run_all(tmp_path, LOAD, *cells)
    assert error is None
    assert shown == [[], ["stdout", "display_data"], ["execute_result", "display_data", "execute_result"]]
