"""The only file that touches `jax._src`: what is private, and since which version.

| item | JAX 0.8, 0.9 | JAX 0.10 to 0.12 |
|---|---|---|
| where `jax.vjp`, grad, jacrev meet | the global `jax._src.api._vjp` | the function inside `jax.vjp`'s `api_boundary` |
| what they hand over | a `WrappedFun` | a plain function |
| a pullback | 0.8: a `Partial`; 0.9: a `VJP` object | a `VJP` object |
| what jit has traced | 0.8: also `_create_pjit_jaxpr`, by the function | `_infer_params_cached` |
| `custom_vjp3` | not there | from 0.10; until 0.11.0 `jax.custom_vjp` makes one, later `custom_vjp.__call__` does |
| rules of hijax primitives | without `nzs_in`, and not traced | `primitive_linearizations`, `fancy_transposes` |
| a hijax primitive | `VJPHiPrimitive` | until 0.11 `VJPHiPrimitive`, then `HiPrim` |

The rest is the same from 0.8 to 0.12: `custom_vjp.__call__` inside its own
`api_boundary`, the attributes of a custom_vjp object, `BatchTrace.axis_data`,
`parent_trace` of the traces that can be walked through, the `tangent` of their
tracers, `dce_jaxpr`, which says what a jaxpr uses; of what is traced again, the
caches `trace_to_jaxpr` of `partial_eval` and of checkpoint with their counts of
misses, the keys of `_pjit_lower`, `PjitFunctionCache`, jit's fast path, and the
lists of hidden files, `_exclude_paths`; `custom_jvp.__call__` and
`custom_vmap.__call__`, the functions inside `linear_transpose`, `custom_root`
and `custom_linear_solve`, `get_primitive_transpose`, `remat_p.bind`, and the
names in policies. `structured_residuals` came with 0.11.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import types
from typing import TYPE_CHECKING, Any

import jax
import jax.custom_batching
import jax.custom_derivatives

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager


class _MissingModule:
    """Replaces a module that this JAX does not have: what needs it is not seen, and the rest is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        message = f"JAX {jax.__version__} has no {self._name}.{name}"
        raise AttributeError(message)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"jax._src.{name}")
    except ImportError:
        return _MissingModule(f"jax._src.{name}")


class _NoSuchType:
    """Replaces a type that this JAX does not have: nothing is an instance of it."""


api, array, core, derivatives = map(_module, ("api", "array", "core", "custom_derivatives"))
ad_checkpoint, config, pjit = map(_module, ("ad_checkpoint", "config", "pjit"))
hijax = _module("hijax")
source_info_util, traceback_util = map(_module, ("source_info_util", "traceback_util"))
ad, batching, pe = map(_module, ("interpreters.ad", "interpreters.batching", "interpreters.partial_eval"))

SOURCES = os.path.dirname(jax.__file__)
API, BOUNDARY = (getattr(module, "__file__", "") for module in (api, traceback_util))  # what calls, and what wraps it
CustomVjp: Any = jax.custom_vjp
CustomVjp3: Any = getattr(
    hijax, "custom_vjp3", _NoSuchType
)  # what jax.custom_vjp makes with JAX_CUSTOM_VJP3 (0.10, 0.11)
CUSTOM_VJPS = CustomVjp, CustomVjp3
CustomVmap: Any = jax.custom_batching.custom_vmap
CustomVJPPrimal: Any = getattr(derivatives, "CustomVJPPrimal", _NoSuchType)
ArrayImpl: Any = getattr(array, "ArrayImpl", _NoSuchType)
Tracer: Any = jax.core.Tracer
OneDevice = jax.sharding.SingleDeviceSharding
SymbolicZero = jax.custom_derivatives.SymbolicZero
PjitFunction = type(jax.jit(lambda: None))
WRAPPERS = PjitFunction, jax.custom_jvp, jax.custom_batching.custom_vmap  # objects that keep `__wrapped__`
PartialInside: Any = type(jax.tree_util.Partial(functools.partial(print)).func)  # has func, args, keywords, too
HiPrimitive: Any = getattr(hijax, "VJPHiPrimitive", getattr(hijax, "HiPrim", _NoSuchType))  # as JAX 0.12 calls it
NotNeeded: Any = getattr(api, "NotNeeded", _NoSuchType)
REF_MARKS = tuple(getattr(api, name) for name in ("GradValue", "GradRef", "DontWant") if hasattr(api, name))


def _names_in_call(cls: Any) -> tuple[str, ...]:
    """The names that the `__call__` of a class looks up, inside its `api_boundary`."""
    outer = cls.__dict__["__call__"]
    inner = getattr(outer, "__wrapped__", outer)
    return tuple(getattr(getattr(inner, "__code__", None), "co_names", ()))


