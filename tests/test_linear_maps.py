"""linear_transpose, custom_linear_solve, custom_root, a primitive's own transpose, and policies of jax.checkpoint."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fault_programs import linear_maps, of_its_own, with_a_policy
from programs import check_cells, check_program

from jaxvjp_magic import vjpcheck

ROOT = """
def newton(f, x):
    return jax.lax.fori_loop(0, 20, lambda _, x: x - f(x) / jax.grad(f)(x), x)
def tangent_solve(g, y):
    return {rule}
def root(a, b):
    return jax.lax.custom_root(lambda x: x**3 + b * x - a, 1.0, newton, tangent_solve)
{run}
"""
SOLVE = """
matrix = jnp.array([[4.0, 1.0], [{corner}, 3.0]])
def matvec(x):
    return matrix @ x
def transpose_solve(vecmat, g):
    return jnp.linalg.solve({transposed}, g)
def solve(b):
    return jax.lax.custom_linear_solve(matvec, b, lambda _, b: jnp.linalg.solve(matrix, b), {how})
jax.grad(lambda b: solve(b).sum())(jnp.ones(2))
"""
TRANSPOSE = "def f(x):\n    return {}\njax.linear_transpose(f, jnp.ones(3))(jnp.ones(3))"
PRIMITIVE = """
from jax.extend.core import Primitive
from jax.interpreters import ad
roll = Primitive("roll")
roll.def_impl(lambda x: jnp.roll(x, 1))
roll.def_abstract_eval(lambda x: x)
def roll_transpose(g, x):
    return (jnp.roll(g, {by}),)
ad.deflinear2(roll, roll_transpose)
jax.grad(lambda x: (roll.bind(x) * jnp.arange(3.0)).sum())(jnp.ones(3))
"""
POLICY = """
from jax.ad_checkpoint import checkpoint_name
@partial(jax.checkpoint, policy={policy})
def block(x):
    return jnp.sin(checkpoint_name(jnp.cos(x), "attention"))
jax.grad(lambda x: block(x).sum())(jnp.ones(3))
"""
NAMES = "jax.checkpoint_policies.save_only_these_names({})"
GRAD = "jax.grad(root, argnums=(0, 1))(2.0, 1.0)"
MAPPED = "jax.vmap(jax.grad(root))(2.0 + jnp.arange(3.0), jnp.ones(3))"
SYMMETRIC = "symmetric=True"
BOTH = f"jax.checkpoint_policies.save_from_both_policies({NAMES.format('')}, {NAMES.format(repr('atention'))})"

WRONG = {
    "a tangent_solve that multiplies": (ROOT.format(rule="y * g(1.0)", run=GRAD), "VAL306", 5),
    "the same below vmap": (
        ROOT.format(rule="y * g(1.0)", run=MAPPED), "VAL306", 5,
    ),
    "a matrix that is not symmetric": (SOLVE.format(corner=2.0, transposed="matrix.T", how=SYMMETRIC), "VAL306", 8),
    "a transpose_solve that does not transpose": (
        SOLVE.format(corner=2.0, transposed="matrix", how="transpose_solve=transpose_solve"), "VAL306", 6,
    ),
    "an affine function": (TRANSPOSE.format("2 * x + 1"), "VAL306", 3),
    "a transpose that is the map": (PRIMITIVE.format(by=1), "VAL306", 8),
    "a name that is misspelt": (POLICY.format(policy=NAMES.format('"atention"')), "RES405", 3),
    "a name in one of two policies": (POLICY.format(policy=BOTH), "RES405", 3),
}  # fmt: skip
RIGHT = {
    "custom_root": ROOT.format(rule="y / g(1.0)", run=GRAD),
    "custom_root below vmap": ROOT.format(rule="y / g(1.0)", run=MAPPED),
    "a symmetric matrix": SOLVE.format(corner=1.0, transposed="matrix.T", how=SYMMETRIC),
    "transpose_solve": SOLVE.format(corner=2.0, transposed="matrix.T", how="transpose_solve=transpose_solve"),
    "a linear function": TRANSPOSE.format("2 * x"),
    "a primitive": PRIMITIVE.format(by=-1),
    "a policy": POLICY.format(policy=NAMES.format('"attention"')),
    "another policy": POLICY.format(policy="jax.checkpoint_policies.dots_saveable"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_promise_that_does_not_hold_is_named(name):
    """On the line of the rule, or of the call that makes the promise."""
    program, code, line = WRONG[name]
    report = check_program(program, verify=True)
    (finding,) = report.findings
    assert (finding.code, finding.severity.value, finding.line) == (code, "warning", line)
    assert report.notes == ()


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_compared_and_gets_no_finding(name):
    """With nothing left out."""
    report = check_program(RIGHT[name], verify=True)
    assert (report.findings, report.not_checked, report.notes) == ((), (), ())


@pytest.mark.parametrize("program", [linear_maps, of_its_own, with_a_policy])
@pytest.mark.parametrize("verify", [False, True])
def test_values_are_those_without_a_check(program, verify):
    """And each use has a row, the policy's apart."""
    plain = program()
    with vjpcheck(verify=verify) as report:
        value = program()
    assert jax.tree.all(jax.tree.map(np.array_equal, value, plain))
    assert report.findings == ()
    kinds = {"linear_maps": {"custom_root", "linear_transpose"}, "of_its_own": {"transpose"}, "with_a_policy": set()}
    assert kinds[program.__name__] <= {call.kind for call in report.calls}


