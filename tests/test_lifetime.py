"""What a check leaves behind: nothing, neither arrays nor hooks."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import LOAD
from fault_programs import PROGRAMS, options_of, outcome
from test_neutral import rule
from test_tracing import X, scale, total

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.jax_compat import patch_points


def test_no_array_outlives_the_check_because_of_us():
    """Weak references to arguments, residuals and outputs die with the program's own references."""
    kept = []

    def program():
        x = jnp.arange(4.0) + 1
        out, pullback = jax.vjp(lambda x: scale(x, 2.0), x)
        kept.extend(weakref.ref(array) for array in (x, out))
        pullback(out)

    with vjpcheck() as report:
        program()
        gc.collect()
        assert [reference() for reference in kept] == [None, None]
    assert len(report.calls) == 2


def test_a_rule_cached_inside_a_check_is_quiet_after_it():
    """A function traced in a check and run afterwards records nothing and works."""
    compiled = jax.jit(lambda x: jax.vjp(total, x)[1])
    with vjpcheck() as report:
        pullback = compiled(X)
    calls = report.calls
    assert np.allclose(pullback(1.0)[0], 2.0)
    assert report.calls is calls


USES = {
    "call": lambda f: f(X),
    "jit": lambda f: jax.jit(f)(X),
    "grad": lambda f: jax.grad(lambda x: f(x).sum())(X),
    "jit of grad": lambda f: jax.jit(jax.grad(lambda x: f(x).sum()))(X),
    "vmap": lambda f: jax.vmap(jax.grad(f))(X),
    "scan": lambda f: jax.grad(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=3)[0].sum())(X),
    "checkpoint": lambda f: jax.grad(lambda x: jax.checkpoint(f)(x).sum())(X),
    "cond": lambda f: jax.grad(lambda x: jax.lax.cond(True, f, f, x).sum())(X),  # noqa: FBT003 (JAX's interface)
    "vjp": lambda f: jax.vjp(f, X)[1](X),
    "eval_shape": lambda f: jax.eval_shape(f, X),
}


@pytest.fixture
def young():
    """`gc.collect()` looks only at what the test makes: all that JAX holds takes half a second each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("young")
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_custom_vjp_function_dies_when_it_would_without_a_check(use):
    """JAX keeps some functions in its caches, and no check makes it keep another, nor a rule of it."""

    def living(check):
        f = rule(lambda x: (jnp.sin(x), jnp.cos(x)), lambda kept, g: (g * kept,))
        parts = [weakref.ref(part) for part in (f, f.fwd, f.bwd)]
        with check:
            use(f)
        del f
        gc.collect()
        return [part() is not None for part in parts]

    plain = living(contextlib.nullcontext())
    for options in ({}, {"verify": True}, {"retrace": "all"}, {"retrace": "none"}):
        assert living(vjpcheck(**options)) == plain


def test_hooks_stand_only_during_a_check():
    """JAX's own functions are back afterwards, also after nested checks and exceptions."""
    slots = (patch_points.custom_vjp, patch_points.vjp, patch_points.pullback)
    before = [slot().original for slot in slots]
    with vjpcheck():
        assert all(slot().original is not original for slot, original in zip(slots, before, strict=True))
        with pytest.raises(ZeroDivisionError), vjpcheck():
            raise ZeroDivisionError
        assert all(slot().original is not original for slot, original in zip(slots, before, strict=True))
    assert [slot().original for slot in slots] == before


def test_checks_leave_no_list_of_jax_or_of_ours_longer():
    """What a check puts into a list or table of a module, the next one does not put there again."""

    def sizes():
        return {
            f"{name}.{one}": len(value)
            for name, module in list(sys.modules.items())
            if name.startswith(("jax.", "jaxlib.", "jaxvjp_magic."))
            for one, value in list(vars(module).items())
            if isinstance(value, (list, dict, set)) and one != "__builtins__"
        }

    def check():
        with vjpcheck():
            compiled(X)
            jax.grad(total)(X)
            with pytest.raises(TypeError):
                jax.grad(scale)(X, 2.0)

    compiled = jax.jit(jax.grad(total))
    check()
    before = sizes()
    for _ in range(3):
        check()
    assert sizes() == before


def test_nested_checks_report_each_call_once():
    """The inner check has its calls, the outer one the rest."""
    with vjpcheck() as outer:
        jax.grad(total)(X)
        with vjpcheck() as inner:
            jax.grad(total)(X)
    assert len(outer.calls) == len(inner.calls) == 2
    assert {call.count for call in (*outer.calls, *inner.calls)} == {1}


@pytest.mark.usefixtures("young")
@pytest.mark.parametrize("program", PROGRAMS[:20], ids=lambda program: program.__name__)
def test_no_array_is_alive_because_of_a_check(program):
    """As many arrays live afterwards as after the same program without a check, also where it raises."""

    def alive_after(**options):
        outcome(program, **options)
        gc.collect()
        return len(jax.live_arrays())

    plain = [alive_after(), alive_after()]
    checked = [alive_after(**options_of(program)) for _ in range(3)]
    assert checked[0] - plain[1] <= len("ab")  # constants of JAX, made once
    assert checked[1] == checked[2]


@pytest.mark.parametrize("program", PROGRAMS[:14], ids=lambda program: program.__name__)
def test_leak_checking_stays_quiet_in_a_check(program):
    """`jax.checking_leaks()` finds what it finds without the check, and nothing of ours."""

    def leaks():
        with jax.checking_leaks():
            return program()

    leaks.__name__ = program.__name__
    plain, _ = outcome(leaks)
    got, report = outcome(leaks, retrace=False)
    assert str(got)[:200] == str(plain)[:200]
    assert report.notes == ()


def test_after_an_exception_and_an_unload_nothing_of_ours_holds_an_array(start_kernel):
    """IPython holds the last exception, and with it the program's arrays: just as many as without a check."""

    def alive(*, checked):
        kernel = start_kernel()
        if checked:
            kernel.run(LOAD)
        kernel.run("import jax, jax.numpy as jnp, gc\njax.grad(lambda x: (x * x).sum())(jnp.ones(5));")
        magic = "%%vjpcheck --verify\n" if checked else ""
        failing = f"{magic}x = jnp.ones(7)\nout, pull = jax.vjp(jnp.sin, x)\npull(jnp.ones(3))"
        assert kernel.run(failing).reply["ename"] == "ValueError"
        kernel.run("del x, out, pull")
        if checked:
            kernel.run("%unload_ext jaxvjp_magic")
        return kernel.evaluate("(gc.collect(), len(jax.live_arrays()))[1]")

    assert alive(checked=True) == alive(checked=False)
