"""From recorded types, shapes and pytrees to words: how two of them differ, and code that makes a shape fit."""

from __future__ import annotations

import ast
import itertools
import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jaxvjp_magic.record.trees import ArrayType, Structure, Tree

    Shape = tuple[object, ...]

MOST_AXES = 5
MOST_LEAVES = 6


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    parts = list(items)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def argument(path: str) -> str:
    """The argument that a key path begins with: `params` of `params['w'][0]`."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def number(count: int, singular: str) -> str:
    """`1 argument`, `3 arguments`."""
    return f"{count} {singular}{'' if count == 1 else 's'}"


def difference(expected: ArrayType, got: ArrayType) -> str:
    """What differs between two types: `shape (3,) instead of ()`."""
    if expected.shape != got.shape:
        return f"shape {_shape(got.shape)} instead of {_shape(expected.shape)}"
    if expected.dtype != got.dtype:
        return f"dtype {got.dtype} instead of {expected.dtype}"
    return f"{got} instead of {expected}"


def _shape(shape: Shape | None) -> str:
    if shape is None:
        return "of no array"
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"


def is_code(text: str) -> bool:
    """Whether this parses as Python, and so can be pasted."""
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # names in it may be anything
        return False
    return True


def near_fit(expected: Shape | None, got: Shape | None) -> str:
    """How `got` could become `expected`: `it would fit if summed over axis 0`; "" if no simple change does it."""
    change, _ = _change(expected, got)
    return f"it would fit if {change}" if change else ""


def fitting(expected: Shape | None, got: Shape | None, value: str) -> str:
    """The expression that gives `value`, of shape `got`, the expected shape: `g.sum(axis=0)`; "" if there is none."""
    _, code = _change(expected, got)
    if code == "{}.T" and value.endswith(".T"):
        return value.removesuffix(".T")
    return code.replace("{}", value)


_Change = tuple[str, str]  # in words, and as code in which the value replaces {}
_NO_CHANGE = "", ""


def _change(expected: Shape | None, got: Shape | None) -> _Change:
    if expected is None or got is None or len(got) > MOST_AXES or expected == got:
        return _NO_CHANGE
    changes = (find(expected, got) for find in (_summed, _rearranged, _resized))
    return next((change for change in changes if change != _NO_CHANGE), _NO_CHANGE)


def _summed(expected: Shape, got: Shape) -> _Change:
    for count in range(1, len(got) + 1):
        for axes in itertools.combinations(range(len(got)), count):
            if tuple(size for axis, size in enumerate(got) if axis not in axes) == expected:
                return f"summed over {_axes(axes)}", f"{{}}.sum({_axis(axes)})"
    if len(got) == len(expected) and all(e in (1, g) for e, g in zip(expected, got, strict=True)):
        reduced = tuple(axis for axis, (e, g) in enumerate(zip(expected, got, strict=True)) if e != g)
        return f"summed over {_axes(reduced)} with keepdims=True", f"{{}}.sum({_axis(reduced)}, keepdims=True)"
    return _NO_CHANGE


def _axes(axes: tuple[int, ...]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else f"axes {listed(map(str, axes))}"


def _axis(axes: tuple[int, ...]) -> str:
    return f"axis={axes[0] if len(axes) == 1 else axes}"


def _rearranged(expected: Shape, got: Shape) -> _Change:
    if tuple(reversed(got)) == expected:
        return "transposed", "{}.T"
    if sorted(map(str, got)) != sorted(map(str, expected)):
        return _NO_CHANGE
    permutations = itertools.permutations(range(len(got)))
    order = next(
        (permutation for permutation in permutations if tuple(got[axis] for axis in permutation) == expected), None
    )
    return "its axes were permuted", f"jnp.transpose({{}}, {order})" if order else ""


def _resized(expected: Shape, got: Shape) -> _Change:
    if _size(got) is not None and _size(got) == _size(expected):
        return "reshaped", f"{{}}.reshape({_shape(expected)})"
    return ("broadcast", f"jnp.broadcast_to({{}}, {_shape(expected)})") if _broadcasts(got, expected) else _NO_CHANGE


def _size(shape: Shape) -> int | None:
    return math.prod(shape) if all(isinstance(size, int) for size in shape) else None  # type: ignore[arg-type]


def _broadcasts(got: Shape, expected: Shape) -> bool:
    if len(got) > len(expected):
        return False
    trailing = expected[len(expected) - len(got) :]
    return all(g in (1, e) for g, e in zip(got, trailing, strict=True))


def typed(tree: Tree | None) -> str:
    """The leaves with their types: `x: float32[3], y: float32[]`."""
    if tree is None or not tree.leaves:
        return "no arguments"
    shown = [f"{path}: {array_type}" for path, array_type in tree.leaves[:MOST_LEAVES]]
    return ", ".join(shown) + (", ..." if len(tree.leaves) > len(shown) else "")


def structure_difference(expected: Structure, got: Structure, path: str = "") -> tuple[str, str] | None:
    """The key path where two pytrees first differ, and how: `("p", "lacks the key 'b'")`; None if they agree.

    As in JAX, a None or a leaf in `got` matches a whole subtree of `expected`.
    """
    if got.kind in ("*", "None") or got == expected:
        return None
    if got.kind != expected.kind:
        return path, f"is {got.described}, not {expected.described}"
    if got.keys != expected.keys:
        missing = [key[1:-1] for key in expected.keys if key not in got.keys]
        extra = [key[1:-1] for key in got.keys if key not in expected.keys]
        words = [f"lacks the {'key' if len(missing) == 1 else 'keys'} {listed(missing)}"] if missing else []
        words += [f"has {listed(extra)}, which the argument does not have"] if extra else []
        return path, listed(words)
    if len(got.children) != len(expected.children):
        return path, f"has {number(len(got.children), 'element')}, not {len(expected.children)}"
    keys = expected.keys or tuple(f"[{i}]" for i in range(len(expected.children)))
    for key, e, g in zip(keys, expected.children, got.children, strict=True):
        inner = structure_difference(e, g, path + key)
        if inner:
            return inner
    return None
