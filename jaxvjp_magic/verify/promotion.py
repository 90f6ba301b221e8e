"""`--verify`: whether a rule may be run in float64, and its arguments in it."""

from __future__ import annotations

import dataclasses
import dis
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect.callables import below_wrappers
from jaxvjp_magic.introspect.static_attributes import code_of

if TYPE_CHECKING:
    import types

    from jaxvjp_magic.verify.samples import Sample

PROMOTED = {"float16": "float64", "bfloat16": "float64", "float32": "float64", "complex64": "complex128"}
WIDE = {"float64", "complex128"}
_MOST_BYTES = 100_000_000  # of arguments: more is not copied for a comparison
_COMPARED_SOON = 8  # instructions between reading a dtype and comparing it


def may_be_promoted(sample: Sample) -> bool:
    """Not where the arguments are large or of special types, nor where the code asks which type it is given."""
    leaves = [jax.typeof(leaf) for leaf in tree_util.tree_leaves(sample.dynamic)]
    floats = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if any(str(leaf.dtype) not in PROMOTED.keys() | WIDE for leaf in floats):
        return False
    if sum(leaf.size for leaf in floats) * np.dtype(np.float64).itemsize > _MOST_BYTES:
        return False
    return not any(map(_compares_dtypes, (sample.custom.fun, sample.custom.fwd, sample.custom.bwd)))


def _compares_dtypes(function: Any) -> bool:
    """Whether a function may go another way for float64: `if x.dtype == jnp.bfloat16`."""
    code = code_of(below_wrappers(function))
    return code is not None and _code_compares_dtypes(code)


def _code_compares_dtypes(code: types.CodeType) -> bool:
    left = 0
    for instruction in dis.get_instructions(code):
        if left and instruction.opname in ("COMPARE_OP", "CONTAINS_OP", "IS_OP"):
            return True
        left = _COMPARED_SOON if instruction.argval == "dtype" else max(left - 1, 0)
    return any(_code_compares_dtypes(inner) for inner in code.co_consts if hasattr(inner, "co_code"))


def reaches_a_stop(jaxpr: Any, given: set[int]) -> bool:
    """Whether floats that come of these inputs of a jaxpr are given to `stop_gradient`."""
    reached = {variable for index, variable in enumerate(jaxpr.invars) if index in given}
    for equation in jaxpr.eqns:
        inside = [index for index, variable in enumerate(equation.invars) if _is_in(variable, reached)]
        if not inside:
            continue
        if equation.primitive.name == "stop_gradient":
            return True
        for inner in inner_jaxprs(equation):
            # What a branch or a round of a loop is given has other positions: any may be meant.
            is_alike = len(inner.invars) == len(equation.invars)
            if reaches_a_stop(inner, set(inside) if is_alike else set(range(len(inner.invars)))):
                return True
        reached.update(one for one in equation.outvars if jnp.issubdtype(one.aval.dtype, jnp.inexact))
    return False


def _is_in(variable: Any, reached: set[Any]) -> bool:
    return not hasattr(variable, "val") and variable in reached  # a literal has no hash


def inner_jaxprs(equation: Any) -> list[Any]:
    """The jaxprs inside an equation: those of a jit, a loop, a branch."""
    found = [getattr(leaf, "jaxpr", leaf) for leaf in tree_util.tree_leaves(dict(equation.params))]
    return [one for one in found if hasattr(one, "eqns")]


def with_arrays(sample: Sample, promoted: dict[str, str]) -> Sample:
    """The sample with jax arrays for NumPy's, in the types that these are promoted to."""

    def as_array(leaf: Any) -> Any:
        dtype = promoted.get(str(getattr(leaf, "dtype", "")))
        if dtype is not None:
            return jnp.asarray(leaf).astype(dtype)
        return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    dynamic = tuple(tree_util.tree_map(as_array, argument) for argument in sample.dynamic)
    return dataclasses.replace(sample, args=sample.filled(dynamic))
