"""Measure what a check costs for each eager call, and in a jitted training step."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from measuring import Figure, Times, compared, duration, timed
from peers import timed_under_peers

from jaxvjp_magic import vjpcheck

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 1000
LEAVES = 3000


@jax.custom_vjp
def wave(x: Any) -> Any:
    """A small custom_vjp function, whose fwd rule calls it, as most do."""
    return jnp.sin(x) * 2.0


def wave_fwd(x: Any) -> Any:
    """The value, and the residual that bwd needs."""
    return wave(x), jnp.cos(x)


def wave_bwd(cosine: Any, g: Any) -> Any:
    """The gradient by hand."""
    return (2.0 * cosine * g,)


wave.defvjp(wave_fwd, wave_bwd)


def plain_wave(x: Any) -> Any:
    """The same without rules: hardly any work."""
    return jnp.sin(x) * 2.0


def regression(weights: Any) -> Any:
    """A small loss in plain JAX: one hidden layer, the mean of the squared errors."""
    inputs, targets = _examples()
    return jnp.mean((jnp.tanh(inputs @ weights) @ jnp.ones(8) - targets) ** 2)


@functools.cache
def _examples() -> tuple[Any, Any]:
    return jnp.ones((16, 4)), jnp.ones(16)


@jax.custom_jvp
def safe_norm(x: Any) -> Any:
    """The norm, with a derivative at zero."""
    return jnp.sqrt(jnp.sum(x**2))


@safe_norm.defjvp
def safe_norm_jvp(primals: Any, tangents: Any) -> Any:
    """The derivative, which is zero at zero."""
    (x,), (dx,) = primals, tangents
    norm = safe_norm(x)
    return norm, jnp.vdot(x, dx) / jnp.maximum(norm, 1e-12)


def through_custom_jvps(weights: Any) -> Any:
    """Two custom_jvp functions of JAX, and one of the user's."""
    hidden = jax.nn.relu(weights)
    return jax.nn.logsumexp(hidden) + safe_norm(hidden)


def jvp_gradients(calls: int = CALLS) -> None:
    """`jax.grad` through custom_jvp functions, again and again, without jit."""
    plain_gradients(calls, through_custom_jvps)


@functools.cache
def product() -> Callable[..., Any]:
    """A matrix product as a hijax primitive."""
    from jaxvjp_magic.jax_compat import internals

    class Product(internals.HiPrimitive):  # type: ignore[misc]  # it is called otherwise in other versions of JAX
        def __init__(self, x: Any, w: Any) -> None:
            self.in_avals, self.params = (x, w), {}
            self.out_aval = jax.core.ShapedArray((x.shape[0], w.shape[1]), x.dtype)
            super().__init__()

        def expand(self, x: Any, w: Any) -> Any:
            return x @ w

        def vjp_fwd(self, _: Any, x: Any, w: Any) -> Any:
            return x @ w, (x, w)

        def vjp_bwd_retval(self, residuals: Any, g: Any) -> Any:
            x, w = residuals
            return g @ w.T, x.T @ g

    return lambda x, w: Product(jax.typeof(x), jax.typeof(w))(x, w)


def through_hijax(weights: Any) -> Any:
    """The loss of `regression` with a hijax primitive for its matrix product."""
    inputs, targets = _examples()
    return jnp.mean((jnp.tanh(product()(inputs, weights)) @ jnp.ones(8) - targets) ** 2)


def hijax_gradients(calls: int = CALLS) -> None:
    """`jax.grad` through a hijax primitive, again and again, without jit."""
    plain_gradients(calls, through_hijax)


def custom_gradients(calls: int = CALLS, function: Any = wave) -> None:
    """`jax.grad` of a small custom_vjp function, again and again, without jit."""
    x = jnp.float32(0.5)
    for _ in range(calls):
        jax.grad(function)(x)


def smallest_gradients(calls: int = CALLS, function: Any = plain_wave) -> None:
    """`jax.grad` of the smallest function, again and again, without jit: nearly all of its time is JAX's own."""
    custom_gradients(calls, function)


def plain_gradients(calls: int = CALLS, function: Any = regression) -> None:
    """`jax.grad` of a loss in plain JAX code, again and again, without jit."""
    weights = jnp.full((4, 8), 0.1)
    for _ in range(calls):
        jax.grad(function)(weights)


@functools.cache
def leaves(count: int) -> dict[str, Any]:
    """Parameters: many small arrays in a dict."""
    return {f"w{i}": jnp.full((2,), 0.5) for i in range(count)}


