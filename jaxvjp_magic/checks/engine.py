"""All checks over one record: findings in the order a person should read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic import catalogue
from jaxvjp_magic.checks import (
    arguments,
    called_names,
    exceptions_in_rules,
    overwrites_in_source,
    residuals,
    rule_bindings,
    shapes,
    shared_axes,
    signatures,
    uncaught_exceptions,
    values,
)
from jaxvjp_magic.checks.call_view import Case, Context, Found
from jaxvjp_magic.record.facts import ValueFact
from jaxvjp_magic.record.notes import Note
from jaxvjp_magic.results.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.facts import Fact
    from jaxvjp_magic.record.record import ErrorFact, Record
    from jaxvjp_magic.source.program import Program

T = TypeVar("T")
OF_CALLS: tuple[Callable[[Case], Iterator[Found]], ...] = (
    signatures.rules_take_what_they_are_given,
    signatures.residuals_are_unpacked_as_packed,
    rule_bindings.state_beside_residuals,
    called_names.deleted_names,
    uncaught_exceptions.gradients_of_scalars,
    uncaught_exceptions.zero_size_gradients,
    shapes.fwd_returns_a_pair,
    shapes.fwd_fits_primal,
    shapes.bwd_fits_arguments,
    shapes.pullback_fits_output,
    shapes.primals_have_gradients,
    arguments.needed_gradients_are_returned,
    arguments.static_arguments_are_static,
    arguments.python_values_stay_python,
    shared_axes.shared_outputs,
    shared_axes.cotangents_are_summed,
    residuals.unused_residuals,
    residuals.large_residuals,
)
MOST_ALIKE = 20  # findings of one code at one place: a rule that is wrong for a thousand shapes is wrong once
OF_EXCEPTIONS = {  # these are errors only where an exception has ended the program
    "NAM204", "VJP107", "VJP108", "VJP109", "VJP110", "VJP111", "VJP112", "VJP113", "VJP114", "VJP106", "VJP116",
    "VJP117", "VJP118", "VJP120", "VJP122", "VJP124",
}  # fmt: skip
OF_FACTS: tuple[Callable[[Sequence[Fact], Sequence[Case], Program], Iterator[Found]], ...] = (
    called_names.overwritten_names,
    overwrites_in_source.overwritten_names,
    overwrites_in_source.repeated_transformations,
    overwrites_in_source.imported_names,
    overwrites_in_source.repeated_tuples,
    called_names.leaked_tracers,
    rule_bindings.rules_defined_again,
    rule_bindings.late_bound_names,
    rule_bindings.changed_globals,
    arguments.closed_over_values,
)


def diagnose(
    record: Record,
    program: Program,
    *,
    ignore: Callable[[Finding], bool],
    uncaught: frozenset[tuple[str, str]] = frozenset(),
    error: ErrorFact | None = None,
) -> Diagnosis:
    """The findings of a record: errors first, and among them the cause first.

    Those that `ignore` names are silenced. `uncaught` has type and message of
    the exception that ended the program, and of those behind it; the finding
    that explains it says so.
    """
    context = Context(program, {call.id: call for call in record.calls}, uncaught)
    cases = [Case(call, context) for call in record.calls]
    run = _Checks()
    found = [one for case in cases for check in OF_CALLS for one in run(check, case)]
    found += [one for check in OF_FACTS for one in run(check, record.facts, cases, program)]
    found += run(residuals.stacked_residuals, cases)
    found += run(values.wrong_values, [fact for fact in record.facts if isinstance(fact, ValueFact)], cases)
    exceptions = run(uncaught_exceptions.wrong_use, error, cases, program)
    exceptions += [one for case in cases for one in run(exceptions_in_rules.failures, case)]
    causes = Causes(found)
    found += [one for one in exceptions if not causes.explain(one)]
    wrong = {one.finding.function for one in found if one.finding.severity is Severity.ERROR}
    found = [one for one in found if not (_is_about_residuals(one.finding) and one.finding.function in wrong)]
    silenced = [one.finding for one in _in_order(found) if ignore(one.finding)]
    found = [one for one in _in_order(found) if not ignore(one.finding)]
    raised_error = any(_is_about_an_exception(one.finding) for one in (*exceptions, *found))
    notes = run(overwrites_in_source.silent_comments, program)
    return Diagnosis(_with_causes(found, raised_error=raised_error), tuple(silenced), (*notes, *run.notes))


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings to be shown, those that are silenced, and a note for each check that failed itself."""

    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...]
    notes: tuple[str, ...]


