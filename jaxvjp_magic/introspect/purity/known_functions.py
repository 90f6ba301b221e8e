"""Takes a function or class of JAX, NumPy or Python, and gives its known effects: what a call of it does.

A table of functions that need not be followed. Others are followed into their
code; if there is none, the function is not known to be pure.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import itertools
import math
import operator
import os
import types
from typing import Any

import jax
import numpy as np

from jaxvjp_magic.introspect import unwrap
from jaxvjp_magic.introspect.purity.abstract_values import one_of
from jaxvjp_magic.introspect.static_attributes import attribute, code_of, name_of
from jaxvjp_magic.jax_compat import internals

_SRC = os.path.join(internals.SOURCES, "_src") + os.sep
_PURE_FILES = tuple(
    os.path.join(_SRC, name)
    for name in (
        "numpy" + os.sep, "lax" + os.sep, "nn" + os.sep, "random", "prng.py", "scipy" + os.sep, "image" + os.sep,
        "ops" + os.sep, "tree_util.py", "tree.py", "dtypes.py", "core.py", "ad_util.py", "ad_checkpoint.py",
        "custom_derivatives.py", "custom_batching.py", "literals.py", "named_sharding.py", "partition_spec.py",
    )
)  # fmt: skip
_IMPURE_NAMES = {"save", "savez", "load", "fromfile", "set_printoptions", "printoptions"}
_TRANSFORMS = {
    "jit", "pjit", "grad", "value_and_grad", "vmap", "jvp", "vjp", "linearize", "linear_transpose", "jacfwd", "jacrev",
    "hessian", "checkpoint", "eval_shape", "make_jaxpr", "named_call", "closure_convert", "custom_gradient",
    "shard_map", "fun_remat",
}  # fmt: skip
_OTHER_API = {
    "device_put", "default_backend", "devices", "local_devices", "device_count", "local_device_count", "process_index",
    "process_count", "typeof", "shape_aware_jit", "ensure_compile_time_eval", "live_arrays",
}  # fmt: skip
_CALLBACKS, _PRINTS = (os.path.join(_SRC, name) for name in ("callback.py", "debugging.py"))
_CONTEXTS = {"named_scope", "default_matmul_precision", "numpy_dtype_promotion", "enable_x64"}
_GIVES_FUNCTIONS = {
    "jit", "pjit", "grad", "value_and_grad", "vmap", "jacfwd", "jacrev", "hessian", "checkpoint", "make_jaxpr",
    "named_call", "custom_gradient", "shard_map", "fun_remat", "linear_transpose",
}  # fmt: skip

# NumPy: functions that change an array, global state or a file.
_NUMPY_EFFECTS = {
    "copyto", "put", "place", "putmask", "fill_diagonal", "put_along_axis", "save", "savez", "savez_compressed",
    "savetxt", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "seterr", "seterrcall", "setbufsize",
    "set_printoptions", "shuffle", "info", "source", "show_config", "test", "vectorize", "frompyfunc", "printoptions",
    "open_memmap", "fromregex", "set_string_function", "getbufsize", "fromiter",
}  # fmt: skip
_NUMPY_NEW = {
    "zeros", "ones", "empty", "full", "arange", "eye", "identity", "linspace", "logspace", "geomspace", "zeros_like",
    "ones_like", "empty_like", "full_like", "copy", "tile", "repeat", "concatenate", "stack", "hstack", "vstack",
    "tri", "tril", "triu", "outer", "where", "array",
}  # fmt: skip
_NUMPY_LONG = ("numpy.linalg", "numpy.fft", "scipy")

# Methods of arrays, of `.at[...]`, of containers and of strings that change nothing.
_ARRAY_CHANGES = {
    "sort", "fill", "put", "resize", "partition", "setfield", "setflags", "tofile", "dump", "dumps", "byteswap",
    "delete", "itemset", "on_device_size_in_bytes", "copy_to_host_async", "__setitem__", "__delitem__", "__iadd__",
}  # fmt: skip
DATA_METHODS = frozenset(
    {name for cls in (jax.Array, internals.ArrayImpl, np.ndarray, str, bytes, int, float, complex)
     for name in dir(cls)}
    | {"add", "set", "get", "apply", "multiply", "mul", "divide", "subtract", "power", "min", "max", "at",
       "items", "keys", "values", "index", "count", "_replace", "_asdict", "indices", "bit_length", "newbyteorder"}
) - _ARRAY_CHANGES  # fmt: skip

CONTAINER_METHODS = {
    list: {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "index", "count", "copy"},
    dict: {"get", "items", "keys", "values", "pop", "popitem", "setdefault", "update", "clear", "copy"},
    set: {"add", "discard", "remove", "pop", "clear", "update", "union", "intersection", "difference", "copy",
          "issubset", "issuperset", "isdisjoint", "symmetric_difference", "difference_update", "intersection_update"},
    np.ndarray: {"sort", "fill", "put", "partition"},
}  # fmt: skip
CHANGES = {
    "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "popitem", "setdefault", "update",
    "add", "discard", "difference_update", "intersection_update", "fill", "put", "partition",
}  # fmt: skip

# Python's: pure for data; the functions among their arguments are followed.
_PURE_BUILTINS = {
    abs, all, any, ascii, bin, callable, chr, complex, divmod, float, format, hasattr, hash, hex, id, int, isinstance,
    issubclass, len, max, min, oct, ord, pow, range, repr, round, slice, str, bool, bytes, sum, frozenset, type, object,
}  # fmt: skip
_PURE_CLASSES = (BaseException, np.generic, np.dtype, types.SimpleNamespace)
_WIDE_TEXTS = {"float64", "int64", "uint64", "complex128", "f8", "i8", "u8", "c16", "d", "double"}
_PURE_MODULES = ("math", "cmath", "_operator", "_functools", "itertools", "_statistics", "unicodedata")
_DEEPEST = 8  # wrappers of wrappers
_AROUND_FUNCTIONS = (
    *internals.CUSTOM_VJPS, jax.custom_jvp, internals.PjitFunction, internals.PartialInside,
)  # fmt: skip
CONSTRUCTORS = {list, dict, set, tuple, zip, enumerate, map, filter, reversed, sorted, iter, next}
SPECIAL = {getattr, setattr, super, print, object.__setattr__, functools.partial, functools.reduce, *CONSTRUCTORS}
_CONTEXT_CLASSES = (contextlib.nullcontext, contextlib.suppress, np.errstate)
_ITERTOOLS = {getattr(itertools, name) for name in dir(itertools) if isinstance(getattr(itertools, name), type)}


def origin_of(function: Any) -> str:
    """The source file of a function of JAX, below the wrappers of JAX; "" for other functions."""
    if isinstance(function, (*internals.CUSTOM_VJPS, jax.custom_jvp)):
        parts = vars(function)
        rules = [internals.primal_of(function), *(parts.get(name) for name in ("fwd", "bwd", "jvp"))]
        files = {origin_of(rule) for rule in rules if rule is not None}
        return "" if "" in files or not files else min(files)  # if one rule is the user's, the function is
    for _ in range(8):
        inner = attribute(function, "__wrapped__")
        if inner is None:
            break
        function = inner
    code = code_of(function)
    return code.co_filename if code is not None and code.co_filename.startswith(_SRC) else ""


def module_of(obj: Any) -> str:
    """The `__module__` of a live object, "" where it has none."""
    module = attribute(obj, "__module__")
    return module if type(module) is str else ""


def is_jax(obj: Any) -> bool:
    """Whether this is an object of JAX's own classes."""
    return type(obj).__module__.split(".", 1)[0] in ("jax", "jaxlib")


