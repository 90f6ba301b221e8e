"""`--verify`: run a rule once more and compare it with autodiff of the function, and with finite differences.

A rule may be right where autodiff of the function is not (an infinite
derivative in a branch that is not taken): where the two differ, finite
differences decide, unless the function stops the gradient on purpose. What
cannot be run outside of the program (a collective without its axis, a function
of tracers) is left alone.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.tracing import jax_internals, purity, retrace, values
from jaxvjp_magic.tracing.facts import ValueFact
from jaxvjp_magic.tracing.listener import quiet
from jaxvjp_magic.tracing.probes import random_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.tracing.probes import Probe

_TOLERANCES = {"float64": 1e-6, "float32": 2e-3, "complex64": 2e-3, "complex128": 1e-6}
_LOW_PRECISION = 5e-2
_ROUGHLY = 3e-2
_STEP = {"float64": 1e-6, "float32": 1e-3}
_FACTORS = tuple(sign * factor for factor in (1.0, 2.0, 3.0, 4.0, 0.5, 0.25) for sign in (1.0, -1.0))


def verify_all(probes: list[Probe]) -> tuple[list[ValueFact], list[str]]:
    """What differs for any of the rules, and a note where some could not be run outside of the program."""
    found: dict[ValueFact, None] = {}
    left_out = 0
    with retrace.fresh(), quiet():
        for probe in probes:
            if not all(map(purity.may_run_again, (probe.custom.fun, probe.custom.fwd, probe.custom.bwd))):
                left_out += 1
                continue
            try:
                found.update(dict.fromkeys(verify(_as_arrays(probe))))
            except Exception:  # noqa: BLE001 (it needs what only the program has: an axis, a tracer, a device)
                left_out += 1
    notes = [f"--verify: {left_out} of {len(probes)} rules could not be run once more"] if left_out else []
    return list(found), notes


def _as_arrays(probe: Probe) -> Probe:
    as_array = lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf  # noqa: E731 (for tree_map)
    dynamic = tuple(tree_util.tree_map(as_array, argument) for argument in probe.dynamic)
    return dataclasses.replace(probe, args=probe.filled(dynamic))


def verify(probe: Probe) -> list[ValueFact]:
    """What differs for one rule: nothing, in most cases."""
    expected = probe.custom.fun(*probe.args)
    output, residuals = _fwd(probe)
    if str(jax.tree.structure(output)) != str(jax.tree.structure(expected)):
        return []  # a matter of shapes, and said there
    if not _same(output, expected):
        return [_fact(probe, "fwd", "", "")]
    random = np.random.default_rng(0)
    cotangent, another = (_cotangent(expected, random) for _ in range(2))
    return _wrong_gradients(probe, cotangent, _bwd(probe, residuals, cotangent), _bwd(probe, residuals, another))


def _wrong_gradients(
    probe: Probe, cotangent: Any, got: tuple[Any, ...] | None, of_another: tuple[Any, ...] | None
) -> list[ValueFact]:
    expected = _autodiff(probe, cotangent)
    if got is None or of_another is None or expected is None:
        return []
    wrong = list(_differences(probe, got, expected, cotangent))
    if not wrong:
        return []
    if _is_unused(got, of_another):
        return [_fact(probe, "bwd", "", "unused")]
    if _are_swapped(got, expected):
        return [_fact(probe, "bwd", wrong[0][0], "swapped")]
    return [_fact(probe, "bwd", path, _pattern(one, other)) for path, one, other in wrong]


def _fact(probe: Probe, phase: str, path: str, pattern: str) -> ValueFact:
    return ValueFact(probe.function, probe.primals, phase, path, pattern, probe.is_random)


def _fwd(probe: Probe) -> tuple[Any, Any]:
    args = probe.args
    if probe.custom.symbolic_zeros:
        mark = lambda leaf: jax_internals.CustomVJPPrimal(leaf, True)  # noqa: E731, FBT003 (JAX's own signature)
        args = probe.filled(tuple(tree_util.tree_map(mark, arg) for arg in probe.dynamic))
    output, residuals = probe.custom.fwd(*args)
    return output, residuals


def _bwd(probe: Probe, residuals: Any, cotangent: Any) -> tuple[Any, ...] | None:
    """One entry a leaf of the arguments, None where the rule gives none; None where it is no plain rule."""
    if getattr(probe.custom, "with_accums", False):
        return None
    result = probe.custom.bwd(*probe.nondiff, residuals, cotangent)
    if getattr(probe.custom, "with_logs", False):
        result = result[0]
    leaves: list[Any] = []
    for argument, entry in zip(probe.dynamic, result, strict=True):
        count = len(tree_util.tree_leaves(argument))
        flat = tree_util.tree_leaves(entry, is_leaf=lambda leaf: leaf is None)
        leaves += flat if len(flat) == count else [None] * count
    return tuple(leaves)


def _autodiff(probe: Probe, cotangent: Any) -> tuple[Any, ...] | None:
    """The gradient of the function without its rule; by finite differences alone it would be too rough."""
    try:
        _, pullback = jax.vjp(lambda *dynamic: probe.custom.fun(*probe.filled(dynamic)), *probe.dynamic)
        return tuple(tree_util.tree_leaves(pullback(cotangent)))
    except Exception:  # noqa: BLE001 (no reverse mode: a while loop, a callback, a kernel)
        return None


def _cotangent(output: Any, random: np.random.Generator) -> Any:
    def like(leaf: Any) -> Any:
        aval = jax.typeof(leaf)
        if not jnp.issubdtype(aval.dtype, jnp.inexact):
            return np.zeros(aval.shape, jax.dtypes.float0)
        return random_array(aval.shape, aval.dtype, lambda shape: random.normal(size=shape), random)

    return tree_util.tree_map(like, output)


def _differences(
    probe: Probe, got: tuple[Any, ...], expected: tuple[Any, ...], cotangent: Any
) -> Iterator[tuple[str, Any, Any]]:
    """The leaves whose gradient is wrong: path, what the rule gives, what autodiff gives."""
    paths = probe.primals.paths if probe.primals else ()
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        if not _comparable(one, other) or _close(one, other) or not np.all(np.isfinite(np.asarray(other))):
            continue  # where autodiff is not finite, the rule is there to do better
        is_stopped = not np.any(np.asarray(other))
        if is_stopped or not _agrees_with_finite_differences(probe, index, one, cotangent):
            yield (paths[index] if index < len(paths) else ""), one, other


def _comparable(one: Any, other: Any) -> bool:
    if one is None or isinstance(one, jax_internals.SymbolicZero):
        return False
    if getattr(other, "dtype", None) == jax.dtypes.float0 or getattr(one, "dtype", None) == jax.dtypes.float0:
        return False
    return bool(np.shape(one) == np.shape(other))


def _close(one: Any, other: Any) -> bool:
    """Within what the precision of the two allows, measured against the largest entry too."""
    a, b = np.asarray(one, _wide(one)), np.asarray(other, _wide(other))
    tolerance = max(_tolerance(one), _tolerance(other))
    scale = np.max(np.abs(b), initial=0.0)
    near = np.abs(a - b) <= tolerance * (np.abs(b) + scale) + np.finfo(np.float64).eps
    return bool(np.all(near | (a == b) | (np.isnan(a) & np.isnan(b))))


def _wide(value: Any) -> Any:
    return np.complex128 if jnp.issubdtype(jnp.asarray(value).dtype, jnp.complexfloating) else np.float64


def _tolerance(value: Any) -> float:
    return _TOLERANCES.get(str(jnp.asarray(value).dtype), _LOW_PRECISION)


def _same(one: Any, other: Any) -> bool:
    pairs = zip(tree_util.tree_leaves(one), tree_util.tree_leaves(other), strict=True)
    return all(np.shape(a) != np.shape(b) or _close(a, b) or values.has_nan(b) for a, b in pairs)


def _agrees_with_finite_differences(probe: Probe, index: int, gradient: Any, cotangent: Any) -> bool:
    """Whether the rule's gradient along a random direction is what central differences give."""
    leaves, treedef = tree_util.tree_flatten(probe.dynamic)
    leaf = jnp.asarray(leaves[index])
    step = _STEP.get(str(leaf.dtype))
    if step is None:
        return False
    direction = np.random.default_rng(1).normal(size=leaf.shape)

    def along(distance: float) -> float:
        leaves[index] = leaf + jnp.asarray(distance * direction, leaf.dtype)
        output = probe.custom.fun(*probe.filled(tree_util.tree_unflatten(treedef, leaves)))
        pairs = zip(tree_util.tree_leaves(output), tree_util.tree_leaves(cotangent), strict=True)
        return sum(_dot(o, c) for o, c in pairs if _is_float(o))

    measured = (along(step) - along(-step)) / (2 * step)
    claimed = _dot(gradient, direction)
    return abs(measured - claimed) <= _ROUGHLY * (abs(measured) + abs(claimed)) + _STEP["float32"]


