"""NAM201 and NAM205: from the names that rules look up to findings about overwritten names and leaked tracers."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.shapes import bwd_fits_arguments, tree_difference
from jaxvjp_magic.checks.view import found, role
from jaxvjp_magic.record.facts import Leak, NameUse
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings, rule_ast
from jaxvjp_magic.source.program import Spot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.source.program import Program, Text

SAME_FUNCTION = {"jit", "checkpoint", "remat", "named_call", "named_scope", "ContextDecorator", "vectorize"}
MAPPED = {"vmap", "pmap", "shard_map", "partial"}
ANOTHER_FUNCTION = {"grad", "value_and_grad", "jacrev", "jacfwd", "jacobian", "hessian", "jvp", "vjp", "linearize"}
_SUFFIXES = {"vmap": "mapped", "jit": "jitted", "checkpoint": "remat", "pmap": "mapped", "shard_map": "sharded"}


@dataclasses.dataclass(frozen=True, slots=True)
class _Overwriting:
    """The statement that overwrote the name, as far as it was found."""

    spot: Spot
    value: str = ""
    text: Text | None = None


@check("NAM201")
def overwritten_names(record: RecordView) -> Iterator[Found]:
    """NAM201: a rule calls an overwritten name. Once for each name and function, for the rule that calls it first."""
    seen = set()
    for use in record.facts:
        if not isinstance(use, NameUse):
            continue
        key = (use.name, use.function, use.scope)
        if key in seen:
            continue
        overwriting = _overwriting(use, record.program)
        severity = _severity(use, overwriting, record)
        if severity is None or not (use.is_own_name or bindings.uses(overwriting.value, use.name)):
            continue  # a transformed function under a name of its own: mapped = vmap(f)
        seen.add(key)
        yield _finding(use, severity, overwriting, record)


@check("NAM205")
def leaked_tracers(record: RecordView) -> Iterator[Found]:
    """NAM205: a rule leaves a tracer in a global. Once for each global and function, for the rule that ran first."""
    seen = set()
    program = record.program
    for leak in record.facts:
        if not isinstance(leak, Leak) or (leak.name, leak.function) in seen:
            continue
        seen.add((leak.name, leak.function))
        calls = record.of_function(leak.function)
        has_ended_program = any(view.is_part_of_an_error for view in calls)
        severity = Severity.ERROR if has_ended_program else Severity.WARNING
        rule, spot = program.rule_text(leak.rule.code), program.definition(leak.rule.code)
        line = rule_ast.kept_outside(rule).get(leak.name) if rule is not None else None
        if line is not None and leak.rule.code is not None:
            spot = program.spot_in(program.sources.text_of(leak.rule.code.co_filename), line)
        yield found(
            "NAM205", severity, spot,
            f"{role(leak.rule, leak.phase, leak.function)} leaves a tracer in the global {leak.name}",
            "Under jit, vmap and grad the value is a tracer, which is invalid once its trace ends. In eager mode the "
            "global seems to work. Residuals are the way from fwd to bwd.",
            view=next(iter(calls), None), fix=Fix("pass it as a residual", "return output, value"),
            function=leak.function.name, phase=leak.phase, got=leak.name,
        )  # fmt: skip


@check("NAM201", of_each_call=True)
def deleted_names(view: CallView) -> Iterator[Found]:
    """NAM201: a rule raises NameError, because the name that it calls was deleted."""
    for failed in view.uncaught:
        match = re.match(r"name '(\w+)' is not defined", failed.raised.message)
        rule = {"fwd": view.fwd, "bwd": view.bwd}.get(failed.phase)
        if failed.raised.type != "NameError" or match is None or rule is None or rule.code is None:
            continue
        for text in view.program.sources.searched(rule.code.co_filename):
            for deletion in bindings.deletions(text.text, match[1])[-1:]:
                yield view.finding(
                    "NAM201", Severity.ERROR, view.program.spot_in(text, *deletion),
                    f"{match[1]} was deleted; {role(rule, failed.phase, view.call.function)} calls it",
                    f"The rule looks up {match[1]} when it runs ({view.program.spot(failed.raised.place)}), and there "
                    "it no longer exists.",
                    fix=Fix(f"keep the name {match[1]}"), phase=failed.phase, expected="the custom_vjp function",
                )  # fmt: skip
                return


def _severity(use: NameUse, overwriting: _Overwriting, record: RecordView) -> Severity | None:
    """An error if it shows, or the name is a derivative now; a warning if it is mapped or bound; else a note.

    None if there is nothing to report.
    """
    if use.helper is not None:
        return Severity.ERROR if _fails(use, record.of_function(use.function)) else None
    if use.chain and all(step in SAME_FUNCTION for step in use.chain):
        return Severity.NOTE
    if _shows(use, record.of_function(use.function)):
        return Severity.ERROR
    if any(step in ANOTHER_FUNCTION for step in use.chain):
        return Severity.ERROR
    if not use.chain:
        return None
    certain = any(step in MAPPED for step in use.chain) and not _gives_the_same(use, overwriting, record.program)
    return Severity.WARNING if certain else Severity.NOTE


def _gives_the_same(use: NameUse, overwriting: _Overwriting, program: Program) -> bool:
    """Whether the name is a partial of the function, and the rule passes all its bound keywords itself."""
    bound = bindings.keywords_of_partial(overwriting.value)
    rule = program.rule_text(use.rule.code)
    return bool(bound) and rule is not None and rule_ast.always_gives(rule, use.name, bound)


def _shows(use: NameUse, calls: Sequence[CallView]) -> bool:
    """Whether the rule that looks the name up ended the program, or its output differs from the function's."""
    return any(_ended_by(use, view) or (use.phase == "fwd" and _differs(view)) for view in calls)


