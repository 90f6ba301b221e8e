"""What loading, unloading and checking do to the session: nothing that stays."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import HOOKED, LOAD, value_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Kernel, Twins

pytestmark = pytest.mark.any_jax

# Loading, and when JAX is touched -------------------------------------------------------------

SHELL_STATE = """(lambda ip, sys: {
    'transformers': [*map(id, ip.input_transformers_cleanup + ip.input_transformers_post + ip.ast_transformers)],
    'events': {kind: [id(getattr(one, '__self__', one)) for one in ones] for kind, ones in ip.events.callbacks.items()},
    'magics': [sorted(ip.magics_manager.magics[kind]) for kind in ('line', 'cell')],
    'registry': sorted(ip.magics_manager.registry),
    'matchers': len(ip.Completer.matchers),
    'meta_path': [id(one) for one in sys.meta_path],
    'names': sorted(name for name in ip.user_ns if not name.startswith('_')),
    'hooks': [sys.excepthook, sys.displayhook, ip.custom_exceptions, ip.showtraceback.__func__],
})(get_ipython(), __import__('sys'))""".replace("\n", " ")


def test_loading_leaves_no_trace_when_it_is_undone(start_kernel: Callable[..., Kernel]):
    """`%load_ext` twice is once, `%reload_ext` changes nothing, and after `%unload_ext` all is as it was."""
    kernel = start_kernel()
    kernel.run("%unload_ext jaxvjp_magic")  # IPython's own part of it
    before = kernel.evaluate(SHELL_STATE)
    kernel.run(LOAD)
    loaded = kernel.evaluate(SHELL_STATE)
    assert "'vjpcheck'" in loaded
    assert "'vjpcheck'" not in before
    kernel.run(LOAD)
    kernel.run("from jaxvjp_magic import load_ipython_extension as load; load(get_ipython()); del load")
    assert kernel.evaluate(SHELL_STATE) == loaded
    kernel.run("%reload_ext jaxvjp_magic")
    assert kernel.evaluate(SHELL_STATE).count("vjpcheck") == loaded.count("vjpcheck")
    assert len(kernel.run("%%vjpcheck\n1").reports) == 1
    kernel.run("%unload_ext jaxvjp_magic")
    assert kernel.evaluate(SHELL_STATE) == before
    assert "not found" in kernel.run("%%vjpcheck\n1").stream("stderr")
    kernel.run(LOAD)
    assert len(kernel.run("%%vjpcheck\n1").reports) == 1


def test_loading_does_not_import_jax_and_a_check_waits_for_it(start_kernel: Callable[..., Kernel]):
    """JAX reads its environment variables when the cell imports it, also where that is a checked cell."""
    kernel = start_kernel()
    kernel.run(LOAD)
    kernel.run("%%vjpcheck\n1")
    finders = "len([one for one in __import__('sys').meta_path if type(one).__module__.startswith('jaxvjp_magic')])"
    assert kernel.evaluate("'jax' in __import__('sys').modules") == "False"
    assert kernel.evaluate(finders) == "0"
    outcome = kernel.run(
        "%%vjpcheck\nimport os\nos.environ['JAX_ENABLE_X64'] = '1'\nimport jax\njax.grad(lambda x: x * x)(2.)"
    )
    assert outcome.value == "Array(4., dtype=float64, weak_type=True)"
    (call,) = outcome.report["calls"]
    assert (call["kind"], call["line"], call["primals"][0]["type"]) == ("grad", 5, "float64[]")
    assert outcome.report["jax"] == kernel.evaluate("jax.__version__").strip("'")
    assert kernel.evaluate(finders) == "0"
    assert kernel.evaluate(HOOKED) == "0"
    assert kernel.evaluate("type(jax.__spec__.loader).__module__.startswith('jaxvjp_magic')") == "False"


def test_a_question_whether_there_is_jax_is_no_import(start_kernel: Callable[..., Kernel]):
    """`find_spec("jax")`, as libraries ask before they decide, does not make the check miss the import itself."""
    kernel = start_kernel()
    kernel.run(LOAD)
    outcome = kernel.run(
        "%%vjpcheck\nfrom importlib.util import find_spec\nassert find_spec('jax')\n"
        "import jax\njax.grad(lambda x: x * x)(2.)"
    )
    assert [call["line"] for call in outcome.report["calls"]] == [5]


OTHER_JAX = "import jax\njax.__version__ = {0!r}\njax.__version_info__ = tuple(map(int, {0!r}.split('.')))"


def test_an_older_jax_is_left_alone(start_kernel: Callable[..., Kernel]):
    """The cell runs, nothing is patched; loading and the report say which versions there are hooks for."""
    kernel = start_kernel()
    kernel.run(OTHER_JAX.format("0.7.2"))
    said = "JAX 0.7.2 is not supported, so nothing is traced. Install JAX 0.8 to 0.12"
    assert kernel.run(LOAD).stream("stdout") == f"vjpcheck: {said}\n"
    outcome = kernel.run(f"%%vjpcheck\nprint({HOOKED})\njax.grad(lambda x: x * x)(2.)")
    assert outcome.stream("stdout") == "0\n"
    assert outcome.value == "Array(4., dtype=float32, weak_type=True)"
    assert outcome.report["calls"] == []
    assert outcome.report["notes"] == [said]


def test_a_newer_jax_is_tried(start_kernel: Callable[..., Kernel]):
    """One line says that nobody has tested it; what can be seen is seen, and JAX is its own again afterwards."""
    kernel = start_kernel()
    kernel.run(OTHER_JAX.format("0.99.1"))
    said = "JAX 0.99.1 is newer than the tested versions (0.8 to 0.12). The check notes what it cannot see"
    assert kernel.run(LOAD).stream("stdout") == f"vjpcheck: {said}\n"
    outcome = kernel.run("%%vjpcheck\njax.grad(lambda x: x * x)(2.)")
    assert outcome.value == "Array(4., dtype=float32, weak_type=True)"
    assert [call["kind"] for call in outcome.report["calls"]] == ["grad"]
    assert outcome.report["notes"] == [said]
    assert kernel.evaluate(HOOKED) == "0"


def test_hooks_stand_only_during_a_check(twins: Twins):
    """JAX is its own before the cell, after it, and after a cell that raises."""
    assert twins.checked.evaluate(HOOKED) == "0"
    outcome = twins.checked.run(f"%%vjpcheck\nprint({HOOKED})\n1 / 0")
    twins.plain.run("pass")
    assert int(outcome.stream("stdout")) >= 3
    assert twins.checked.evaluate(HOOKED) == "0"


def test_jax_functions_that_were_imported_before_are_seen(twins: Twins):
    """`from jax import grad` in an earlier cell is no way past the check, and is not changed by it."""
    twins.run("from jax import custom_vjp, grad, vjp\nbefore = [grad, vjp, custom_vjp.__call__]")
    outcome = twins.same("%%vjpcheck\nout, pull = vjp(square, 3.)\ngrad(square)(float(pull(out)[0]))")
    assert [call["kind"] for call in outcome.report["calls"]] == ["vjp", "custom_vjp", "grad", "custom_vjp"]
    assert value_of(twins.same("before == [jax.grad, jax.vjp, jax.custom_vjp.__call__]")) == "True"


# What a cell may do to the session -------------------------------------------------------------


def test_the_cells_own_exception_handler_is_called(twins: Twins):
    """`set_custom_exc` and `sys.excepthook` in a checked cell work as ever."""
    cell = (
        "%%vjpcheck\nimport sys\n"
        "def handler(shell, kind, error, trace, tb_offset=None):\n    print('handled', kind.__name__)\n\n"
        "get_ipython().set_custom_exc((ZeroDivisionError,), handler)\n"
        "sys.excepthook = handler\n1 / 0"
    )
    outcome = twins.same(cell)
    assert outcome.kinds == ["stream", "report"]
    assert outcome.stream("stdout") == "handled ZeroDivisionError\n"
    assert outcome.report["error"]["type"] == "ZeroDivisionError"
    twins.run("get_ipython().set_custom_exc((), None)")


def test_a_cell_may_run_cells(twins: Twins):
    """`run_cell` inside a checked cell, an empty one as well, ends neither the cell nor its check."""
    outcome = twins.same(
        "%%vjpcheck\nshell = get_ipython()\n"
        "done = shell.run_cell('jax.grad(square)(1.)'), shell.run_cell(''), shell.run_cell('1 / 0')\n"
        "jax.grad(square)(2.)\n"
        "[one.success for one in done]"
    )
    assert value_of(outcome) == "[True, True, False]"
    assert outcome.kinds[-1] == "report"
    assert [call["line"] for call in outcome.report["calls"] if call["kind"] == "grad"] == [1, 4]


def test_a_check_inside_a_check(twins: Twins):
    """A checked cell may run a checked cell: two reports, the inner one first."""
    outcome = twins.checked.run(
        "%%vjpcheck\njax.grad(square)(1.)\n"
        "get_ipython().run_cell_magic('vjpcheck', '', 'jax.vjp(square, 1.);')\n"
        "jax.hessian(square)(1.)\n'end'"
    )
    twins.plain.run("pass")
    inner, outer = outcome.reports
    assert [call["kind"] for call in inner["calls"] if call["kind"] != "custom_vjp"] == ["vjp"]
    assert {call["line"] for call in outer["calls"]} == {2, 4}
    assert outcome.value == "'end'"
    assert twins.checked.evaluate(HOOKED) == "0"


def test_what_a_cell_leaves_running_runs_on(twins: Twins):
    """A task, a generator, a thread and a pullback that outlive a checked cell do their work, unrecorded."""
    outcome = twins.same(
        "%%vjpcheck\n"
        "import asyncio, threading\n"
        "async def later():\n    await asyncio.sleep(0.1)\n    return float(jax.grad(square)(3.))\n\n"
        "task = asyncio.ensure_future(later())\n"
        "numbers = (float(jax.grad(square)(x)) for x in (1., 2.))\n"
        "ended, results = threading.Event(), []\n"
        "def work():\n    ended.wait()\n    results.append(float(jax.grad(square)(5.)))\n\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "out, pull = jax.vjp(square, 4.)\n"
        "next(numbers)"
    )
    assert {call["line"] for call in outcome.report["calls"]} == {8, 16}
    after = twins.same("ended.set()\nthread.join()\nawait task, next(numbers), results, float(pull(1.)[0])")
    assert value_of(after) == "(6.0, 4.0, [10.0], 8.0)"


def test_a_cell_that_runs_in_another_thread_has_no_part_in_it(twins: Twins):
    """A subshell's cell that begins during a checked cell and outlives it does not take its report."""
    outcome = twins.same(
        "%%vjpcheck\nimport threading\nbegun, ended = threading.Event(), threading.Event()\n"
        "def work():\n    get_ipython().run_cell('begun.set(); ended.wait()')\n\n"
        "thread = threading.Thread(target=work)\nthread.start()\nbegun.wait()\njax.grad(square)(1.);"
    )
    assert outcome.kinds == ["report"]
    assert {call["line"] for call in outcome.report["calls"]} == {10}
    assert twins.same("ended.set()\nthread.join()").reports == []