def kind_of(obj: Any) -> str:
    """What a call of a live object does, "" where it has to be followed.

    "pure", "new" (returns a new array), "view" (may return a view of an
    argument), "iterator", "function" (returns a function), "wrapper" (JAX's,
    around a function of the user's), "context", "callback" (JAX calls its
    argument when it computes), "long" (may compute for long), "vjp",
    "linearize", "special", or "unknown".
    """
    if isinstance(obj, type):
        return _kind_of_class(obj)
    name, file, outermost = name_of(obj), origin_of(obj), code_of(obj)
    if not file and outermost is not None and outermost.co_filename.startswith(_SRC):
        return "wrapper"  # JAX's, around a function of the user's
    if file:
        return _kind_in_jax(obj, name, file)
    if is_jax(obj) and type(obj).__name__ == "ufunc":
        return "pure"
    if isinstance(obj, np.ufunc):
        return "pure"
    module = module_of(obj)
    if module.split(".", 1)[0] == "numpy":
        return _kind_in_numpy(name, module)
    hash_of = attribute(type(obj), "__hash__")
    if (
        hash_of is None or code_of(hash_of) is not None
    ):  # not in the tables, and a lookup there would run the user's `__hash__`
        return ""
    if obj in SPECIAL:
        return "special"
    if obj in _PURE_BUILTINS:
        return "pure"
    if isinstance(obj, types.BuiltinFunctionType) and not isinstance(obj.__self__, (types.ModuleType, type(None))):
        return ""  # a method of a live object
    if isinstance(obj, types.BuiltinFunctionType) and module in _PURE_MODULES:
        return "pure"
    if module in (math.__name__, operator.__name__):
        return "pure"
    return ""


