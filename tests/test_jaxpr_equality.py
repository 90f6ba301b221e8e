"""Jaxprs that say the same, and jaxprs that do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvjp_magic.retracing import jaxpr_equality

X = jnp.arange(4.0)
sine = jax.custom_vjp(lambda x: jnp.sin(x))
sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


def jaxpr_of(function, *arguments):
    return jax.make_jaxpr(function)(*(arguments or (X,)))


SAME = {
    "operations": lambda: lambda x: jnp.sin(x) * 2 + 1,
    "a function inside": lambda: lambda x: jax.jit(lambda y: y + 1)(x),
    "a loop": lambda: lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x),
    "a branch": lambda: lambda x: lax.cond(x[0] > 0, lambda x: x + 1, lambda x: x - 1, x),
    "a rule": lambda: lambda x: jax.nn.relu(x) + sine(x),
    "a constant of NumPy": lambda: lambda x: x + np.arange(4.0, dtype=np.float32),
    "a constant of JAX": lambda: lambda x: x + X,
    "a large constant": lambda: lambda x: x[:1] + np.arange(100_000.0),
    "a callback": lambda: lambda x: jax.pure_callback(lambda x: np.sin(x), x, x),
    "a callback that closes over something": lambda: lambda x: called_back(x, "text", np.ones(3)),
    "a callback that calls itself": lambda: lambda x: jax.pure_callback(counting_down(), x, x),
    "printing": lambda: lambda x: (jax.debug.print("{x}", x=x), x)[1],
    "a function of custom_vmap": lambda: lambda x: mapped_by_hand(x),
    "a root": lambda: lambda x: root_of(lambda y: y**3 - x),
    "checkpoint": lambda: (
        lambda x: jax.checkpoint(jnp.sin, policy=jax.checkpoint_policies.save_only_these_names("a"))(x)
    ),
}


def called_back(x, *known):
    return jax.pure_callback(lambda x: (known, x)[1], x, x)


def root_of(function):
    return lax.custom_root(function, jnp.ones(4), lambda f, x: x - f(x), lambda g, y: y / g(jnp.ones(4)))


def counting_down():
    def down(x, n=3):
        return x if n == 0 else down(x, n - 1)

    return down


mapped_by_hand = jax.custom_batching.custom_vmap(lambda x: jnp.sin(x))
mapped_by_hand.def_vmap(lambda size, batched, x: (jnp.sin(x), batched[0]))


@pytest.mark.parametrize("make", SAME.values(), ids=SAME.keys())
def test_jaxprs_that_say_the_same_are_twins(make):
    """Traced twice, from two functions of the same text."""
    assert jaxpr_equality.same(jaxpr_of(make()), jaxpr_of(make()))


DIFFERENT = {
    "another operation": (jnp.sin, jnp.cos),
    "another literal": (lambda x: x * 2, lambda x: x * 3),
    "zero of another sign": (lambda x: x * 0.0, lambda x: x * -0.0),
    "another parameter": (lambda x: x.sum(keepdims=True), lambda x: x.sum()),
    "another order": (lambda x: x - jnp.sin(x), lambda x: jnp.sin(x) - x),
    "another output": (lambda x: (x, x + 1), lambda x: (x + 1, x)),
    "more outputs": (lambda x: x + 1, lambda x: (x + 1, x)),
    "another constant": (lambda x: x + np.arange(4.0), lambda x: x + np.ones(4)),
    "another array": (lambda x: x + jnp.ones(4), lambda x: x + X),
    "another function inside": (lambda x: jax.jit(jnp.sin)(x), lambda x: jax.jit(jnp.cos)(x)),
    "another name inside": (lambda x: jax.jit(jnp.sin)(x), lambda x: jax.jit(lambda y: jnp.sin(y))(x)),
    "another type": (lambda x: x, lambda x: x.astype(jnp.float16)),
    "another callback": (
        lambda x: jax.pure_callback(lambda x: x, x, x),
        lambda x: jax.pure_callback(lambda x: x + 1, x, x),
    ),
    "a callback that closes over something else": (
        lambda x: called_back(x, "text", np.ones(3)),
        lambda x: called_back(x, "text", np.zeros(3)),
    ),
    "a callback that closes over another array of JAX": (
        lambda x: called_back(x, jnp.ones(3)),
        lambda x: called_back(x, jnp.ones(3)),
    ),
    "another root": (lambda x: root_of(lambda y: y**3 - x), lambda x: root_of(lambda y: y**2 - x)),
    "another body": (
        lambda x: lax.scan(lambda c, y: (c + y, c), 0.0, x),
        lambda x: lax.scan(lambda c, y: (c * y, c), 0.0, x),
    ),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_jaxprs_that_differ_are_no_twins(one, other):
    """In anything that is compiled."""
    assert not jaxpr_equality.same(jaxpr_of(one), jaxpr_of(other))
