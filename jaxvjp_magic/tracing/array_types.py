"""From values to types: what a pytree of arrays and tracers looks like, without the arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import tree_util

from jaxvjp_magic.tracing import jax_internals
from jaxvjp_magic.tracing.facts import ArrayType, Structure, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable

NONE = ArrayType("None", note="None")


class Types:
    """Describes values for one check; equal pytrees give the identical `Tree`."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._types: dict[Hashable, ArrayType] = {}
        self._trees: dict[Hashable, Tree] = {}

    def tree(self, value: Any, names: tuple[str, ...] = (), *, keep_none: bool = False) -> Tree:
        """The types of a pytree. `names` replace the first key of the paths.

        With `keep_none`, a None is a leaf of its own: a rule may return it
        where an argument needs no gradient.
        """
        leaves, treedef = tree_util.tree_flatten(value, is_leaf=_is_none if keep_none else None)
        types = tuple([self.of(leaf) for leaf in leaves])
        key: Hashable = (treedef, types, names)
        try:
            known = self._trees.get(key)
        except TypeError:  # a container whose static data have no hash
            key = (str(treedef), types, names)
            known = self._trees.get(key)
        if known is None:
            with_paths, _ = tree_util.tree_flatten_with_path(value, is_leaf=_is_none if keep_none else None)
            paths = tuple(_path(keys, names) for keys, _ in with_paths)
            known = self._trees[key] = Tree(paths, types, _structure(treedef), names, NONE in types)
        return known

    def of(self, leaf: Any) -> ArrayType:
        """The type of one leaf; what is no array is described by its Python type."""
        if leaf is None:
            return NONE
        note = ""
        if isinstance(leaf, jax_internals.CustomVJPPrimal):
            note = "" if leaf.perturbed else "not perturbed"
            leaf = leaf.value
        if isinstance(leaf, jax_internals.SymbolicZero):
            note, aval = "symbolic zero", leaf.aval
        elif isinstance(leaf, bool | int | float | complex):
            note, aval = f"Python {type(leaf).__name__}", jax.typeof(leaf)
        else:
            aval = jax_internals.aval_of(leaf)
            if aval is None:
                return ArrayType(describe(leaf), note="static")
        key = (aval, note)
        known = self._types.get(key)
        if known is None:
            known = self._types[key] = _array_type(aval, note)
        return known


def _is_none(value: object) -> bool:
    return value is None


def _path(keys: tuple[Any, ...], names: tuple[str, ...]) -> str:
    if not names or not keys:
        return tree_util.keystr(keys)
    index = getattr(keys[0], "idx", None)
    if index is None:
        return tree_util.keystr(keys)
    first = names[index] if index < len(names) else f"[{index}]"
    return first + tree_util.keystr(keys[1:])


def _array_type(aval: Any, note: str) -> ArrayType:
    dtype, shape = getattr(aval, "dtype", None), getattr(aval, "shape", None)
    try:
        size = math.prod(shape) * dtype.itemsize  # type: ignore[arg-type, union-attr]
    except (TypeError, AttributeError):  # symbolic dimensions, types without a size
        size = None
    if not note and getattr(aval, "weak_type", False):
        note = "weak type"
    name = getattr(dtype, "name", str(dtype))
    if name.startswith("[('float0'") or str(dtype).startswith("[('float0'"):
        name, size = "float0", 0
    text = aval.str_short() if hasattr(aval, "str_short") else str(aval)
    return ArrayType(text, tuple(shape) if shape is not None else None, name, size, note)


def _structure(treedef: Any) -> Structure:
    data = treedef.node_data()
    if data is None:
        is_leaf = treedef.num_leaves == 1
        return Structure("*" if is_leaf else "None")
    kind, aux = data
    children = tuple(_structure(child) for child in treedef.children())
    name = "None" if kind is type(None) else getattr(kind, "__name__", str(kind))
    keys = tuple(f"[{key!r}]" for key in aux) if kind is dict else ()
    return Structure(name, keys, children)


def describe(value: Any) -> str:
    """A value that is no array, in a few words: `function <lambda>`, `str`, `Config`."""
    name = getattr(value, "__name__", None)
    if callable(value) and isinstance(name, str):
        return f"function {name}"
    return type(value).__name__


def shapes_of(function: Callable[..., Any], arguments: Any) -> Any:
    """`jax.eval_shape` of `function(*arguments)`, where arguments may hold anything."""
    of_arrays, arrays, _, _ = on_arrays(function, arguments, _is_array_like)
    return jax.eval_shape(of_arrays, *arrays)


def specs(arguments: tuple[Any, ...], static: Container[int]) -> tuple[Any, ...]:
    """The arguments with a shape and a dtype for each array; those at the `static` positions stay."""
    return tuple(arg if i in static else tree_util.tree_map(_spec, arg) for i, arg in enumerate(arguments))


def _spec(leaf: Any) -> Any:
    if isinstance(leaf, (jax.Array, np.ndarray, np.generic, float, complex)):
        aval = jax.typeof(leaf)
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
    return leaf


def on_arrays(
    function: Callable[..., Any],
    arguments: Any,
    is_array: Callable[[Any], bool] = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct),
) -> tuple[Callable[..., Any], list[Any], list[int], int]:
    """`function(*arguments)` as a function of the leaves that are arrays: with them, their positions, and of how many.

    Nothing that JAX caches outlives the call: the function given back is new.
    """
    leaves, treedef = tree_util.tree_flatten(arguments)
    positions = [i for i, leaf in enumerate(leaves) if is_array(leaf)]

    def of_arrays(*arrays: Any) -> Any:
        filled = list(leaves)
        for i, array in zip(positions, arrays, strict=True):
            filled[i] = array
        return function(*tree_util.tree_unflatten(treedef, filled))

    return of_arrays, [leaves[i] for i in positions], positions, len(leaves)


def _is_array_like(leaf: Any) -> bool:
    try:
        jax.typeof(leaf)
    except TypeError:
        return False
    return True
