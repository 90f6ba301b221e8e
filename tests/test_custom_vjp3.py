"""Functions made with JAX_CUSTOM_VJP3: the same rows as without it, the primal traced as often as without a check."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import check_program

from jaxvjp_magic import vjpcheck

pytestmark = pytest.mark.skipif(not hasattr(jax.config, "jax_custom_vjp3"), reason="JAX 0.10 has it")
X = np.arange(1.0, 4.0, dtype=np.float32)


@contextlib.contextmanager
def custom_vjp3(*, value=True):
    before = jax.config.jax_custom_vjp3
    jax.config.update("jax_custom_vjp3", value)
    try:
        yield
    finally:
        jax.config.update("jax_custom_vjp3", before)


def scaled():
    """A custom_vjp function with two arguments, made as JAX makes it now."""

    @jax.custom_vjp
    def scaled(x, w):
        return jnp.sin(x) * w

    scaled.defvjp(
        lambda x, w: (scaled(x, w), {"x": x, "w": w}),
        lambda r, g: (g * jnp.cos(r["x"]) * r["w"], jnp.sin(r["x"]) * g),
    )
    return scaled


def power():
    @partial(jax.custom_vjp, nondiff_argnums=(1,))
    def power(x, n):
        return x**n

    power.defvjp(lambda x, n: (x**n, x), lambda n, x, g: (g * n * x ** (n - 1),))
    return power


def with_symbolic_zeros():
    f = jax.custom_vjp(lambda x, w: x * w)
    f.defvjp(
        lambda x, w: (x.value * w.value, (x.value, w.value)), lambda r, g: (g * r[1], g * r[0]), symbolic_zeros=True
    )
    return f


def total(f, *more):
    return lambda x: f(x, *more).sum()


PROGRAMS = {
    "grad": lambda: jax.grad(total(scaled(), 2.0 * X))(X),
    "both arguments": lambda: jax.grad(lambda x, w: scaled()(x, w).sum(), argnums=(0, 1))(X, X),
    "not differentiated": lambda: scaled()(X, X),
    "jit of grad": lambda: jax.jit(jax.grad(total(scaled(), X)))(X),
    "grad of jit": lambda: jax.grad(jax.jit(total(scaled(), X)))(X),
    "vmap": lambda: jax.grad(lambda x: jax.vmap(scaled(), (0, None))(x, 2.0).sum())(X),
    "grad in vmap": lambda: jax.vmap(jax.grad(scaled()))(X, X),
    "scan": lambda: jax.grad(lambda x: jax.lax.scan(lambda c, y: (scaled()(c, y), c), x, X)[0])(2.0),
    "checkpoint": lambda: jax.grad(jax.checkpoint(total(scaled(), X)))(X),
    "nondiff_argnums": lambda: jax.grad(total(power(), 3))(X),
    "symbolic zeros": lambda: jax.grad(total(with_symbolic_zeros(), X))(X),
    "keywords": lambda: jax.grad(lambda x: scaled()(w=X, x=x).sum())(X),
}


def checked(program, *, value):
    with custom_vjp3(value=value), vjpcheck() as report:
        result = program()
    assert report.notes == ()
    return jax.tree.map(np.asarray, result), report


def shown(call):
    """What a row shows of a call, without its number."""
    kept = {field.name: getattr(call, field.name) for field in dataclasses.fields(call)}
    del kept["id"], kept["parent"], kept["line"]
    return kept


@pytest.mark.parametrize("name", PROGRAMS)
def test_rows_are_those_of_the_classic_implementation(name):
    """Primals, outputs, residuals, cotangents and gradients of the calls that are differentiated; the values, too."""
    classic_values, classic = checked(PROGRAMS[name], value=False)
    values, report = checked(PROGRAMS[name], value=True)
    assert jax.tree.all(jax.tree.map(np.allclose, values, classic_values))
    assert report.findings == classic.findings == ()
    of_rules = [[call for call in one.calls if call.kind == "custom_vjp"] for one in (classic, report)]
    assert of_rules[0]
    outermost = [next(shown(call) for call in calls) for calls in of_rules]
    for call in outermost:  # the flag's vjp keeps other things, and under scan it evaluates each rule on its own
        del call["count"]
    assert outermost[0] == outermost[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_primal_is_traced_as_often_as_without_a_check(name):
    """JAX keeps its trace by the function; an effect of tracing it happens no more often."""
    counts = []
    for check in (contextlib.nullcontext, vjpcheck, contextlib.nullcontext):
        jax.clear_caches()
        traces = 0

        @jax.custom_vjp
        def counted(x, w):
            nonlocal traces
            traces += 1
            return jnp.sin(x) * w

        counted.defvjp(
            lambda x, w: (jnp.sin(x) * w, (x, w)), lambda r, g: (g * jnp.cos(r[0]) * r[1], jnp.sin(r[0]) * g)
        )
        with custom_vjp3(), check():
            for _ in range(3):
                jax.grad(lambda x: counted(x, X).sum())(X)
                jax.jit(jax.grad(lambda x: counted(x, X).sum()))(X)
                jax.vmap(counted)(X, X)
                counted(X, X)
        counts.append(traces)
    assert counts[0] == counts[1] == counts[2], name


def test_a_function_that_was_made_before_the_flag_was_set_has_its_rows():
    """And one that was made with it, after it was taken back."""
    before = scaled()
    with custom_vjp3():
        made_with = scaled()
        with vjpcheck() as first:
            jax.grad(total(before, X))(X)
    with vjpcheck() as second:
        jax.grad(total(made_with, X))(X)
    for report in (first, second):
        (call,) = (call for call in report.calls if call.fwd_outputs)
        assert [leaf.type for leaf in call.cotangents_out] == ["float32[3]"] * 2


SEED = """
@jax.custom_vjp
def f(x, w):
    return jnp.vdot(x, w)
