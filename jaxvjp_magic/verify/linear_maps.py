"""Takes functions that JAX was promised to be linear, symmetric or a solution, and gives what breaks the promise.

Each promise is tried at random vectors: `<u, A v> == <A u, v>` for a symmetric
`A`, `g(tangent_solve(g, y)) == y`, and so on. JAX tries none of them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect import purity
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.facts import LinearFact
from jaxvjp_magic.record.record import NotChecked
from jaxvjp_magic.verify.samples import random_array

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Function, Place

_NAN = "it gives NaN or infinity at random values"
_ROUNDING = 1e-2  # of a linear map, relative to the vectors
_UNSOLVED = 5e-2  # of a solve, which may be an iteration


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class LinearSample:
    """One use of a function of JAX that takes such a promise: the functions, with concrete values, and the vectors.

    `kind` is "linear_transpose", "custom_linear_solve", "custom_root", "custom_vmap" or "transpose", of a primitive.
    """

    kind: str
    function: Function
    rule: Function | None
    place: Place | None
    functions: tuple[Any, ...]
    vectors: tuple[Any, ...]
    is_symmetric: bool = False


def verify(sample: LinearSample) -> tuple[list[LinearFact], list[NotChecked]]:
    """The promise that does not hold, or why it was not tried."""
    if sample.kind == "transpose":
        return _verify_transpose(sample)
    if sample.kind == "custom_vmap":
        return _verify_vmap_rule(sample)
    function, *rules = sample.functions
    # A rule is called with a linear function: any pure one will do.
    of_rules = [(rule, (jnp.negative, *sample.vectors)) for rule in rules if rule is not None]
    for called, arguments in [(function, sample.vectors), *of_rules]:
        verdict = purity.judged(called, arguments)
        why = verdict.why or ("" if verdict.is_silent else "it prints")
        if why:
            return [], [NotChecked("values", sample.function, why, verdict.place)]
    if not all(jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in tree_util.tree_leaves(sample.vectors)):
        return [], [NotChecked("values", sample.function, "its values are not real numbers")]
    broken = _TRIED[sample.kind](sample)
    if broken is None:
        return [], [NotChecked("values", sample.function, _NAN)]
    return [LinearFact(sample.function, sample.rule, sample.kind, broken, sample.place)] if broken else [], []


def _verify_transpose(sample: LinearSample) -> tuple[list[LinearFact], list[NotChecked]]:
    """The same for the transpose rule of a primitive: both run as JAX runs them."""
    (bind, rule), (args, primitive) = sample.functions, sample.vectors
    for called in (getattr(primitive, "impl", None), internals.functions_in_rule(rule)[0]):
        verdict = purity.judged(called, (jnp.ones(()), *args)) if called is not None else purity.judged(bind)
        why = verdict.why or ("" if verdict.is_silent else "it prints")
        if why:
            return [], [NotChecked("values", sample.function, why, verdict.place)]
    linear = [i for i, arg in enumerate(args) if internals.is_linear_argument(arg)]
    x = [_random(jax.ShapeDtypeStruct(args[i].aval.shape, args[i].aval.dtype), i) for i in linear]
    values = iter(x)
    output = bind(*(next(values) if i in linear else arg for i, arg in enumerate(args)))
    cotangent = _random(output, len(args))
    fresh = (internals.linear_argument(arg.aval) if i in linear else arg for i, arg in enumerate(args))
    result = rule(cotangent, *fresh)
    given = [result[i] for i in linear]
    if any(value is None or not hasattr(value, "dtype") for value in given):
        return [], [NotChecked("values", sample.function, "its rule returns no array")]
    expected, got, size = _inner(output, cotangent), _inner(x, given), _norm(output) * _norm(cotangent)
    if not np.isfinite(expected) or not np.isfinite(got):
        return [], [NotChecked("values", sample.function, _NAN)]
    wrong = abs(expected - got) > _ROUNDING * size
    return [LinearFact(sample.function, sample.rule, sample.kind, "transpose", sample.place)] if wrong else [], []


def _verify_vmap_rule(sample: LinearSample) -> tuple[list[LinearFact], list[NotChecked]]:
    """The rule of a custom_vmap function against `jax.vmap` of the function."""
    (function, rule), (axis_size, batched, values) = sample.functions, sample.vectors
    for called, arguments in ((function, values), (rule, (axis_size, batched, *values))):
        verdict = purity.judged(called, arguments)
        why = verdict.why or ("" if verdict.is_silent else "it prints")
        if why:
            return [], [NotChecked("values", sample.function, why, verdict.place)]
    axes = tree_util.tree_map(lambda is_batched: 0 if is_batched else None, batched)
    expected = jax.vmap(function, axes, axis_size=axis_size)(*values)
    output, of_output = rule(axis_size, list(batched), *values)
    got = tree_util.tree_map(
        lambda leaf, is_batched: leaf if is_batched else jnp.broadcast_to(leaf, (axis_size, *jnp.shape(leaf))),
        output, of_output,
    )  # fmt: skip
    if tree_util.tree_map(jnp.shape, got) != tree_util.tree_map(jnp.shape, expected):
        return [], []  # the types show it
    difference, size = _norm(_difference(got, expected)), _norm(expected)
    if not np.isfinite(difference):
        return [], [NotChecked("values", sample.function, _NAN)]
    wrong = difference > _ROUNDING * size
    return [LinearFact(sample.function, sample.rule, sample.kind, "vmap", sample.place)] if wrong else [], []


def _linear_transpose(sample: LinearSample) -> str | None:
    (function,) = sample.functions
    first, second = _random(sample.vectors, 0), _random(sample.vectors, 1)
    at_zeros = function(*tree_util.tree_map(jnp.zeros_like, sample.vectors))
    at_first, at_second = function(*first), function(*second)
    at_sum = function(*tree_util.tree_map(jnp.add, first, second))
    size = _norm(at_first) + _norm(at_second)
    expected = tree_util.tree_map(lambda a, b, zero: a + b - zero, at_first, at_second, at_zeros)
    if not np.isfinite(size):
        return None
    if _norm(_difference(at_sum, expected)) > _ROUNDING * size:
        return "nonlinear"
    return "constant" if _norm(at_zeros) > _ROUNDING * size else ""


def _custom_linear_solve(sample: LinearSample) -> str | None:
    (matvec, transpose_solve), (b,) = sample.functions, sample.vectors
    u, v = _random(b, 0), _random(b, 1)
    if sample.is_symmetric:
        of_u, of_v = matvec(u), matvec(v)
        difference = abs(_inner(u, of_v) - _inner(of_u, v))
        size = _norm(u) * _norm(of_v)
        return None if not np.isfinite(size) else "symmetric" if difference > _ROUNDING * size else ""
    if transpose_solve is None:
        return ""
    transposed = jax.linear_transpose(matvec, b)
    solution = transpose_solve(lambda x: transposed(x)[0], v)
    return _unsolved(transposed(solution)[0], v, "transpose_solve")


def _custom_root(sample: LinearSample) -> str | None:
    (function, tangent_solve), (root,) = sample.functions, sample.vectors
    y = _random(root, 0)

    def linear(tangent: Any) -> Any:
        return jax.jvp(function, (root,), (tangent,))[1]

    return _unsolved(linear(tangent_solve(linear, y)), y, "tangent_solve")


_TRIED = {
    "linear_transpose": _linear_transpose,
    "custom_linear_solve": _custom_linear_solve,
    "custom_root": _custom_root,
}


def _unsolved(got: Any, wanted: Any, what: str) -> str | None:
    residual = _norm(_difference(got, wanted))
    return None if not np.isfinite(residual) else what if residual > _UNSOLVED * _norm(wanted) else ""


def _random(tree: Any, seed: int) -> Any:
    random = np.random.default_rng(seed)
    return tree_util.tree_map(
        lambda leaf: jnp.asarray(random_array(jnp.shape(leaf), jnp.result_type(leaf), random.standard_normal, random)),
        tree,
    )


def _difference(first: Any, second: Any) -> Any:
    return tree_util.tree_map(jnp.subtract, first, second)


def _norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(np.asarray(leaf, np.float64))) for leaf in tree_util.tree_leaves(tree))))


def _inner(first: Any, second: Any) -> float:
    pairs = zip(tree_util.tree_leaves(first), tree_util.tree_leaves(second), strict=True)
    return float(sum(np.sum(np.asarray(a, np.float64) * np.asarray(b, np.float64)) for a, b in pairs))
