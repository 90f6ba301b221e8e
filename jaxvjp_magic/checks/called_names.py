"""NAM2xx: a rule calls a name that has been overwritten."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from jaxvjp_magic.checks.call_view import Found, role
from jaxvjp_magic.checks.shapes import bwd_fits_arguments, tree_difference
from jaxvjp_magic.record.facts import Leak, NameUse
from jaxvjp_magic.results.model import Finding, Severity
from jaxvjp_magic.source import bindings, rule_ast
from jaxvjp_magic.source.program import Spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.call_view import Case
    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.facts import Fact
    from jaxvjp_magic.source.program import Program, Text

SAME_FUNCTION = {"jit", "checkpoint", "remat", "named_call", "named_scope", "ContextDecorator", "vectorize"}
MAPPED = {"vmap", "pmap", "shard_map", "partial"}
ANOTHER_FUNCTION = {"grad", "value_and_grad", "jacrev", "jacfwd", "jacobian", "hessian", "jvp", "vjp", "linearize"}
_SUFFIXES = {"vmap": "mapped", "jit": "jitted", "checkpoint": "remat", "pmap": "mapped", "shard_map": "sharded"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Overwriting:
    """The statement that gave the name another meaning, as far as it was found."""

    spot: Spot
    value: str = ""
    text: Text | None = None


def overwritten_names(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM201, once for each name and function; the rule that calls it first is named."""
    seen = set()
    for use in facts:
        if not isinstance(use, NameUse):
            continue
        key = (use.name, use.function, use.scope)
        if key in seen:
            continue
        found = _overwriting(use, program)
        severity = _severity(use, found, cases, program)
        if severity is None or not (use.is_own_name or bindings.uses(found.value, use.name)):
            continue  # another name for something made from the function: mapped = vmap(f)
        seen.add(key)
        yield Found(_finding(use, severity, found, program), _first_case(use, cases))


