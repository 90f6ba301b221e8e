"""`--verify`: what can be seen in values as they pass: NaN, and large cotangents of zeros."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.jax_compat import internals

LARGE = 10_000


def has_nan(tree: Any) -> bool:
    """Whether a leaf whose value is known has a NaN."""
    return any(bool(jnp.isnan(leaf).any()) for leaf in _known(tree))


def has_large_zeros(tree: Any) -> bool:
    """Whether one of several leaves is large and all zeros: the cotangent of an output that nobody uses."""
    leaves = _known(tree)
    return len(leaves) > 1 and any(leaf.size >= LARGE and not bool(jnp.any(leaf)) for leaf in leaves)


def _known(tree: Any) -> list[Any]:
    """The leaves that are arrays of numbers, and no tracers."""
    return [
        leaf
        for leaf in tree_util.tree_leaves(tree)
        if not internals.is_tracer(leaf) and jnp.issubdtype(getattr(leaf, "dtype", np.bool_), jnp.inexact)
    ]
