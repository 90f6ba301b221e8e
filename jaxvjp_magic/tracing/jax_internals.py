"""The only file that touches `jax._src`: what is private, and since which version.

| item | JAX 0.8, 0.9 | JAX 0.10 to 0.12 |
|---|---|---|
| where `jax.vjp`, grad, jacrev meet | the global `jax._src.api._vjp` | the function inside `jax.vjp`'s `api_boundary` |
| what they hand over | a `WrappedFun` | a plain function |
| a pullback | 0.8: a `Partial`; 0.9: a `VJP` object | a `VJP` object |

The rest is the same from 0.8 to 0.12: `custom_vjp.__call__` inside its own
`api_boundary`, the attributes of a custom_vjp object, `BatchTrace.axis_data`,
`parent_trace` of the traces that can be walked through, the `tangent` of their
tracers, and `dce_jaxpr`, which says what a jaxpr uses.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.custom_derivatives
from jax._src import api, array, core, source_info_util, traceback_util
from jax._src import custom_derivatives as derivatives
from jax._src.interpreters import ad, batching
from jax._src.interpreters import partial_eval as pe

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable, Iterator

_JAX_SOURCES = os.path.dirname(jax.__file__)
CustomVjp = derivatives.custom_vjp
CustomVJPPrimal = derivatives.CustomVJPPrimal
ArrayImpl = array.ArrayImpl
OneDevice = jax.sharding.SingleDeviceSharding
SymbolicZero = jax.custom_derivatives.SymbolicZero
PjitFunction = type(jax.jit(lambda: None))


class Slot:
    """A place in JAX where a function stands, and where another can stand instead."""

    def __init__(self, owner: Any, name: str, *, inside_boundary: bool) -> None:
        """A function `owner.name`, or the one inside the `api_boundary` that stands there."""
        self._owner: Any = owner
        self._name = name
        if inside_boundary:
            # api_boundary keeps the function that it wraps in the closure variable `fun`. Inside
            # the boundary our frames are filtered like JAX's own; and everybody who imported the
            # outer function (`from jax import vjp`) is reached.
            outer = owner.__dict__[name]
            self._owner = outer.__closure__[outer.__code__.co_freevars.index("fun")]
            self._name = "cell_contents"
        self.original: Callable[..., Any] = getattr(self._owner, self._name)

    def put(self, function: Callable[..., Any]) -> None:
        """Let `function` stand here."""
        setattr(self._owner, self._name, function)

    def restore(self) -> None:
        """Put back what stood here when the slot was made."""
        setattr(self._owner, self._name, self.original)


def custom_vjp_slot() -> Slot:
    """`(custom_vjp, *args, **kwargs)`: every call of every custom_vjp function."""
    return Slot(CustomVjp, "__call__", inside_boundary=True)


def vjp_slot() -> Slot:
    """`(fun, *primals, **options)`: every use of `jax.vjp` and of what is built on it."""
    if hasattr(api, "_vjp"):  # JAX 0.8 and 0.9
        return Slot(api, "_vjp", inside_boundary=False)
    return Slot(api, "vjp", inside_boundary=True)


def pullback_slot() -> Slot:
    """`(pullback, cotangent, *extra)`: every call of a VJP object."""
    return Slot(api.VJP, "__call__", inside_boundary=False)


def partial_pullback_slot() -> Slot | None:
    """`(name, avals, trees, fun, *cotangents)`: JAX 0.8's pullbacks; None on later versions."""
    if not hasattr(api, "_vjp_pullback_wrapper") or jax.__version_info__ >= (0, 9):
        return None
    return Slot(api, "_vjp_pullback_wrapper", inside_boundary=False)


def pullback_owner(pullback: Any) -> tuple[Any, int]:
    """An object that lives as long as the pullback's code, and the key that its calls show.

    Both stay the same when the pullback passes through jit, which rebuilds the
    pullback itself.
    """
    if isinstance(pullback, api.VJP):
        return pullback.fun, id(pullback.fun)
    return pullback.func, id(pullback.func.args[1])  # JAX 0.8: the list of the output's types


def aval_of(value: Any) -> Any:
    """`jax.typeof`, or None for what is no array; an array on one device has its type at hand."""
    if isinstance(value, core.Tracer) or (isinstance(value, ArrayImpl) and isinstance(value.sharding, OneDevice)):
        return value.aval
    try:
        return jax.typeof(value)
    except TypeError:
        return None


