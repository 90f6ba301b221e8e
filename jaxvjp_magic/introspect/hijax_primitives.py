"""Takes a hijax primitive, and gives its rules in the form of a custom_vjp function: primal, fwd and bwd.

`expand` is the primal function, `vjp_fwd` the fwd rule, and `vjp_bwd_retval`
the bwd rule, or `vjp_bwd`, which adds its cotangents to accumulators.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jax import tree_util

from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable


def as_custom_vjp(primitive: Any) -> Any:
    """A custom_vjp function that does the same. Each call makes a new one."""
    custom = object.__new__(internals.CustomVjp)
    custom.__dict__.update(
        fun=primitive.expand,
        fwd=functools.partial(_fwd, primitive),
        bwd=functools.partial(_BWD[bwd_name(type(primitive))], primitive),
        nondiff_argnums=(),
        symbolic_zeros=False,
        optimize_remat=False,
        primitive=primitive,
    )
    return custom


def bwd_name(primitive_type: type) -> str:
    """The method that is the bwd rule."""
    return "vjp_bwd" if internals.overrides(primitive_type, "vjp_bwd") else "vjp_bwd_retval"


def _fwd(primitive: Any, *args: Any) -> tuple[Any, Any]:
    all_nonzero = tree_util.tree_map(lambda _: True, primitive.in_avals)
    output, residuals, *_ = primitive.vjp_fwd(all_nonzero, *args)
    return output, residuals


def _bwd(primitive: Any, residuals: Any, cotangent: Any) -> Any:
    into_accumulators, collected = collecting(primitive.vjp_bwd)
    leaves = [internals.ad.ValAccum(aval.to_ct_aval()) for aval in primitive.in_avals_flat]
    into_accumulators(residuals, cotangent, *tree_util.tree_unflatten(primitive.in_tree, leaves))
    return collected()


def _bwd_retval(primitive: Any, residuals: Any, cotangent: Any) -> Any:
    return without_zeros(primitive.vjp_bwd_retval(residuals, cotangent))


_BWD = {"vjp_bwd": _bwd, "vjp_bwd_retval": _bwd_retval}


def without_zeros(cotangents: Any) -> Any:
    """The cotangents with None for each symbolic zero."""

    def is_zero(leaf: Any) -> bool:
        return isinstance(leaf, internals.ad.Zero)

    return tree_util.tree_map(lambda leaf: None if is_zero(leaf) else leaf, cotangents, is_leaf=is_zero)


def collecting(vjp_bwd: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[[], Any]]:
    """A `vjp_bwd` that also keeps what it adds to each accumulator; the second function gives that, once it has run.

    If it raises, what it had not come to is as it should be: the accumulator's aval.
    """
    given: list[Any] = []
    trees: list[Any] = []

    def note(index: int, accum: Callable[[Any], None], cotangent: Any) -> None:
        given[index] = cotangent
        accum(cotangent)

    def run(residuals: Any, cotangent: Any, *accumulators: Any) -> Any:
        leaves, treedef = tree_util.tree_flatten(accumulators)
        watched = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, internals.ad.GradAccum)}
        given[:], trees[:] = [getattr(leaf, "aval", None) for leaf in leaves], [treedef]
        for index, leaf in watched.items():
            leaf.accum = functools.partial(note, index, leaf.accum)
        try:
            logs = vjp_bwd(residuals, cotangent, *accumulators)
            given[:] = [
                None if value is getattr(leaf, "aval", None) else value
                for value, leaf in zip(given, leaves, strict=True)
            ]
        finally:
            for leaf in watched.values():
                del leaf.accum
        return logs

    def collected() -> Any:
        return without_zeros(tree_util.tree_unflatten(trees[0], given))

    return run, collected
