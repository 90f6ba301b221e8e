"""VAL3xx and RES403: from the values that `--verify` compared to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks.register import check
from jaxvjp_magic.record.facts import ValueFact
from jaxvjp_magic.results.model import Fix, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.record.calls import Place

_PATTERNS = {
    "": ("is not the derivative of {f}", "it agrees neither with autodiff of {f} nor with finite differences"),
    "measured": (
        "is not the derivative of {f}",
        "it does not agree with finite differences of {f}, and autodiff of {f} gives nothing to compare with",
    ),
    "sign": ("has the wrong sign", "its negative agrees with autodiff of {f}"),
    "transpose": ("is transposed", "its transpose agrees with autodiff of {f}"),
    "conjugate": ("is the complex conjugate", "its conjugate agrees with autodiff of {f}"),
    "stopped": ("is not zero, but {f} stops the gradient", "autodiff of {f} gives zero for it"),
}
_FEW_DIGITS = 1e-3  # relative: a factor is shown with four digits


@check("VAL301", "VAL302", "VAL303", "VAL304", "VAL305", "RES403")
def wrong_values(record: RecordView) -> Iterator[Found]:
    """The findings about values, each at the call that shows it."""
    facts = [fact for fact in record.facts if isinstance(fact, ValueFact)]
    located = [
        (fact, view) for fact in facts if (view := next((call for call in record.calls if _is_about(call, fact)), None))
    ]
    around_nan_rules = {ancestor for fact, view in located if _is_nan_of_rule(fact) for ancestor in view.ancestors()}
    for fact, view in located:
        if fact.pattern == "nan" and fact.phase == "bwd":
            yield _nan_of_rule(view, fact)
        elif fact.pattern == "nan" and view.call.id not in around_nan_rules:  # otherwise the rule inside is reported
            yield _nan(view, fact)
        elif fact.pattern == "zeros":
            yield _zeros(view)
        elif fact.phase == "fwd":
            yield _fwd_value(view, fact)
        elif fact.phase == "bwd":
            yield _gradient(view, fact)


def _is_nan_of_rule(fact: ValueFact) -> bool:
    return fact.pattern == "nan" and fact.phase == "bwd"


def _is_about(view: CallView, fact: ValueFact) -> bool:
    if view.call.function is not fact.function or view.call.primals is not fact.primals:
        return False
    return bool({"fwd": view.fwds, "bwd": view.fwds, "pullback": view.pullbacks}[fact.phase])


def _compared_at(fact: ValueFact) -> str:
    return "at random values of the same types" if fact.is_random else "at the values of this run"


def _fwd_value(view: CallView, fact: ValueFact) -> Found:
    rule = view.rule_name("fwd")
    return view.finding(
        "VAL301", Severity.WARNING, view.program.returning(view.fwd.code if view.fwd else None),
        f"{rule} returns another value than {view.name}",
        f"Both were run {_compared_at(fact)}. The program's result depends on whether it is differentiated.",
        fix=Fix(f"return from {rule} what {view.name} returns"), phase="fwd",
    )  # fmt: skip


def _gradient(view: CallView, fact: ValueFact) -> Found:
    rule, for_leaf = view.rule_name("bwd"), f" for {fact.path}" if fact.path else ""
    spot = view.program.returning(view.bwd.code if view.bwd else None)
    gives = "gives" if view.has_one_rule else "returns"
    pattern, factor = fact.pattern, f"{fact.factor:.4g}"
    if pattern == "unused":
        return view.finding(
            "VAL303", Severity.WARNING, spot,
            f"{rule} does not use the incoming cotangent",
            f"Two different cotangents gave the same result, {_compared_at(fact)}. This is right only if the cotangent "
            f"is 1, as in jax.grad({view.name}), and wrong where {view.name} is part of a larger function.",
            fix=Fix("multiply by the incoming cotangent"), phase="bwd",
        )  # fmt: skip
    if pattern == "offset":
        return view.finding(
            "VAL303", Severity.WARNING, spot,
            f"what {rule} {gives}{for_leaf} has a term without the incoming cotangent",
            "For a cotangent of zeros every derivative gives zeros. Here something is left, "
            f"{_compared_at(fact)}: a term that is added, and not multiplied by the cotangent. If this is intended, "
            "say so on this line: # vjpcheck: ignore[VAL303]",
            fix=Fix("multiply each term by the incoming cotangent"), phase="bwd", path=fact.path,
        )  # fmt: skip
    if pattern == "nonlinear":
        return view.finding(
            "VAL305", Severity.WARNING, spot,
            f"what {rule} {gives}{for_leaf} is not linear in the incoming cotangent",
            f"A derivative is linear: for the sum of two cotangents it gives the sum of the two results. Here it does "
            f"not, {_compared_at(fact)}. Usually the cotangent is clipped, normalised or squared. If this is intended, "
            "say so on this line: # vjpcheck: ignore[VAL305]",
            phase="bwd", path=fact.path,
        )  # fmt: skip
    if pattern == "swapped":
        for_leaf = (
            "" if view.call.primals is None or len(view.call.primals.leaves) == len("xy") else f" for {fact.path}"
        )
        problem = "has two cotangents swapped"
        reason = f"if exchanged, those of {fact.path} and {fact.other} agree with autodiff of {{f}}"
    elif pattern == "factor":
        problem = f"is {factor} times the derivative of {{f}}"
        reason = f"divided by it, it agrees with autodiff of {{f}}{_size_of(fact.factor, view)}"
    elif pattern == "along":
        problem = f"is {factor} times the derivative of {{f}} here"
        reason = "it has the direction that autodiff of {f} gives, so a factor is wrong, which may depend on the values"
    else:
        problem, reason = _PATTERNS[pattern]
    return view.finding(
        "VAL302", Severity.WARNING, spot,
        f"the gradient that {rule} {gives}{for_leaf} {problem.format(f=view.name)}",
        f"Compared {_compared_at(fact)}: {reason.format(f=view.name)}. If this is intended, say so on this line: "
        "# vjpcheck: ignore[VAL302]",
        phase="bwd", path=fact.path,
    )  # fmt: skip


def _size_of(factor: float, view: CallView) -> str:
    """A clause for a factor that is the size of a batch axis, or its inverse: a sum instead of a mean; else ""."""
    size = max(abs(factor), 1 / abs(factor))
    number = round(size)
    if number < len("xy") or abs(size - number) > _FEW_DIGITS * size:
        return ""
    primals = view.call.primals
    leaves = primals.leaves if primals else ()
    axes = [
        f"axis 0 of {path or 'the argument'}"
        for path, array_type in leaves
        if array_type.shape and array_type.shape[0] == number
    ]
    axes += ["a mapped axis"] * (number in view.call.vmap)
    if not axes:
        return ""
    mistake = "a sum instead of a mean" if abs(factor) > 1 else "a mean instead of a sum"
    return f"; {number} is the size of {axes[0]}, so this may be {mistake}"


def _nan(view: CallView, fact: ValueFact) -> Found:
    spot, origin = view.program.definition(view.call.function.code), ""
    rule = _rule_at(fact.place, view)
    if rule is not None and rule.bwd is not None:
        spot, origin = rule.returned(fact.path), f"The first NaN of the backward pass appears in {rule.bwd_name}. "
    elif fact.place is not None:
        spot, origin = view.program.spot(fact.place), "The first NaN of the backward pass appears here. "
    return view.finding(
        "VAL304", Severity.WARNING, spot,
        f"the gradient of {view.name} with respect to {fact.path or 'its argument'} is NaN",
        f"{origin}The cotangent has none. An infinite derivative, even in a branch that jnp.where does not take, "
        "is multiplied by zero, and 0 * inf is NaN.",
        fix=Fix("make the argument safe before the branch", "jnp.where(ok, f(jnp.where(ok, x, 1.0)), 0.0)"),
        phase="pullback", path=fact.path,
    )  # fmt: skip


def _rule_at(place: Place | None, outer: CallView) -> CallView | None:
    """The custom_vjp call on this line, if its bwd ran: JAX gives a rule's operations the line of the call."""
    if place is None:
        return None
    for view in outer.record.calls:
        call_place = view.call.place
        on_line = call_place is not None and (call_place.filename, call_place.line) == (place.filename, place.line)
        if on_line and view.bwds and outer.call.id in view.ancestors():
            return view
    return None