def is_pullback(value: Any) -> bool:
    """Whether this is what `jax.vjp` returns beside the output."""
    if hasattr(api, "_vjp_pullback_wrapper") and isinstance(value, functools.partial):  # JAX 0.8
        return getattr(value.func, "func", None) is api._vjp_pullback_wrapper  # noqa: SLF001 (that is the type)
    return isinstance(value, api.VJP)


def is_tracer(value: Any) -> bool:
    """Whether this stands for a value that is not known yet."""
    return isinstance(value, core.Tracer)


def is_differentiated(value: Any) -> bool:
    """Whether this is a tracer with a tangent of its own, as far as that shows: below a jit it does not."""
    while isinstance(value, core.Tracer):
        if isinstance(value, (ad.JVPTracer, ad.LinearizeTracer)) and type(value.tangent).__name__ != "Zero":
            return True
        value = _value_inside(value)
    return False


def is_being_traced() -> bool:
    """Whether what runs now is traced, by jit for instance: it may run later without Python."""
    trace = core.trace_ctx.trace
    while trace is not None:
        if isinstance(trace, pe.DynamicJaxprTrace):
            return True
        trace = getattr(trace, "parent_trace", None)
    return False


def is_mapped() -> bool:
    """Whether what runs now runs directly below a vmap."""
    return isinstance(core.trace_ctx.trace, batching.BatchTrace)


def shared_by_the_batch(leaves: Iterable[Any]) -> list[bool]:
    """For each output of a function directly below a vmap whether it is the same for all examples."""
    trace = core.trace_ctx.trace
    return [id(trace) not in map(id, _batch_traces(leaf)) for leaf in leaves]


def used_arguments(function: Callable[..., Any], arrays: Iterable[Any], outputs: list[int] | None) -> list[bool]:
    """For each array, or its shape, whether `function(*arrays)` uses it; with `outputs`, for these leaves alone."""

    def flat(*arrays: Any) -> list[Any]:
        leaves = jax.tree_util.tree_leaves(function(*arrays))
        return [leaf if isinstance(leaf, jax.Array) else 0.0 for leaf in leaves]

    jaxpr = jax.make_jaxpr(flat)(*arrays).jaxpr
    wanted = [outputs is None or i in outputs for i in range(len(jaxpr.outvars))]
    return list(pe.dce_jaxpr(jaxpr, wanted)[1])


def run_equation(jaxpr: Any, equation: Any, known: dict[Any, Any]) -> list[Any]:
    """What one equation of a jaxpr gives, where its variables have these values."""
    variables = list(dict.fromkeys(one for one in equation.invars if not isinstance(one, core.Literal)))
    alone = jaxpr.replace(constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation], debug_info=None)
    return list(core.eval_jaxpr(alone, [], *(known[one] for one in variables)))


def lines_of(equation: Any) -> Iterator[tuple[str, int]]:
    """The files and lines that an equation of a jaxpr comes from, the innermost first, without JAX's own."""
    for frame in source_info_util.user_frames(equation.source_info.traceback):
        yield frame.file_name, frame.start_line


def has_gradient(function: Callable[..., Any], arguments: Any, index: int) -> bool:
    """Whether the gradient of `function(*arguments)` by this leaf, an array or its shape, is no constant zero."""
    leaves, treedef = jax.tree_util.tree_flatten(arguments)
    positions = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

    def gradient(scale: Any, *arrays: Any) -> Any:
        filled = dict(enumerate(leaves)) | dict(zip(positions, arrays, strict=True))

        def by_leaf(leaf: Any) -> list[Any]:
            output = function(*jax.tree_util.tree_unflatten(treedef, (filled | {index: leaf}).values()))
            return [
                one for one in jax.tree_util.tree_leaves(output) if jax.numpy.issubdtype(one.dtype, jax.numpy.inexact)
            ]

        outputs, pullback = jax.vjp(by_leaf, filled[index])
        return pullback([jax.numpy.full_like(one, scale) for one in outputs])

    return used_arguments(gradient, [0.5, *(leaves[i] for i in positions)], None)[0]


