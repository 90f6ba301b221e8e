"""Pytrees as they are recorded: key paths, types and containers, but no arrays."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayType:
    """The type of one leaf: `text` is JAX's own form, `float32[3]`.

    `shape` is None for a leaf that is not an array (a function, a string, None);
    `note` says what is special ("None", "symbolic zero", "Python float").
    `varying` has the mesh axes over which the value varies inside a shard_map.
    """

    text: str
    shape: tuple[object, ...] | None = None
    dtype: str = ""
    bytes: int | None = None
    note: str = ""
    varying: tuple[str, ...] = ()

    def __str__(self) -> str:
        """JAX's own form."""
        return self.text

    @property
    def is_integer(self) -> bool:
        """Whether it is an array of integers or booleans, whose gradient is a float0."""
        return self.dtype.startswith(("int", "uint", "bool"))

    @property
    def is_float0(self) -> bool:
        """Whether this is the type of the gradient of an integer."""
        return self.dtype == "float0"


@dataclasses.dataclass(frozen=True, slots=True)
class Structure:
    """The containers of a pytree: `kind` is "*" for a leaf, else the container's name."""

    kind: str
    keys: tuple[str, ...] = ()
    children: tuple[Structure, ...] = ()

    def show(self, leaves: Iterator[str]) -> str:
        """The pytree as JAX prints it, with the next of `leaves` in place of each leaf."""
        if self.kind == "*":
            return next(leaves)
        inner = [child.show(leaves) for child in self.children]
        if self.kind == "None":
            return "None"
        if self.kind == "dict":
            items = zip(self.keys, inner, strict=True)
            return "{" + ", ".join(f"{key[1:-1]}: {child}" for key, child in items) + "}"
        if self.kind == "tuple":
            return f"({inner[0]},)" if len(inner) == 1 else f"({', '.join(inner)})"
        if self.kind == "list":
            return f"[{', '.join(inner)}]"
        return f"{self.kind}({', '.join(inner)})"

    def __str__(self) -> str:
        """The containers alone: `(*, {'w': *})`."""
        return self.show(itertools.repeat("*"))

    @property
    def described(self) -> str:
        """In words: `a tuple of 2`, `a dict with the keys 'b', 'w'`, `one value`."""
        if self.kind == "*":
            return "one value"
        if self.kind == "None":
            return "None"
        if self.kind == "dict":
            keys = ", ".join(key[1:-1] for key in self.keys)
            return f"a dict with the {'key' if len(self.keys) == 1 else 'keys'} {keys}"
        return f"a {self.kind} of {len(self.children)}"


class TreeLeaf(NamedTuple):
    """One leaf: its key path, which begins with the argument's name where there is one, and its type."""

    path: str
    type: ArrayType

    def __str__(self) -> str:
        """`x float32[3]`, or the type alone."""
        return f"{self.path} {self.type}".strip()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """One pytree of a call: its leaves and its containers. Compared by identity.

    `names` are the arguments' names, if the pytree is the tuple of arguments.
    """

    leaves: tuple[TreeLeaf, ...]
    structure: Structure
    names: tuple[str, ...] = ()
    has_none: bool = False

    def __str__(self) -> str:
        """The types in their containers: `float32[3]`, or `(float32[3], float32[])`."""
        return self.structure.show(str(leaf.type) for leaf in self.leaves)

    @property
    def bytes(self) -> int:
        """The bytes of all leaves whose size is known."""
        return sum(leaf.type.bytes or 0 for leaf in self.leaves)

    def at(self, path: str) -> ArrayType | None:
        """The type of the leaf with this key path."""
        return next((leaf.type for leaf in self.leaves if leaf.path == path), None)