def _in_order(found: Sequence[Found]) -> list[Found]:
    return sorted(_merged(found), key=lambda one: (one.finding.severity.rank, _rank(one)))


class _Checks:
    """Runs checks one by one: what goes wrong in one is a note, and costs only what that one would have found."""

    def __init__(self) -> None:
        self.notes: dict[Note, None] = {}

    def __call__(self, check: Callable[..., Iterator[T]], *arguments: object) -> list[T]:
        try:
            return list(check(*arguments))
        except Exception as error:  # noqa: BLE001 (a fault of ours is a note, whatever it is)
            detail = str(error).split("\n", 1)[0]
            fault = f"{type(error).__name__}: {detail}"
            self.notes[Note(f"a check failed ({check.__name__}): {fault}", fault)] = None
            return []


def _is_about_residuals(finding: Finding) -> bool:
    """What a rule saves is looked at when the rule is right."""
    return finding.code.startswith("RES")


def _is_about_an_exception(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR and finding.code in OF_EXCEPTIONS


def _rank(found: Found) -> int:
    return catalogue.CATALOGUE[found.finding.code].rank


def _merged(found: Sequence[Found]) -> list[Found]:
    """One finding for what several calls show alike; where the same is said of very many types, of the first few."""
    merged: dict[tuple[object, ...], list[Found]] = {}
    alike: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
    for one in found:
        finding = one.finding
        place = (finding.code, finding.function, finding.line, finding.source, finding.path)
        key: tuple[object, ...] = (*place, finding.title)
        if key not in merged:
            keys = alike.setdefault(place, [])
            if len(keys) >= MOST_ALIKE:
                key = keys[-1]
            else:
                keys.append(key)
        merged.setdefault(key, []).append(one)
    return [_of_all_calls(same) for same in merged.values()]


def _of_all_calls(same: Sequence[Found]) -> Found:
    first = same[0]
    calls = tuple(dict.fromkeys(call for one in same for call in one.finding.calls))
    return first if calls == first.finding.calls else Found(dataclasses.replace(first.finding, calls=calls), first.case)


def explains(cause: Found, effect: Found) -> bool:
    """Whether the one follows from the other: of the same function, or one call around the other."""
    if cause is effect or cause.finding.severity is not Severity.ERROR or _rank(cause) >= _rank(effect):
        return False
    if cause.case is None or effect.case is None:
        return False
    if cause.case.call.function is effect.case.call.function:
        return True
    return effect.case.call.id in cause.case.ancestors() or cause.case.call.id in effect.case.ancestors()


class Causes:
    """Findings, so arranged that whether one of them explains another is known without asking each."""

    def __init__(self, found: Iterable[Found]) -> None:
        """For each function and call, the least rank of an error in it, and of one in the calls inside it."""
        self._of_function: dict[Function, int] = {}
        self._of_call: dict[int, int] = {}
        self._inside: dict[int, int] = {}
        for one in found:
            if one.case is not None and one.finding.severity is Severity.ERROR:
                rank, call = _rank(one), one.case.call
                self._of_function[call.function] = min(rank, self._of_function.get(call.function, rank))
                self._of_call[call.id] = min(rank, self._of_call.get(call.id, rank))
                for around in one.case.ancestors():
                    self._inside[around] = min(rank, self._inside.get(around, rank))

    def explain(self, effect: Found) -> bool:
        """Whether one of the findings `explains` this one."""
        if effect.case is None:
            return False
        call, rank = effect.case.call, _rank(effect)
        ranks = [self._of_function.get(call.function, rank), self._inside.get(call.id, rank)]
        return min(*ranks, *(self._of_call.get(around, rank) for around in effect.case.ancestors())) < rank


def _with_causes(found: Sequence[Found], *, raised_error: bool) -> tuple[Finding, ...]:
    """Each finding with the ones that follow from it, and these without a fix: it would be no cure."""
    findings, causes = [], Causes(found)
    for index, one in enumerate(found):
        follows = causes.explain(one)
        effects = () if follows else tuple(i for i, other in enumerate(found) if explains(one, other))
        explains_error = raised_error and index == 0 and one.finding.severity is Severity.ERROR
        finding = dataclasses.replace(one.finding, cause_of=effects, explains_error=explains_error)
        findings.append(dataclasses.replace(finding, fix="", new_name="") if follows else finding)
    return tuple(findings)
