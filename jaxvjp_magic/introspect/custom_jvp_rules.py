"""Takes a custom_jvp function, and gives it in the form of a custom_vjp function: its rule, in reverse."""

from __future__ import annotations

import functools
from typing import Any

import jax

from jaxvjp_magic.introspect.callables import filled
from jaxvjp_magic.jax_compat import internals


def as_custom_vjp(custom_jvp: Any) -> Any:
    """A custom_vjp function with the same primal function; its residuals are the pullback by the rule."""
    custom = object.__new__(internals.CustomVjp)
    custom.__dict__.update(
        fun=custom_jvp.fun,
        fwd=functools.partial(_fwd, custom_jvp),
        bwd=_bwd,
        nondiff_argnums=custom_jvp.nondiff_argnums,
        symbolic_zeros=False,
        optimize_remat=False,
        custom_jvp=custom_jvp,
    )
    return custom


def _fwd(custom_jvp: Any, *args: Any) -> tuple[Any, Any]:
    static = set(custom_jvp.nondiff_argnums)
    dynamic = tuple(arg for i, arg in enumerate(args) if i not in static)
    return jax.vjp(lambda *dynamic: custom_jvp(*filled(args, static, dynamic)), *dynamic)


def _bwd(*args: Any) -> Any:
    pullback, cotangent = args[-2:]
    return pullback(cotangent)
