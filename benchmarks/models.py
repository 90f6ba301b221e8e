"""Measure real models: what a check adds to their first trace and compilation, and what checking again costs."""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from measuring import Figure, compared, duration, of_another_process, timed

from jaxvjp_magic import vjpcheck

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEADS, LAYERS, LENGTH = 128, 4, 4, 64


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def attention(query: Any, key: Any, value: Any, scale: float) -> Any:
    """Softmax attention that recomputes its weights in the backward pass."""
    return jax.nn.softmax(query @ key.mT * scale) @ value


def attention_fwd(query: Any, key: Any, value: Any, scale: float) -> Any:
    """The output, and the three inputs as residuals; the weights are not kept."""
    return attention(query, key, value, scale), (query, key, value)


def attention_bwd(scale: float, residuals: Any, g: Any) -> Any:
    """The gradients of query, key and value, by hand."""
    query, key, value = residuals
    weights = jax.nn.softmax(query @ key.mT * scale)
    d_weights = g @ value.mT
    d_scores = weights * (d_weights - jnp.sum(d_weights * weights, axis=-1, keepdims=True)) * scale
    return d_scores @ key, d_scores.mT @ query, weights.mT @ g


attention.defvjp(attention_fwd, attention_bwd)


def transformer_parameters() -> list[dict[str, Any]]:
    """A decoder of a few layers."""
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
    keys = iter(jax.random.split(jax.random.key(0), len(shapes) * LAYERS))
    return [
        {name: jax.random.normal(next(keys), shape) * 0.02 for name, shape in shapes.items()} for _ in range(LAYERS)
    ]


def _normed(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)


def _block(params: dict[str, Any], x: Any) -> Any:
    heads = (_normed(x) @ params["qkv"]).reshape(LENGTH, 3, HEADS, WIDTH // HEADS).transpose(1, 2, 0, 3)
    mixed = jax.vmap(lambda q, k, v: attention(q, k, v, (WIDTH // HEADS) ** -0.5))(*heads)
    x = x + mixed.transpose(1, 0, 2).reshape(LENGTH, WIDTH) @ params["out"]
    return x + jax.nn.gelu(_normed(x) @ params["up"]) @ params["down"]


def transformer() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A training step of a transformer whose attention has rules of its own, mapped over a batch."""

    def step(params: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            def example_loss(x: Any) -> Any:
                for layer in params:
                    x = _block(layer, x)
                return jnp.mean(x**2)

            return jnp.mean(jax.vmap(example_loss)(batch))

        value, gradients = jax.value_and_grad(loss)(params)
        return value, jax.tree_util.tree_map(lambda param, gradient: param - 0.1 * gradient, params, gradients)

    return step, (transformer_parameters(), jax.random.normal(jax.random.key(1), (8, LENGTH, WIDTH)))


def solve() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The gradient through a differential equation, with diffrax and its checkpointed adjoint."""
    import diffrax

    def pendulum(time: Any, state: Any, length: Any) -> Any:
        del time
        angle, speed = state
        return speed, -9.81 / length * jnp.sin(angle)

    def final(length: Any) -> Any:
        start = (jnp.array(0.3), jnp.array(0.0))
        solution = diffrax.diffeqsolve(
            *(diffrax.ODETerm(pendulum), diffrax.Tsit5(), 0.0, 2.0, 0.05, start),
            args=length,
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-6),
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )
        return solution.ys[0][-1]

    return jax.value_and_grad(final), (jnp.array(1.0),)


def _first_run(make: Callable[[], tuple[Any, tuple[Any, ...]]]) -> Callable[[], None]:
    """Trace and compile a function that JAX has not seen, and run it."""
    function, arguments = make()
    jax.clear_caches()

    def run() -> None:
        jax.block_until_ready(jax.jit(function)(*arguments))

    return run


def _cold(make: Callable[[], tuple[Any, tuple[Any, ...]]], bound: float, rounds: int) -> Figure:
    def checked() -> Any:
        run = _first_run(make)

        def check() -> None:
            with vjpcheck():
                run()

        return timed(check)

    before, after, ratio = compared(lambda: timed(_first_run(make)), checked, rounds)
    beside = f"{duration(before.wall)} plain, {duration(after.wall)} checked; {ratio.cpu:.2f} of processor time"
    return Figure(ratio.wall, bound, "", beside)


def first_transformer(rounds: int) -> Figure:
    """First trace and compilation of a transformer with custom_vjp attention."""
    return _cold(transformer, 1.05, rounds)


def first_solve(rounds: int) -> Figure | None:
    """First trace and compilation of a diffrax solve with an adjoint."""
    try:
        return _cold(solve, 1.05, rounds)
    except ImportError:
        return None


def checked_again(rounds: int) -> dict[str, float]:
    """In this process: the seconds of a cold run, of checking again, and of tracing alone, with the cache on."""
    function, arguments = transformer()
    step = jax.jit(function)
    jax.block_until_ready(arguments)
    cold = timed(lambda: jax.block_until_ready(step(*arguments))).wall
    again, traced = [], []

    def check() -> None:
        with vjpcheck():
            jax.block_until_ready(step(*arguments))

    check()  # what is compiled for the check alone is compiled once
    for _ in range(rounds):
        again.append(timed(check).wall)
        traced.append(timed(lambda: jax.jit(lambda *args: function(*args)).trace(*arguments)).wall)  # noqa: PLW0108
    return {"cold": cold, "again": sorted(again)[rounds // 2], "tracing": sorted(traced)[rounds // 2]}


@functools.cache
def _in_another_process(rounds: int) -> dict[str, float]:
    """The figures of `checked_again`, with a compilation cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        return of_another_process(__file__, str(rounds), **settings)


def again_by_cold(rounds: int) -> Figure:
    """Checking again a step that is compiled already, with the compilation cache on, by its cold run."""
    figures = _in_another_process(rounds)
    beside = f"{duration(figures['cold'])} cold, {duration(figures['again'])} checked again"
    return Figure(figures["again"] / figures["cold"], 0.2, "", beside)


def again_by_tracing(rounds: int) -> Figure:
    """Checking again a step that is compiled already, with the compilation cache on, by its tracing alone."""
    figures = _in_another_process(rounds)
    beside = f"{duration(figures['tracing'])} tracing, {duration(figures['again'])} checked again"
    return Figure(figures["again"] / figures["tracing"], 3, "", beside)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(json.dumps(checked_again(int(sys.argv[1]))))