def _fails(use: NameUse, calls: Sequence[CallView]) -> bool:
    """Whether a rule ended the program, or the rules do not fit the function."""
    if any(failure.phase in ("fwd", "bwd") for view in calls for failure in view.uncaught):
        return True
    return _shows(use, calls) or any(mismatch for view in calls for mismatch in bwd_fits_arguments(view))


def _ended_by(use: NameUse, view: CallView) -> bool:
    """Whether an uncaught exception left the rule, or left the call before the rule returned."""
    ran = view.fwds if use.phase == "fwd" else view.bwds
    return any(failure.phase == use.phase or not ran for failure in view.uncaught)


def _differs(view: CallView) -> bool:
    expected = view.expected_output
    outputs = [fwd.output for fwd in view.fwds if fwd.output is not None]
    return expected is not None and any(tree_difference(expected, output)[1] for output in outputs)


def _finding(use: NameUse, severity: Severity, overwriting: _Overwriting, record: RecordView) -> Found:
    program = record.program
    now = overwriting.value or (f"{use.chain[0]}({use.name}, ...)" if use.chain else use.now)
    rule_at = program.definition(use.rule.code)
    caller = f"{role(use.rule, use.phase, use.function)} ({rule_at}) calls {use.name}" + (
        f" through {use.through}" if use.through else ""
    )
    view = next((view for view in record.of_function(use.function) if view.fwds or view.failures), None)
    kind = next((view.call.kind for view in record.of_function(use.function) if view.is_custom), "custom_vjp")
    effect, expected = ".", f"the {kind} function"
    if use.helper is not None:
        effect = ". With that function, the rules would fit."
        expected = f"the function that {program.definition(use.helper.code)} defines"
    elif severity is Severity.NOTE:
        same = all(step in SAME_FUNCTION for step in use.chain)
        effect = ". Both compute the same, so this is harmless." if same else ", which returns the same types."
    new, fix = _fix(use, overwriting)
    return found(
        "NAM201", severity, overwriting.spot,
        f"{use.name} was overwritten; {role(use.rule, use.phase, use.function)} calls it",
        f"{caller}, and now gets {now} instead of {expected}{effect}",
        view=view, fix=fix, function=use.function.name, phase=use.phase, expected=expected, got=now, new_name=new,
    )  # fmt: skip


def _overwriting(use: NameUse, program: Program) -> _Overwriting:
    """The last statement that binds the name to anything but the function's own definition."""
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


def _fix(use: NameUse, overwriting: _Overwriting) -> tuple[str, Fix]:
    made_by = use.chain[0] if use.chain else "new"
    value = overwriting.value or (f"{made_by}({use.name}, ...)" if use.chain else "...")
    new = new_name(use.name, made_by, overwriting.text.text if overwriting.text is not None else "")
    return new, keep_original(new, value)


def keep_original(new: str, value: str) -> Fix:
    """The fix for an overwritten name; in words alone if it is not known what overwrites it."""
    if "..." in value:
        return Fix(f"give the new value its own name, such as {new}")
    return Fix("give the new function its own name", f"{new} = {value}")


def new_name(name: str, made_by: str, text: str) -> str:
    """A name that the text does not use yet, for the value that overwrites `name`: `f_mapped`."""
    words = re.findall(r"\w+", name)  # `self.f`, `table['f']`
    new = "_".join([*words, _SUFFIXES.get(made_by, made_by)])
    while bindings.uses(text, new):
        new += "_"
    return new
