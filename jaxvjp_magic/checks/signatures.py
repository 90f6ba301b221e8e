"""VJP119 and VJP123: findings about rules that do not take what JAX passes, or unpack residuals in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import shapes, wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings, rule_ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found
    from jaxvjp_magic.record.calls import CustomRule, Parameters
    from jaxvjp_magic.source.program import Spot

_BWD_PARAMETERS = ("residuals", "cotangent")


@check("VJP119", of_each_call=True)
def rules_take_what_they_are_given(view: CallView) -> Iterator[Found]:
    """VJP119: the rules are swapped, or one takes too few or too many arguments, or takes them in another order."""
    rule, primals = view.call.rule, view.call.primals
    if rule is None or primals is None or any(failure.raised.is_about_the_signature for failure in view.failures):
        return
    count = len(primals.names) + len(view.call.nondiff)
    if _are_swapped(rule, count):
        yield _swapped(view)
        return
    yield from _fwd_signature(view, rule, count)
    yield from _bwd_signature(view, rule)


@check("VJP123", of_each_call=True)
def residuals_are_unpacked_as_packed(view: CallView) -> Iterator[Found]:
    """VJP123: bwd unpacks the residuals into the same names as fwd packs, but in another order."""
    if view.call.rule is None or view.fwd is None or view.bwd is None or view.has_one_rule:
        return
    fwd, bwd = view.program.rule_text(view.fwd.code), view.program.rule_text(view.bwd.code)
    position = len(view.call.nondiff)
    if fwd is None or bwd is None or len(rule_ast.parameters(bwd)) <= position:
        return
    packed, unpacked = rule_ast.packed(fwd), rule_ast.unpacked(bwd, rule_ast.parameters(bwd)[position])
    if packed is None or unpacked is None or sorted(packed[0]) != sorted(unpacked[0]) or packed[0] == unpacked[0]:
        return
    text = view.program.sources.text_of(view.bwd.code.co_filename) if view.bwd.code else None
    yield view.finding(
        "VJP123", _severity(view), view.program.spot_in(text, unpacked[1]) if text else view.program.definition(None),
        f"{view.bwd_name} unpacks the residuals as {wording.listed(unpacked[0])}, but {view.fwd_name} saves "
        f"{wording.listed(packed[0])}",
        "Residuals are matched by position, so a name in another position holds another value.",
        fix=Fix("unpack them in the same order", f"{', '.join(packed[0])} = {rule_ast.parameters(bwd)[position]}"),
        phase="bwd", expected=wording.listed(packed[0]), got=wording.listed(unpacked[0]),
    )  # fmt: skip


def _are_swapped(rule: CustomRule, count: int) -> bool:
    fwd, bwd, function = rule.fwd_parameters, rule.bwd_parameters, rule.function_parameters
    if fwd is None or bwd is None:
        return False
    bwd_count = len(rule.nondiff_argnums) + len(_BWD_PARAMETERS)
    if not fwd.take(count) and bwd.take(count) and fwd.take(bwd_count):
        return True
    are_named_swapped = "bwd" in _lower_name(rule.fwd) and "fwd" in _lower_name(rule.bwd)
    return are_named_swapped and function is not None and bwd.names == function.names != fwd.names


def _lower_name(function: object) -> str:
    return str(getattr(function, "name", "")).lower()


def _swapped(view: CallView) -> Found:
    fwd, bwd = view.fwd_name, view.bwd_name
    return view.finding(
        "VJP119", Severity.ERROR, _defvjp_spot(view),
        f"defvjp was given {fwd} as the fwd rule and {bwd} as the bwd rule: they are swapped",
        f"{bwd} takes the arguments of {view.name}, and {fwd} takes residuals and a cotangent.",
        fix=Fix("pass the fwd rule first", f"{view.name}.defvjp({bwd}, {fwd})"), phase="fwd",
    )  # fmt: skip


def _defvjp_spot(view: CallView) -> Spot:
    """Where defvjp is called on the function, or its definition."""
    code = view.call.function.code
    for text in view.program.sources.searched(code.co_filename) if code is not None else ():
        line = bindings.method_call(text.text, "defvjp", {view.name.rsplit(".", 1)[-1], view.fwd_name, view.bwd_name})
        if line is not None:
            return view.program.spot_in(text, line)
    return view.program.definition(code)


def _fwd_signature(view: CallView, rule: CustomRule, count: int) -> Iterator[Found]:
    fwd, function = rule.fwd_parameters, rule.function_parameters
    if fwd is None or rule.fwd is None:
        return
    expected = function.names if function is not None else ()
    if not fwd.take(count):
        taken = wording.number(len(fwd.names), "argument") + (f" ({wording.listed(fwd.names)})" if fwd.names else "")
        yield view.finding(
            "VJP119", Severity.ERROR, view.program.definition(rule.fwd.code),
            f"{view.fwd_name} takes {taken}, but {view.name} is called with {count}",
            f"The fwd rule takes the arguments of {view.name} in the same order, including those in nondiff_argnums.",
            fix=_signature_fix(rule.fwd.name, expected), phase="fwd",
        )  # fmt: skip
    elif sorted(fwd.names) == sorted(expected) and fwd.names != expected:
        yield view.finding(
            "VJP119", _severity(view), view.program.definition(rule.fwd.code),
            f"{view.fwd_name} takes {_in_order(fwd)}, but {view.name} takes {wording.listed(expected)}",
            "JAX calls the fwd rule with the arguments in the order of the function, including those in "
            "nondiff_argnums. Only the bwd rule takes these first.",
            fix=_signature_fix(rule.fwd.name, expected), phase="fwd",
        )  # fmt: skip


def _bwd_signature(view: CallView, rule: CustomRule) -> Iterator[Found]:
    bwd = rule.bwd_parameters
    if bwd is None or rule.bwd is None:
        return
    static = tuple(name for name, _ in view.call.nondiff)
    count = len(static) + len(_BWD_PARAMETERS)
    static_first = (
        f"{wording.listed(static)} first, for {'it is' if len(static) == 1 else 'they are'} in nondiff_argnums, then "
    )
    passed = (static_first if static else "") + "residuals and cotangent"
    # Even if the count fits, an argument in nondiff_argnums may be named in another position than JAX passes it.
    misplaced = [name for name in static if name in bwd.names and bwd.names.index(name) != static.index(name)]
    if bwd.take(count) and not misplaced:
        return
    others = [name for name in bwd.names if name not in static]
    names = others if len(others) == len(_BWD_PARAMETERS) else _BWD_PARAMETERS
    taken = wording.number(len(bwd.names), "argument") if not bwd.take(count) else _in_order(bwd)
    yield view.finding(
        "VJP119", _severity(view) if bwd.take(count) else Severity.ERROR, view.program.definition(rule.bwd.code),
        f"{view.bwd_name} takes {taken}, but JAX calls it with {wording.number(count, 'argument')}"
        if not bwd.take(count)
        else f"{view.bwd_name} takes {taken}, but JAX calls it with {wording.listed((*static, *_BWD_PARAMETERS))}",
        f"A bwd rule of {view.name} is called with {passed}.",
        fix=_signature_fix(rule.bwd.name, (*static, *names)), phase="bwd",
    )  # fmt: skip


def _severity(view: CallView) -> Severity:
    """An error if an exception or a type confirms it; a warning if only the names suggest it."""
    shows = view.uncaught or any(shapes.fwd_fits_primal(view))
    return Severity.ERROR if shows else Severity.WARNING


def _in_order(parameters: Parameters) -> str:
    return wording.listed(parameters.names)


def _signature_fix(name: str, names: tuple[str, ...]) -> Fix:
    listed = ", ".join(names)
    return Fix(code=f"def {name}({listed}): ..." if name.isidentifier() else f"lambda {listed}: ...")
