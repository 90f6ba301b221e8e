"""What other people's tests showed, each without them; and the command that runs them."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxvjp_magic import vjpcheck

pytestmark = pytest.mark.any_jax

COMMAND = Path(__file__).parent.parent / "docs" / "neutrality.py"
X = jnp.arange(3.0)
SUITE = """
import sys

import jax
import pytest


def depth_below_grad():
    depths = []

    def function(x):
        frame = sys._getframe()
        while frame.f_code.co_name != "depth_below_grad":
            frame = frame.f_back
            depths.append(1)
        return x

    jax.grad(function)(1.0)
    return len(depths)


def test_right():
    assert jax.grad(jax.numpy.sin)(0.0) == 1.0


def test_counts_frames():
    assert depth_below_grad() == EXPECTED


def test_fails_as_before():
    raise KeyError("boom")


def test_skipped():
    pytest.skip("no reason")


@pytest.mark.xfail
def test_expected_to_fail():
    assert False
"""


def calls_of(program):
    """The calls of a right program, about which nothing may be said."""
    with vjpcheck() as report:
        program()
    assert report.findings == report.notes == ()
    return report.calls


def test_a_rule_in_custom_vmap_is_the_function_inside():
    """JAX's own `custom_vmap.__call__` is not the rule's text: nothing is said about it."""

    @jax.custom_batching.sequential_vmap
    def fwd(x, y):
        return jnp.sin(x) * y, (x, y)

    @jax.custom_batching.sequential_vmap
    def bwd(residuals, g):
        x, y = residuals
        return jnp.cos(x) * y * g, jnp.sin(x) * g

    f = jax.custom_vjp(lambda x, y: fwd(x, y)[0])
    f.defvjp(fwd, bwd)
    calls = calls_of(lambda: jax.vjp(jax.vmap(jax.jit(f), (0, None)), X, jnp.ones(()))[1](X))
    assert [(call.kind, call.vmap) for call in calls] == [("vjp", ()), ("custom_vjp", (3,))]


def test_a_function_in_a_partial_of_jax_has_its_own_name():
    """`jax.tree_util.Partial` of a partial hides it in an object of its own."""

    def scaled(scale, x):
        return scale * x

    partial = jax.tree_util.Partial(functools.partial(scaled, 2.0))
    (call,) = calls_of(lambda: jax.vjp(partial, X)[1](X))
    assert (call.function, [leaf.path for leaf in call.primals]) == ("scaled", ["x"])


def test_integers_that_are_allowed_are_meant():
    """jax.grad raises about an integer unless it is told to allow it."""
    calls_of(lambda: jax.grad(lambda x: x**3.0, allow_int=True)(7))


def test_a_python_number_stays_one_in_the_look_at_the_primal_function():
    """The fwd rule gets the number itself, and both sort out what is no array, as filtered transformations do."""

    def primal(x):
        return x * 2.0 if isinstance(x, jax.Array) else None, jnp.sin(x)

    f = jax.custom_vjp(primal)
    f.defvjp(lambda x: (primal(x), x), lambda x, g: (g[1] * jnp.cos(x),))
    calls_of(lambda: jax.grad(lambda x: f(x)[1])(1.0))


def test_an_argument_that_is_chosen_by_number_has_its_own_name():
    """Of `argnums=1` the second one, on every version."""
    (call,) = calls_of(lambda: jax.grad(lambda x, y: (x * y).sum(), argnums=1)(X, X))
    assert [leaf.path for leaf in call.primals] == ["y"]


@pytest.mark.skipif(not hasattr(jax, "ad"), reason="JAX 0.8 to 0.11 take no marks in with_refs")
def test_gradients_that_go_into_refs_are_told_from_those_that_are_returned():
    """A ref for the first, a value for the second; the pullback itself need not live on."""
    ref = jax.new_ref(jnp.zeros(3))
    calls = calls_of(lambda: jax.vjp(lambda x, y: jnp.sin(x) * y, X, X)[1].with_refs(ref, jax.ad.GradValue())(X))
    assert [(leaf.path, leaf.type) for leaf in calls[0].cotangents_out] == [
        ("x", "Ref{float32[3]}"),
        ("y", "float32[3]"),
    ]


@pytest.fixture(scope="module")
def frames_below_grad():
    """How deep a function is below grad without a check."""
    namespace = {}
    exec(SUITE, namespace)  # noqa: S102 (the same code as in the suite)
    return namespace["depth_below_grad"]()


def run_command(tmp_path, expected, *options, suite_text=SUITE):
    suite = tmp_path / "test_suite.py"
    suite.write_text(suite_text.replace("EXPECTED", str(expected)), encoding="utf-8")
    page = tmp_path / "page.md"
    command = [sys.executable, str(COMMAND), "--suite", "ours", "--into", str(page), str(suite), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done, page.read_text(encoding="utf-8")


def test_the_command_tells_a_test_whose_result_changes(tmp_path, frames_below_grad):
    """One of four results changes, for it counts frames; failures that are the same, skips and xfails do not count."""
    done, page = run_command(tmp_path, frames_below_grad)
    assert done.returncode == 1, done.stdout + done.stderr
    row = f"| ours | {jax.__version__} | 4 | 2 | 1 | 0 |"
    assert row in done.stdout
    assert row in page
    assert "CHANGED: test_suite.py::test_counts_frames: passed -> failed (AssertionError)" in done.stdout


def test_the_command_is_content_where_nothing_changes(tmp_path):
    """The same test fails in both runs, with the same exception."""
    done, page = run_command(tmp_path, 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| ours | {jax.__version__} | 4 | 2 | 0 | 0 |" in page


@pytest.mark.parametrize(
    ("absent", "use"),
    [("jax.numpy:gone", "gone(1, a=2)"), ("jax.numpy:gone=sin", "assert gone is __import__('jax').numpy.sin")],
    ids=["an empty class", "what it is called now"],
)
def test_a_suite_of_another_release_runs_without_a_name_that_this_one_lacks(tmp_path, absent, use):
    """What needs an empty class would fail in both runs, and all else runs."""
    text = f"from jax.numpy import gone\n{use}\n{SUITE}"
    done, _ = run_command(tmp_path, 1, suite_text=text)
    assert done.returncode == 1
    assert "NOT COLLECTED: test_suite.py: this file cannot be imported here" in done.stdout
    done, page = run_command(tmp_path, 1, "--absent", absent, suite_text=text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| ours | {jax.__version__} | 4 | 2 | 0 | 0 |" in page