@jax.custom_vjp
def squares(params: Any) -> Any:
    """The sum of all squares, as it is used to clip a gradient, with a rule for the whole pytree."""
    return sum(jnp.vdot(leaf, leaf) for leaf in jax.tree_util.tree_leaves(params))


def squares_fwd(params: Any) -> Any:
    """The value, and all leaves as residuals."""
    return squares(params), params


def squares_bwd(params: Any, g: Any) -> Any:
    """A gradient for each leaf."""
    return (jax.tree_util.tree_map(lambda leaf: 2 * g * leaf, params),)


squares.defvjp(squares_fwd, squares_bwd)


def tree_gradients(calls: int = 1, count: int = LEAVES) -> None:
    """A gradient over a pytree of many leaves: each is a primal, a residual and a cotangent."""
    for _ in range(calls):
        jax.grad(squares)(leaves(count))


def layers(depth: int = 4, width: int = 256) -> list[Any]:
    """The parameters of a perceptron."""
    keys = jax.random.split(jax.random.key(0), depth)
    return [jax.random.normal(key, (width, width)) / width**0.5 for key in keys]


@jax.jit
def training_step(params: Any, batch: Any) -> Any:
    """One step of gradient descent on a perceptron with a custom rule in it."""

    def loss(params: Any) -> Any:
        hidden = batch
        for weights in params:
            hidden = wave(hidden @ weights)
        return jnp.mean(hidden**2)

    gradients = jax.grad(loss)(params)
    return jax.tree_util.tree_map(lambda param, gradient: param - 0.01 * gradient, params, gradients)


def training(steps: int = 200) -> None:
    """A jitted training step, many times."""
    params, batch = layers(), jnp.ones((64, 256))
    for _ in range(steps):
        params = training_step(params, batch)
    jax.block_until_ready(params)


def _after_the_first(work: Callable[..., None], calls: int) -> Times:
    """The time of the calls in a check, after a first one."""
    with vjpcheck():
        work(1)
        return timed(lambda: work(calls))


def _whole(work: Callable[..., None], calls: int) -> Times:
    """The time of a whole check: its beginning, all calls, the report."""

    def check() -> None:
        with vjpcheck():
            work(calls)

    return timed(check)


def _row(
    work: Callable[..., None], calls: int, bound: float, rounds: int, peers: dict[str, Any] | None = None
) -> Figure:
    work(1)
    _whole(work, 1)
    before, after, ratio = compared(lambda: timed(lambda: work(calls)), lambda: _after_the_first(work, calls), rounds)
    fixed = _whole(work, 1).wall - before.wall / calls
    beside = (
        f"{duration(before.wall / calls)} plain, {duration(after.wall / calls)} checked; {ratio.cpu:.2f} of processor "
        f"time; the first call and the report {duration(fixed)} more"
    )
    return Figure(ratio.wall, bound, "", beside, timed_under_peers(peers or {}, rounds))


def eager_custom(rounds: int) -> Figure:
    """An eager gradient of a small custom_vjp function, 1,000 calls."""
    return _row(custom_gradients, CALLS, 1.10, rounds, {"work": custom_gradients, "function": wave, "calls": 100})


def eager_plain(rounds: int) -> Figure:
    """An eager `jax.grad` of plain JAX code, 1,000 calls: a small loss."""
    return _row(plain_gradients, CALLS, 1.05, rounds, {"work": plain_gradients, "function": regression, "calls": 100})


def eager_smallest(rounds: int) -> Figure:
    """An eager `jax.grad` of plain JAX code, 1,000 calls: `jnp.sin(x) * 2.0`, the smallest there is."""
    peers = {"work": smallest_gradients, "function": plain_wave, "calls": 100}
    return _row(smallest_gradients, CALLS, 1.05, rounds, peers)


def eager_jvp(rounds: int) -> Figure:
    """An eager `jax.grad` through custom_jvp functions, 1,000 calls: `relu`, `logsumexp` and one of the user's."""
    return _row(jvp_gradients, CALLS, 1.05, rounds)


def eager_hijax(rounds: int) -> Figure | None:
    """An eager `jax.grad` through a hijax primitive, 1,000 calls."""
    from jaxvjp_magic.jax_compat import internals

    return _row(hijax_gradients, CALLS, 1.05, rounds) if internals.has_hijax_rules() else None


def many_leaves(rounds: int) -> Figure:
    """A gradient over a pytree of 3,000 leaves."""
    return _row(tree_gradients, 3, 1.10, rounds)


def jitted_step(rounds: int) -> Figure:
    """A jitted training step, after its first call in the check."""
    return _row(training, 200, 1.02, rounds)
