"""The check changes nothing: results, exceptions, tracebacks, output, caches, state."""

from __future__ import annotations

import random
import sys
import threading
import traceback
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.introspect import purity
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.jax_compat import patch_points
from jaxvjp_magic.recording import collector, recorder, rule_names
from jaxvjp_magic.retracing import child_process, rerun

X = jnp.arange(3.0)


def rule(fwd, bwd, primal=jnp.sin, **options):
    function = jax.custom_vjp(lambda x: primal(x))
    function.defvjp(fwd, bwd, **options)
    return function


def raised_by(function, *, checked):
    try:
        if checked:
            with vjpcheck():
                function()
        else:
            function()
    except Exception as error:  # noqa: BLE001 (whatever it is, it must be the same)
        entries = traceback.extract_tb(error.__traceback__)
        return type(error), str(error), [(e.filename, e.lineno) for e in entries if e.name != raised_by.__name__]
    pytest.fail("nothing was raised")


def boom(*_):
    message = "boom"
    raise KeyError(message)


PROGRAMS = {
    "fwd": lambda: jax.grad(rule(boom, lambda x, g: (g,)))(1.0),
    "bwd": lambda: jax.grad(rule(lambda x: (x, x), boom))(1.0),
    "primal": lambda: rule(lambda x: (x, x), lambda x, g: (g,), primal=boom)(1.0),
    "bwd below jit": lambda: jax.jit(jax.grad(rule(lambda x: (x, x), boom)))(1.0),
    "function of vjp": lambda: jax.vjp(boom, 1.0),
    "function of grad": lambda: jax.grad(boom)(1.0),
    "cotangent": lambda: jax.vjp(jnp.sin, X)[1](1.0),
    "pair": lambda: jax.grad(rule(lambda x: x, lambda x, g: (g,)))(1.0),
    "structure": lambda: jax.grad(rule(lambda x: (x, x), lambda x, g: g))(1.0),
    "no rule": lambda: jax.custom_vjp(jnp.sin)(1.0),
}


@pytest.mark.parametrize("filtering", ["off", "remove_frames", "quiet_remove_frames", "tracebackhide"])
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_an_exception_is_the_same_with_the_same_traceback(program, filtering):
    """Type, message and every frame, in each of JAX's ways to filter tracebacks."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", filtering)
    try:
        assert raised_by(program, checked=True) == raised_by(program, checked=False)
    finally:
        jax.config.update("jax_traceback_filtering", before)


def test_values_are_the_same():
    """A rule through grad, jit and vmap."""
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    program = jax.jit(jax.value_and_grad(lambda x: jax.vmap(f)(x).sum()))
    plain = program(X)
    with vjpcheck():
        checked = program(X)
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, checked))


def test_a_function_with_effects_runs_again_where_nobody_can_notice():
    """The primal function counts its calls: it is looked at in a process of its own."""
    count = []

    def primal(x):
        count.append(1)
        return x[0]

    f = rule(lambda x: (x, x), lambda x, g: (g,), primal=primal)
    with vjpcheck() as report:
        jax.vjp(f, X)
    assert count == []
    assert [finding.code for finding in report.findings] == ["VJP101"]
    assert [one.what for one in report.not_checked] == ["values"]  # for want of --verify


def test_what_cannot_run_in_a_child_is_left_alone_with_its_reason(monkeypatch):
    """The findings that need it are not given, and the report says why."""
    monkeypatch.setattr(child_process, "can_fork", lambda: "there are no children here")
    f = rule(lambda x: (x, x), lambda x, g: (g,), primal=writes_an_attribute)
    with vjpcheck() as report:
        jax.vjp(f, X)
    assert report.findings == ()
    line = writes_an_attribute.__code__.co_firstlineno + 1
    left, values = report.not_checked
    assert (left.what, values.what) == ("output", "values")
    assert left.why == (f"it sets the attribute seen (line {line}), and in a child process there are no children here")


def test_what_the_primal_function_prints_or_warns_of_is_not_said_twice(capsys, recwarn):
    """It is evaluated on shapes in silence."""

    def primal(x):
        print("in primal")  # noqa: T201 (that is the point)
        warnings.warn("in primal", stacklevel=1)
        return x[0]

    f = rule(lambda x: (x, x), lambda x, g: (g,), primal=primal)
    with vjpcheck() as report:
        jax.vjp(f, X)
    assert [finding.code for finding in report.findings] == ["VJP101"]
    assert capsys.readouterr().out == ""
    assert not recwarn.list


def test_looking_at_the_primal_function_leaves_nothing_in_the_caches(capsys):
    """A jitted helper that the check traced is still traced when the program calls it: it prints then."""

    @jax.jit
    def helper(x):
        print("traced")  # noqa: T201 (that is the point)
        return x * 2

    f = rule(lambda x: (x * 2, None), lambda _, g: (2 * g,), primal=lambda x: helper(x))
    with vjpcheck() as report:
        jax.vjp(f, X)
        assert capsys.readouterr().out == ""
        helper(X)
    assert capsys.readouterr().out == "traced\n"
    assert report.calls[1].outputs is not None


total = 0


def writes_a_global(x):
    global total  # noqa: PLW0603 (that is the point)
    total += 1
    return x


def draws(x):
    return x * random.random()  # noqa: S311 (that is the point)


def calls_one_that_writes(x):
    return writes_a_global(x)


def writes_an_attribute(x):
    writes_an_attribute.seen = x
    return x


def test_functions_with_effects_are_told_apart():
    """Writes, appends and draws from a global random state; a pure function may run again."""
    assert not any(
        purity.judged(one).is_pure for one in (writes_a_global, draws, calls_one_that_writes, writes_an_attribute)
    )
    assert purity.judged(lambda x: jnp.dot(x, x) + jax.random.normal(jax.random.key(0))).is_pure


def test_a_primal_function_that_needs_values_is_not_compared():
    """It raises on shapes; eager mode is its way to work."""
    f = rule(lambda x: (x * 2.0, None), lambda _, g: (2 * g,), primal=lambda x: x * 2.0 if x[0] >= 0 else x)
    with vjpcheck() as report:
        assert np.array_equal(jax.grad(lambda x: f(x).sum())(X), [2, 2, 2])
    assert report.findings == report.notes == ()


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (recorder.Functions, "custom"), (recorder.Functions, "of"), (collector.Types, "tree"),
        (collector.Types, "of"), (rule_names.name_lookup, "overwritten"), (recorder.internals, "mapped_sizes"),
        (recorder.stack, "user_frame"), (recorder.internals, "kept_residuals"), (rerun, "judged"),
    ],
)  # fmt: skip
def test_a_fault_of_ours_becomes_a_note(monkeypatch, owner, name):
    """Whatever breaks in the recording, the program's result is untouched, and the report says so."""

    def fault(*_, **__):
        message = "a fault of ours"
        raise RuntimeError(message)

    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    monkeypatch.setattr(owner, name, fault)
    with vjpcheck() as report:
        gradient = jax.grad(f)(1.0)
    assert np.allclose(gradient, np.cos(1.0))
    assert any("RuntimeError: a fault of ours" in note for note in report.notes)


