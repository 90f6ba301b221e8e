"""Patch points: the functions of JAX that hooks replace during a check, and their arguments."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.jax_compat.patch import PatchItem, PatchPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@functools.cache
def _inside_boundary(owner: Any, name: str) -> Any:
    """The closure cell in which an `api_boundary` function of JAX keeps the function that it wraps.

    Inside the boundary a hook's frames are filtered like JAX's own; and everybody
    who imported the outer function (`from jax import vjp`) is reached. Cached,
    since the program may wrap the outer function later.
    """
    outer = owner.__dict__[name]
    return outer.__closure__[outer.__code__.co_freevars.index("fun")]


def custom_vjp() -> PatchPoint:
    """`(custom_vjp, *args, **kwargs)`: every call of every custom_vjp function."""
    return PatchPoint(_inside_boundary(internals.CustomVjp, "__call__"), "cell_contents")


def custom_jvp() -> PatchPoint:
    """`(custom_jvp, *args, **kwargs)`: every call of every custom_jvp function."""
    return PatchPoint(_inside_boundary(jax.custom_jvp, "__call__"), "cell_contents")


def custom_vmap() -> PatchPoint:
    """`(custom_vmap, *args, **kwargs)`: every call of every custom_vmap function."""
    return PatchPoint(_inside_boundary(internals.CustomVmap, "__call__"), "cell_contents")


def custom_vjp3() -> PatchPoint | None:
    """`(custom_vjp3, *args, **kwargs)`: what `jax.custom_vjp` makes with JAX_CUSTOM_VJP3; None before JAX 0.10."""
    return PatchPoint(internals.hijax.custom_vjp3, "__call__") if hasattr(internals.hijax, "custom_vjp3") else None


def traced_primal() -> PatchPoint | None:
    """`(primitive, traced, ...)`: a custom_vjp3 function has traced its primal function; None before JAX 0.10."""
    name = "CustomVJPTraced"
    return PatchPoint(getattr(internals.hijax, name), "__init__") if hasattr(internals.hijax, name) else None


def hi_primitive() -> PatchPoint | None:
    """`(primitive, *args)`: every call of every hijax primitive that has a rule; None where there are none."""
    return PatchPoint(internals.HiPrimitive, "__call__") if hasattr(internals.HiPrimitive, "vjp_fwd") else None


def hi_linearization() -> PatchPoint | None:
    """`(is_vjp, nonzeros, *args, _prim)`: the fwd rule of a hijax primitive is asked for; None before JAX 0.10."""
    if not internals.has_hijax_rules():
        return None
    return PatchItem(internals.ad.primitive_linearizations, internals.hijax.call_hi_primitive_p)


def hi_transpose() -> PatchPoint | None:
    """`(cotangents, *residuals_and_accumulators, _prim, ...)`: its bwd rule is asked for."""
    if not internals.has_hijax_rules():
        return None
    return PatchItem(internals.ad.fancy_transposes, internals.hijax.call_hi_primitive_linearized_p)


def _inside_function(function: Any) -> PatchPoint:
    """The same of a function that JAX exports."""
    return PatchPoint(function.__closure__[function.__code__.co_freevars.index("fun")], "cell_contents")


def linear_transpose() -> PatchPoint:
    """`(fun, *primals)`: every use of `jax.linear_transpose`."""
    return _inside_function(jax.linear_transpose)


def custom_linear_solve() -> PatchPoint:
    """`(matvec, b, solve, ...)`: every use of `jax.lax.custom_linear_solve`."""
    return _inside_function(jax.lax.custom_linear_solve)


def custom_root() -> PatchPoint:
    """`(f, initial_guess, solve, tangent_solve, ...)`: every use of `jax.lax.custom_root`."""
    return _inside_function(jax.lax.custom_root)


def jvp_rules(is_wanted: Callable[[Any], Any]) -> Iterator[tuple[str, PatchPoint]]:
    """`(primals, tangents, ...)`: the jvp rules of primitives that are wanted, with the primitive's name."""
    for primitive, rule in list(internals.ad.primitive_jvps.items()):
        if is_wanted(rule) is not None:
            yield str(primitive), PatchItem(internals.ad.primitive_jvps, primitive)


