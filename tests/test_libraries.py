"""Rules in other people's libraries: checked and plain, the same values, and nothing to complain of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvjp_magic import Severity, vjpcheck

eqx = pytest.importorskip("equinox")
optax = pytest.importorskip("optax")
X = jnp.arange(1.0, 4.0)


def filtered_rule():
    """A rule on a module, of which only the arrays are differentiated."""

    @eqx.filter_custom_vjp
    def apply(layer, x, *, name):
        return jax.vmap(layer)(x)

    @apply.def_fwd
    def fwd(perturbed, layer, x, *, name):
        return apply(layer, x, name=name), None

    @apply.def_bwd
    def bwd(residuals, g, perturbed, layer, x, **_):
        return eqx.filter_vjp(lambda layer: jax.vmap(layer)(x), layer)[1](g)[0]

    layer = eqx.nn.Linear(3, 2, key=jax.random.key(0))
    return eqx.filter_grad(lambda layer: apply(layer, jnp.ones((4, 3)), name="any").sum())(layer).weight


def filtered_number():
    """A Python number is no array to equinox."""
    f = eqx.filter_custom_vjp(lambda x: 2.0 * x)
    f.def_fwd(lambda perturbed, x: (2.0 * x, object()))
    f.def_bwd(lambda token, g, perturbed, x: 2.0 * g)
    return jax.grad(f)(1.0), jax.jit(jax.grad(f))(1.0)


def checkpointed_loop():
    """A loop that saves some of its steps: its rule runs jax.vjp once more."""

    def loss(x):
        step = lambda carry: (carry[0] + 1, jnp.sin(carry[1]))
        loop = eqx.internal.while_loop(lambda c: c[0] < 5, step, (0, x), kind="checkpointed", max_steps=5)
        return loop[1].sum()

    return jax.grad(loss)(X)


def checkpointed_network():
    """Layers under `filter_checkpoint`, and all of it under jit."""
    network = eqx.nn.MLP(3, 1, 4, 2, key=jax.random.key(0))
    gradient = eqx.filter_jit(eqx.filter_grad(lambda network, x: eqx.filter_checkpoint(network)(x).sum()))
    return jax.tree.leaves(eqx.filter(gradient(network, X), eqx.is_array))


def scaled_gradient():
    return jax.grad(lambda x: (optax.scale_gradient(x, 0.5) ** 2).sum())(X)


def losses_and_step():
    labels = jnp.array([0, 2])

    def loss(w):
        return optax.softmax_cross_entropy_with_integer_labels(jnp.ones((2, 3)) @ w, labels).mean()

    def step(w, state):
        updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        return optax.apply_updates(w, updates), state

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))
    w = jnp.eye(3)
    return jax.jit(step)(w, optimizer.init(w))[0]


@pytest.mark.parametrize(
    "program",
    [filtered_rule, filtered_number, checkpointed_loop, checkpointed_network, scaled_gradient, losses_and_step],
    ids=lambda program: program.__name__,
)
def test_a_library_is_not_disturbed(program):
    """Equal values, no notes, no errors, no warnings, and its calls are seen."""
    plain = program()
    with vjpcheck() as report:
        checked = program()
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, checked))
    assert report.notes == ()
    assert [one for one in report.findings if one.severity is not Severity.NOTE] == []
    assert report.calls
