"""NAM203 and NAM206 to NAM208: rules that are not what their names mean, and names whose values move on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.call_view import Found, role
from jaxvjp_magic.record.facts import Changed, Edited, LateBound
from jaxvjp_magic.results.model import Finding, Severity
from jaxvjp_magic.source import bindings, rule_ast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.call_view import Case
    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.facts import Fact
    from jaxvjp_magic.source.program import Program


def rules_defined_again(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM203: the rule that runs is an older one than the one of its name."""
    for fact in facts:
        if not isinstance(fact, Edited):
            continue
        spot = program.definition(fact.now.code)
        name, case = fact.function.name, _case_of(fact.function, [one for one in cases if one.is_custom])
        again = f"{name}.defvjp({case.fwd_name}, {case.bwd_name})" if case else ""
        yield Found(
            Finding(
                "NAM203", Severity.WARNING, f"{fact.name} was defined again, and {name} still uses the old one",
                f"defvjp was given the {fact.name} of {program.definition(fact.rule.code)}. It takes the function, not "
                f"its name, and no custom_vjp function has the {fact.name} of {spot}.",
                fix=wording.with_code("call defvjp again after it", again),
                function=name, line=spot.line, source=spot.source, snippet=spot.snippet, phase=fact.phase,
            ),
            case,
        )  # fmt: skip


def late_bound_names(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM206: a rule made in a loop reads the loop's variable, and runs after the loop has moved on."""
    for fact in facts:
        if not isinstance(fact, LateBound):
            continue
        name, spot = fact.names[0], program.use_of(fact.rule.code, fact.names[0])
        rule = role(fact.rule, fact.phase, fact.function)
        yield Found(
            Finding(
                "NAM206", Severity.WARNING, f"{rule} reads {name} when it runs, after the loop has ended",
                f"The loop makes one {fact.function.name} for each {name}, and all of them read the same {name}: the "
                "last one. Python looks a name up when a function runs, not when it is made.",
                fix=f"make them in a function that takes {name}:  def make_{_word(fact.function)}({name}): ...",
                function=fact.function.name, line=spot.line, source=spot.source, snippet=spot.snippet,
                phase=fact.phase, got=wording.listed(fact.names),
            ),
            _case_of(fact.function, cases),
        )  # fmt: skip


def changed_globals(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM207: a jitted function keeps the value that a global had when it was traced."""
    told = set()
    for fact in facts:
        if not isinstance(fact, Changed) or fact.rule.code is None or (fact.name, fact.function) in told:
            continue
        told.add((fact.name, fact.function))
        rule, reads = role(fact.rule, fact.phase, fact.function), program.use_of(fact.rule.code, fact.name)
        spot = reads
        for text in program.sources.searched(fact.rule.code.co_filename):
            bound = bindings.bindings(text.text, fact.name)
            if bound and not fact.before.startswith(("{", "[")):  # what is in a container changes elsewhere
                spot = program.spot_in(text, bound[-1].line, bound[-1].start, bound[-1].end)
                break
        values = f"{fact.before}, and is {fact.now} now" if fact.before != fact.now else "another one"
        yield Found(
            Finding(
                "NAM207", Severity.NOTE, f"{fact.name} was changed after {fact.function.name} was traced with it",
                f"When {rule} ({reads}) was traced, {fact.name} was {values}. A jitted function keeps the value that "
                "it was traced with.",
                fix=f"hand {fact.name} over as an argument",
                function=fact.function.name, line=spot.line, source=spot.source, snippet=spot.snippet,
                phase=fact.phase, got=fact.now,
            ),
            _case_of(fact.function, cases),
        )  # fmt: skip


def state_beside_residuals(case: Case) -> Iterator[Found]:
    """NAM208: fwd hands something to bwd through a global or through `self`."""
    if not case.fwds or case.fwd is None or case.bwd is None or case.fwd.code is None:
        return
    fwd, bwd = case.program.rule_text(case.fwd.code), case.program.rule_text(case.bwd.code)
    kept = rule_ast.kept_outside(fwd) if fwd is not None else {}
    for name, line in kept.items():
        if bwd is None or not rule_ast.reads(bwd, name):
            continue
        yield case.finding(
            "NAM208", Severity.WARNING,
            case.program.spot_in(case.program.sources.text_of(case.fwd.code.co_filename), line),
            f"{case.fwd_name} keeps a value in {name}, and {case.bwd_name} reads it there",
            f"bwd runs later, and for all calls of {case.name}: in between another call may have written there. "
            "Below jit what is kept is a tracer, and is worth nothing afterwards.",
            fix="hand it over as a residual:  return output, value", phase="fwd", got=name,
        )  # fmt: skip


def _word(function: Function) -> str:
    return function.name if function.name.isidentifier() else "function"


def _case_of(function: Function, cases: Sequence[Case]) -> Case | None:
    return next((case for case in cases if case.call.function is function), None)
