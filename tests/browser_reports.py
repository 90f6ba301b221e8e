"""Reports for the tests in a browser."""

from __future__ import annotations

import dataclasses

from programs import check_program
from test_html import SEED

from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Leaf

REPAIRED = dataclasses.replace(
    SEED, findings=(), error=None, notes=(),
    calls=tuple(
        dataclasses.replace(c, fwd_outputs=c.outputs, status="ok", cotangents_in=c.outputs, cotangents_out=c.primals)
        for c in SEED.calls
    ),
)  # fmt: skip


def many(count):
    """The seed's two calls again and again, with residuals of every size."""
    calls = [
        dataclasses.replace(
            SEED.calls[i % 2], id=i + 1, parent=i if i % 2 else 0, residuals=(Leaf("", "float32[3]", 12 * (i % 97)),)
        )
        for i in range(count)
    ]
    return dataclasses.replace(SEED, calls=tuple(calls))


def large_model():
    """A rule of a model with 200 parameters, which gives one of them another shape, and another one another dtype."""
    text = """
        params = {f"layer_{i:03d}": {"w": jnp.ones((4, 3)), "b": jnp.ones(3)} for i in range(100)}
        @jax.custom_vjp
        def model(params, x):
            return x * sum(jnp.sum(layer["w"]) + jnp.sum(layer["b"]) for layer in params.values())
        def model_fwd(params, x):
            return model(params, x), params
        def model_bwd(params, g):
            grads = jax.tree.map(lambda leaf: g * jnp.ones_like(leaf), params)
            grads["layer_073"]["w"] = grads["layer_073"]["w"].T
            grads["layer_091"]["b"] = grads["layer_091"]["b"].astype(jnp.bfloat16)
            return grads, g
        model.defvjp(model_fwd, model_bwd)
        jax.grad(model)(params, 1.0)
    """
    return check_program(text)


MANY, SOME = many(5000), many(400)
NESTED = Report(
    calls=(
        Call(
            1, "custom_vjp", "attention", vmap=(10, 3, 8),
            primals=tuple(Leaf(f"params['layer{i}']['w']", "float32[128,64]", 32768) for i in range(9)),
            outputs=(Leaf("", "float32[8]"),), fwd_outputs=(Leaf("", "float32[8]"),),
            residuals=tuple(Leaf(f"[{i}]", "float32[128,64]", 32768) for i in range(5)),
            cotangents_in=(Leaf("", "float32[8]"),), cotangents_out=(Leaf("x", "float32[9]"),),
        ),
    ),
)  # fmt: skip