def _nan_of_rule(view: CallView, fact: ValueFact) -> Found:
    """The bwd rule itself produces the NaN, so the finding points at the rule."""
    rule = view.rule_name("bwd")
    return view.finding(
        "VAL304", Severity.WARNING, view.program.returning(view.bwd.code if view.bwd else None),
        f"the gradient that {rule} returns for {fact.path or 'the argument'} is NaN",
        f"It starts here: at the values of this run neither the arguments of {view.name}, nor its output, nor the "
        "residuals, nor the cotangent contain a NaN.",
        fix=Fix("divide by a value that cannot be zero", "jnp.where(ok, g / jnp.where(ok, d, 1.0), 0.0)"),
        phase="bwd", path=fact.path,
    )  # fmt: skip


def _zeros(view: CallView) -> Found:
    return view.finding(
        "RES403", Severity.NOTE, view.program.definition(view.bwd.code if view.bwd else None),
        f"{view.rule_name('bwd')} was given a large cotangent that is all zeros",
        f"An output of {view.name} is not used, but its cotangent was still built and computed with.",
        fix=Fix(
            "let the rule know which cotangents are zeros",
            f"{view.name}.defvjp({view.fwd_name}, {view.bwd_name}, symbolic_zeros=True)",
        ),
        phase="bwd",
    )  # fmt: skip