# After 0.11.0 a custom_vjp object stays one with the flag, and makes a custom_vjp3 when it is called.
_CALLS_CUSTOM_VJP3 = "custom_vjp3" in _names_in_call(CustomVjp)


def primal_of(custom: Any) -> Any:
    """The primal function of a custom_vjp function, or of another function with a rule of its own."""
    return custom.f if type(custom) is CustomVjp3 else custom.fun


def rules_of(custom: Any) -> tuple[Any, Any]:
    """The fwd and bwd rule of a custom_vjp function; of a custom_jvp or custom_vmap function its one rule, as both."""
    if isinstance(custom, jax.custom_jvp):
        return custom.jvp, custom.jvp
    if isinstance(custom, CustomVmap):
        return custom.vmap_rule, custom.vmap_rule
    return custom.fwd, custom.bwd


def traces_custom_jvps() -> bool:
    """Whether JAX calls custom_jvp functions by way of `custom_jvp3`, a flag of JAX 0.12."""
    return bool(getattr(getattr(config, "custom_jvp3", None), "value", False))


def static_argnums_of(custom: Any) -> tuple[int, ...]:
    """The `nondiff_argnums` of a custom_vjp function."""
    if isinstance(custom, CustomVmap):
        return ()
    return tuple(sorted(custom.static_argnums)) if type(custom) is CustomVjp3 else custom.nondiff_argnums


def has_symbolic_zeros(custom: Any) -> bool:
    """Whether the rules of a custom_vjp function were registered with `symbolic_zeros`."""
    return bool(custom.symz if type(custom) is CustomVjp3 else vars(custom).get("symbolic_zeros"))


def is_built_on_hijax(custom: Any) -> bool:
    """Whether JAX calls this custom_vjp function by way of `custom_vjp3`, which traces the primal function with jit."""
    if type(custom) is CustomVjp3 or not _CALLS_CUSTOM_VJP3:
        return type(custom) is CustomVjp3
    return bool(config.custom_vjp3.value or custom.__dict__.get("generic_batching"))


def has_hijax_rules() -> bool:
    """Whether hijax primitives have the rules of JAX 0.10 and later, which are told what is differentiated."""
    return HiPrimitive is not _NoSuchType and "nzs_in" in HiPrimitive.vjp_fwd.__code__.co_varnames


def overrides(primitive_type: type, method: str) -> bool:
    """Whether a class of hijax primitives has a method of its own."""
    return getattr(primitive_type, method) is not getattr(HiPrimitive, method)


def unmapped(primitive: Any) -> Any:
    """The hijax primitive below those that vmap makes of it, whose rules call its rules."""
    while type(primitive).__name__ == "VmapOf" and is_of_jax(type(primitive)):
        primitive = primitive.prim
    return primitive


def is_of_jax(cls: type) -> bool:
    """Whether a class is one of JAX's own."""
    return cls.__module__.partition(".")[0] == "jax"


def watch_bound(bound: Any, watch: Callable[..., Any]) -> None:
    """Replace the function in a Partial by `watch(function)`; `with_refs` just made it, so no one else has it yet."""
    shim: Any = getattr(bound, "func", None)
    if isinstance(shim, PartialInside):
        shim.fun = watch(shim.fun)


def map_refs(function: Callable[..., Any], refs: Any, *others: Any) -> Any:
    """`jax.tree.map` over what `with_refs` takes, where the marks for "no ref" are leaves."""
    return jax.tree_util.tree_map(function, refs, *others, is_leaf=lambda leaf: isinstance(leaf, REF_MARKS))


