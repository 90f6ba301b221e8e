"""`--verify`: inspects values as they pass, for NaN and for large cotangents of zeros."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.jax_compat import internals

LARGE = 10_000


def has_nan(tree: Any) -> bool:
    """Whether a concrete leaf has a NaN."""
    return any(bool(jnp.isnan(leaf).any()) for leaf in _concrete_floats(tree))


def has_large_zeros(tree: Any) -> bool:
    """Whether one of several leaves is large and all zeros: the cotangent of an output that nobody uses."""
    leaves = _concrete_floats(tree)
    return len(leaves) > 1 and any(leaf.size >= LARGE and not bool(jnp.any(leaf)) for leaf in leaves)


def _concrete_floats(tree: Any) -> list[Any]:
    """The leaves that are float or complex arrays, and no tracers."""
    return [
        leaf
        for leaf in tree_util.tree_leaves(tree)
        if not internals.is_tracer(leaf) and jnp.issubdtype(getattr(leaf, "dtype", np.bool_), jnp.inexact)
    ]
