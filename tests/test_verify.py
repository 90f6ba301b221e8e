"""How --verify compares: in float64 and unseen, as seldom as it can, linear or not, and with what the numbers tell."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import check_program

from jaxvjp_magic import Severity, vjpcheck

RULE = """
    @jax.custom_vjp
    def f({arguments}):
        return {function}
    def fwd({arguments}):
        return f({arguments}), ({arguments},)
    def bwd(res, g):
        {arguments}, = res
        return {bwd}
    f.defvjp(fwd, bwd)
    {run}
"""


def worse_than_notes(report):
    return tuple(finding for finding in report.findings if finding.severity is not Severity.NOTE)


def only(report):
    (finding,) = worse_than_notes(report)
    return finding


def verified(function, bwd, run, arguments="x"):
    return check_program(RULE.format(function=function, bwd=bwd, run=run, arguments=arguments), verify=True)


GRAD = "jax.grad(lambda x: f(x).sum())(jnp.arange(1.0, 5.0))"


# Float64 ------------------------------------------------------------------------------------------


def counted(seen, sign=1):
    """The sine, and a rule that notes what runs in which precision."""

    def note(what, x):
        seen.update([(what, str(x.dtype))])

    def function(x):
        note("function", x)
        return jnp.sin(x)

    def fwd(x):
        note("fwd", x)
        return jnp.sin(x), x

    def bwd(x, g):
        note("bwd", g)
        return (sign * g * jnp.cos(x),)

    f = jax.custom_vjp(function)
    f.defvjp(fwd, bwd)
    return f


def runs_of(f, x, seen):
    """What the comparison runs, over what a check without it runs."""
    with vjpcheck():
        jax.grad(lambda x: f(x).sum())(x)
    program = Counter(seen)
    with vjpcheck(verify=True) as report:
        jax.grad(lambda x: f(x).sum())(x)
    assert report.notes == ()
    return report, dict(seen - program - program)


@pytest.mark.usefixtures("all_is_pure")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_right_rule_is_run_once_more_and_in_float64(dtype):
    """The function once, with autodiff of it; fwd once; bwd once. The documentation says so."""
    seen = Counter()
    report, extra = runs_of(counted(seen), jnp.ones(3, dtype), seen)
    assert extra == {("function", "float64"): 1, ("fwd", "float64"): 1, ("bwd", "float64"): 1}
    assert worse_than_notes(report) == ()


@pytest.mark.usefixtures("all_is_pure")
def test_a_wrong_rule_is_run_a_few_times_more():
    """Finite differences, a look at what is inside, two more cotangents; and all of it beside the program's values."""
    seen = Counter()
    report, extra = runs_of(counted(seen, sign=-1), jnp.ones(3), seen)
    assert extra == {("function", "float64"): 8, ("fwd", "float64"): 4, ("bwd", "float64"): 8}
    assert only(report).code == "VAL302"


def test_nothing_of_float64_is_left():
    """The setting, the dtypes of new arrays, and what the user's jitted functions keep."""
    inner = jax.jit(jnp.sin)
    f = jax.custom_vjp(lambda x: inner(x))
    f.defvjp(lambda x: (inner(x), x), lambda x, g: (g * jnp.cos(x),))
    jax.grad(lambda x: f(x).sum())(jnp.ones(3))
    before = inner(jnp.ones(3))
    with vjpcheck(verify=True) as report:
        jax.grad(lambda x: f(x).sum())(jnp.ones(3))
    assert (worse_than_notes(report), report.notes) == ((), ())
    assert not jax.config.jax_enable_x64
    assert jnp.asarray(np.ones(3)).dtype == inner(np.ones(3)).dtype == before.dtype == jnp.float32


def test_rounding_is_no_error_of_the_rule():
    """In float32 autodiff of this function is off by more than its value; in float64 the two agree."""
    report = verified("(jnp.exp(x) - 1) / x", "g * (0.5 + x / 3),", "jax.grad(f)(1e-4)")
    assert worse_than_notes(report) == ()


def test_a_small_factor_is_found_in_half_precision():
    """Where bfloat16 itself has two digits."""
    run = "jax.grad(lambda x: f(x).sum())(jnp.ones(4, jnp.bfloat16))"
    finding = only(verified("jnp.sin(x)", "1.03 * g * jnp.cos(x),", run))
    assert finding.title == "the gradient that bwd returns for x is 1.03 times the derivative of f here"
    assert "so a factor is wrong, which may depend on the values" in finding.message


@pytest.mark.parametrize(
    ("function", "bwd"),
    [
        # What is rounded inside is no error, and finite differences of it in float64 would be noise.
        ("jnp.sin(x.astype(jnp.float16)).astype(x.dtype)", "g * jnp.cos(x),"),
        ("jnp.sin(x.astype(jnp.float32)).astype(x.dtype)", "(g * jnp.cos(x)).astype(jnp.float32),"),
        # A carry of float32 raises where the arguments have become float64.
        ("jax.lax.fori_loop(0, 2, lambda _, c: c * x, jnp.ones(4, jnp.float32))", "2 * g * x,"),
    ],
)
def test_what_is_written_for_one_precision_is_compared_in_it(function, bwd):
    """Right, and left alone."""
    assert worse_than_notes(verified(function, bwd, GRAD)) == ()


def test_what_asks_for_the_dtype_is_compared_in_its_own():
    """The branch for float64 would be right."""
    bwd = "(g * jnp.cos(x) if x.dtype == jnp.float64 else -g * jnp.cos(x)),"
    assert only(verified("jnp.sin(x)", bwd, GRAD)).title.endswith("for x has the wrong sign")


# Linearity ----------------------------------------------------------------------------------------