def lowered_jaxprs(lower: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Weak references to the jaxprs that JAX has lowered, and the other arguments; `lower` is JAX's own function."""
    for reference, _, lowering_args, _ in lower.cache_keys():
        yield reference, lowering_args


def forget_the_fast_path() -> None:
    """Empty jit's fast path, so that its calls go through Python again, and are seen; compiled code is kept.

    A setting in the fast path's keys would do it for one thread, but the keys'
    hashes ignore settings: each new value would make all later calls slower.
    """
    type(pjit._cpp_pjit_cache_fun_only).clear_all()  # noqa: SLF001 (as all here)


def is_top_level() -> bool:
    """Whether what runs now is neither traced nor transformed."""
    return bool(core.trace_state_clean())


def pullback_owner(pullback: Any) -> tuple[Any, int]:
    """An object that lives as long as the pullback's code, and the key that its calls show.

    Both stay the same when the pullback passes through jit, which rebuilds the
    pullback itself.
    """
    if isinstance(pullback, api.VJP):
        return pullback.fun, id(pullback.fun)
    return pullback.func, id(pullback.func.args[1])  # JAX 0.8: the list of the output's types


def aval_at_hand(value: Any) -> Any:
    """The aval of a tracer or of an array on one device, which is cheap to read; None for everything else.

    None, too, for a tracer around an array on several devices, whose sharding counts.
    """
    inner = value
    while isinstance(inner, Tracer):
        inner = None if isinstance(inner, batching.BatchTracer) else getattr(inner, "primal", None)
    if inner is not None and (not isinstance(inner, ArrayImpl) or not isinstance(inner.sharding, OneDevice)):
        return None
    return None if value is None else value.aval


def avals_at_hand(leaves: Sequence[Any]) -> list[Any] | None:
    """As `aval_at_hand`, of all leaves; None if it is None for a leaf."""
    avals = []
    for leaf in leaves:
        # The usual leaf, of which there may be thousands; `sharding` would call a function of Python's.
        if type(leaf) is ArrayImpl and type(leaf._sharding) is OneDevice:  # noqa: SLF001 (as all here)
            avals.append(leaf.aval)
            continue
        aval = aval_at_hand(leaf)
        if aval is None:
            return None
        avals.append(aval)
    return avals


def aval_of(value: Any) -> Any:
    """`jax.typeof`, or None for what is not an array; an array on one device has its aval at hand."""
    if isinstance(value, core.AbstractValue):
        return value
    if isinstance(value, Tracer) or (isinstance(value, ArrayImpl) and isinstance(value.sharding, OneDevice)):
        return value.aval
    try:
        return jax.typeof(value)
    except TypeError:
        return None


def varying_axes(aval: Any) -> tuple[str, ...]:
    """The mesh axes over which a value varies inside a shard_map, in the mesh's order.

    JAX 0.8 has them as `aval.vma`, later ones in `aval.mat`, the manual axis type.
    """
    varying = getattr(getattr(aval, "mat", None), "varying", None) or getattr(aval, "vma", None)
    return tuple(axis for axis in aval.sharding.mesh.axis_names if axis in varying) if varying else ()


def sharding_of(value: Any, aval: Any) -> str:
    """How an array on several devices is sharded, if its type does not say so; "" for others.

    A mesh with explicit axes is part of the type (`float32[8@x]`); otherwise
    only the array itself knows, so under jit it does not show.
    """
    while isinstance(value, Tracer):
        if isinstance(value, batching.BatchTracer):  # its axes are not the array's
            return ""
        value = getattr(value, "primal", None)
    if not isinstance(value, ArrayImpl) or isinstance(value.sharding, OneDevice):
        return ""
    devices = len(value.sharding.device_set)
    if devices == 1 or "@" in aval.str_short():
        return ""
    if value.sharding.is_fully_replicated:
        return f"replicated on {devices} devices"
    spec = getattr(value.sharding, "spec", None)
    return f"on {devices} devices" if spec is None else f"sharded P({', '.join(map(repr, spec))})"


def is_pullback(value: Any) -> bool:
    """Whether this is what `jax.vjp` returns beside the output."""
    if hasattr(api, "_vjp_pullback_wrapper") and isinstance(value, functools.partial):  # JAX 0.8
        return getattr(value.func, "func", None) is api._vjp_pullback_wrapper  # noqa: SLF001 (that is the type)
    return isinstance(value, api.VJP)


def is_tracer(value: Any) -> bool:
    """Whether this is a placeholder for an unknown value."""
    return Tracer in type(value).__mro__  # not `isinstance`, which would read `__class__` of other objects


def is_differentiated(value: Any) -> bool:
    """Whether this is a tracer with a tangent of its own, as far as that shows: below a jit it does not."""
    while isinstance(value, Tracer):
        if isinstance(value, (ad.JVPTracer, ad.LinearizeTracer)) and type(value.tangent).__name__ != "Zero":
            return True
        value = _value_inside(value)
    return False


def functions_in_rule(rule: Any) -> list[Any]:
    """The functions that a primitive was given as a rule, by `defjvp` or `deflinear2` for instance, or the rule."""
    given = rule.args[0] if isinstance(rule, functools.partial) and rule.args else rule
    return list(filter(callable, given)) if isinstance(given, tuple) else [given]


def is_linear_argument(value: Any) -> bool:
    """Whether this argument of a transpose rule is one that it gives a cotangent for."""
    return isinstance(value, ad.UndefinedPrimal)


def linear_argument(aval: Any) -> Any:
    """What a transpose rule gets for an argument that it gives a cotangent for."""
    return ad.UndefinedPrimal(aval)


def names_asked_by(policy: Any) -> frozenset[str]:
    """The names of `checkpoint_name` that a policy of jax.checkpoint asks for; none of other policies."""
    if is_of_jax(type(policy)):
        return frozenset(getattr(policy, "saveable_names", ()))
    if type(policy) is not types.FunctionType or not policy.__code__.co_filename.startswith(SOURCES):
        return frozenset()
    code = policy.__code__
    cells = dict(zip(code.co_freevars, (cell.cell_contents for cell in policy.__closure__ or ()), strict=True))
    asked = [cells.get(name, ()) for name in ("names_which_can_be_saved", "names_which_can_be_offloaded")]
    inner = [names_asked_by(cells[name]) for name in ("policy_1", "policy_2") if name in cells]
    return frozenset().union(*asked, *inner)


def names_in(jaxpr: Any) -> Iterator[str]:
    """The names that `checkpoint_name` gave to values of a jaxpr, and of those inside it."""
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive is ad_checkpoint.name_p:
            yield equation.params["name"]
        for inner in core.jaxprs_in_params(equation.params):
            yield from names_in(inner)


def value_behind(value: Any) -> Any:
    """The array behind a tracer, of a vmap's first example; raises LookupError below jit, where there is none yet."""
    if not isinstance(value, Tracer):
        return value
    if isinstance(value, batching.BatchTracer):
        array = value_behind(value.val)
        with jax.ensure_compile_time_eval():  # and never as a part of what the program traces
            return array if value.batch_dim is None else jax.numpy.take(array, 0, axis=value.batch_dim)
    inside = _value_inside(value)
    if inside is None:
        message = "the value is not known yet"
        raise LookupError(message)
    return value_behind(inside)


def are_differentiated(leaves: Iterable[Any]) -> tuple[bool, ...]:
    """For each leaf whether it `is_differentiated`."""
    return tuple([is_differentiated(leaf) for leaf in leaves])


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
    """For each array, or its shape, whether `function(*arrays)` uses it; with `outputs`, for these output leaves."""

    def flat(*values: Any) -> list[Any]:
        leaves = jax.tree_util.tree_leaves(function(*values))
        return [leaf if isinstance(leaf, jax.Array) else 0.0 for leaf in leaves]

    jaxpr = jax.make_jaxpr(flat)(*arrays).jaxpr
    wanted = [outputs is None or i in outputs for i in range(len(jaxpr.outvars))]
    return list(pe.dce_jaxpr(jaxpr, wanted)[1])


def is_differentiating() -> bool:
    """Whether what runs now runs somewhere below a gradient."""
    trace = core.trace_ctx.trace
    while trace is not None:
        if isinstance(trace, (ad.JVPTrace, ad.LinearizeTrace)):
            return True
        trace = getattr(trace, "parent_trace", None)
    return False


def run_rules_in(jaxpr: Any) -> None:
    """Differentiate a jaxpr with respect to all its floats, on avals only, so that the rules in it run."""
    is_open = isinstance(jaxpr, core.Jaxpr)  # checkpoint's
    constants = len(jaxpr.constvars) if is_open else 0
    avals = [variable.aval for variable in (*jaxpr.constvars, *jaxpr.invars)] if is_open else jaxpr.in_avals

    def run(*arrays: Any) -> Any:
        if is_open:
            return core.eval_jaxpr(jaxpr, arrays[:constants], *arrays[constants:])
        return core.jaxpr_as_fun(jaxpr)(*arrays)

    def is_float(value: Any) -> bool:
        return bool(jax.numpy.issubdtype(value.dtype, jax.numpy.inexact))

    floats = [i for i, aval in enumerate(avals) if is_float(aval)]

    def backwards(*arrays: Any) -> Any:
        def forwards(*moved: Any) -> list[Any]:
            all_arrays = dict(enumerate(arrays)) | dict(zip(floats, moved, strict=True))
            return [output for output in run(*all_arrays.values()) if is_float(output)]

        primals = [arrays[i] for i in floats]
        outputs, linear = jax.linearize(forwards, *primals)
        return jax.linear_transpose(linear, *primals)(outputs)

    jax.eval_shape(backwards, *(jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals))


def run_equation(jaxpr: Any, equation: Any, values: dict[Any, Any]) -> list[Any]:
    """The outputs of one equation of a jaxpr, for these values of its variables."""
    variables = list(dict.fromkeys(variable for variable in equation.invars if not isinstance(variable, core.Literal)))
    debug = jaxpr.debug_info and jaxpr.debug_info._replace(arg_names=None, result_paths=None)  # without it JAX warns
    single = jaxpr.replace(constvars=[], invars=variables, outvars=equation.outvars, eqns=[equation], debug_info=debug)
    return list(core.eval_jaxpr(single, [], *(values[variable] for variable in variables)))


def lines_of(equation: Any) -> Iterator[tuple[str, int]]:
    """The files and lines that an equation of a jaxpr comes from, the innermost first, without JAX's own."""
    for frame in source_info_util.user_frames(equation.source_info.traceback):
        yield frame.file_name, frame.start_line


def kept_residuals(pullback: Any) -> tuple[Any, Any]:
    """The primals that a pullback keeps (for each argument; an empty tuple where not), and everything else it keeps."""
    if isinstance(pullback, api.VJP):
        rest = pullback.opaque_residuals
        structured = getattr(pullback, "structured_residuals", ())
        primals = [() if type(residual) is NotNeeded else residual for residual in pullback.args_res]
        return tuple(primals), [*rest, *jax.tree_util.tree_leaves(structured)] if structured else rest
    return (), jax.tree_util.tree_leaves(pullback)


def mapped_sizes(leaves: list[Any], others: Any = ()) -> tuple[int, ...]:
    """The sizes of the axes that vmap maps at this point, outermost first.

    Directly below a vmap only what is mapped counts, of `leaves` and of the
    leaves of `others`: an unmapped call in a mapped function runs once. Below a
    jit in it, the arguments do not show it.
    """
    trace = core.trace_ctx.trace
    while trace is not None and not isinstance(trace, batching.BatchTrace):
        trace = getattr(trace, "parent_trace", None)
    if trace is None:
        return ()
    leaves = leaves + jax.tree_util.tree_leaves(others)
    traces = {id(batch_trace) for leaf in leaves for batch_trace in _batch_traces(leaf)}
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
    while isinstance(value, Tracer):
        if isinstance(value, batching.BatchTracer) and value.batch_dim is not None:
            yield value._trace  # noqa: SLF001 (there is no public way from a tracer to its trace)
        value = _value_inside(value)


def _value_inside(tracer: Any) -> Any:
    return getattr(tracer, "val", None) if isinstance(tracer, batching.BatchTracer) else getattr(tracer, "primal", None)


def whole_tracebacks() -> AbstractContextManager[Any]:
    """A context in which JAX takes no frames out of tracebacks, in this thread."""
    filtering = getattr(config, "traceback_filtering", None)
    return contextlib.nullcontext() if filtering is None else filtering("off")


def hide_frames_of(filename: str) -> None:
    """Let JAX skip the frames of this file, in tracebacks and in source locations, from now on."""
    for module in (traceback_util, source_info_util):
        if filename not in module._exclude_paths:  # noqa: SLF001 (each check asks; JAX searches the list for each frame)
            module.register_exclusion(filename)


def accelerators() -> list[str]:
    """The platforms besides the CPU that this process has started."""
    bridge = _module("xla_bridge")
    return [name for name in getattr(bridge, "_backends", ()) if name != "cpu"]


def forbid_compiling(forbidden: Callable[..., Any]) -> None:
    """Call `forbidden()` instead of compiling or running anything: in a forked child, which has none of XLA's threads.

    There a compilation never ends, nor does a large computation or the wait for
    one. Traces still work; on a CPU, so do arrays made from NumPy's, and reading
    arrays that are ready.

    The same from 0.8 to 0.12. An executable made ahead of time keeps a fast path
    of its own, which this does not close.
    """
    import numpy as np

    mlir, pxla = _module("interpreters.mlir"), _module("interpreters.pxla")
    mlir.lower_jaxpr_to_module = forbidden  # before all compilations; in 0.8 it waits for threads itself
    pxla.ExecuteReplicated.__call__ = forbidden  # all that is compiled, but for jit's fast path
    forget_the_fast_path()
    if accelerators():
        pxla.batched_device_put = pxla.xc.batched_device_put = forbidden

    def watched(read: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(read)
        def watch(array: Any, *arguments: Any, **options: Any) -> Any:
            if isinstance(array, ArrayImpl) and array._npy_value is None:  # noqa: SLF001 (as all here)
                on_cpu = all(device.platform == "cpu" for device in array.sharding.device_set)
                if not on_cpu or not array.is_ready():
                    forbidden()
            return read(array, *arguments, **options)

        return watch

    ArrayImpl._value = property(watched(ArrayImpl._value.fget))  # noqa: SLF001 (as all here)
    np.asarray, np.array = watched(np.asarray), watched(np.array)  # these read an array's memory without `_value`
