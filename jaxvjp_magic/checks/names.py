"""NAM2xx: a rule calls a name that has been overwritten."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic import syntax
from jaxvjp_magic.checks.case import Found
from jaxvjp_magic.checks.shapes import tree_difference
from jaxvjp_magic.report import Finding, Severity
from jaxvjp_magic.sources import Spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.case import Case
    from jaxvjp_magic.sources import Program, Text
    from jaxvjp_magic.tracing.facts import Function, Leak, NameUse

SAME_FUNCTION = {"jit", "checkpoint", "remat", "named_call", "named_scope", "ContextDecorator"}
ANOTHER_FUNCTION = {"grad", "value_and_grad", "jacrev", "jacfwd", "jacobian", "hessian", "jvp", "vjp", "linearize"}
_SUFFIXES = {"vmap": "mapped", "jit": "jitted", "checkpoint": "remat", "pmap": "mapped", "shard_map": "sharded"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Overwriting:
    """The statement that gave the name another meaning, as far as it was found."""

    spot: Spot
    value: str = ""
    text: Text | None = None


def overwritten_names(uses: Sequence[NameUse], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM201, once for each name and function; the rule that calls it first is named."""
    seen = set()
    for use in uses:
        key = (use.name, use.function, use.scope)
        if key in seen:
            continue
        severity, found = _severity(use, cases), _overwriting(use, program)
        if severity is None or not (use.is_own_name or syntax.uses(found.value, use.name)):
            continue  # another name for something made from the function: mapped = vmap(f)
        seen.add(key)
        yield Found(_finding(use, severity, found, program), _first_case(use, cases))


def leaked_tracers(leaks: Sequence[Leak], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM205, once for each global and function: the rule that ran first with a tracer in it."""
    seen = set()
    for leak in leaks:
        if (leak.name, leak.function) in seen:
            continue
        seen.add((leak.name, leak.function))
        of_function = _of_function(leak.function, cases)
        ended = any(_is_part_of_an_error(case, cases) for case in of_function)
        severity = Severity.ERROR if ended else Severity.WARNING
        spot = program.definition(leak.rule.code)
        yield Found(
            Finding(
                "NAM205", severity, f"{leak.rule.name} leaves a tracer in the global {leak.name}",
                "Below jit, vmap and grad a value is a tracer, which is worth nothing when its trace has ended. "
                "Residuals are the way from fwd to bwd; in eager mode a global seems to work.",
                fix="hand it over as a residual:  return output, value", function=leak.function.name, line=spot.line,
                source=spot.source, snippet=spot.snippet, phase=leak.phase, got=leak.name,
            ),
            next(iter(of_function), None),
        )  # fmt: skip


def _is_part_of_an_error(case: Case, cases: Sequence[Case]) -> bool:
    """Whether an exception that nobody handled left this call or one around it."""
    around = {case.call.id, *case.ancestors()}
    return any(one.uncaught for one in cases if one.call.id in around)


def _of_function(function: Function, cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.call.function is function]


def _first_case(use: NameUse, cases: Sequence[Case]) -> Case | None:
    return next((case for case in _of_function(use.function, cases) if case.fwds or case.failures), None)


def _severity(use: NameUse, cases: Sequence[Case]) -> Severity | None:
    """An error where it shows; a warning where it must; a note where the function stays what it is."""
    if use.chain and all(step in SAME_FUNCTION for step in use.chain):
        return Severity.NOTE
    if _shows(use, _of_function(use.function, cases)):
        return Severity.ERROR
    if any(step in ANOTHER_FUNCTION for step in use.chain):
        return Severity.ERROR
    return Severity.WARNING if use.chain else None


def _shows(use: NameUse, cases: Sequence[Case]) -> bool:
    """Whether the rule that looks the name up ended the program, or gave another output than the function."""
    return any(_ended_by(use, case) or (use.phase == "fwd" and _differs(case)) for case in cases)


def _ended_by(use: NameUse, case: Case) -> bool:
    """Whether an exception that nobody handled left the rule, or the call before the rule gave a result."""
    ran = case.fwds if use.phase == "fwd" else case.bwds
    return any(one.phase == use.phase or not ran for one in case.uncaught)


def _differs(case: Case) -> bool:
    expected = case.expected_output
    outputs = [fwd.output for fwd in case.fwds if fwd.output is not None]
    return expected is not None and any(tree_difference(expected, output)[1] for output in outputs)


def _finding(use: NameUse, severity: Severity, found: _Overwriting, program: Program) -> Finding:
    now = found.value or (f"{use.chain[0]}({use.name}, ...)" if use.chain else use.now)
    rule_at = program.definition(use.rule.code)
    caller = f"{use.rule.name} ({rule_at}) calls {use.name}" + (f" through {use.through}" if use.through else "")
    harmless = severity is Severity.NOTE
    effect = ". Both compute the same, so this is harmless." if harmless else "."
    return Finding(
        "NAM201", severity,
        f"{use.name} was overwritten; {use.rule.name} calls it",
        f"{caller}, and now gets {now} instead of the custom_vjp function{effect}",
        fix=_fix(use, found), function=use.function.name, line=found.spot.line, source=found.spot.source,
        snippet=found.spot.snippet, phase=use.phase, expected="the custom_vjp function", got=now,
    )  # fmt: skip


def _overwriting(use: NameUse, program: Program) -> _Overwriting:
    """The last statement that binds the name to something else than the function's own definition."""
    code = use.rule.code
    if code is None:
        return _Overwriting(Spot())
    inside = code.co_firstlineno if use.scope == "closure" else None
    texts = [program.sources.text_of(code.co_filename)] if inside else program.sources.searched(code.co_filename)
    for text in texts:
        bound = syntax.bindings(text.text, use.name, inside)
        assigned = [binding for binding in bound if not binding.is_definition]
        chosen = assigned or (bound if len(bound) > 1 else [])
        if chosen:
            last = chosen[-1]
            return _Overwriting(program.spot_in(text, last.line, last.start, last.end), last.value, text)
    return _Overwriting(Spot())


def _fix(use: NameUse, found: _Overwriting) -> str:
    suffix = _SUFFIXES.get(use.chain[0], use.chain[0]) if use.chain else "new"
    new = f"{use.name}_{suffix}"
    while found.text is not None and syntax.uses(found.text.text, new):
        new += "_"
    value = found.value or (f"{use.chain[0]}({use.name}, ...)" if use.chain else "...")
    return f"keep the original name:  {new} = {value}"
