"""Takes the arguments of linear_transpose, custom_linear_solve or custom_root, and gives functions and vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

_PARAMETERS = {
    "custom_linear_solve": ("matvec", "b", "solve", "transpose_solve", "symmetric", "has_aux"),
    "custom_root": ("f", "initial_guess", "solve", "tangent_solve", "has_aux"),
}


class LinearUse(NamedTuple):
    """What one of these functions was given: the function and, if it takes one, its rule; and the vectors."""

    functions: tuple[Any, ...]
    vectors: tuple[Any, ...]
    is_symmetric: bool = False
    has_aux: bool = False


def use_of(kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LinearUse | None:
    """What it was given; None if the arguments do not fit, which JAX will say."""
    if kind == "linear_transpose":
        return LinearUse(args[:1], args[1:]) if len(args) > 1 else None
    given = dict(zip(_PARAMETERS[kind], args, strict=False)) | kwargs
    has_aux = bool(given.get("has_aux"))
    try:
        if kind == "custom_root":
            return LinearUse((given["f"], given["tangent_solve"]), (given["initial_guess"],), has_aux=has_aux)
        rule = None if has_aux else given.get("transpose_solve")
        return LinearUse((given["matvec"], rule), (given["b"],), bool(given.get("symmetric")))
    except KeyError:
        return None