def _kind_of_class(cls: type) -> str:
    if cls in SPECIAL:
        return "special"
    if cls in _PURE_BUILTINS or issubclass(cls, _PURE_CLASSES):
        return "pure"
    if cls in _ITERTOOLS:
        return "iterator"
    if issubclass(cls, _CONTEXT_CLASSES):
        return "context"
    package = cls.__module__.split(".", 1)[0]
    if cls in (*internals.CUSTOM_VJPS, jax.custom_jvp, jax.custom_batching.custom_vmap):
        return "function"
    if package in ("jax", "jaxlib"):
        return "pure"
    return ""


def _kind_in_jax(obj: Any, name: str, file: str) -> str:
    if file == _CALLBACKS:  # the callback is followed, like every function that is passed to JAX
        return "pure"
    if file == _PRINTS:
        return "callback"
    if name in _CONTEXTS:
        return "context"
    if name in ("vjp", "linearize"):
        return name
    if file == internals.API or name in _TRANSFORMS:
        public = _public(name)
        if public is obj or (public is not None and attribute(public, "__wrapped__") is obj):
            return "function" if name in _GIVES_FUNCTIONS else "pure"
    if name in _OTHER_API:
        return "pure"
    if _closes_over_functions(obj):
        return "wrapper"
    if name in _IMPURE_NAMES or name.startswith("register"):
        return "unknown"
    return "pure" if file.startswith(_PURE_FILES) else ""


def _public(name: str) -> Any:
    name = {"fun_remat": "checkpoint"}.get(name, name)
    return jax.__dict__.get(name) if name in _TRANSFORMS | {"checkpoint"} | _OTHER_API else None


def _closes_over_functions(obj: Any) -> bool:
    """Whether JAX made this function from others, as `jax.vmap` does."""
    return any(True for _ in functions_inside(obj))


def functions_inside(obj: Any, depth: int = 0) -> list[Any]:
    """The functions, except JAX's own, from which JAX made a function."""
    functions: list[Any] = []
    cells = attribute(obj, "__closure__") or ()
    for cell in cells:
        try:
            value = cell.cell_contents
        except ValueError:  # not yet bound
            continue
        value = unwrap.unwrapped(value)
        if not callable(value) or isinstance(value, type):
            continue
        if isinstance(value, types.FunctionType) and value.__code__.co_filename.startswith(_SRC):
            if depth < _DEEPEST and value is not obj:
                functions += functions_inside(value, depth + 1)
        elif (not is_jax(value) or isinstance(value, _AROUND_FUNCTIONS)) and not origin_of(value):
            functions.append(value)
    return functions


def _kind_in_numpy(name: str, module: str) -> str:
    if module.startswith(("numpy.random", "numpy.testing", "numpy.ctypeslib")) or name in _NUMPY_EFFECTS:
        return "unknown"
    if module.startswith(_NUMPY_LONG):
        return "long"
    return "new" if name in _NUMPY_NEW else "view"


def may_warn_of(obj: Any) -> bool:
    """Whether this is a 64-bit type, about which JAX warns while `jax_enable_x64` is off."""
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return False
    if isinstance(obj, str):
        return obj in _WIDE_TEXTS
    if isinstance(obj, np.dtype):
        return str(obj) in _WIDE_TEXTS
    return name_of(obj) in _WIDE_TEXTS


def shown(obj: Any) -> str:
    """The name of a live object in a message."""
    owner = obj.__self__ if isinstance(obj, types.BuiltinMethodType) else None
    name = name_of(obj)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return f"{type(owner).__name__}.{name}"
    if name:
        qualified = str(attribute(obj, "__qualname__", name)).rsplit("<locals>.", 1)[-1]
        module = module_of(obj)
        is_plain = "." not in qualified and isinstance(obj, types.BuiltinFunctionType)
        return f"{module}.{qualified}" if is_plain and module not in ("", "builtins") else qualified
    return one_of(type(obj))


BUILTINS = vars(builtins)
