"""What two results may differ by and still be the same, and by which pattern they differ where they are not.

Everything is NumPy's here: what JAX calculates is handed over, and nothing is promoted or traced.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.jax_compat import internals

Leaves = tuple[Any, ...]
_NEITHER = 0.1  # a number that is less sure than this may be the next whole one, or none


@dataclasses.dataclass(frozen=True, slots=True)
class Precision:
    """What two right results may differ by, and how finite differences are taken, in one dtype."""

    relative: float  # of each entry
    of_largest: float  # of the largest entry, for those that are small beside it
    exactly: float  # by which a factor is one number and no other
    steps: tuple[float, float] = (0.0, 0.0)  # of finite differences; none where they would be noise
    roughly: float = 0.0  # what finite differences may differ by


# An iterative solver's gradient is right to a few digits in float64, too.
_DOUBLE = Precision(1e-3, 1e-4, 1e-6, (1e-6, 1e-4), 1e-2)
_SINGLE = Precision(2e-3, 2e-3, 2e-3, (1e-3, 4e-3), 3e-2)
HALF = Precision(5e-2, 5e-2, 5e-2)
_PRECISIONS = {"float64": _DOUBLE, "complex128": _DOUBLE, "float32": _SINGLE, "complex64": _SINGLE}


def comparable(one: Any, other: Any) -> bool:
    """Whether both are numbers of one shape."""
    if one is None or other is None or isinstance(one, internals.SymbolicZero):
        return False
    return bool(not is_float0(one) and not is_float0(other) and np.shape(one) == np.shape(other))


def is_float0(value: Any) -> bool:
    """Whether this is the gradient of an integer."""
    return getattr(value, "dtype", None) == jax.dtypes.float0


def is_float(value: Any) -> bool:
    """Whether this is a real number, or an array of such."""
    return bool(jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating))


def can_be_moved(leaf: Any, gradient: Any) -> bool:
    """Whether finite differences can say something of this leaf's gradient."""
    return is_float(leaf) and comparable(gradient, leaf) and is_float(gradient)


def near(one: Any, other: Any, scale: float | None = None, *, roughest: Precision | None = None) -> Any:
    """Where the two agree within what their precision allows, measured against the largest entry too.

    NaN agrees with nothing. `roughest` is the precision of what they were
    calculated with, where that is less than their own.
    """
    a, b = as_wide(one), as_wide(other)
    known = (precision_of(one), precision_of(other), *([roughest] if roughest else []))
    precision = max(known, key=lambda given: given.relative)
    scale = largest(b) if scale is None else scale
    allowed = precision.relative * np.abs(b) + precision.of_largest * scale + np.finfo(np.float64).eps
    with np.errstate(invalid="ignore"):  # inf - inf
        return (np.abs(a - b) <= allowed) | (a == b)


def close(one: Any, other: Any, roughest: Precision | None = None) -> bool:
    """Whether they agree everywhere."""
    return bool(np.all(near(one, other, roughest=roughest)))


def largest(value: Any) -> float:
    """The largest absolute value of a finite entry."""
    entries = np.abs(as_wide(value))
    return float(np.max(entries, initial=0.0, where=np.isfinite(entries)))


def as_wide(value: Any) -> Any:
    """The value in NumPy's float64 or complex128."""
    is_complex = jnp.issubdtype(jnp.asarray(value).dtype, jnp.complexfloating)
    return np.asarray(value, np.complex128 if is_complex else np.float64)


def precision_of(value: Any) -> Precision:
    """What is allowed for this value's dtype."""
    dtype = getattr(value, "dtype", None)
    return precision_in(str(jnp.asarray(value).dtype if dtype is None else dtype))


def precision_in(dtype: str) -> Precision:
    """What is allowed in a dtype; as much as in the narrowest where it is not known."""
    return _PRECISIONS.get(dtype, HALF)


def same(one: Any, other: Any, roughest: Precision | None = None) -> bool:
    """Whether fwd's output is the function's, leaf by leaf, but for entries where the function gives NaN."""
    pairs = zip(tree_util.tree_leaves(one), tree_util.tree_leaves(other), strict=True)
    return all(
        np.shape(a) != np.shape(b) or bool(np.all(near(a, b, roughest=roughest) | np.isnan(as_wide(b))))
        for a, b in pairs
    )


def are_all_nan(tree: Any) -> bool:
    """Whether there is a float, and no float in this that is a number."""
    floats = [leaf for leaf in tree_util.tree_leaves(tree) if is_float(leaf) and np.size(leaf)]
    return bool(floats) and all(np.all(np.isnan(as_wide(leaf))) for leaf in floats)


def dot(one: Any, other: Any) -> float:
    """The sum of the products."""
    return float(np.sum(as_wide(one) * as_wide(other)))


def is_unused(first: Leaves, second: Leaves) -> bool:
    """Whether another cotangent makes no difference, and the result is not zero."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if comparable(a, b) and np.any(as_wide(a))]
    return bool(pairs) and all(close(a, b) for a, b in pairs)


def are_swapped(got: Leaves, expected: Leaves, wrong: list[int]) -> bool:
    """Whether the two that are wrong are right in each other's place."""
    if len(wrong) != len(("one", "other")):
        return False
    return all(
        comparable(got[i], expected[j]) and close(got[i], expected[j])
        for i, j in zip(wrong, reversed(wrong), strict=True)
    )


def pattern(got: Any, expected: Any) -> tuple[str, float]:
    """How the wrong gradient could be made right: "sign", "factor", "transpose", "conjugate", "stopped".

    "along" where a factor would do that is no number one would write. And the factor, in four digits.
    """
    a, b = as_wide(got), as_wide(expected)
    if not np.any(b):
        return "stopped", 1.0
    if a.ndim == 2 and a.shape[0] == a.shape[1] and close(a.T, b):  # noqa: PLR2004 (a matrix)
        return "transpose", 1.0
    if np.iscomplexobj(a) and close(np.conj(a), b):
        return "conjugate", 1.0
    precision = max(precision_of(got), precision_of(expected), key=lambda one: one.relative)
    return _factor(a, b, precision.exactly)


def _factor(a: Any, b: Any, exactly: float) -> tuple[str, float]:
    """What number `a` is times `b`: a whole one, one over a whole one, or any, if several entries agree on it."""
    ratio = float(np.real(np.vdot(b, a)) / np.real(np.vdot(b, b)))
    if ratio == 0 or not np.allclose(a, ratio * b, rtol=4 * exactly, atol=4 * exactly * abs(ratio) * largest(b)):
        return "", 1.0
    size = max(abs(ratio), 1 / abs(ratio))
    if abs(size - round(size)) <= exactly * size < _NEITHER:  # between two whole numbers there is room to be neither
        whole = math.copysign(round(size) if abs(ratio) >= 1 else 1 / round(size), ratio)
        return "sign" if whole == -1 else "factor", _in_four_digits(whole)
    return "along" if np.count_nonzero(b) > 1 else "", _in_four_digits(ratio)


def _in_four_digits(number: float) -> float:
    return float(f"{number:.4g}")
