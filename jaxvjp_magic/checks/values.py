"""VAL3xx and RES4xx, with `--verify`: what the values say that shapes do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.report import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.case import Case, Found
    from jaxvjp_magic.tracing.facts import ValueFact

_PATTERNS = {
    "": ("is not the derivative of {f}", "it agrees neither with autodiff of {f} nor with finite differences"),
    "swapped": ("has two cotangents in each other's place", "exchanged they agree with autodiff of {f}"),
    "sign": ("has the wrong sign", "its negative agrees with autodiff of {f}"),
    "transpose": ("is transposed", "its transpose agrees with autodiff of {f}"),
    "conjugate": ("is the complex conjugate", "its conjugate agrees with autodiff of {f}"),
    "stopped": ("is not zero, where {f} stops the gradient", "in {f} nothing flows back to it, and the rule decides"),
}


def wrong_values(facts: Sequence[ValueFact], cases: Sequence[Case]) -> Iterator[Found]:
    """The findings about values, each at the call that shows it."""
    for fact in facts:
        case = next((one for one in cases if _shows(one, fact)), None)
        if case is None:
            continue
        if fact.pattern == "nan":
            yield _nan(case, fact)
        elif fact.pattern == "zeros":
            yield _zeros(case)
        elif fact.phase == "fwd":
            yield _fwd_value(case, fact)
        else:
            yield _gradient(case, fact)


def _shows(case: Case, fact: ValueFact) -> bool:
    if case.call.function is not fact.function or case.call.primals is not fact.primals:
        return False
    return bool({"fwd": case.fwds, "bwd": case.fwds, "pullback": case.pullbacks}[fact.phase])


def _at(fact: ValueFact) -> str:
    return "at random values of the same types" if fact.is_random else "at the values of this run"


def _fwd_value(case: Case, fact: ValueFact) -> Found:
    rule = case.rule_name("fwd")
    return case.finding(
        "VAL301", Severity.WARNING, case.program.returning(case.fwd.code if case.fwd else None),
        f"{rule} returns another value than {case.name}",
        f"Both were run {_at(fact)}. What the program gets depends on whether it is differentiated.",
        fix=f"return from {rule} what {case.name} returns", phase="fwd",
    )  # fmt: skip


def _gradient(case: Case, fact: ValueFact) -> Found:
    rule, of = case.rule_name("bwd"), f" for {fact.path}" if fact.path and fact.pattern != "swapped" else ""
    spot = case.program.returning(case.bwd.code if case.bwd else None)
    if fact.pattern == "unused":
        return case.finding(
            "VAL303", Severity.WARNING, spot,
            f"{rule} does not use the incoming cotangent",
            f"Two different cotangents gave the same result, {_at(fact)}. This is right where the cotangent is 1, as "
            f"in jax.grad({case.name}), and wrong in every chain.",
            fix="multiply by the incoming cotangent", phase="bwd",
        )  # fmt: skip
    if fact.pattern.startswith("factor"):
        number = fact.pattern.split()[1]
        what, why = f"is {number} times the derivative of {{f}}", "divided by it, it agrees with autodiff of {f}"
    else:
        what, why = _PATTERNS[fact.pattern]
    return case.finding(
        "VAL302", Severity.WARNING, spot,
        f"the gradient that {rule} returns{of} {what.format(f=case.name)}",
        f"Compared {_at(fact)}: {why.format(f=case.name)}. A rule that differs on purpose can say so on this line: "
        "# vjpcheck: ignore[VAL302]",
        phase="bwd", path=fact.path,
    )  # fmt: skip


def _nan(case: Case, fact: ValueFact) -> Found:
    return case.finding(
        "VAL304", Severity.WARNING, case.program.definition(case.call.function.code),
        f"the gradient of {case.name} with respect to {fact.path or 'its argument'} is NaN",
        "The cotangent has no NaN. A derivative that is infinite in a branch which jnp.where does not take is "
        "multiplied by zero, and 0 * inf is NaN.",
        fix="make the argument safe before the branch:  jnp.where(ok, f(jnp.where(ok, x, 1.0)), 0.0)",
        phase="pullback", path=fact.path,
    )  # fmt: skip


def _zeros(case: Case) -> Found:
    return case.finding(
        "RES403", Severity.NOTE, case.program.definition(case.bwd.code if case.bwd else None),
        f"{case.rule_name('bwd')} was given a large cotangent that is all zeros",
        f"An output of {case.name} is not used, and its cotangent was built and calculated with all the same.",
        fix=f"have it told:  {case.name}.defvjp(..., symbolic_zeros=True)", phase="bwd",
    )  # fmt: skip