def test_a_fault_in_a_check_becomes_a_note(monkeypatch):
    """The report comes without what that check finds, and says why; the other checks are not touched."""
    monkeypatch.setattr("jaxvjp_magic.checks.wording.near_fit", lambda *_: 1 / 0)
    with vjpcheck() as report:
        jax.vjp(rule(lambda x: (x, (x, x)), lambda r, g: (r[0] * g,), primal=lambda x: x[0]), X)[1](X)
    assert report.notes == ("a check failed (fwd_fits_primal): ZeroDivisionError: division by zero",)
    assert [finding.code for finding in report.findings] == ["RES401"]


def test_threads_are_seen_and_do_not_disturb_each_other():
    """Two threads differentiate during one check."""
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    with vjpcheck() as report:
        threads = [threading.Thread(target=lambda: [jax.grad(f)(1.0) for _ in range(20)]) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert {(call.kind, call.count) for call in report.calls} == {("grad", 40), ("custom_vjp", 40)}


def test_leak_checking_stays_quiet():
    """jax.checking_leaks() finds no tracer that we keep."""
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    with jax.checking_leaks(), vjpcheck():
        jax.jit(jax.grad(lambda x: jax.vmap(f)(x).sum()))(X)


def test_whose_code_a_file_is():
    """Libraries, the standard library and generated code are not the user's; cells are."""
    assert is_user_code(__file__)
    assert is_user_code("<ipython-input-3-abc>")
    assert not any(map(is_user_code, (jax.__file__, threading.__file__, vjpcheck.__code__.co_filename)))
    assert not is_user_code("<string>")


def test_nothing_is_left_in_the_import_system():
    """A check that waits for an import that never comes withdraws."""
    before = list(sys.meta_path)
    with vjpcheck():
        pass
    assert sys.meta_path == before


def test_a_fault_while_an_exception_passes_leaves_the_exception(monkeypatch):
    """The program's own exception arrives, whatever our description of it does."""
    monkeypatch.setattr(collector, "describe_error", lambda *_: 1 / 0)
    with pytest.raises(KeyError, match="boom"), vjpcheck() as report:
        jax.grad(rule(boom, lambda x, g: (g,)))(1.0)
    assert any("ZeroDivisionError" in note for note in report.notes)


def test_what_has_moved_in_jax_is_not_seen_and_the_rest_is(monkeypatch):
    """One place of JAX is not where it was: the program runs, one note says what is not seen, the rest is recorded."""
    monkeypatch.setattr(patch_points, "pullback", lambda: 1 / 0)
    with vjpcheck() as report:
        jax.grad(rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),)))(1.0)
    assert report.notes == (
        "calls of pullbacks: not available in this JAX version: ZeroDivisionError: division by zero",
    )
    assert [(call.kind, call.status) for call in report.calls] == [
        ("grad", "pullback not called"),
        ("custom_vjp", "ok"),
    ]
