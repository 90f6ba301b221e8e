"""`--verify`: takes a sample, says whether its rule may run in float64, and gives the sample promoted to it."""

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
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    import types

    from jaxvjp_magic.verify.samples import Sample

PROMOTED = {"float16": "float64", "bfloat16": "float64", "float32": "float64", "complex64": "complex128"}
WIDE = {"float64", "complex128"}
_MOST_BYTES = 100_000_000  # of arguments: more is not copied for a comparison
_COMPARED_SOON = 8  # instructions between reading a dtype and comparing it


def may_be_promoted(sample: Sample) -> bool:
    """Whether the arguments are small and of usual dtypes, and the code does not ask for a dtype."""
    leaves = [jax.typeof(leaf) for leaf in tree_util.tree_leaves(sample.dynamic)]
    floats = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    if any(str(leaf.dtype) not in PROMOTED.keys() | WIDE for leaf in floats):
        return False
    if sum(leaf.size for leaf in floats) * np.dtype(np.float64).itemsize > _MOST_BYTES:
        return False
    return not any(map(_compares_dtypes, (internals.primal_of(sample.custom), sample.custom.fwd, sample.custom.bwd)))


def _compares_dtypes(function: Any) -> bool:
    """Whether a function may take another branch for float64: `if x.dtype == jnp.bfloat16`."""
    code = code_of(below_wrappers(function))
    return code is not None and _code_compares_dtypes(code)


def _code_compares_dtypes(code: types.CodeType) -> bool:
    left = 0
    for instruction in dis.get_instructions(code):
        if left and instruction.opname in ("COMPARE_OP", "CONTAINS_OP", "IS_OP"):
            return True
        left = _COMPARED_SOON if instruction.argval == "dtype" else max(left - 1, 0)
    return any(_code_compares_dtypes(inner) for inner in code.co_consts if hasattr(inner, "co_code"))


def reaches_a_stop(jaxpr: Any, inputs: set[int]) -> bool:
    """Whether `stop_gradient` takes floats that depend on these inputs of a jaxpr."""
    reached = {variable for index, variable in enumerate(jaxpr.invars) if index in inputs}
    for equation in jaxpr.eqns:
        taken = [index for index, variable in enumerate(equation.invars) if _is_in(variable, reached)]
        if not taken:
            continue
        if equation.primitive.name == "stop_gradient":
            return True
        for inner in inner_jaxprs(equation):
            # The inputs of a branch or a loop's body have other positions: it may be any of them.
            is_alike = len(inner.invars) == len(equation.invars)
            if reaches_a_stop(inner, set(taken) if is_alike else set(range(len(inner.invars)))):
                return True
        reached.update(variable for variable in equation.outvars if jnp.issubdtype(variable.aval.dtype, jnp.inexact))
    return False


def _is_in(variable: Any, reached: set[Any]) -> bool:
    return not hasattr(variable, "val") and variable in reached  # a literal has no hash


def inner_jaxprs(equation: Any) -> list[Any]:
    """The jaxprs inside an equation: those of a jit, a loop, a branch."""
    found = [getattr(leaf, "jaxpr", leaf) for leaf in tree_util.tree_leaves(dict(equation.params))]
    return [jaxpr for jaxpr in found if hasattr(jaxpr, "eqns")]


def with_arrays(sample: Sample, promoted: dict[str, str]) -> Sample:
    """The sample with jax arrays instead of NumPy's, and the dtypes replaced as `promoted` says."""

    def as_array(leaf: Any) -> Any:
        dtype = promoted.get(str(getattr(leaf, "dtype", "")))
        if dtype is not None:
            return jnp.asarray(leaf).astype(dtype)
        return jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    dynamic = tuple(tree_util.tree_map(as_array, argument) for argument in sample.dynamic)
    return dataclasses.replace(sample, args=sample.filled(dynamic))
