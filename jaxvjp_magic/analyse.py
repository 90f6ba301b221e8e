"""From a record to a report: the calls as people read them, the findings beside them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic.checks import diagnose
from jaxvjp_magic.introspect.names_at_error import error_fact
from jaxvjp_magic.introspect.stack import describe_error, place_of_error
from jaxvjp_magic.record.calls import WITH_A_PROMISE, Bwd, Failed, Forward, Fwd, Primal, Pullback
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, NotChecked, Omitted, ProgramError, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.record.calls import CallFact, Event
    from jaxvjp_magic.record.record import Record
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.results.model import Leaves
    from jaxvjp_magic.source.program import Program

E = TypeVar("E", bound="Event")
_SILENCED = re.compile(r"#\s*vjpcheck:\s*ignore\s*\[([^\]]*)\]")


def build_report(
    record: Record,
    program: Program,
    *,
    error: BaseException | None = None,
    ignore: tuple[str, ...] = (),
    libraries: bool = False,
) -> Report:
    """The report of one check; `error` is the exception that ended the program.

    With `libraries`, warnings and notes about files of libraries are shown, too.
    """

    def ignored(finding: Finding) -> bool:
        if finding.in_library and not libraries and finding.severity is not Severity.ERROR:
            return True
        return finding.code in ignore or finding.code in _silenced_on_line(finding)

    diagnosis = diagnose(record, program, ignore=ignored, uncaught=_uncaught(error), error=error_fact(error))
    wrong_calls = {
        call for finding in diagnosis.findings if finding.severity is Severity.ERROR for call in finding.calls
    }
    leaves = functools.cache(_leaves)  # many calls share a pytree, which is compared by identity
    return Report(
        jax=record.jax,
        findings=diagnosis.findings,
        calls=tuple(_call(fact, program, leaves, wrong=fact.id in wrong_calls) for fact in record.calls),
        error=_program_error(error, program) if error is not None else None,
        notes=(*record.notes, *diagnosis.notes),
        omitted=Omitted(not_checked=record.more_not_checked) if record.more_not_checked else None,
        not_checked=_not_checked(record, program),
        complete=record.complete,
        silenced=diagnosis.silenced,
    )


def _uncaught(error: BaseException | None) -> frozenset[tuple[str, str]]:
    """Type and message of the exception and of those that it was raised from, as the collector writes them.

    Leaves out the one that JAX adds to show where a transformation was, which
    has the message of another.
    """
    found: dict[int, tuple[str, str]] = {}
    pending = [error]
    while pending:
        exception = pending.pop()
        if exception is not None and id(exception) not in found:
            raised = describe_error(exception)
            found[id(exception)] = raised.type, raised.message
            pending += [exception.__cause__, exception.__context__]
    return frozenset(pair for pair in found.values() if pair[0] != "JaxStackTraceBeforeTransformation")


def _silenced_on_line(finding: Finding) -> set[str]:
    match = _SILENCED.search(finding.snippet.text) if finding.snippet else None
    return {code.strip().upper() for code in match[1].split(",")} if match else set()


def _program_error(error: BaseException, program: Program) -> ProgramError:
    spot = program.spot(place_of_error(error))
    if isinstance(error, SyntaxError) and spot.line is None:
        return ProgramError(type(error).__name__, str(error.msg), error.lineno)
    return ProgramError(type(error).__name__, str(error), spot.line, spot.source)


def _not_checked(record: Record, program: Program) -> tuple[NotChecked, ...]:
    """What was not checked, each entry once: two places may be the same line to the user."""
    found: dict[NotChecked, None] = {}
    for fact in record.not_checked:
        name, code = (fact.function.name, fact.function.code) if fact.function else ("", None)
        defined, place = program.definition(code), program.spot(fact.place)
        location = "" if place.line is None else f" ({place})"
        why = fact.why.replace("{at}", location)  # not `format`: the reason may contain other braces
        found[NotChecked(fact.what, name, defined.line, defined.source, why)] = None
    has_rules = any(isinstance(event, (Fwd, Bwd)) for call in record.calls for event in call.events)
    has_rules = has_rules or any(call.kind in WITH_A_PROMISE for call in record.calls)
    if has_rules and not record.verified:
        found[NotChecked("values", why="--verify")] = None
    return tuple(found)


def _call(fact: CallFact, program: Program, leaves: Callable[..., Leaves | None], *, wrong: bool) -> Call:
    spot = program.spot(fact.place)
    primal, fwd, bwd = _first_event(fact, Primal), _first_event(fact, Fwd), _first_event(fact, Bwd)
    forward, pullback = _first_event(fact, Forward), _first_event(fact, Pullback)
    outputs = primal.output if primal else forward.output if forward else None
    residuals = fwd.residuals if fwd else forward.residuals if forward else None
    backward = bwd or pullback
    return Call(
        id=fact.id,
        kind=fact.kind,
        function=fact.function.name,
        line=spot.line,
        source=spot.source,
        count=fact.count,
        parent=fact.parent,
        vmap=fact.vmap,
        status=_status(fact, wrong=wrong),
        primals=leaves(fact.primals, with_bytes=True),
        nondiff=tuple(Leaf(path, text) for path, text in fact.nondiff) or None,
        outputs=leaves(outputs),
        fwd_outputs=leaves(fwd.output) if fwd else None,
        residuals=leaves(residuals, with_bytes=True),
        cotangents_in=leaves(backward.cotangents) if backward else None,
        cotangents_out=leaves(backward.result) if backward else None,
    )


def _first_event(fact: CallFact, event_type: type[E]) -> E | None:
    return next((event for event in fact.events if isinstance(event, event_type)), None)


def _leaves(tree: Tree | None, *, with_bytes: bool = False) -> Leaves | None:
    if tree is None:
        return None
    return tuple(
        Leaf(path, array_type.text, array_type.bytes if with_bytes else None, array_type.note)
        for path, array_type in tree.leaves
    )


def _status(fact: CallFact, *, wrong: bool) -> str:
    """The status of the call: error, ok, or which phase did not run."""
    if wrong or _first_event(fact, Failed):
        return "error"
    if _first_event(fact, Fwd) and not _first_event(fact, Bwd) and fact.kind not in ("custom_jvp", "custom_vmap"):
        return "bwd not run"
    if _first_event(fact, Forward) and not _first_event(fact, Pullback):
        return "pullback not called"
    return "ok"
