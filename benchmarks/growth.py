"""Plot how the cost of a check grows with the number of calls, of leaves, of nested transformations."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from eager import custom_gradients, tree_gradients, wave
from measuring import timed

from jaxvjp_magic import vjpcheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "growth.png"
ROUNDS = 3


def equal_calls(count: int) -> Callable[[], None]:
    """Equal eager gradients, one after another."""
    return lambda: custom_gradients(count)


def different_calls(count: int) -> Callable[[], None]:
    """Calls of different shapes, traced without compilation; each is a row of the report."""

    def work() -> None:
        for size in range(1, count + 1):
            jax.eval_shape(jax.grad(lambda x: jnp.sum(wave(x))), jax.ShapeDtypeStruct((size,), np.float32))

    return work


def leaves(count: int) -> Callable[[], None]:
    """Gradients over a pytree of so many leaves."""
    return lambda: tree_gradients(3, count)


def nested(depth: int) -> Callable[[], None]:
    """Transformations around each other: custom_vjp functions, each in the rules of the one around it."""

    def around(inner: Any) -> Any:
        @jax.custom_vjp
        def outer(x: Any) -> Any:
            return inner(x) * 1.5

        outer.defvjp(lambda x: jax.vjp(lambda x: inner(x) * 1.5, x), lambda pullback, g: pullback(g))
        return outer

    function = functools.reduce(lambda inner, _: around(inner), range(depth), jnp.sin)
    return lambda: jax.eval_shape(jax.grad(function), jax.ShapeDtypeStruct((), np.float32))


GROWING: dict[str, tuple[Callable[[int], Callable[[], None]], Sequence[int]]] = {
    "equal eager calls": (equal_calls, (100, 300, 1000, 3000)),
    "different calls": (different_calls, (100, 300, 1000, 3000)),
    "leaves of a pytree": (leaves, (100, 300, 1000, 3000)),
    "nested transformations": (nested, (4, 8, 16, 32)),
}


def _checked(work: Callable[[], None]) -> float:
    def check() -> None:
        with vjpcheck() as report:
            work()
        str(report)

    return min(timed(check).wall for _ in range(ROUNDS))


def _plain(work: Callable[[], None]) -> float:
    work()
    return min(timed(work).wall for _ in range(ROUNDS))


def draw() -> Iterator[str]:
    """Measure, write the picture, and give the exponent of each curve: 1.0 is linear, 2.0 quadratic."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(GROWING), figsize=(15, 3.9), layout="constrained")
    for axis, (name, (make, counts)) in zip(axes, GROWING.items(), strict=True):
        works = [make(count) for count in counts]
        plain, checked = [_plain(work) for work in works], [_checked(work) for work in works]
        axis.loglog(counts, plain, "o--", color="#57606a", label="plain")
        axis.loglog(counts, checked, "o-", color="#0969da", label="checked, with the report")
        linear = [checked[-1] * count / counts[-1] for count in counts]
        axis.loglog(counts, linear, ":", color="#cf222e", label="linear")
        axis.set_title(name, fontsize=12)
        axis.set_xlabel("number")
        axis.set_xticks(list(counts), [f"{count:,}" for count in counts], minor=False)
        axis.minorticks_off()
        axis.grid(visible=True, alpha=0.3)
        exponent = np.polyfit(np.log(counts[-3:]), np.log(checked[-3:]), 1)[0]
        yield f"{name}: grows with the power {exponent:.2f} of their number; {checked[-1]:.2f} s at {counts[-1]:,}"
    axes[0].set_ylabel("seconds")
    axes[0].legend(fontsize=9)
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)
    yield f"written: {PICTURE.relative_to(PICTURE.parent.parent.parent)}"
