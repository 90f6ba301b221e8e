"""Models and logs of other people's libraries below a custom_vjp: they keep state while they are traced.

The function with the rule is never run by the program, so the check has to look
at it: a model that is traced beside its library's own state breaks, or breaks it.
"""

from __future__ import annotations

import io
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvjp_magic import vjpcheck

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the libraries', where they are older than JAX, or newer
    import equinox as eqx
    import flax.linen
    import haiku as hk
    import loguru
    import numpyro
    from flax import nnx
    from numpyro import distributions

pytestmark = pytest.mark.any_jax
X = jnp.arange(1.0, 4.0)


def with_rule(function):
    """The function, whose fwd rule gives what it gives without calling it."""
    ruled = jax.custom_vjp(lambda x: function(x))
    ruled.defvjp(lambda x: (jax.lax.stop_gradient(function(x)), x), lambda x, g: (g.sum() * jnp.ones_like(x),))
    return ruled


def haiku_model():
    """A module makes its parameters inside of `hk.transform`."""
    model = hk.transform(lambda x: with_rule(hk.Linear(2))(x).sum())
    parameters = model.init(jax.random.key(0), X)
    gradient = jax.grad(lambda x: model.apply(parameters, jax.random.key(1), x))
    return gradient(X), jax.jit(gradient)(X), model.apply(parameters, None, X)


def numpyro_model():
    """A handler sees each sample once."""

    def model(x):
        scale = with_rule(lambda x: x * numpyro.sample("scale", distributions.Normal(0.0, 1.0)))(x)
        return numpyro.sample("y", distributions.Normal(scale, 1.0)).sum()

    seeded = numpyro.handlers.seed(model, jax.random.key(0))
    sites = numpyro.handlers.trace(seeded).get_trace(X)
    return jax.grad(seeded)(X), sites["scale"]["value"], seeded(X)


class Linen(flax.linen.Module):
    """A layer with a counter of its calls."""

    @flax.linen.compact
    def __call__(self, x):
        """A dense layer."""
        calls = self.variable("state", "calls", lambda: jnp.zeros(()))
        calls.value += 1.0
        return flax.linen.Dense(2)(x)


def linen_model():
    """The state of a module is what one call makes of it."""
    module = Linen()
    variables = module.init(jax.random.key(0), X)

    def loss(x):
        return with_rule(lambda x: module.apply(variables, x, mutable=["state"])[0])(x).sum()

    return jax.grad(loss)(X), jax.jit(jax.grad(loss))(X), module.apply(variables, X, mutable=["state"])[1]


class Counted(nnx.Module):
    """A layer that counts its calls in an attribute, and in a variable."""

    def __init__(self):
        """Nothing is counted yet."""
        self.layer, self.calls = nnx.Linear(3, 2, rngs=nnx.Rngs(0)), 0
        self.seen = nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        """One more."""
        self.calls += 1
        self.seen[...] += 1.0
        return self.layer(x)


def nnx_model():
    """What a module counts is what the program counts."""
    module = Counted()
    module(X)
    ruled = jax.custom_vjp(lambda x: module(x))
    ruled.defvjp(lambda x: (jnp.ones(2) * x.sum(), x), lambda x, g: (g.sum() * jnp.ones_like(x),))
    return jax.grad(lambda x: ruled(x).sum())(X), module.calls, module.seen[...]


def equinox_model():
    """A module is a function like another."""
    network = eqx.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    gradient = eqx.filter_jit(jax.grad(lambda x: with_rule(network)(x).sum()))
    return gradient(X), jax.grad(lambda x: with_rule(network)(x).sum())(X)


def loguru_lines():
    """Each line once."""
    lines = io.StringIO()
    logger = loguru.logger
    handler = logger.add(lines, format="{message}")

    def told(x):
        logger.info("told")
        return x * 2

    step = jax.jit(lambda x: with_rule(told)(x).sum())
    step(X)
    result = jax.grad(lambda x: with_rule(told)(x).sum())(X), jax.grad(step)(X)
    logger.remove(handler)
    return *result, np.array(lines.getvalue().count("told"))


MODELS = [haiku_model, numpyro_model, linen_model, nnx_model, equinox_model, loguru_lines]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the libraries'
@pytest.mark.parametrize("program", MODELS, ids=lambda program: program.__name__)
def test_a_model_is_not_disturbed(program):
    """Equal values and equal state, twice, and the rule is seen."""
    plain = program()
    for _ in range(2):
        with vjpcheck() as report:
            checked = program()
        assert jax.tree.all(jax.tree.map(np.array_equal, plain, checked))
        assert report.notes == ()
        rules = [call for call in report.calls if call.kind == "custom_vjp"]
        assert [call for call in rules if call.residuals and call.cotangents_out]
    after = program()
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, after))


class SignOfGradient(flax.linen.Module):
    """As flax's documentation has it: its own rule keeps the tree of the parameters in a closure."""

    @flax.linen.compact
    def __call__(self, x):
        def function(module, x):
            return module(x)

        def forward(module, x):
            return flax.linen.vjp(function, module, x)

        def backward(pullback, cotangent):
            parameters, *inputs = pullback(cotangent)
            return jax.tree.map(jnp.sign, parameters), *inputs

        rule = flax.linen.custom_vjp(function, forward_fn=forward, backward_fn=backward)
        return rule(flax.linen.Dense(1), x).sum()


def test_what_is_flaxs_own_is_not_said_to_its_users():
    """Its rule keeps state beside the residuals, as its authors want it: a quiet line says that there is something."""
    model = SignOfGradient()
    parameters = model.init(jax.random.key(0), X)
    with vjpcheck() as report:
        jax.grad(model.apply)(parameters, X)
    assert (report.findings, report.notes) == ((), ())
    assert {(one.code, one.in_library) for one in report.silenced} == {("NAM208", True)}


def test_where_flaxs_fp8_means_none_its_users_are_not_warned():
    """A scale that its rule gives no gradient on purpose."""
    from flax.linen import fp8_ops

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = flax.linen.Dense(16, dot_general_cls=fp8_ops.Fp8DirectDotGeneralOp)
        parameters = model.init(jax.random.key(0), jnp.ones((16, 16)))
        with vjpcheck() as report:
            jax.grad(lambda parameters: model.apply(parameters, jnp.ones((16, 16))).sum(), allow_int=True)(parameters)
    assert [one for one in report.findings if one.severity != "note"] == []
    assert {one.code for one in report.silenced} == {"VJP115"}
