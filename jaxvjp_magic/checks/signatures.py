"""VJP119 and VJP123: a rule does not take its arguments, or its residuals, as they are handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import shapes, wording
from jaxvjp_magic.results.model import Severity
from jaxvjp_magic.source import bindings, rule_ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.call_view import Case, Found
    from jaxvjp_magic.record.calls import CustomRule, Parameters
    from jaxvjp_magic.source.program import Spot

_OF_BWD = ("residuals", "cotangent")


def rules_take_what_they_are_given(case: Case) -> Iterator[Found]:
    """The two rules exchanged, one that takes too few or too many arguments, or takes them in another order."""
    rule, primals = case.call.rule, case.call.primals
    if rule is None or primals is None or any("could not be resolved" in one.raised.message for one in case.failures):
        return
    count = len(primals.names) + len(case.call.nondiff)
    if _are_exchanged(rule, count):
        yield _exchanged(case)
        return
    yield from _fwd(case, rule, count)
    yield from _bwd(case, rule)


def residuals_are_unpacked_as_packed(case: Case) -> Iterator[Found]:
    """VJP123: bwd takes the residuals apart into the names that fwd gave them, in another order."""
    if case.call.rule is None or case.fwd is None or case.bwd is None:
        return
    fwd, bwd = case.program.rule_text(case.fwd.code), case.program.rule_text(case.bwd.code)
    at = len(case.call.nondiff)
    if fwd is None or bwd is None or len(rule_ast.parameters(bwd)) <= at:
        return
    packed, unpacked = rule_ast.packed(fwd), rule_ast.unpacked(bwd, rule_ast.parameters(bwd)[at])
    if packed is None or unpacked is None or sorted(packed[0]) != sorted(unpacked[0]) or packed[0] == unpacked[0]:
        return
    text = case.program.sources.text_of(case.bwd.code.co_filename) if case.bwd.code else None
    yield case.finding(
        "VJP123", _severity(case), case.program.spot_in(text, unpacked[1]) if text else case.program.definition(None),
        f"{case.bwd_name} takes the residuals apart as {wording.listed(unpacked[0])}, but {case.fwd_name} saves "
        f"{wording.listed(packed[0])}",
        "Residuals are taken by position: a name that stands elsewhere than in the fwd rule holds another value.",
        fix=f"take them in the same order:  {', '.join(packed[0])} = {rule_ast.parameters(bwd)[at]}",
        phase="bwd", expected=wording.listed(packed[0]), got=wording.listed(unpacked[0]),
    )  # fmt: skip


def _are_exchanged(rule: CustomRule, count: int) -> bool:
    fwd, bwd, function = rule.fwd_parameters, rule.bwd_parameters, rule.function_parameters
    if fwd is None or bwd is None:
        return False
    for_bwd = len(rule.nondiff_argnums) + len(_OF_BWD)
    if not fwd.take(count) and bwd.take(count) and fwd.take(for_bwd):
        return True
    named_so = "bwd" in _lower(rule.fwd) and "fwd" in _lower(rule.bwd)
    return named_so and function is not None and bwd.names == function.names != fwd.names


def _lower(function: object) -> str:
    return str(getattr(function, "name", "")).lower()


def _exchanged(case: Case) -> Found:
    fwd, bwd = case.fwd_name, case.bwd_name
    return case.finding(
        "VJP119", Severity.ERROR, _defvjp(case),
        f"defvjp was given {fwd} as the fwd rule and {bwd} as the bwd rule: they are in each other's place",
        f"{bwd} takes the arguments of {case.name}, and {fwd} takes residuals and a cotangent.",
        fix=wording.with_code("give it the fwd rule first", f"{case.name}.defvjp({bwd}, {fwd})"), phase="fwd",
    )  # fmt: skip


def _defvjp(case: Case) -> Spot:
    """Where defvjp is called on the function, or its definition."""
    code = case.call.function.code
    for text in case.program.sources.searched(code.co_filename) if code is not None else ():
        line = bindings.method_call(text.text, "defvjp", {case.name.rsplit(".", 1)[-1], case.fwd_name, case.bwd_name})
        if line is not None:
            return case.program.spot_in(text, line)
    return case.program.definition(code)


def _fwd(case: Case, rule: CustomRule, count: int) -> Iterator[Found]:
    fwd, function = rule.fwd_parameters, rule.function_parameters
    if fwd is None or rule.fwd is None:
        return
    given = function.names if function is not None else ()
    if not fwd.take(count):
        taken = wording.number(len(fwd.names), "argument") + (f" ({wording.listed(fwd.names)})" if fwd.names else "")
        yield case.finding(
            "VJP119", Severity.ERROR, case.program.definition(rule.fwd.code),
            f"{case.fwd_name} takes {taken}, but {case.name} is called with {count}",
            f"The fwd rule takes what {case.name} takes, those in nondiff_argnums included, in the same order.",
            fix=_signature(rule.fwd.name, given), phase="fwd",
        )  # fmt: skip
    elif sorted(fwd.names) == sorted(given) and fwd.names != given:
        yield case.finding(
            "VJP119", _severity(case), case.program.definition(rule.fwd.code),
            f"{case.fwd_name} takes {_in_order(fwd)}, but {case.name} takes {wording.listed(given)}",
            "JAX calls the fwd rule with the arguments in the order of the function, those in nondiff_argnums "
            "included; only for the bwd rule do these come first.",
            fix=_signature(rule.fwd.name, given), phase="fwd",
        )  # fmt: skip


def _bwd(case: Case, rule: CustomRule) -> Iterator[Found]:
    bwd = rule.bwd_parameters
    if bwd is None or rule.bwd is None:
        return
    static = tuple(name for name, _ in case.call.nondiff)
    count = len(static) + len(_OF_BWD)
    first = (
        f"{wording.listed(static)} first, for {'it is' if len(static) == 1 else 'they are'} in nondiff_argnums, then "
    )
    handed = (first if static else "") + "residuals and cotangent"
    # Where their number fits, what is at the end cannot be one of those that come first.
    misplaced = [name for name in static if name in bwd.names and bwd.names.index(name) != static.index(name)]
    if bwd.take(count) and not misplaced:
        return
    others = [name for name in bwd.names if name not in static]
    names = others if len(others) == len(_OF_BWD) else _OF_BWD
    taken = wording.number(len(bwd.names), "argument") if not bwd.take(count) else _in_order(bwd)
    yield case.finding(
        "VJP119", _severity(case) if bwd.take(count) else Severity.ERROR, case.program.definition(rule.bwd.code),
        f"{case.bwd_name} takes {taken}, but JAX hands it {wording.number(count, 'argument')}"
        if not bwd.take(count)
        else f"{case.bwd_name} takes {taken}, but JAX hands it {wording.listed((*static, *_OF_BWD))}",
        f"A bwd rule of {case.name} is called with {handed}.",
        fix=_signature(rule.bwd.name, (*static, *names)), phase="bwd",
    )  # fmt: skip


def _severity(case: Case) -> Severity:
    """An error where it shows; where neither an exception nor a type does, the names alone speak."""
    shows = case.uncaught or any(shapes.fwd_fits_primal(case))
    return Severity.ERROR if shows else Severity.WARNING


def _in_order(parameters: Parameters) -> str:
    return wording.listed(parameters.names)


def _signature(name: str, names: tuple[str, ...]) -> str:
    return f"def {name}({', '.join(names)}): ..." if name.isidentifier() else f"lambda {', '.join(names)}: ..."