def _dot(one: Any, other: Any) -> float:
    return float(np.sum(np.asarray(one, np.float64) * np.asarray(other, np.float64)))


def _is_float(value: Any) -> bool:
    return bool(jnp.issubdtype(jnp.asarray(value).dtype, jnp.floating))


def _is_unused(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    """Whether another cotangent makes no difference, and the result is not zero."""
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and np.any(np.asarray(a, _wide(a)))]
    return bool(pairs) and all(_close(a, b) for a, b in pairs)


def _are_swapped(got: tuple[Any, ...], expected: tuple[Any, ...]) -> bool:
    """Whether a rule of two arguments gives each the other's cotangent."""
    if len(got) != len(("one", "other")):
        return False
    crossed = list(zip(got, reversed(expected), strict=True))
    return all(_comparable(one, other) and _close(one, other) for one, other in crossed)


def _pattern(got: Any, expected: Any) -> str:
    """How the wrong gradient could be made right: "sign", "factor 2", "transpose", "conjugate", "stopped"."""
    a, b = np.asarray(got, _wide(got)), np.asarray(expected, _wide(expected))
    if not np.any(b):
        return "stopped"
    if a.ndim == 2 and a.shape[0] == a.shape[1] and _close(a.T, b):  # noqa: PLR2004 (a matrix)
        return "transpose"
    if np.iscomplexobj(a) and _close(np.conj(a), b):
        return "conjugate"
    factor = next((factor for factor in _FACTORS if _close(got, factor * b)), None)
    return "" if factor is None else "sign" if factor == -1 else f"factor {factor:g}"
