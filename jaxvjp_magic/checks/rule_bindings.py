"""NAM203 and NAM206 to NAM208: findings about rules that were defined again, and about values that changed since."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import found, role
from jaxvjp_magic.record.facts import Changed, Edited, LateBound
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings, rule_ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.record.calls import Function


@check("NAM203")
def rules_defined_again(record: RecordView) -> Iterator[Found]:
    """NAM203: a rule was defined again, but the custom_vjp function still uses the old one."""
    for fact in record.facts:
        if not isinstance(fact, Edited):
            continue
        spot = record.program.definition(fact.now.code)
        name = fact.function.name
        view = next((call for call in record.of_function(fact.function) if call.is_custom), None)
        defvjp_call = f"{name}.defvjp({view.fwd_name}, {view.bwd_name})" if view else ""
        yield found(
            "NAM203", Severity.WARNING, spot, f"{fact.name} was defined again, but {name} still uses the old one",
            f"defvjp was called with the {fact.name} of {record.program.definition(fact.rule.code)}. It keeps the "
            f"function, not the name, so no custom_vjp function uses the {fact.name} of {spot}.",
            view=view, fix=Fix("call defvjp again after the new definition", defvjp_call), function=name,
            phase=fact.phase,
        )  # fmt: skip


@check("NAM206")
def late_bound_names(record: RecordView) -> Iterator[Found]:
    """NAM206: a rule defined in a loop reads the loop variable, but runs after the loop."""
    for fact in record.facts:
        if not isinstance(fact, LateBound):
            continue
        name, spot = fact.names[0], record.program.use_of(fact.rule.code, fact.names[0])
        rule = role(fact.rule, fact.phase, fact.function)
        yield found(
            "NAM206", Severity.WARNING, spot, f"{rule} reads {name} when it runs, after the loop has ended",
            f"The loop makes one {fact.function.name} for each {name}, but all of them read the same {name}: its last "
            "value. Python looks up a name when a function runs, not when it is defined.",
            view=next(iter(record.of_function(fact.function)), None),
            fix=Fix(
                f"create them in a function that takes {name}", f"def make_{_identifier(fact.function)}({name}): ..."
            ),
            function=fact.function.name, phase=fact.phase, got=wording.listed(fact.names),
        )  # fmt: skip


@check("NAM207")
def changed_globals(record: RecordView) -> Iterator[Found]:
    """NAM207: a jitted function keeps the value that a global had when it was traced."""
    reported, program = set(), record.program
    for fact in record.facts:
        if not isinstance(fact, Changed) or fact.rule.code is None or (fact.name, fact.function) in reported:
            continue
        reported.add((fact.name, fact.function))
        rule, reads = role(fact.rule, fact.phase, fact.function), program.use_of(fact.rule.code, fact.name)
        spot = reads
        for text in program.sources.searched(fact.rule.code.co_filename):
            bound = bindings.bindings(text.text, fact.name)
            if bound and not fact.before.startswith(("{", "[")):  # containers are changed elsewhere, in place
                spot = program.spot_in(text, bound[-1].line, bound[-1].start, bound[-1].end)
                break
        reason = f"{fact.name} was {fact.before} when {rule} ({reads}) was traced, and is {fact.now} now."
        if fact.before == fact.now:
            reason = f"{fact.name} was another one when {rule} ({reads}) was traced."
        yield found(
            "NAM207", Severity.NOTE, spot, f"{fact.name} was changed after {fact.function.name} was traced with it",
            f"{reason} A jitted function keeps the value that it was traced with.",
            view=next(iter(record.of_function(fact.function)), None), fix=Fix(f"pass {fact.name} as an argument"),
            function=fact.function.name, phase=fact.phase, got=fact.now,
        )  # fmt: skip


@check("NAM208", of_each_call=True)
def state_beside_residuals(view: CallView) -> Iterator[Found]:
    """NAM208: fwd passes a value to bwd through a global or through `self`, and not as a residual."""
    if not view.fwds or view.fwd is None or view.bwd is None or view.fwd.code is None:
        return
    fwd, bwd = view.program.rule_text(view.fwd.code), view.program.rule_text(view.bwd.code)
    stored = rule_ast.kept_outside(fwd) if fwd is not None else {}
    for name, line in stored.items():
        if bwd is None or not rule_ast.reads(bwd, name):
            continue
        yield view.finding(
            "NAM208", Severity.WARNING,
            view.program.spot_in(view.program.sources.text_of(view.fwd.code.co_filename), line),
            f"{view.fwd_name} stores a value in {name}, and {view.bwd_name} reads it there",
            f"bwd runs later, so another call of {view.name} may have overwritten the value by then. Under jit the "
            "value is a tracer, which is invalid once its trace ends.",
            fix=Fix("pass it as a residual", "return output, value"), phase="fwd", got=name,
        )  # fmt: skip


def _identifier(function: Function) -> str:
    return function.name if function.name.isidentifier() else "function"
