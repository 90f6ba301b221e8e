"""Turns pytrees of arrays and tracers into `Tree`s: the type and key path of each leaf, without the arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax
from jax import tree_util

from jaxvjp_magic.introspect.static_attributes import name_of
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.trees import ArrayType, Structure, Tree, TreeLeaf

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Hashable

PYTHON_NUMBERS = (bool, int, float, complex)
NONE = ArrayType("None", note="None")
MOST_KNOWN = 4096


class Types:
    """Describes values for one check; equal pytrees give the identical `Tree`."""

    def __init__(self) -> None:
        """Start with empty caches."""
        self._types: dict[Hashable, ArrayType] = {}
        self._trees: dict[Hashable, Tree] = {}
        self._shown: dict[Hashable, Tree] = {}
        # Keyed by the id of avals: JAX shares them between equal arrays, and hashing one is the slowest step here.
        self._of_avals: dict[Hashable, tuple[list[Any], Tree]] = {}

    def tree(self, value: Any, names: tuple[str, ...] = (), *, keep_none: bool = False) -> Tree:
        """The types of a pytree. `names` replace the first key of the paths.

        With `keep_none`, a None is a leaf of its own: a rule may return it
        where an argument needs no gradient.
        """
        aval = internals.aval_at_hand(value)  # most values are one array
        if aval is None:
            return self.tree_and_leaves(value, names, keep_none=keep_none)[0]
        cached = self._of_avals.get((id(aval), names))
        if cached is None:
            leaves, treedef = tree_util.tree_flatten(value)
            cached = [aval], self._tree(value, leaves, treedef, names, keep_none=keep_none)
            self._of_avals[id(aval), names] = cached
        return cached[1]

    def tree_and_leaves(
        self, value: Any, names: tuple[str, ...] = (), *, keep_none: bool = False
    ) -> tuple[Tree, list[Any]]:
        """The types of a pytree, and its leaves."""
        leaves, treedef = tree_util.tree_flatten(value, _is_none) if keep_none else tree_util.tree_flatten(value)
        avals = internals.avals_at_hand(leaves)
        if avals is None:
            return self._tree(value, leaves, treedef, names, keep_none=keep_none), leaves
        key = treedef, tuple(map(id, avals)), names
        try:
            cached = self._of_avals.get(key)
        except TypeError:  # a container whose static data have no hash
            return self._tree(value, leaves, treedef, names, keep_none=keep_none), leaves
        if cached is None:
            if len(self._of_avals) >= MOST_KNOWN:
                self._of_avals.clear()
            cached = avals, self._tree(value, leaves, treedef, names, keep_none=keep_none)
            self._of_avals[key] = cached  # keeps the avals alive, so that no other object gets their id
        return cached[1], leaves

    def known_by(
        self, values: tuple[Any, ...], names: tuple[str, ...] = (), *, keep_none: bool = False
    ) -> tuple[Hashable, list[Any], list[Any] | None]:
        """A cheap key that is equal for tuples with the same types, the leaves, and the avals behind the key.

        The key of arrays, and of tuples of them, holds the ids of their avals. It
        is valid as long as these avals live, so they are returned too. Other
        pytrees have their `Tree` as key, and None for the avals.
        """
        layout: list[int] = []
        leaves: list[Any] = []
        for value in values:
            if type(value) is tuple:
                layout.append(len(value))
                leaves += value
            else:
                layout.append(-1)
                leaves.append(value)
        avals = internals.avals_at_hand(leaves)
        if avals is None:
            return *self.tree_and_leaves(values, names, keep_none=keep_none), None
        return (*layout, *map(id, avals)), leaves, avals

    def _tree(self, value: Any, leaves: list[Any], treedef: Any, names: tuple[str, ...], *, keep_none: bool) -> Tree:
        types = [self.of(leaf) for leaf in leaves]
        ids = tuple(map(id, types))  # `of` returns the identical object for equal types, and keeps it alive
        key: Hashable = (treedef, ids, names)
        try:
            tree = self._trees.get(key)
        except TypeError:  # as above
            key = (str(treedef), ids, names)
            tree = self._trees.get(key)
        if tree is None:
            with_paths, _ = tree_util.tree_flatten_with_path(value, is_leaf=_is_none if keep_none else None)
            paths, structure = tuple(_path(keys, names) for keys, _ in with_paths), _structure(treedef)
            if len(self._trees) >= MOST_KNOWN:
                self._trees.clear()
            # Treedefs may differ in static data that no report shows; a pullback's differ in each call.
            new_tree = Tree(tuple(map(TreeLeaf, paths, types)), structure, names, NONE in types)
            tree = self._trees[key] = self._shown.setdefault((paths, ids, structure, names), new_tree)
        return tree

    def of(self, leaf: Any) -> ArrayType:
        """The type of one leaf; for a leaf that is not an array, its Python type."""
        if leaf is None:
            return NONE
        note = ""
        if isinstance(leaf, internals.CustomVJPPrimal):
            note = "" if leaf.perturbed else "not perturbed"
            leaf = leaf.value
        if isinstance(leaf, (internals.SymbolicZero, internals.ad.Zero)):
            note, aval = "symbolic zero", leaf.aval
        elif isinstance(leaf, PYTHON_NUMBERS):
            number = next(number for number in PYTHON_NUMBERS if isinstance(leaf, number))  # JAX has its own subclasses
            note, aval = f"Python {number.__name__}", jax.typeof(leaf)
        else:
            aval = internals.aval_of(leaf)
            if aval is None:
                static = ArrayType(describe(leaf), note="static")
                return self._types.setdefault((static.text, "static"), static)
            note = note or internals.sharding_of(leaf, aval)
        key = (aval, note)
        array_type = self._types.get(key)
        if array_type is None:
            array_type = self._types[key] = _array_type(aval, note)
        return array_type


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
    shape = None if shape is None else tuple(shape)
    return ArrayType(text, shape, name, size, note, internals.varying_axes(aval))


def _structure(treedef: Any) -> Structure:
    data = treedef.node_data()
    if data is None:
        is_leaf = treedef.num_leaves == 1
        return Structure("*" if is_leaf else "None")
    node_type, aux = data
    children = tuple(_structure(child) for child in treedef.children())
    name = "None" if node_type is type(None) else getattr(node_type, "__name__", str(node_type))
    keys = tuple(f"[{key!r}]" for key in aux) if node_type is dict else ()
    return Structure(name, keys, children)


def describe(value: Any) -> str:
    """A short description of a value that is not an array: `function <lambda>`, `str`, `Config`."""
    name = name_of(value) if callable(value) else ""
    if name:
        return f"function {name}"
    return type(value).__name__


def shapes_of(function: Callable[..., Any], arguments: Any) -> Any:
    """`jax.eval_shape` of `function(*arguments)`, where the arguments may have leaves that are not arrays."""
    of_arrays, arrays, _, _ = on_arrays(function, arguments, _is_array_like)
    return jax.eval_shape(of_arrays, *arrays)


def specs(arguments: tuple[Any, ...], static: Container[int]) -> tuple[Any, ...]:
    """The arguments with a ShapeDtypeStruct for each array; arguments at the `static` positions stay as they are."""
    return tuple(arg if i in static else tree_util.tree_map(_spec, arg) for i, arg in enumerate(arguments))


def _spec(leaf: Any) -> Any:
    aval = None if isinstance(leaf, int) else internals.aval_of(leaf)
    if aval is None:
        return leaf
    if hasattr(aval, "shape") and hasattr(aval, "dtype"):
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=getattr(aval, "weak_type", False))
    return aval  # an aval without a shape takes the place of the value, which is not kept


def on_arrays(
    function: Callable[..., Any],
    arguments: Any,
    is_array: Callable[[Any], bool] = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct),
) -> tuple[Callable[..., Any], list[Any], list[int], int]:
    """`function(*arguments)` as a function of the array leaves; these, their positions, and the number of all leaves.

    The function returned is new in each call, so nothing that JAX caches for it is used again.
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
    """Python numbers do not count: they are passed on as they are, since a function may ask whether it has an array."""
    return not isinstance(leaf, PYTHON_NUMBERS) and internals.aval_of(leaf) is not None