def leaked_tracers(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """NAM205, once for each global and function: the rule that ran first with a tracer in it."""
    seen = set()
    for leak in facts:
        if not isinstance(leak, Leak) or (leak.name, leak.function) in seen:
            continue
        seen.add((leak.name, leak.function))
        of_function = _of_function(leak.function, cases)
        ended = any(case.is_part_of_an_error for case in of_function)
        severity = Severity.ERROR if ended else Severity.WARNING
        rule, spot = program.rule_text(leak.rule.code), program.definition(leak.rule.code)
        line = rule_ast.kept_outside(rule).get(leak.name) if rule is not None else None
        if line is not None and leak.rule.code is not None:
            spot = program.spot_in(program.sources.text_of(leak.rule.code.co_filename), line)
        yield Found(
            Finding(
                "NAM205", severity,
                f"{role(leak.rule, leak.phase, leak.function)} leaves a tracer in the global {leak.name}",
                "Below jit, vmap and grad a value is a tracer, which is worth nothing when its trace has ended. "
                "Residuals are the way from fwd to bwd; in eager mode a global seems to work.",
                fix="hand it over as a residual:  return output, value", function=leak.function.name, line=spot.line,
                source=spot.source, snippet=spot.snippet, phase=leak.phase, got=leak.name,
            ),
            next(iter(of_function), None),
        )  # fmt: skip


def deleted_names(case: Case) -> Iterator[Found]:
    """NAM201, where a rule raises NameError because its function's name was deleted."""
    for failed in case.uncaught:
        match = re.match(r"name '(\w+)' is not defined", failed.raised.message)
        rule = {"fwd": case.fwd, "bwd": case.bwd}.get(failed.phase)
        if failed.raised.type != "NameError" or match is None or rule is None or rule.code is None:
            continue
        for text in case.program.sources.searched(rule.code.co_filename):
            for at in bindings.deletions(text.text, match[1])[-1:]:
                yield case.finding(
                    "NAM201", Severity.ERROR, case.program.spot_in(text, *at),
                    f"{match[1]} was deleted; {role(rule, failed.phase, case.call.function)} calls it",
                    f"{case.program.spot(failed.raised.place)} looks {match[1]} up when the rule runs, and it is gone.",
                    fix=f"keep the name {match[1]}", phase=failed.phase, expected="the custom_vjp function",
                )  # fmt: skip
                return


def _of_function(function: Function, cases: Sequence[Case]) -> list[Case]:
    return [case for case in cases if case.call.function is function]


def _first_case(use: NameUse, cases: Sequence[Case]) -> Case | None:
    return next((case for case in _of_function(use.function, cases) if case.fwds or case.failures), None)


def _severity(use: NameUse, found: _Overwriting, cases: Sequence[Case], program: Program) -> Severity | None:
    """An error where it shows; a warning where it must; a note where the function stays what it is, or may do so."""
    if use.helper is not None:
        return Severity.ERROR if _fails(use, _of_function(use.function, cases)) else None
    if use.chain and all(step in SAME_FUNCTION for step in use.chain):
        return Severity.NOTE
    if _shows(use, _of_function(use.function, cases)):
        return Severity.ERROR
    if any(step in ANOTHER_FUNCTION for step in use.chain):
        return Severity.ERROR
    if not use.chain:
        return None
    certain = any(step in MAPPED for step in use.chain) and not _gives_the_same(use, found, program)
    return Severity.WARNING if certain else Severity.NOTE


def _gives_the_same(use: NameUse, found: _Overwriting, program: Program) -> bool:
    """Whether the name is a partial of the function, and the rule gives all that is bound there itself."""
    bound = bindings.keywords_of_partial(found.value)
    rule = program.rule_text(use.rule.code)
    return bool(bound) and rule is not None and rule_ast.always_gives(rule, use.name, bound)


def _shows(use: NameUse, cases: Sequence[Case]) -> bool:
    """Whether the rule that looks the name up ended the program, or gave another output than the function."""
    return any(_ended_by(use, case) or (use.phase == "fwd" and _differs(case)) for case in cases)


def _fails(use: NameUse, cases: Sequence[Case]) -> bool:
    """Whether a rule ended the program, or function and rules do not fit."""
    if any(one.phase in ("fwd", "bwd") for case in cases for one in case.uncaught):
        return True
    return _shows(use, cases) or any(one for case in cases for one in bwd_fits_arguments(case))


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
    caller = f"{role(use.rule, use.phase, use.function)} ({rule_at}) calls {use.name}" + (
        f" through {use.through}" if use.through else ""
    )
    effect, was = ".", "the custom_vjp function"
    if use.helper is not None:
        effect = ". With that, function and rules would fit."
        was = f"the function that {program.definition(use.helper.code)} defines"
    elif severity is Severity.NOTE:
        same = all(step in SAME_FUNCTION for step in use.chain)
        effect = ". Both compute the same, so this is harmless." if same else ", which returns the same types."
    new, fix = _fix(use, found)
    return Finding(
        "NAM201", severity,
        f"{use.name} was overwritten; {role(use.rule, use.phase, use.function)} calls it",
        f"{caller}, and now gets {now} instead of {was}{effect}",
        fix=fix, function=use.function.name, line=found.spot.line, source=found.spot.source,
        snippet=found.spot.snippet, phase=use.phase, expected=was, got=now, new_name=new,
    )  # fmt: skip


def _overwriting(use: NameUse, program: Program) -> _Overwriting:
    """The last statement that binds the name to something else than the function's own definition."""
    code = use.rule.code
    if code is None:
        return _Overwriting(Spot())
    inside = code.co_firstlineno if use.scope == "closure" else None
    texts = [program.sources.text_of(code.co_filename)] if inside else program.sources.searched(code.co_filename)
    for text in texts:
        bound = bindings.bindings(text.text, use.name, inside)
        assigned = [binding for binding in bound if not binding.is_definition]
        chosen = assigned or (bound if len(bound) > 1 else [])
        if chosen:
            last = chosen[-1]
            return _Overwriting(program.spot_in(text, last.line, last.start, last.end), last.value, text)
    if inside is None:  # another module's global: `module.f = vmap(module.f)`
        for text in reversed(program.sources.history()):
            for last in bindings.bindings(text.text, f".{use.name.rsplit('.', 1)[-1]}")[-1:]:
                return _Overwriting(program.spot_in(text, last.line, last.start, last.end), last.value, text)
    return _Overwriting(Spot())


def _fix(use: NameUse, found: _Overwriting) -> tuple[str, str]:
    made_by = use.chain[0] if use.chain else "new"
    value = found.value or (f"{made_by}({use.name}, ...)" if use.chain else "...")
    new = new_name(use.name, made_by, found.text.text if found.text is not None else "")
    return new, keep_original(new, value)


def keep_original(new: str, value: str) -> str:
    """The fix for an overwritten name; in words alone where it is not known what overwrites it."""
    if "..." in value:
        return f"keep the original name, and call the other one {new}"
    return f"keep the original name:  {new} = {value}"


def new_name(name: str, made_by: str, text: str) -> str:
    """A name that the text does not use, for what overwrites another."""
    words = re.findall(r"\w+", name)  # `self.f`, `table['f']`
    new = "_".join([*words, _SUFFIXES.get(made_by, made_by)])
    while bindings.uses(text, new):
        new += "_"
    return new
