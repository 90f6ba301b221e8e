"""--verify: wrong values are found, their pattern is named, and right rules are left alone."""

from __future__ import annotations

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import check_program
from test_findings import only

from jaxvjp_magic import Severity, vjpcheck

PRODUCT = """
    @jax.custom_vjp
    def f(x, y):
        return jnp.sin(x) * y
    def fwd(x, y):
        return f(x, y), (x, y)
    def bwd(res, g):
        x, y = res
        return {bwd}
    f.defvjp(fwd, bwd)
    {run}
"""
RIGHT = "g * jnp.cos(x) * y, g * jnp.sin(x)"
RUN = "jax.grad(f, (0, 1))(1.0, 2.0)"


def verified(text):
    return check_program(text, verify=True)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_a_right_rule_is_left_alone(dtype):
    """At random values under jit and vmap, in each dtype's own precision."""
    run = f"x = jnp.ones(3, '{dtype}'); jax.jit(lambda x: jax.vjp(jax.vmap(f), x, x)[1](x))(x)"
    assert verified(PRODUCT.format(bwd=RIGHT, run=run)).findings == ()


@pytest.mark.parametrize(
    ("bwd", "path", "says"),
    [
        ("g * jnp.sin(x), g * jnp.cos(x) * y", "x", "bwd returns has two cotangents swapped"),
        ("-g * jnp.cos(x) * y, g * jnp.sin(x)", "x", "the gradient that bwd returns for x has the wrong sign"),
        ("g * jnp.cos(x) * y, 2 * g * jnp.sin(x)", "y", "for y is 2 times the derivative of f"),
        ("g * jnp.cos(x) * y, g * jnp.sin(x) / 2", "y", "for y is 0.5 times the derivative of f"),
        ("g * jnp.cos(x) * y, g * jnp.exp(x)", "y", "that bwd returns for y is not the derivative of f"),
    ],
)
def test_a_wrong_gradient_is_found_and_its_pattern_named(bwd, path, says):
    """VAL302, a warning, at the return of the rule, for the leaf that is wrong."""
    finding = only(verified(PRODUCT.format(bwd=bwd, run=RUN)))
    assert (finding.code, finding.severity, finding.line, finding.path) == ("VAL302", Severity.WARNING, 9, path)
    assert finding.title.endswith(says)


def test_an_unused_cotangent_is_found():
    """VAL303."""
    finding = only(verified(PRODUCT.format(bwd="jnp.cos(x) * y, jnp.sin(x)", run=RUN)))
    assert finding.title == "bwd does not use the incoming cotangent"
    assert finding.message == (
        "Two different cotangents gave the same result, at the values of this run. This is right only if the cotangent "
        "is 1, as in jax.grad(f), and wrong where f is part of a larger function."
    )


def test_another_value_of_fwd_is_found():
    """VAL301."""
    finding = only(verified(PRODUCT.format(bwd=RIGHT, run=RUN).replace("return f(x, y), (x", "return f(y, x), (x")))
    assert (finding.code, finding.line) == ("VAL301", 6)
    assert finding.title == "fwd returns another value than f"


def test_a_rule_that_only_ran_on_tracers_is_compared_at_random_values():
    """And says so."""
    program = PRODUCT.format(bwd="g * jnp.cos(x), g * jnp.sin(x)", run="jax.jit(jax.grad(f))(1.0, 2.0)")
    assert "Compared at random values of the same types" in only(verified(program)).message


def test_a_rule_that_is_better_than_autodiff_is_right():
    """Autodiff of the function gives NaN at zero; the rule is there to give zero."""
    report = verified("""
        @jax.custom_vjp
        def f(x):
            return jnp.where(x > 0, jnp.sqrt(x), 0.0)
        f.defvjp(lambda x: (f(x), x), lambda x, g: (jnp.where(x > 0, g, 0.0),))
        jax.grad(f)(0.0)
    """)
    assert report.findings == ()


def test_a_rule_where_the_function_stops_the_gradient_is_told():
    """The rule decides, not the function."""
    report = verified("""
        @jax.custom_vjp
        def through(x):
            return jax.lax.stop_gradient(x) * 1.0
        through.defvjp(lambda x: (x, None), lambda _, g: (g,))
        jax.grad(through)(1.5)
    """)
    assert only(report).title == (
        "the gradient that the bwd rule of through returns for x is not zero, but through stops the gradient"
    )


