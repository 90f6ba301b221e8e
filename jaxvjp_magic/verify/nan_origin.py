"""`--verify`: takes a function, primals and a cotangent, and gives the line where the backward pass first makes NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax import tree_util

from jaxvjp_magic.introspect.stack import UserCode, is_user_code
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.calls import Place
from jaxvjp_magic.retracing.retrace import aside
from jaxvjp_magic.verify import observed_values

if TYPE_CHECKING:
    from collections.abc import Iterable

_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")


def began(function: Any, primals: tuple[Any, ...], cotangent: Any, options: dict[str, Any]) -> Place | None:
    """The user's line of the first operation that makes a NaN from inputs without one.

    The function and its backward pass are traced once more, and run equation
    by equation. None if that fails, or if no line is known.
    """
    equations: list[Any] = []
    run = getattr(function, "call_wrapped", function)  # JAX 0.8 and 0.9 hand over a WrappedFun
    with UserCode(), aside():
        made = jax.make_jaxpr(lambda *primals: internals.api.vjp(run, *primals, **options)[1](cotangent))(*primals)
        equations = _first(made.jaxpr, made.consts, tree_util.tree_leaves(primals))
    lines = (line for equation in equations for line in internals.lines_of(equation))
    return next((Place(file, line) for file, line in lines if is_user_code(file)), None)


def _first(jaxpr: Any, constants: Iterable[Any], arguments: Iterable[Any]) -> list[Any]:
    """The first equation that makes a NaN: the innermost one, then those around it."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))
    for equation in jaxpr.eqns:
        inputs = [variable.val if hasattr(variable, "val") else values[variable] for variable in equation.invars]
        outputs = internals.run_equation(jaxpr, equation, values)
        if observed_values.has_nan(outputs) and not observed_values.has_nan(inputs):
            return [*_first_inside(equation, inputs), equation]
        values.update(zip(equation.outvars, outputs, strict=True))
    return []


def _first_inside(equation: Any, inputs: list[Any]) -> list[Any]:
    inner = next((equation.params[name] for name in _INNER if name in equation.params), None)
    if inner is None or not hasattr(inner, "consts") or len(inner.jaxpr.invars) != len(inputs):
        return []  # a loop's body has other inputs: the loop's own line must do
    return _first(inner.jaxpr, inner.consts, inputs)