f.defvjp(lambda x, w: (f(x, w), (x, w)), lambda r, g: (g * r[1], g * r[0]))
f = jax.vmap(f, in_axes=(None, 0))
"""
WRONG = {
    "the seed": (
        SEED + "jax.grad(lambda x: f(x, jnp.ones((4, 3))).mean())(jnp.ones(3))",
        ("NAM201", "error", 6),
    ),
    "a rule that closes over a tracer": (
        """
        @jax.jit
        def loss(x, scale):
            f = jax.custom_vjp(lambda x: scale * x)
            f.defvjp(lambda x: (f(x), None), lambda _, g: (scale * g,))
            return f(x)
        jax.grad(loss)(1.0, 2.0)
        """,
        ("VJP116", "error", 4),
    ),
    "an object that JAX does not know": (
        """
        class Params:
            w = 2.0
        f = jax.custom_vjp(lambda p, x: p.w * x)
        f.defvjp(lambda p, x: (p.w * x, (p, x)), lambda r, g: (None, g * r[0].w))
        jax.grad(f, 1)(Params(), 2.0)
        """,
        ("VJP118", "error", 2),
    ),
    "another shape": (
        """
        f = jax.custom_vjp(lambda x, b: x + b)
        f.defvjp(lambda x, b: (x + b, None), lambda _, g: (g, g))
        jax.grad(lambda b: f(jnp.ones((4, 3)), b).sum())(jnp.ones(3))
        """,
        ("VJP104", "error", 3),
    ),
    "a factor": (
        """
        f = jax.custom_vjp(lambda x: x * x)
        f.defvjp(lambda x: (x * x, x), lambda x, g: (x * g,))
        jax.grad(lambda x: f(x).sum())(jnp.ones(3))
        """,
        ("VAL302", "warning", 3),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    """With the cause first, on its line."""
    program, expected = WRONG[name]
    with custom_vjp3():
        report = check_program(program, verify=True)
    finding = report.findings[0]
    assert (finding.code, finding.severity.value, finding.line) == expected
    assert not any("CUSTOM_VJP3" in one.why for one in report.not_checked)


def test_an_exception_in_the_primal_function_is_its_own():
    """JAX traces the primal function inside the call; the finding names it, and not JAX."""
    with custom_vjp3():
        f = jax.custom_vjp(lambda x: x / jnp.asarray(1 // 0))
        f.defvjp(lambda x: (x, None), lambda _, g: (g,))
        with pytest.raises(ZeroDivisionError), vjpcheck() as report:
            jax.grad(f)(1.0)
    assert report.findings[0].phase == "primal"
