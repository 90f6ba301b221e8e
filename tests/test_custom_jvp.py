"""custom_jvp functions: a row for each call of the user's, the rule's output and what reverse mode makes of it."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest
from programs import check_program

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.results.model import NotChecked

X = np.arange(1.0, 4.0, dtype=np.float32)
PROGRAM = """
@jax.custom_jvp
def soft(x):
    return jnp.log1p(jnp.exp(x))
@soft.defjvp
def soft_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return {rule}
{run}
"""
RUN = "jax.grad(lambda x: soft(x).sum())(jnp.ones(3))"
RIGHT = "soft(x), dx / (1 + jnp.exp(-x))"


def report_of(rule=RIGHT, run=RUN, **options):
    return check_program(PROGRAM.format(rule=rule, run=run), **options)


def scaled():
    @partial(jax.custom_jvp, nondiff_argnums=(1,))
    def scaled(x, n, y):
        return x * n * y

    @scaled.defjvp
    def rule(n, primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return x * n * y, n * (dx * y + x * dy)

    return scaled


PROGRAMS = {
    "grad": lambda: jax.grad(lambda x: scaled()(x, 2, X).sum())(X),
    "jit of grad": lambda: jax.jit(jax.grad(lambda x: scaled()(x, 2, X).sum()))(X),
    "grad of jit": lambda: jax.grad(jax.jit(lambda x: scaled()(x, 2, X).sum()))(X),
    "vmap": lambda: jax.grad(lambda x: jax.vmap(scaled(), (0, None, None))(x, 2, 3.0).sum())(X),
    "jvp": lambda: jax.jvp(lambda x: scaled()(x, 2, X), (X,), (X,)),
    "not differentiated": lambda: scaled()(X, 2, X),
    "scan": lambda: jax.grad(lambda x: jax.lax.scan(lambda c, y: (scaled()(c, 2, y), c), x, X)[0])(2.0),
}


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_right_rule_has_a_row_and_no_finding(name, verify):
    """Values are those without a check; nondiff_argnums are shown apart."""
    plain = PROGRAMS[name]()
    with vjpcheck(verify=verify) as report:
        value = PROGRAMS[name]()
    assert jax.tree.all(jax.tree.map(np.array_equal, value, plain))
    assert (report.findings, report.notes) == ((), ())
    (call,) = (call for call in report.calls if call.kind == "custom_jvp")
    scalar = name in ("vmap", "scan")
    expected = "float32[]" if scalar else "float32[3]"
    assert ([leaf.path for leaf in call.primals], [leaf.path for leaf in call.nondiff]) == (["x", "y"], ["n"])
    assert (call.shown_outputs[0].type, call.status) == (expected, "ok")
    is_compared = verify or name == "not differentiated"
    assert report.not_checked == (() if is_compared else (NotChecked("values", why="--verify"),))


MAPPED = "soft = jax.vmap(soft)\n" + RUN.replace("ones(3)", "ones((3, 3))")
WRONG = {
    "a factor": ({"rule": "soft(x), 2 * dx / (1 + jnp.exp(-x))", "verify": True}, ("VAL302", 8)),
    "a value": ({"rule": "soft(x) + 1, dx / (1 + jnp.exp(-x))", "verify": True}, ("VAL301", 8)),
    "another shape": ({"rule": "(soft(x)[:1], dx[:1])", "run": RUN}, ("VJP101", 8)),
    "its name overwritten": ({"run": MAPPED}, ("NAM201", 9)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    """The rule by its name, on its line; never as a fwd or bwd rule."""
    options, expected = WRONG[name]
    finding = report_of(**options).findings[0]
    assert (finding.code, finding.line) == expected
    assert "soft_jvp" in finding.title
    assert not {"fwd", "bwd", "custom_vjp"} & set(f"{finding.title} {finding.message}".replace(".", " ").split())


def test_functions_of_jax_and_of_libraries_have_no_row():
    """They are their authors' business."""
    with vjpcheck() as report:
        jax.grad(lambda x: jax.nn.relu(x) + jax.nn.silu(x))(1.0)
    assert [call.kind for call in report.calls] == ["grad"]


@pytest.mark.skipif(not hasattr(jax.config, "jax_custom_jvp3"), reason="JAX 0.12 has it")
def test_what_custom_jvp3_makes_is_said_not_to_be_traced():
    """JAX traces the function with jit then; nothing is said to be right."""
    jax.config.update("jax_custom_jvp3", val=True)
    try:
        report = report_of()
    finally:
        jax.config.update("jax_custom_jvp3", val=False)
    assert report.not_checked[0] == NotChecked("rules", "soft", 3, "", "custom_jvp rules are not traced")


def test_a_lambda_is_called_what_it_is():
    """And not `<lambda>`."""
    report = check_program("""
        f = jax.custom_jvp(lambda x: x * x)
        f.defjvp(lambda p, t: (p[0] * p[0], p[0] * t[0]))
        jax.grad(lambda x: f(x).sum())(jnp.arange(3.0))
    """, verify=True)  # fmt: skip
    (finding,) = report.findings
    assert (
        finding.title
        == "the gradient that the jvp rule of <lambda> gives for x is 0.5 times the derivative of <lambda>"
    )
