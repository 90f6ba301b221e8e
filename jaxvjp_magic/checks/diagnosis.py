"""All checks over one record: findings in the order a person should read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic import rules
from jaxvjp_magic.checks import names, raised, residuals, shapes, usage, values
from jaxvjp_magic.checks.case import Case, Context, Found
from jaxvjp_magic.report import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jaxvjp_magic.sources import Program
    from jaxvjp_magic.tracing.facts import ErrorFact, Record

SHAPES: tuple[Callable[[Case], Iterator[Found]], ...] = (
    shapes.fwd_returns_a_pair,
    shapes.fwd_fits_primal,
    shapes.bwd_fits_arguments,
    shapes.pullback_fits_output,
    shapes.primals_have_gradients,
)


def diagnose(
    record: Record,
    program: Program,
    *,
    ignore: Callable[[Finding], bool],
    uncaught: frozenset[tuple[str, str]] = frozenset(),
    error: ErrorFact | None = None,
) -> tuple[Finding, ...]:
    """The findings of a record: errors first, and among them the cause first.

    Those that `ignore` names are left out. `uncaught` has type and message of
    the exception that ended the program, and of those behind it; the finding
    that explains it says so.
    """
    context = Context(program, {call.id: call for call in record.calls}, uncaught)
    cases = [Case(call, context) for call in record.calls]
    found = [one for case in cases for check in SHAPES for one in check(case)]
    found += values.wrong_values(record.values, cases)
    found += names.overwritten_names(record.names, cases, program)
    found += names.leaked_tracers(record.leaks, cases, program)
    found += residuals.stacked_residuals(cases)
    exceptions = [*usage.wrong_use(error, program)]
    exceptions += [one for case in cases for one in raised.failures(case)]
    found += [one for one in exceptions if not any(explains(other, one) for other in found)]
    found = [one for one in found if not ignore(one.finding)]
    found = sorted(_merged(found), key=lambda one: (one.finding.severity.rank, _rank(one)))
    return _with_causes(found, raised_error=any(one.finding.severity is Severity.ERROR for one in exceptions))


def _rank(found: Found) -> int:
    return rules.CATALOGUE[found.finding.code].rank


def _merged(found: Sequence[Found]) -> list[Found]:
    """One finding for what several calls show alike."""
    merged: dict[tuple[object, ...], Found] = {}
    for one in found:
        finding = one.finding
        key = (finding.code, finding.function, finding.line, finding.source, finding.path, finding.title)
        known = merged.get(key)
        if known is None:
            merged[key] = one
        else:
            calls = tuple(dict.fromkeys((*known.finding.calls, *finding.calls)))
            merged[key] = dataclasses.replace(known, finding=dataclasses.replace(known.finding, calls=calls))
    return list(merged.values())


def explains(cause: Found, effect: Found) -> bool:
    """Whether the one follows from the other: of the same function, or one call around the other."""
    if cause is effect or cause.finding.severity is not Severity.ERROR or _rank(cause) >= _rank(effect):
        return False
    if cause.case is None or effect.case is None:
        return False
    if cause.case.call.function is effect.case.call.function:
        return True
    return effect.case.call.id in cause.case.ancestors() or cause.case.call.id in effect.case.ancestors()


def _with_causes(found: Sequence[Found], *, raised_error: bool) -> tuple[Finding, ...]:
    """Each finding with the ones that follow from it, and these without a fix: it would be no cure."""
    findings = []
    for index, one in enumerate(found):
        follows = any(explains(other, one) for other in found[:index])
        effects = () if follows else tuple(i for i, other in enumerate(found) if explains(one, other))
        explains_error = raised_error and index == 0 and one.finding.severity is Severity.ERROR
        fix = "" if follows else one.finding.fix
        findings.append(dataclasses.replace(one.finding, fix=fix, cause_of=effects, explains_error=explains_error))
    return tuple(findings)
