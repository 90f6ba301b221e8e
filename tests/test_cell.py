"""A checked cell does what it does without the check: each promise, in real kernels, message by message."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest
from conftest import LOAD, same, without_magic
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Kernel, Outcome, Twins

HOOKED = """sum(place.__globals__['__name__'].startswith('jaxvjp_magic') for place in (
    *(outer.__closure__[outer.__code__.co_freevars.index('fun')].cell_contents
      for outer in (jax.custom_vjp.__call__, jax.vjp)),
    *(getattr(jax._src.api, name) for name in ('_vjp', '_vjp_pullback_wrapper') if hasattr(jax._src.api, name)),
    jax._src.api.VJP.__call__))""".replace("\n", " ")
NO_FILE_OF_OURS = "jaxvjp_magic/", "jaxvjp_magic\\"


def value_of(outcome: Outcome) -> str:
    """The shown value; there must be one."""
    assert outcome.value is not None
    return outcome.value


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
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    error = None
    try:
        client.execute(env={**os.environ, "JAX_PLATFORMS": "cpu", "IPYTHONDIR": str(folder)})
    except CellExecutionError as raised:
        error = raised
    shown = [[output.get("name") or output.output_type for output in cell.outputs] for cell in notebook.cells]
    return shown, error


def test_run_all_stops_at_an_error(tmp_path: Path):
    """A checked cell that raises ends the run, and its report is in the notebook."""
    shown, error = run_all(tmp_path, LOAD, "%%vjpcheck\nprint('one')\n1 / 0", "print('not reached')")
    assert error is not None
    assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
    assert shown == [[], ["stdout", "error", "display_data"], []]


def test_run_all_stops_at_a_bad_option(tmp_path: Path):
    """A checked cell that did not run ends the run as well, with one line."""
    shown, error = run_all(tmp_path, LOAD, "%%vjpcheck --nope\nprint('not run')", "print('not reached')")
    assert error is not None
    assert (error.ename, error.evalue) == ("UsageError", "unrecognized arguments: --nope")
    assert shown == [[], ["stderr"], []]


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


def test_run_all_ends_well(tmp_path: Path):
    """A notebook without errors runs to its end, `--fail-on` or not."""
    cells = "%%vjpcheck --fail-on warning\nprint('one')", "get_ipython().run_cell_magic('vjpcheck', '', '1')\n2"
    shown, error = run_all(tmp_path, LOAD, *cells)
    assert error is None
    assert shown == [[], ["stdout", "display_data"], ["execute_result", "display_data", "execute_result"]]


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
    assert kernel.evaluate(finders) == "1"  # waits for the moment that costs the least
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


def test_an_unsupported_jax_is_left_alone(start_kernel: Callable[..., Kernel]):
    """With another JAX the cell runs, nothing is patched, and the report says which versions there are hooks for."""
    kernel = start_kernel()
    for version in ("0.99.1", "0.7.2"):
        numbers = tuple(map(int, version.split(".")))
        kernel.run(f"import jax\njax.__version__ = '{version}'\njax.__version_info__ = {numbers}")
        kernel.run(LOAD)
        outcome = kernel.run(f"%%vjpcheck\nprint({HOOKED})\njax.grad(lambda x: x * x)(2.)")
        assert outcome.stream("stdout") == "0\n"
        assert outcome.value == "Array(4., dtype=float32, weak_type=True)"
        assert outcome.report["calls"] == []
        (note,) = outcome.report["notes"]
        assert f"JAX {version} is not supported" in note
        assert "0.8 to 0.12" in note
        assert note in outcome.text
        kernel.run("%unload_ext jaxvjp_magic")


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
    assert "Array(4., dtype=float32, weak_type=True)\nvjpcheck: nothing wrong in 1 call" in done.stdout
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
