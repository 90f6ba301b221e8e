"""custom_vmap functions: a row for each call of the user's, and the rule against `jax.vmap` of the function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fault_programs import with_a_vmap_rule
from programs import check_program

from jaxvjp_magic import vjpcheck

PROGRAM = """
from jax.custom_batching import custom_vmap
@custom_vmap
def scaled(x, w):
    return jnp.sin(x) * w
@scaled.def_vmap
def scaled_rule(axis_size, in_batched, x, w):
    return {rule}
{run}
"""
RUN = "jax.grad(lambda x: jax.vmap(scaled, (0, None))(x, 2.0).sum())(jnp.arange(3.0))"
RIGHT = "jnp.sin(x) * w, True"


def report_of(rule=RIGHT, run=RUN, **options):
    return check_program(PROGRAM.format(rule=rule, run=run), **options)


@pytest.mark.parametrize("verify", [False, True])
def test_a_right_rule_has_a_row_and_no_finding(verify):
    """The types are those of one example; values are those without a check."""
    plain = with_a_vmap_rule()
    with vjpcheck(verify=verify) as report:
        value = with_a_vmap_rule()
    assert jax.tree.all(jax.tree.map(np.array_equal, value, plain))
    assert (report.findings, report.notes) == ((), ())
    mapped, plain_call = (call for call in report.calls if call.kind == "custom_vmap")
    assert (mapped.vmap, mapped.shown_outputs[0].type, mapped.status) == ((3,), "float32[]", "ok")
    assert (plain_call.vmap, plain_call.shown_outputs[0].type) == ((), "float32[3]")


WRONG = {
    "another value": ({"rule": "2 * jnp.sin(x) * w, True", "verify": True}, ("VAL301", 8)),
    "another shape": ({"rule": "jnp.stack([x, x], 1) * w, True"}, ("VJP101", 8)),
    "its name overwritten": (
        {"rule": "jax.vmap(scaled, (0, None))(x, w), True", "run": "scaled = jax.vmap(scaled, (0, None))\n"
         "jax.grad(lambda x: scaled(x, jnp.ones(3)).sum())(jnp.ones((3, 3)))"},
        ("NAM201", 9),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    """The rule by its name, on its line."""
    options, expected = WRONG[name]
    finding = report_of(**options).findings[0]
    assert (finding.code, finding.line) == expected
    assert "scaled_rule" in finding.title


def test_a_function_compiled_before_is_seen_and_not_said_to_have_changed():
    """The rule that is watched is the rule that JAX had: what was compiled serves on."""
    f = jax.custom_batching.custom_vmap(lambda x: jnp.sin(x))
    f.def_vmap(lambda *args: (jnp.sin(args[2]), True))
    gradient = jax.jit(lambda x: jax.vmap(f)(x).sum())
    before = jax.grad(gradient)(jnp.ones(3))
    with vjpcheck() as report:
        after = jax.grad(gradient)(jnp.ones(3))
    assert np.array_equal(before, after)
    assert report.notes == ()
    assert "custom_vmap" in {call.kind for call in report.calls}
