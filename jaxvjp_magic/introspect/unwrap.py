"""Takes a function that JAX wrapped around a user's, and gives the user's function and the name of the wrapper.

A wrapper is recognized by the file of its code and by its closure variables:
functions inside JAX have no other mark.
"""

from __future__ import annotations

import functools
import operator
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxvjp_magic.introspect.static_attributes import code_of
from jaxvjp_magic.jax_compat.internals import API, BOUNDARY, CUSTOM_VJPS, SOURCES, PjitFunction, primal_of

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    Selected = Callable[[Any], tuple[Any, ...]]

_PLUMBING = tuple(os.path.join(SOURCES, "_src", name) for name in ("numpy", "lax", "nn", "random.py", "prng.py"))


def is_plumbing(function: Any) -> bool:
    """Whether a function is JAX's own and runs none of the user's: a primitive, a function of jax.numpy."""
    code = code_of(function)
    if code is None:
        return False
    is_inside = not function.__closure__ and code.co_filename.startswith(_PLUMBING)
    return is_inside or "_apply_primitive" in function.__dict__


def unwrapped(fun: Any) -> Any:
    """The function in a WrappedFun (JAX 0.8 and 0.9); any other callable as it is."""
    return getattr(fun, "f", fun) if type(fun).__name__ == "WrappedFun" else fun


class UserFunction(NamedTuple):
    """The function that a user differentiates, below the wrappers of JAX."""

    function: Any
    positions: tuple[int, ...] | None = None  # of the arguments that are differentiated; None for all
    others: Any = ()  # the arguments that are not


def user_function(fun: Any) -> UserFunction:
    """The user's function, below the argument selection of `grad` and below custom_gradient."""
    code = code_of(fun)
    if code is None:
        return _inside_object(fun)
    if not code.co_filename.startswith(SOURCES):
        return UserFunction(fun)
    selected = _selection(code)
    if selected is None:
        return UserFunction(_closure(fun)["fun"] if _is_custom_gradient(fun) else fun)
    function, positions, *others = map(_contents, selected(fun.__closure__))
    code = code_of(function)
    if (code is None or code.co_filename.startswith(SOURCES)) and (
        not isinstance(function, CUSTOM_VJPS) or _is_custom_gradient(primal_of(function))
    ):
        function = user_function(function).function
    return UserFunction(function, tuple(positions), others)


def _inside_object(fun: Any) -> UserFunction:
    if type(fun).__name__ == "WrappedFun":  # JAX 0.8 and 0.9
        for transformation, settings in fun.transforms:
            if transformation.__name__ == "_argnums_partial":
                return UserFunction(user_function(fun.f).function, tuple(settings[0]), settings[1])
        return user_function(fun.f)
    if isinstance(fun, CUSTOM_VJPS):
        primal = primal_of(fun)
        inner = user_function(primal).function
        return UserFunction(fun if inner is primal else inner)
    return UserFunction(fun)


_contents = operator.attrgetter("cell_contents")
_selections: dict[int, tuple[types.CodeType, Selected | None]] = {}  # by the id of JAX's code: hashing code is slower


def _selection(code: types.CodeType) -> Selected | None:
    """Takes the cells of JAX's argument selection out of its closure; None for any other code of JAX."""
    cached = _selections.get(id(code))
    if cached is None:
        free, selected = code.co_freevars, None
        if code.co_name == "f_wrapped" and "dyn_argnums" in free:  # argnums_partial2, 0.10 on
            wanted = ("f", "dyn_argnums", "static_args", "kwargs")
            selected = operator.itemgetter(*(free.index(name) for name in wanted if name in free))
        cached = _selections[id(code)] = code, selected
    return cached[1]


def _is_custom_gradient(fun: Any) -> bool:
    code = code_of(fun)
    return code is not None and code.co_name == "wrapped_fun" and code.co_filename.startswith(SOURCES)


def _closure(fun: Any) -> dict[str, Any]:
    cells = zip(fun.__code__.co_freevars, fun.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells}


def way_in(frame: types.FrameType | None) -> tuple[str, types.FrameType | None]:
    """The name of JAX's function that led to `jax.vjp` ("grad", "jacrev", ..., "vjp"), and the frame that called it."""
    outermost = None
    while frame is not None:
        code = frame.f_code
        filename = code.co_filename
        if filename == API:
            outermost = code
        elif filename != BOUNDARY:
            break
        frame = frame.f_back
    return outermost.co_qualname.split(".", 1)[0] if outermost else "vjp", frame


def transformation_name(function: Any) -> str:
    """The transformation that made this function ("vmap", "jit"), "" where JAX did not make it."""
    if isinstance(function, PjitFunction):
        return "jit"
    if isinstance(function, functools.partial):
        return "partial"
    code = code_of(function)
    if code is None:
        return ""
    if code.co_filename == BOUNDARY:
        return transformation_name(_closure(function).get("fun"))
    return code.co_qualname.split(".")[0].strip("_") if code.co_filename.startswith(SOURCES) else ""