def test_a_rule_that_clips_the_cotangent_is_told():
    """VAL305, a warning, at the return of the rule; and the comment that silences it."""
    finding = only(verified("jnp.sin(x)", "jnp.clip(g, -1, 1) * jnp.cos(x),", GRAD))
    assert (finding.code, finding.severity, finding.line, finding.path) == ("VAL305", Severity.WARNING, 9, "x")
    assert finding.title == "what bwd returns for x is not linear in the incoming cotangent"
    assert "clipped, normalised or squared" in finding.message
    silenced = "jnp.clip(g, -1, 1) * jnp.cos(x),  # vjpcheck: ignore[VAL305]"
    assert worse_than_notes(verified("jnp.sin(x)", silenced, GRAD)) == ()


def test_a_rule_that_is_right_is_not_asked_whether_it_is_linear():
    """The limit is far away: what it gives is the derivative."""
    assert worse_than_notes(verified("jnp.sin(x)", "jnp.clip(g, -1e3, 1e3) * jnp.cos(x),", GRAD)) == ()


def test_a_norm_of_the_cotangent_is_one_finding_for_all_arguments():
    """It is one decision of the rule."""
    run = "jax.grad(lambda x: f(x, x).sum())(jnp.arange(1.0, 5.0))"
    bwd = "g / jnp.linalg.norm(g) * y, g / jnp.linalg.norm(g) * x"
    finding = only(verified("x * y", bwd, run, "x, y"))
    assert (finding.code, finding.path) == ("VAL305", "")
    assert finding.title == "what bwd returns is not linear in the incoming cotangent"


# Without autodiff ---------------------------------------------------------------------------------

LOOP = "jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] * x), (0, jnp.ones_like(x)))[1]"
CALLBACK = "jax.pure_callback(lambda x: {}, jax.ShapeDtypeStruct(x.shape, x.dtype), x)"


@pytest.mark.parametrize("function", [LOOP, CALLBACK.format("x**2")])
def test_finite_differences_decide_where_autodiff_cannot(function):
    """A while loop and a callback have no reverse mode."""
    assert worse_than_notes(verified(function, "2 * g * x,", GRAD)) == ()
    finding = only(verified(function, "g * x,", GRAD))
    assert (finding.code, finding.path) == ("VAL302", "x")
    assert (
        "it does not agree with finite differences of f, and autodiff of f gives nothing to compare with"
        in finding.message
    )
    assert only(verified(function, "2 * g**2 * x,", GRAD)).code == "VAL305"
    assert only(verified(function, "2 * x,", GRAD)).code == "VAL303"


def test_finite_differences_that_are_noise_say_nothing():
    """A step function: the smaller the step, the larger the slope."""
    assert worse_than_notes(verified(CALLBACK.format("(x * 1e7).round() % 7"), "g,", GRAD)) == ()


def test_outputs_that_a_solver_does_not_differentiate_are_left_alone():
    """Its statistics; what flows back from the solution is compared."""
    report = verified(
        f"({LOOP}, {LOOP}.sum())", "2 * g[0] * x,", "jax.grad(lambda x: f(x)[0].sum())(jnp.arange(1.0, 5.0))"
    )
    assert worse_than_notes(report) == ()


# What the numbers tell ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "bwd", "says"),
    [
        (
            "x.mean()",
            "jnp.full_like(x, g),",
            "4 is the size of axis 0 of x, so this may be a sum instead of a mean.",
        ),
        (
            "x.sum()",
            "jnp.full_like(x, g / 4),",
            "4 is the size of axis 0 of x, so this may be a mean instead of a",
        ),
    ],
)
def test_a_factor_of_the_size_of_the_batch_is_named(function, bwd, says):
    """It is a number of its own otherwise."""
    message = only(verified(function, bwd, "jax.grad(f)(jnp.arange(1.0, 5.0))")).message
    assert says in message
    other = only(verified("x.sum()", "jnp.full_like(x, 5 * g),", "jax.grad(f)(jnp.arange(1.0, 5.0))")).message
    assert "axis" not in other


def test_a_factor_of_a_mapped_size_is_named():
    """The rule sees one example only."""
    run = "jax.vmap(jax.grad(f))(jnp.ones(6))"
    assert "6 is the size of a mapped axis" in only(verified("jnp.sin(x)", "6 * g * jnp.cos(x),", run)).message


def test_two_of_three_arguments_in_each_others_place():
    """Named both, and the third is not."""
    finding = only(
        verified("x * y * z", "g * x * z, g * y * z, g * x * y", "jax.grad(f, (0, 1, 2))(2.0, 3.0, 4.0)", "x, y, z")
    )
    assert finding.title == "the gradient that bwd returns for x has two cotangents swapped"
    assert "exchanged, those of x and y agree with autodiff of f" in finding.message


def test_integers_beside_a_wrong_gradient_are_left_alone():
    """Their cotangent is float0."""
    bwd = "jax.vjp(lambda x, n: -x * n, x, n)[1](g)"
    assert only(verified("x * n", bwd, "jax.grad(f)(2.0, 3)", "x, n")).path == "x"


def test_nan_is_told_at_the_rule_where_it_begins():
    """And not once more for the function that is differentiated."""
    function, bwd = "jnp.sqrt(jnp.sum(x * x))", "g * x / jnp.sqrt(jnp.sum(x * x)),"
    finding = only(verified(function, bwd, "jax.grad(lambda x: 2 * f(x))(jnp.zeros(3))"))
    assert (finding.code, finding.phase, finding.line, finding.path) == ("VAL304", "bwd", 9, "x")
    assert finding.title == "the gradient that bwd returns for x is NaN"