def test_below_jit_it_is_said_that_the_values_are_not_known():
    """Random ones would be another matrix."""
    program = SOLVE.format(corner=2.0, transposed="matrix.T", how=SYMMETRIC)
    program = program.replace("jax.grad(lambda b: solve(b).sum())(", "jax.jit(jax.grad(lambda b: solve(b).sum()))(")
    report = check_program(program, verify=True)
    assert [(one.what, one.why) for one in report.not_checked] == [("values", "its values are not known below jit")]
    assert report.findings == ()


@pytest.mark.parametrize("name", ["custom_root", "a symmetric matrix", "a linear function", "a primitive"])
def test_without_verify_it_is_said_that_nothing_was_compared(name):
    """As for rules."""
    assert [one.why for one in check_program(RIGHT[name]).not_checked] == ["--verify"]


SQUARE = """
from jax.extend.core import Primitive
from jax.interpreters import ad
square = Primitive("square")
square.def_impl(lambda x: x * x)
square.def_abstract_eval(lambda x: x)
ad.defjvp(square, lambda t, x: 2 * t)
"""


def test_jvp_rules_of_primitives_are_named():
    """They are of no kind that is traced: those that run, and those that were made just now."""
    run = "jax.grad(lambda x: square.bind(x).sum())(jnp.ones(3))"
    named = [("rules", "square", "jvp rules of primitives are not traced")]
    for cells, expected in (([SQUARE + run], named), ([SQUARE, run], named), ([SQUARE, "jax.grad(jnp.sin)(1.0)"], [])):
        report = check_cells(*cells)
        assert [(one.what, one.function, one.why) for one in report.not_checked] == expected


def test_a_rule_that_runs_often_is_named_once():
    """However often it runs: the list of what was not looked at is bounded."""
    report = check_cells(SQUARE, "for _ in range(300):\n    jax.grad(lambda x: square.bind(x).sum())(jnp.ones(3))")
    assert report.omitted is None


def test_what_jax_traces_has_nothing_of_the_check():
    """An example is taken out of a batch that is known, though a function around it is being traced."""
    batch = jnp.arange(1.0, 4.0)

    def transposed(a):
        return jax.linear_transpose(lambda x: a * x, 1.0)(1.0)[0]

    def program(x):
        return jax.vmap(transposed)(batch).sum() * x

    plain = str(jax.make_jaxpr(lambda x: program(x))(2.0))  # JAX has traced neither lambda before
    with vjpcheck(verify=True) as report:
        checked = str(jax.make_jaxpr(lambda x: program(x))(2.0))
    assert checked == plain
    assert (report.findings, report.not_checked, report.notes) == ((), (), ())


class Policy:
    """Saves nothing, and raises where it is asked for an attribute."""

    def __call__(self, *_, **__):
        return False

    def __getattr__(self, name):
        """Not even for one that it does not have."""
        raise AssertionError(name)


def test_a_policy_of_the_users_is_asked_for_nothing():
    """Its `__getattr__` is the user's code."""
    program = jax.checkpoint(lambda x: jnp.sin(x).sum(), policy=Policy())
    with vjpcheck() as report:
        jax.grad(program)(jnp.ones(3))
    assert (report.findings, report.notes) == ((), ())


def test_uses_inside_libraries_have_no_row():
    """jax.scipy's solvers are custom_linear_solve inside."""
    with vjpcheck() as report:
        jax.grad(lambda b: jax.scipy.sparse.linalg.cg(lambda x: 2 * x, b)[0].sum())(jnp.ones(3))
    assert [call.kind for call in report.calls] == ["grad"]


def test_a_name_that_nothing_is_like_is_a_note():
    """A policy may be for several functions."""
    report = check_program(POLICY.format(policy=NAMES.format('"attention", "mlp"')))
    (finding,) = report.findings
    assert (finding.code, finding.severity.value, finding.got) == ("RES405", "note", "mlp")