def test_a_rule_that_differs_on_purpose_can_say_so():
    """A comment on the line of the rule's return."""
    bwd = "0.5 * g * jnp.cos(x) * y, g * jnp.sin(x)  # vjpcheck: ignore[VAL302]"
    assert verified(PRODUCT.format(bwd=bwd, run=RUN)).findings == ()


def test_nan_is_found_where_it_begins():
    """VAL304 at the function."""
    finding = only(verified("f = lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0)\njax.grad(f)(0.0)"))
    assert (finding.code, finding.line) == ("VAL304", 2)
    assert finding.title == "the gradient of <lambda> with respect to x is NaN"


def test_symbolic_zeros_and_none_are_compared_as_far_as_they_go():
    """None is right for an argument that needs no gradient."""
    report = verified("""
        @jax.custom_vjp
        def f(x, y):
            return x * y
        f.defvjp(lambda x, y: (x.value * y.value, y.value), lambda y, g: (g * y, None), symbolic_zeros=True)
        jax.grad(f)(2.0, 3.0)
    """)
    assert report.findings == ()


@pytest.mark.classic("a function that closes over a tracer raises")
def test_what_cannot_run_again_is_counted_and_left_alone(recwarn):
    """A function with effects, and one that closes over a tracer."""
    seen = []
    f = jax.custom_vjp(lambda x: (seen.append(1), x)[1])
    f.defvjp(lambda x: (x, None), lambda _, g: (2 * g,))

    def closes_over(w, x):
        h = jax.custom_vjp(lambda x: w * x)
        h.defvjp(lambda x: (w * x, None), lambda _, g: (w * g,))
        return h(x)

    with vjpcheck(verify=True) as report:
        jax.grad(f)(1.0)
        jax.jit(lambda w, x: jax.grad(closes_over, 1)(w, x))(1.0, 2.0)
    assert seen == []
    assert report.findings == ()
    assert [(one.what, one.why) for one in report.not_checked if one.what == "values"] == [
        ("values", "it calls append (line 139) on a list from outside"),
        ("values", "outside the program it raised UnexpectedTracerError"),
    ]
    assert not recwarn.list


def test_nothing_of_the_comparison_is_seen_or_kept(capsys):
    """What the rule prints is printed once; arguments die when the check ends; NumPy's random state stays."""

    def bwd(x, g):
        print("bwd")  # noqa: T201 (that is the point)
        return (g * jnp.cos(x),)

    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), bwd)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is what must stay)
    with vjpcheck(verify=True):
        x = jnp.arange(3.0)
        kept = weakref.ref(x)
        jax.grad(lambda x: f(x).sum())(x)
    del x
    gc.collect()
    assert kept() is None
    assert capsys.readouterr().out == "bwd\n"
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_kink_is_a_convention():
    """Relu at 0: autodiff gives a half, the rule nothing; beside it they agree."""
    report = check_program(
        """
        relu = jax.custom_vjp(lambda x: jnp.maximum(x, 0))
        relu.defvjp(lambda x: (jnp.maximum(x, 0), x > 0), lambda m, g: (jnp.where(m, g, 0),))
        jax.grad(lambda x: relu(x).sum())(jnp.array([-1.0, 0.0, 2.0]))
        """,
        verify=True,
    )
    assert report.findings == ()


@pytest.mark.parametrize(
    ("program", "line"),
    [
        (
            """
            def loss(x):
                distance = jnp.sqrt(jnp.sum(x ** 2, axis=-1))
                return jnp.where(distance > 0, distance, 0.0).sum()
            jax.grad(loss)(jnp.zeros((2, 3)))
            """,
            3,
        ),
        (
            """
            @jax.custom_vjp
            def length(v):
                return jnp.sqrt(jnp.sum(v ** 2))
            def bwd(res, g):
                v, n = res
                return (g * v / n,)
            length.defvjp(lambda v: (length(v), (v, length(v))), bwd)
            jax.grad(lambda V: jax.jit(jax.vmap(length))(V).sum())(jnp.zeros((2, 3)))
            """,
            7,
        ),
    ],
)
def test_a_nan_is_told_where_it_begins(program, line):
    """The line of the operation, or the rule that makes it, also below jit and vmap."""
    report = check_program(program, verify=True)
    finding = next(finding for finding in report.findings if finding.code == "VAL304")
    assert finding.line == line