def remat() -> PatchPoint:
    """`(*args, jaxpr, policy, ...)`: every call of a function below jax.checkpoint, with what it traced."""
    return PatchPoint(internals.ad_checkpoint.remat_p, "bind")


def primitive_transpose() -> PatchPoint:
    """`(primitive)`: gives the transpose rule of a primitive, for each equation of a backward pass."""
    return PatchPoint(internals.ad, "get_primitive_transpose")


def vjp() -> PatchPoint:
    """`(fun, *primals, **options)`: every use of `jax.vjp` and of what is built on it."""
    if hasattr(internals.api, "_vjp"):  # JAX 0.8 and 0.9
        return PatchPoint(internals.api, "_vjp")
    return PatchPoint(_inside_boundary(internals.api, "vjp"), "cell_contents")


def pullback() -> PatchPoint:
    """`(pullback, cotangent, *extra)`: every call of a VJP object."""
    return PatchPoint(internals.api.VJP, "__call__")


def with_refs() -> PatchPoint | None:
    """`(pullback, *refs)`: the pullback with refs that gradients are added to."""
    return PatchPoint(internals.api.VJP, "with_refs") if hasattr(internals.api.VJP, "with_refs") else None


def partial_pullback() -> PatchPoint | None:
    """`(name, avals, trees, fun, *cotangents)`: JAX 0.8's pullbacks; None on later versions."""
    if not hasattr(internals.api, "_vjp_pullback_wrapper") or jax.__version_info__ >= (0, 9):
        return None
    return PatchPoint(internals.api, "_vjp_pullback_wrapper")


class TraceCache(NamedTuple):
    """A function of JAX that traces its first argument, or finds an earlier trace.

    `misses(function)` changes when it traces; `jaxpr_of(result)` is the same
    object in all results of one trace.
    """

    point: PatchPoint
    misses: Callable[[Any], Any]
    jaxpr_of: Callable[[Any], Any]


def trace_caches() -> Iterator[TraceCache]:
    """All that may hide a user's function: those of jit, of loops and branches, of checkpoint."""
    modules = ((internals.pe, "trace_to_jaxpr"), (internals.ad_checkpoint, "_trace_to_jaxpr"))
    inner = [PatchPoint(module, name) for module, name in modules if hasattr(module, name)]
    counts = [_misses(point.original) for point in inner]
    missed = _misses(internals.pjit._infer_params_cached)  # noqa: SLF001 (as all here)
    create_jaxpr = getattr(internals.pjit, "_create_pjit_jaxpr", None)
    if create_jaxpr is not None:  # JAX 0.8: a cache of its own, with a dictionary for each function
        functions = create_jaxpr.__closure__[create_jaxpr.__code__.co_freevars.index("fun_caches")].cell_contents
        missed = lambda function: len(functions[function]) if function in functions else 0  # noqa: E731 (one of two)

    def misses(function: Any) -> Any:
        return [count() for count in counts] + [missed(function)]

    point = PatchPoint(internals.pjit, "_infer_params")
    yield TraceCache(point, misses, lambda result: result[0].params["jaxpr"])
    for point, count in zip(inner, counts, strict=True):
        yield TraceCache(point, count, lambda result: result[0])


def _misses(cache: Any) -> Callable[..., int]:
    return lambda *_: cache.cache_info().misses


def lowerings() -> Iterator[PatchPoint]:
    """`(jaxpr, *lowering_args, **options)`: every jaxpr that is lowered, to be compiled."""
    yield PatchPoint(internals.pjit, "_pjit_lower")


def loops() -> Iterator[PatchPoint]:
    """`(*arguments, **parameters)`: loops and branches that run outside of jit; JAX keeps each one's jaxprs."""
    for primitive in (jax.lax.scan_p, jax.lax.while_p, jax.lax.cond_p, jax.lax.linear_solve_p):
        yield PatchPoint(primitive, "impl")