def test_what_a_cell_waits_for_is_recorded(twins: Twins):
    """Calls in a task or a thread that ends inside the checked cell are in the report."""
    outcome = twins.same(
        "%%vjpcheck\nimport asyncio, threading\n"
        "async def soon():\n    await asyncio.sleep(0.01)\n    return jax.grad(square)(3.)\n\n"
        "await asyncio.gather(soon(), soon())\n"
        "thread = threading.Thread(target=lambda: jax.vjp(square, 1.))\nthread.start()\nthread.join()"
    )
    calls = {(call["kind"], call["line"], call["count"]) for call in outcome.report["calls"] if not call["parent"]}
    assert calls == {("grad", 5, 2), ("vjp", 8, 1)}


def test_a_check_keeps_no_array_alive(twins: Twins):
    """What the cell lets go is gone after it."""
    twins.same(
        "%%vjpcheck\nimport gc, weakref\nx = jnp.ones(1000)\nkept = weakref.ref(x)\n"
        "out, pull = jax.vjp(square, x)\npull(out)\njax.jit(jax.grad(lambda x: square(x).sum()))(x)\ndel x, out, pull"
    )
    assert value_of(twins.same("gc.collect()\nkept() is None")) == "True"


def test_a_script_that_nbconvert_wrote_runs_in_ipython(tmp_path: Path):
    """`ipython script.py` shows values and reports as text, and ends where a checked cell raises."""
    script = tmp_path / "script.py"
    script.write_text(
        "get_ipython().run_line_magic('load_ext', 'jaxvjp_magic')\n"
        "get_ipython().run_cell_magic('vjpcheck', '', 'import jax\\njax.grad(lambda x: x * x)(2.)\\n')\n"
        "get_ipython().run_cell_magic('vjpcheck', '', '1 / 0\\n')\n"
        "print('not reached')\n"
    )
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "IPYTHONDIR": str(tmp_path)}
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert "Array(4., dtype=float32, weak_type=True)\nvjpcheck: no problems found in 1 call" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout + done.stderr
    assert "ended in ZeroDivisionError at line 1" in done.stdout
    assert "not reached" not in done.stdout


def test_a_silent_request_shows_nothing(twins: Twins):
    """A silent cell displays nothing by its nature: it is run, not checked, and leaves nothing for the next."""
    outcome = twins.checked.run("%%vjpcheck\nsilent = jax.grad(square)(1.)", silent=True)
    assert outcome.kinds == []
    assert twins.checked.evaluate("float(silent)") == "2.0"
    assert twins.checked.evaluate(HOOKED) == "0"
    twins.plain.run("silent = 1", silent=True)
    assert twins.same("'next'").reports == []
