"""VJP107 to VJP113: what raised, where, with which shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.call_view import Case, Found
    from jaxvjp_magic.record.calls import Failed
    from jaxvjp_magic.source.program import Spot

_LOOPS = ("while_loop", "fori_loop")
_CODES = {"fwd": "VJP110", "bwd": "VJP110", "primal": "VJP111", "forward": "VJP111", "pullback": "VJP113"}


def failures(case: Case) -> Iterator[Found]:
    """The exceptions that left this call, each once, where the innermost hook saw it."""
    for failed in case.failures:
        if failed.phase == "call":
            yield _call_failed(case, failed)
        else:
            yield _phase_failed(case, failed)


def _phase_failed(case: Case, failed: Failed) -> Found:
    phase, raised = failed.phase, failed.raised
    rule = {"fwd": case.fwd, "bwd": case.bwd}.get(phase, case.call.function)
    name = f"the pullback of {case.name}" if phase == "pullback" else rule.name if rule else case.name
    by_jax = phase == "forward" and not raised.in_program
    if by_jax:
        name = f"{case.call.kind}({case.name})"
    spot = case.program.spot(raised.place)
    if spot.line is None:
        spot = case.program.definition(rule.code if rule else None)
    if "Reverse-mode differentiation does not work" in raised.message:
        spot = _loop(case) or spot
    given = _given(case, phase)
    role = f", the {phase} rule of {case.name}," if phase in ("fwd", "bwd") else ""
    return case.finding(
        _CODES[phase], case.context.severity_of(raised), spot,
        f"{name} raises {raised.type}",
        f"JAX raised it, and no line of {case.name}, with {given}: {_in_one_line(raised.message)}"
        if by_jax
        else f"{name}{role} was called with {given} and raised {raised.type}: {_in_one_line(raised.message)}",
        fix=_advice(case, failed), phase=phase, got=raised.type,
    )  # fmt: skip


def _loop(case: Case) -> Spot | None:
    """The loop in a differentiated function that has no reverse mode."""
    code = case.call.function.code
    for name in _LOOPS if code is not None else ():
        spot = case.program.use_of(code, name)
        if spot.line not in (None, case.program.definition(code).line):
            return spot
    return None


def _given(case: Case, phase: str) -> str:
    """The arguments with their types: `x: float32[3], y: float32[]`."""
    if phase == "pullback" and case.pullbacks:
        return f"the cotangent {case.pullbacks[-1].cotangents}"
    if phase == "bwd" and case.fwds and case.fwds[-1].residuals is not None:
        return f"residuals {case.fwds[-1].residuals}"
    return wording.typed(case.call.primals)


def _in_one_line(message: str) -> str:
    """A message of several lines as one, for the last may be the one that helps; very long ones lose the middle."""
    words = message.split()
    text = " ".join(words)
    if len(text) <= 2 * _LONGEST_END:
        return text
    return f"{text[:_LONGEST_END].rsplit(' ', 1)[0]} ... {text[-_LONGEST_END:].split(' ', 1)[-1]}"


_LONGEST_END = 400  # of a message that loses its middle
_ADVICE_BY_TYPE = {
    "TracerArrayConversionError": (
        "use jax.numpy in place of numpy: below jit, vmap and grad a value is a tracer, no array"
    ),
    "TracerBoolConversionError": (
        "use jnp.where or jax.lax.cond: below jit, vmap and grad a value is a tracer, and has no truth"
    ),
}
_ADVICE_BY_MESSAGE = {
    "Reverse-mode differentiation does not work": (
        "use jax.lax.scan, or fori_loop with a known number of rounds; or give the function a custom_vjp rule"
    ),
    "SymbolicZero": "with symbolic_zeros=True a cotangent may be a SymbolicZero: test for it, or leave the option out",
    "nondiff_argnums": "pass arrays as ordinary arguments, and return None for them from the bwd rule",
}


def _advice(case: Case, failed: Failed) -> str:
    """What to write instead, where the exception tells enough."""
    kind, message = failed.raised.type, failed.raised.message
    if kind in _ADVICE_BY_TYPE:
        return _ADVICE_BY_TYPE[kind]
    known = next((advice for part, advice in _ADVICE_BY_MESSAGE.items() if part in message), "")
    if known or failed.phase != "forward":
        return known
    if kind == "TypeError" and not failed.raised.in_program:
        return _advice_about_arguments(case, message)
    return ""


def _advice_about_arguments(case: Case, message: str) -> str:
    """What JAX calls a function with, and what it makes of what that returns."""
    if "aux output" in message:
        return f"let {case.name} return a pair, or leave has_aux out:  return value, aux"
    primals, names = case.call.primals, ", ".join(case.call.function.arguments)
    function = case.name if case.name.isidentifier() else "f"
    if "positional argument" not in message or primals is None or not names:
        return ""
    if case.call.kind != "vjp":
        return f"give {case.name} what it takes:  jax.{case.call.kind}({function})({names})"
    given = primals.structure.children
    as_tuple = "give the primals one by one, not as a tuple" if len(given) == 1 and given[0].kind == "tuple" else ""
    return f"{as_tuple or f'give {case.name} what it takes'}:  jax.vjp({function}, {names})"


def _call_failed(case: Case, failed: Failed) -> Found:
    """JAX itself refused the call: no rule, arguments that do not fit, a rule's result that does not."""
    raised, rule = failed.raised, case.call.rule
    spot = case.program.spot(raised.place or case.call.place)
    if "forward-mode" in raised.message:  # asked for where the outermost of the calls around this one stands
        spot = case.program.spot(case.root.place or raised.place)
    defined = case.program.definition(case.call.function.code)
    if rule is not None and (rule.fwd is None or rule.bwd is None):
        return case.finding(
            "VJP107", case.context.severity_of(raised), defined,
            f"{case.name} has no rule: defvjp was not called on this {case.name}",
            f"{case.name} is called at {spot}, and JAX needs its rule for every call. A function that is "
            "defined again is a new one, and has no rule until defvjp is called again.",
            fix=wording.with_code(
                f"call it after each definition of {case.name}",
                f"{case.name}.defvjp({case.name}_fwd, {case.name}_bwd)",
            ),
            phase="call", got=raised.type,
        )  # fmt: skip
    if "could not be resolved" in raised.message:
        reason = raised.message.strip().rsplit("\n", 1)[-1]
        takes = wording.listed(case.call.function.arguments) or "its arguments by position"
        in_class = "." in case.name or case.call.function.arguments[:1] == ("self",)
        hint = " A custom_vjp object in a class binds no self: JAX counts self as an argument." if in_class else ""
        return case.finding(
            "VJP108", case.context.severity_of(raised), defined if in_class else spot,
            f"the arguments of {case.name} do not fit its signature: {reason}",
            f"A custom_vjp function takes its arguments by position, here {takes}.{hint}",
            fix="define the custom_vjp function outside of the class, and call it from the method"
            if in_class
            else "pass every argument by position",
            phase="call", got=raised.type,
        )  # fmt: skip
    return case.finding(
        "VJP112", case.context.severity_of(raised), spot,
        f"the call of {case.name} raises {raised.type}",
        f"{case.name} was called at {case.program.spot(case.call.place)} with {_given(case, 'call')}, and JAX "
        f"raised {raised.type}: {_in_one_line(raised.message)}",
        fix=_advice(case, failed) or _transform_advice(case, failed), phase="call", got=raised.type,
    )  # fmt: skip


def _transform_advice(case: Case, failed: Failed) -> str:
    if "forward-mode" in failed.raised.message:
        return wording.with_code(
            "give it a custom_jvp rule, or use reverse mode twice", f"jax.jacrev(jax.jacrev({case.name}))"
        )
    return ""
