"""Overwritten names: in globals, closures, behind helpers; harmful, harmless, and not overwritten at all."""

from __future__ import annotations

import pytest
from programs import check_program
from test_findings import SEED, SINE, only

from jaxvjp_magic import Severity


@pytest.mark.parametrize("wrap", ["jax.jit(f)", "jax.checkpoint(f)", "jax.jit(jax.checkpoint(f))"])
def test_a_wrapper_that_changes_nothing_is_a_note(wrap):
    """F = jit(f) is harmless, and said to be."""
    report = check_program(
        SINE.format(fwd="f(x), x", bwd="(g * jnp.cos(res),)") + f"    f = {wrap}\n    jax.grad(f)(1.0)"
    )
    finding = only(report)
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.NOTE, 10)
    assert finding.message.endswith("instead of the custom_vjp function. Both compute the same, so this is harmless.")
    assert report.ok


def test_a_function_overwritten_by_its_gradient_is_an_error_even_before_it_recurses():
    """Grad gives another function, whatever the shapes are."""
    report = check_program(SINE.format(fwd="f(x), x", bwd="(g * jnp.cos(res),)") + "    f = jax.grad(f)\n    f(1.0)")
    finding = only(report)
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 10)
    assert report.error.type == "RecursionError"


def test_a_name_in_a_closure_is_looked_at_too():
    """Inside a function the name is a cell, and the overwriting stands in that function."""
    report = check_program("""
        def make():
            @jax.custom_vjp
            def f(x):
                return x * 2.0
            def fwd(x):
                return f(x), None
            def bwd(_, g):
                return (2.0 * g,)
            f.defvjp(fwd, bwd)
            f = jax.vmap(f)
            return f
        f = None
        jax.grad(lambda x: make()(x).sum())(jnp.ones(3))
    """)
    finding = only(report, "NAM201")
    assert (finding.line, finding.severity) == (11, Severity.ERROR)
    assert finding.fix == "keep the original name:  f_mapped = jax.vmap(f)"


def test_a_name_whose_uses_below_mean_the_function_has_no_new_name():
    """For tools, which would rename what raised too: the words of the fix say enough."""
    report = check_program("""
        from jax import grad
        grad = grad(jnp.sin)(1.0)
        grad(jnp.cos)(1.0)
    """)
    finding = only(report, "NAM204")
    assert finding.fix == "keep the original name:  grad_result = grad(jnp.sin)(1.0)"
    assert finding.new_name == ""


def test_a_name_behind_a_helper_is_found():
    """The rule calls a helper, and the helper calls the name."""
    report = check_program("""
        @jax.custom_vjp
        def f(x):
            return (x * x).sum()
        def helper(x):
            return f(x)
        def fwd(x):
            return helper(x), x
        def bwd(x, g):
            return (2 * g * x,)
        f.defvjp(fwd, bwd)
        f = jax.vmap(f)
        jax.grad(lambda x: f(x).sum())(jnp.ones((2, 3)))
    """)
    assert "fwd (line 7) calls f through helper, and now gets jax.vmap(f)" in only(report, "NAM201").message


def test_a_partial_that_shifts_the_arguments_is_found():
    """F = partial(f, 2.0), and fwd calls f with all of its arguments."""
    report = check_program("""
        @jax.custom_vjp
        def f(a, x):
            return a * x
        def fwd(a, x):
            return f(a, x), (a, x)
        def bwd(res, g):
            return g * res[1], g * res[0]
        f.defvjp(fwd, bwd)
        f = partial(f, 2.0)
        jax.grad(f)(1.0)
    """)
    finding = report.findings[0]
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 10)
    assert finding.explains_error


def test_names_that_were_not_overwritten_are_left_alone():
    """The mapped function has a name of its own."""
    report = check_program(
        SEED.replace("    test_func = jax", "    mapped = jax")
        + "    jax.grad(lambda R: mapped(lambda x: x, R).sum())(jnp.ones((2, 3)))"
    )
    assert report.findings == ()


def test_another_name_for_something_made_from_the_function_is_no_overwriting():
    """Fwd calls the mapped function on purpose, under a name of its own."""
    report = check_program("""
        @jax.custom_vjp
        def f(x):
            return jnp.sin(x)
        def fwd(x):
            return f_mapped(jnp.ones(3)).sum() + jnp.sin(x), x
        f.defvjp(fwd, lambda x, g: (g * jnp.cos(x),))
        f_mapped = jax.vmap(f)
        jax.grad(f)(1.0)
    """)
    assert report.findings == ()


def test_a_name_given_later_is_found_when_it_is_overwritten():
    """The function is called something else than its name in the program says."""
    report = check_program("""
        def impl(x):
            return (x * x).sum()
        g = jax.custom_vjp(impl)
        g.defvjp(lambda x: (g(x), x), lambda x, ct: (2 * ct * x,))
        g = jax.vmap(g)
        jax.grad(lambda x: g(x).sum())(jnp.ones((2, 3)))
    """)
    assert (report.findings[0].code, report.findings[0].line) == ("NAM201", 6)