def kept_residuals(pullback: Any) -> tuple[Any, Any]:
    """The primals that a pullback keeps (one entry per argument), and everything else it keeps."""
    if isinstance(pullback, api.VJP):
        rest = (pullback.opaque_residuals, getattr(pullback, "structured_residuals", ()))
        return tuple(pullback.args_res), jax.tree_util.tree_leaves(rest)
    return (), jax.tree_util.tree_leaves(pullback)


def unwrapped(fun: Any) -> Any:
    """The function in a WrappedFun (JAX 0.8 and 0.9), any other callable as it is."""
    return getattr(fun, "f", fun) if type(fun).__name__ == "WrappedFun" else fun


class UserFunction(NamedTuple):
    """What a user differentiates, below what JAX wrapped around it."""

    function: Any
    positions: tuple[int, ...] | None = None  # of the arguments that are differentiated; None for all
    others: Any = ()  # the arguments that are not


def user_function(fun: Any) -> UserFunction:
    """Look through grad's selection of arguments and through custom_gradient."""
    fun = unwrapped(fun)
    if isinstance(fun, CustomVjp) and user_function(fun.fun).function is not fun.fun:
        return user_function(fun.fun)
    code = getattr(fun, "__code__", None)
    if code is None or not code.co_filename.startswith(_JAX_SOURCES):
        return UserFunction(fun)
    closed_over = _closure(fun)
    if code.co_name == "f_wrapped" and "dyn_argnums" in closed_over:  # argnums_partial2, 0.10 on
        others = closed_over.get("static_args"), closed_over.get("kwargs")
        return UserFunction(user_function(closed_over["f"]).function, tuple(closed_over["dyn_argnums"]), others)
    if code.co_name == "wrapped_fun" and "fun" in closed_over:  # custom_gradient
        return UserFunction(closed_over["fun"])
    return UserFunction(fun)


def _closure(fun: Any) -> dict[str, Any]:
    cells = zip(fun.__code__.co_freevars, fun.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells}


def way_in(frame: types.FrameType | None) -> tuple[str, types.FrameType | None]:
    """How `jax.vjp` was reached ("grad", "jacrev", ..., or "vjp"), and the frame that asked for it."""
    kind = "vjp"
    while frame and frame.f_code.co_filename in (api.__file__, traceback_util.__file__):
        if frame.f_code.co_filename == api.__file__:
            kind = frame.f_code.co_qualname.split(".")[0]
        frame = frame.f_back
    return kind, frame


def mapped_sizes(leaves: Iterable[Any]) -> tuple[int, ...]:
    """The sizes of the axes that vmap maps at this point, outermost first.

    Directly below a vmap only what is mapped counts: an unmapped call in a
    mapped function runs once. Below a jit in it, the arguments do not show it.
    """
    traces = {id(trace) for leaf in leaves for trace in _batch_traces(leaf)}
    sizes, below_jit, trace = [], False, core.trace_ctx.trace
    while trace is not None:
        if isinstance(trace, batching.BatchTrace):
            if below_jit or id(trace) in traces:
                sizes.append(int(trace.axis_data.size))
        elif not isinstance(trace, (ad.JVPTrace, ad.LinearizeTrace)):
            below_jit = True
        trace = getattr(trace, "parent_trace", None)
    return tuple(reversed(sizes))


def _batch_traces(value: Any) -> Iterator[Any]:
    while isinstance(value, core.Tracer):
        if isinstance(value, batching.BatchTracer) and value.batch_dim is not None:
            yield value._trace  # noqa: SLF001 (there is no public way from a tracer to its trace)
        value = _value_inside(value)


def _value_inside(tracer: Any) -> Any:
    return getattr(tracer, "val", None) if isinstance(tracer, batching.BatchTracer) else getattr(tracer, "primal", None)


def transformation_name(function: Any) -> str:
    """The transformation that made this function ("vmap", "jit"), "" where it is none of JAX's."""
    if isinstance(function, PjitFunction):
        return "jit"
    if isinstance(function, functools.partial):
        return "partial"
    code = getattr(function, "__code__", None)
    if code is None:
        return ""
    if code.co_filename == traceback_util.__file__:
        return transformation_name(_closure(function).get("fun"))
    return code.co_qualname.split(".")[0].strip("_") if code.co_filename.startswith(_JAX_SOURCES) else ""


def hide_frames_of(filename: str) -> None:
    """Let JAX pass over the frames of this file, in tracebacks and in source locations."""
    traceback_util.register_exclusion(filename)
    source_info_util.register_exclusion(filename)
