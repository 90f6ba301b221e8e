"""VJP107, VJP108 and VJP110 to VJP113: from the exceptions that left a call to findings with its types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import NO_FIX
from jaxvjp_magic.results.model import Fix

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found
    from jaxvjp_magic.record.calls import Failed
    from jaxvjp_magic.source.program import Spot

_LOOPS = ("while_loop", "fori_loop")
_CODES = {"fwd": "VJP110", "bwd": "VJP110", "primal": "VJP111", "forward": "VJP111", "pullback": "VJP113"}


@check("VJP107", "VJP108", "VJP110", "VJP111", "VJP112", "VJP113", of_each_call=True, only_unexplained=True)
def failures(view: CallView) -> Iterator[Found]:
    """The exceptions that left this call, each once, where the innermost hook saw it."""
    for failed in view.failures:
        if failed.phase == "call":
            yield _call_failed(view, failed)
        else:
            yield _phase_failed(view, failed)


def _phase_failed(view: CallView, failed: Failed) -> Found:
    phase, raised = failed.phase, failed.raised
    rule = {"fwd": view.fwd, "bwd": view.bwd}.get(phase, view.call.function)
    name = f"the pullback of {view.name}" if phase == "pullback" else rule.name if rule else view.name
    is_from_jax = phase == "forward" and not raised.in_program
    if is_from_jax:
        name = f"{view.call.kind}({view.name})"
    spot = view.program.spot(raised.place)
    if spot.line is None:
        spot = view.program.definition(rule.code if rule else None)
    if "Reverse-mode differentiation does not work" in raised.message:
        spot = _loop(view) or spot
    inputs = _typed_inputs(view, phase)
    role = f", the {phase} rule of {view.name}," if phase in ("fwd", "bwd") else ""
    return view.finding(
        _CODES[phase], view.record.severity_of(raised), spot,
        f"{name} raises {raised.type}",
        f"JAX itself raised it, called with {inputs}: {_in_one_line(raised.message)}"
        if is_from_jax
        else f"{name}{role} was called with {inputs} and raised {raised.type}: {_in_one_line(raised.message)}",
        fix=_advice(view, failed), phase=phase, got=raised.type,
    )  # fmt: skip


def _loop(view: CallView) -> Spot | None:
    """The loop in the differentiated function that has no reverse-mode derivative."""
    code = view.call.function.code
    for name in _LOOPS if code is not None else ():
        spot = view.program.use_of(code, name)
        if spot.line not in (None, view.program.definition(code).line):
            return spot
    return None


def _typed_inputs(view: CallView, phase: str) -> str:
    """The arguments with their types: `x: float32[3], y: float32[]`."""
    if phase == "pullback" and view.pullbacks:
        return f"the cotangent {view.pullbacks[-1].cotangents}"
    if phase == "bwd" and view.fwds and view.fwds[-1].residuals is not None:
        return f"residuals {view.fwds[-1].residuals}"
    return wording.typed(view.call.primals)


def _in_one_line(message: str) -> str:
    """All lines of a message as one, since the last may be the one that helps; a very long one loses its middle."""
    words = message.split()
    text = " ".join(words)
    if len(text) <= 2 * _LONGEST_END:
        return text
    return f"{text[:_LONGEST_END].rsplit(' ', 1)[0]} ... {text[-_LONGEST_END:].split(' ', 1)[-1]}"


_LONGEST_END = 400  # of a message that loses its middle
_ADVICE_BY_TYPE = {
    "TracerArrayConversionError": (
        "use jax.numpy instead of numpy: under jit, vmap and grad a value is a tracer, not an array"
    ),
    "TracerBoolConversionError": (
        "use jnp.where or jax.lax.cond: under jit, vmap and grad a value is a tracer, which has no truth value"
    ),
}
_ADVICE_BY_MESSAGE = {
    "Reverse-mode differentiation does not work": (
        "use jax.lax.scan, or fori_loop with static bounds; or give the function a custom_vjp rule"
    ),
    "SymbolicZero": "with symbolic_zeros=True a cotangent may be a SymbolicZero: check for it, or remove the option",
    "nondiff_argnums": "pass arrays as ordinary arguments, and return None for them from the bwd rule",
}


def _advice(view: CallView, failed: Failed) -> Fix:
    """What to write instead, if the exception says enough; else no fix."""
    error_type, message = failed.raised.type, failed.raised.message
    if error_type in _ADVICE_BY_TYPE:
        return Fix(_ADVICE_BY_TYPE[error_type])
    advice = Fix(next((advice for part, advice in _ADVICE_BY_MESSAGE.items() if part in message), ""))
    if advice or failed.phase != "forward":
        return advice
    if error_type == "TypeError" and not failed.raised.in_program:
        return _advice_about_arguments(view, message)
    return NO_FIX


def _advice_about_arguments(view: CallView, message: str) -> Fix:
    """The fix for a function that does not fit what JAX passes to it, or what has_aux expects of its result."""
    if "aux output" in message:
        return Fix(f"return a pair from {view.name}, or remove has_aux", "return value, aux")
    primals, names = view.call.primals, ", ".join(view.call.function.arguments)
    function = view.name if view.name.isidentifier() else "f"
    if "positional argument" not in message or primals is None or not names:
        return NO_FIX
    if view.call.kind != "vjp":
        return Fix(f"pass all arguments of {view.name}", f"jax.{view.call.kind}({function})({names})")
    arguments = primals.structure.children
    is_tuple = len(arguments) == 1 and arguments[0].kind == "tuple"
    words = "pass the primals one by one, not as a tuple" if is_tuple else f"pass all arguments of {view.name}"
    return Fix(words, f"jax.vjp({function}, {names})")


def _call_failed(view: CallView, failed: Failed) -> Found:
    """JAX itself refused the call: no rule, arguments that do not fit, a rule's result that does not."""
    raised, rule = failed.raised, view.call.rule
    spot = view.program.spot(raised.place or view.call.place)
    if "forward-mode" in raised.message:  # the outermost call asked for it
        spot = view.program.spot(view.root.place or raised.place)
    definition = view.program.definition(view.call.function.code)
    if rule is not None and (rule.fwd is None or rule.bwd is None):
        return view.finding(
            "VJP107", view.record.severity_of(raised), definition,
            f"{view.name} has no rule: defvjp was not called on this {view.name}",
            f"{view.name} is called at {spot}, and JAX needs its rules for every call. A function that is "
            "defined again is a new one: it has no rules until defvjp is called again.",
            fix=Fix(
                f"call it after each definition of {view.name}",
                f"{view.name}.defvjp({view.name}_fwd, {view.name}_bwd)",
            ),
            phase="call", got=raised.type,
        )  # fmt: skip
    if raised.is_about_the_signature:
        reason = raised.message.strip().rsplit("\n", 1)[-1]
        takes = wording.listed(view.call.function.arguments) or "its arguments by position"
        in_class = "." in view.name or view.call.function.arguments[:1] == ("self",)
        hint = (
            " A custom_vjp object in a class does not bind self, so JAX counts it as an argument." if in_class else ""
        )
        return view.finding(
            "VJP108", view.record.severity_of(raised), definition if in_class else spot,
            f"the arguments of {view.name} do not fit its signature: {reason}",
            f"A custom_vjp function takes its arguments by position, here {takes}.{hint}",
            fix=Fix(
                "define the custom_vjp function outside of the class, and call it from the method"
                if in_class
                else "pass every argument by position"
            ),
            phase="call", got=raised.type,
        )  # fmt: skip
    return view.finding(
        "VJP112", view.record.severity_of(raised), spot,
        f"the call of {view.name} raises {raised.type}",
        f"{view.name} was called at {view.program.spot(view.call.place)} with {_typed_inputs(view, 'call')}, and JAX "
        f"raised {raised.type}: {_in_one_line(raised.message)}",
        fix=_advice(view, failed) or _transform_advice(view, failed), phase="call", got=raised.type,
    )  # fmt: skip


def _transform_advice(view: CallView, failed: Failed) -> Fix:
    if "forward-mode" in failed.raised.message:
        return Fix("give it a custom_jvp rule, or use reverse mode twice", f"jax.jacrev(jax.jacrev({view.name}))")
    return NO_FIX
