"""Compares two results: whether they agree within their precision, and by which pattern they differ if not.

Everything here is NumPy: JAX's results are converted, and nothing is promoted or traced.
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
_NEITHER = 0.1  # a ratio less certain than this may be the next whole number, or none


@dataclasses.dataclass(frozen=True, slots=True)
class Precision:
    """How far two right results may differ, and how finite differences are taken, in one dtype."""

    relative: float  # of each entry
    of_largest: float  # of the largest entry, for those that are small beside it
    exactly: float  # how close a factor must be to a simple number
    steps: tuple[float, float] = (0.0, 0.0)  # of finite differences; none where they would be noise
    roughly: float = 0.0  # how far finite differences may be off


# An iterative solver's gradient is right to a few digits in float64, too.
_DOUBLE = Precision(1e-3, 1e-4, 1e-6, (1e-6, 1e-4), 1e-2)
_SINGLE = Precision(2e-3, 2e-3, 2e-3, (1e-3, 4e-3), 3e-2)
HALF = Precision(5e-2, 5e-2, 5e-2)
_PRECISIONS = {"float64": _DOUBLE, "complex128": _DOUBLE, "float32": _SINGLE, "complex64": _SINGLE}


def comparable(first: Any, second: Any) -> bool:
    """Whether both are numbers of one shape."""
    if first is None or second is None or isinstance(first, internals.SymbolicZero):
        return False
    return bool(not is_float0(first) and not is_float0(second) and np.shape(first) == np.shape(second))


def is_float0(value: Any) -> bool:
    """Whether this is the gradient of an integer."""
    return getattr(value, "dtype", None) == jax.dtypes.float0


def is_float(value: Any) -> bool:
    """Whether this is a real number, or an array of real numbers."""
    return bool(jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating))


def can_be_moved(leaf: Any, gradient: Any) -> bool:
    """Whether finite differences can check this leaf's gradient."""
    return is_float(leaf) and comparable(gradient, leaf) and is_float(gradient)


def near(got: Any, expected: Any, scale: float | None = None, *, roughest: Precision | None = None) -> Any:
    """Where the two agree within their precision, relative to each entry and to the largest one.

    NaN agrees with nothing. `roughest` is the precision of the computation, if
    that is lower than their own.
    """
    a, b = as_wide(got), as_wide(expected)
    precisions = (precision_of(got), precision_of(expected), *([roughest] if roughest else []))
    precision = max(precisions, key=lambda candidate: candidate.relative)
    scale = largest(b) if scale is None else scale
    allowed = precision.relative * np.abs(b) + precision.of_largest * scale + np.finfo(np.float64).eps
    with np.errstate(invalid="ignore"):  # inf - inf
        return (np.abs(a - b) <= allowed) | (a == b)


def close(got: Any, expected: Any, roughest: Precision | None = None) -> bool:
    """Whether they agree everywhere."""
    return bool(np.all(near(got, expected, roughest=roughest)))


def largest(value: Any) -> float:
    """The largest absolute value of a finite entry."""
    entries = np.abs(as_wide(value))
    return float(np.max(entries, initial=0.0, where=np.isfinite(entries)))


def as_wide(value: Any) -> Any:
    """The value in NumPy's float64 or complex128."""
    is_complex = jnp.issubdtype(jnp.asarray(value).dtype, jnp.complexfloating)
    return np.asarray(value, np.complex128 if is_complex else np.float64)


def precision_of(value: Any) -> Precision:
    """The precision of this value's dtype."""
    dtype = getattr(value, "dtype", None)
    return precision_in(str(jnp.asarray(value).dtype if dtype is None else dtype))


def precision_in(dtype: str) -> Precision:
    """The precision of a dtype; that of the narrowest if it is unknown."""
    return _PRECISIONS.get(dtype, HALF)


def same(got: Any, expected: Any, roughest: Precision | None = None) -> bool:
    """Whether fwd's output is the function's, leaf by leaf, except in entries where the function gives NaN."""
    pairs = zip(tree_util.tree_leaves(got), tree_util.tree_leaves(expected), strict=True)
    return all(
        np.shape(a) != np.shape(b) or bool(np.all(near(a, b, roughest=roughest) | np.isnan(as_wide(b))))
        for a, b in pairs
    )


def are_all_nan(tree: Any) -> bool:
    """Whether there are floats, and all of them are NaN."""
    floats = [leaf for leaf in tree_util.tree_leaves(tree) if is_float(leaf) and np.size(leaf)]
    return bool(floats) and all(np.all(np.isnan(as_wide(leaf))) for leaf in floats)


def dot(first: Any, second: Any) -> float:
    """The sum of the products."""
    return float(np.sum(as_wide(first) * as_wide(second)))


def is_unused(first: Leaves, second: Leaves) -> bool:
    """Whether another cotangent makes no difference, and the result is not zero."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if comparable(a, b) and np.any(as_wide(a))]
    return bool(pairs) and all(close(a, b) for a, b in pairs)


def are_swapped(got: Leaves, expected: Leaves, wrong: list[int]) -> bool:
    """Whether there are two wrong gradients, each right in the other's place."""
    if len(wrong) != 2:  # noqa: PLR2004 (a pair)
        return False
    return all(
        comparable(got[i], expected[j]) and close(got[i], expected[j])
        for i, j in zip(wrong, reversed(wrong), strict=True)
    )


def pattern(got: Any, expected: Any) -> tuple[str, float]:
    """How the gradient is wrong: "sign", "factor", "transpose", "conjugate", "stopped"; and the factor, in four digits.

    "along" if it is off by a factor that nobody would write; "" if it is none of these.
    """
    a, b = as_wide(got), as_wide(expected)
    if not np.any(b):
        return "stopped", 1.0
    if a.ndim == 2 and a.shape[0] == a.shape[1] and close(a.T, b):  # noqa: PLR2004 (a matrix)
        return "transpose", 1.0
    if np.iscomplexobj(a) and close(np.conj(a), b):
        return "conjugate", 1.0
    precision = max(precision_of(got), precision_of(expected), key=lambda candidate: candidate.relative)
    return _factor(a, b, precision.exactly)


def _factor(a: Any, b: Any, exactly: float) -> tuple[str, float]:
    """The factor that `a` is of `b`: a whole number, one over a whole number, or any that several entries agree on."""
    ratio = float(np.real(np.vdot(b, a)) / np.real(np.vdot(b, b)))
    if ratio == 0 or not np.allclose(a, ratio * b, rtol=4 * exactly, atol=4 * exactly * abs(ratio) * largest(b)):
        return "", 1.0
    size = max(abs(ratio), 1 / abs(ratio))
    if abs(size - round(size)) <= exactly * size < _NEITHER:  # precise enough to be no whole number
        whole = math.copysign(round(size) if abs(ratio) >= 1 else 1 / round(size), ratio)
        return "sign" if whole == -1 else "factor", _in_four_digits(whole)
    return "along" if np.count_nonzero(b) > 1 else "", _in_four_digits(ratio)


def _in_four_digits(number: float) -> float:
    return float(f"{number:.4g}")
