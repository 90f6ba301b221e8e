"""`--verify`: takes the arguments of calls, and keeps them until the check ends, when the rules run once more.

This is the only place that keeps arrays, and only with `--verify`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect.callables import filled, with_rules
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.verify.linear_maps import LinearSample

MOST_SAMPLES = 200


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One custom_vjp function with arguments of one type; `args` has tracers replaced by random values."""

    function: Function
    primals: Tree | None
    custom: Any
    args: tuple[Any, ...]
    is_random: bool

    @property
    def static(self) -> frozenset[int]:
        """The positions in nondiff_argnums."""
        return frozenset(internals.static_argnums_of(self.custom))

    @property
    def dynamic(self) -> tuple[Any, ...]:
        """The arguments that are differentiated."""
        return tuple(arg for i, arg in enumerate(self.args) if i not in self.static)

    @property
    def nondiff(self) -> tuple[Any, ...]:
        """The arguments in nondiff_argnums, in order."""
        return tuple(self.args[i] for i in sorted(self.static))

    def filled(self, dynamic: tuple[Any, ...]) -> tuple[Any, ...]:
        """All arguments, with `dynamic` for the differentiated ones."""
        return filled(self.args, self.static, dynamic)


class Samples:
    """The samples of one check, one for each function and type of arguments."""

    def __init__(self) -> None:
        """Nothing is kept yet."""
        self._samples: dict[Any, Sample | LinearSample] = {}
        self.too_many: dict[Function, None] = {}  # some of their calls have no sample
        self._random = np.random.default_rng(0)

    def add(self, key: Any, custom: Any, function: Function, primals: Tree | None, args: tuple[Any, ...]) -> None:
        """Keep the arguments of a call, if it is the first with this key."""
        if key not in self._samples and len(self._samples) >= MOST_SAMPLES:
            self.too_many[function] = None
        elif key not in self._samples:
            values, is_random = concrete(args, self._random, frozenset(internals.static_argnums_of(custom)))
            # A copy, since JAX may cache what runs; its rules are still the objects whose ids are in `key`.
            self._samples[key] = Sample(function, primals, with_rules(custom), values, is_random)

    def has(self, key: Any) -> bool:
        """Whether there is a sample with this key."""
        return key in self._samples

    def add_linear(self, key: Any, sample: LinearSample) -> None:
        """Keep one use of a function that takes a promise about a linear map, if it is the first with this key."""
        if len(self._samples) < MOST_SAMPLES:
            self._samples.setdefault(key, sample)

    def without_tracers(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values with a random one for each tracer."""
        return concrete(values, self._random, frozenset())[0]

    def take(self) -> list[Sample | LinearSample]:
        """All samples; they are not kept any longer."""
        samples = list(self._samples.values())
        self._samples.clear()
        return samples


def concrete(
    args: tuple[Any, ...], random: np.random.Generator, static: frozenset[int]
) -> tuple[tuple[Any, ...], bool]:
    """The arguments with a random value for each tracer, and whether there was one.

    Random numbers are positive: more functions are defined there.
    """
    made = [(arg, False) if i in static else _concrete(arg, random) for i, arg in enumerate(args)]
    return tuple(arg for arg, _ in made), any(was_random for _, was_random in made)


def _concrete(tree: Any, random: np.random.Generator) -> tuple[Any, bool]:
    leaves, treedef = tree_util.tree_flatten(tree)
    values = [_value_like(leaf, random) if internals.is_tracer(leaf) else leaf for leaf in leaves]
    was_random = any(internals.is_tracer(leaf) for leaf in leaves)
    return tree_util.tree_unflatten(treedef, values), was_random


def _value_like(leaf: Any, random: np.random.Generator) -> Any:
    aval = leaf.aval
    if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
        with jax.ensure_compile_time_eval():
            return jax.random.split(jax.random.key(0, impl=jax.random.key_impl(leaf)), aval.shape)
    return random_array(aval.shape, aval.dtype, lambda size: random.uniform(0.3, 1.3, size), random)


def random_array(shape: Any, dtype: Any, draw: Callable[[Any], Any], random: np.random.Generator) -> Any:
    """A random array of this type: floats and complex numbers by `draw`, integers 0 or 1.

    It is NumPy's: a jax.Array made while a program is traced would be a tracer.
    """
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.asarray(draw(shape) + 1j * draw(shape), dtype)
    if jnp.issubdtype(dtype, jnp.floating):
        return np.asarray(draw(shape), dtype)
    return np.asarray(random.integers(0, 2, shape), dtype)
