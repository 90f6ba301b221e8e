"""All checks on one record: takes the record, gives its findings in the order in which to read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic import catalogue
from jaxvjp_magic.checks import (  # noqa: F401 (they register their checks)
    arguments,
    called_names,
    checkpoint_policies,
    exceptions_in_rules,
    linear_maps,
    overwrites_in_source,
    residuals,
    rule_bindings,
    shapes,
    shared_axes,
    signatures,
    uncaught_exceptions,
    values,
)
from jaxvjp_magic.checks.register import CHECKS
from jaxvjp_magic.checks.view import Found, RecordView
from jaxvjp_magic.record.notes import Note
from jaxvjp_magic.results.model import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.record import ErrorFact, Record
    from jaxvjp_magic.source.program import Program

T = TypeVar("T")
MOST_ALIKE = 20  # findings of one code at one place: a rule that is wrong for a thousand shapes is wrong once


def diagnose(
    record: Record,
    program: Program,
    *,
    ignore: Callable[[Finding], bool],
    uncaught: frozenset[tuple[str, str]] = frozenset(),
    error: ErrorFact | None = None,
) -> Diagnosis:
    """The findings of a record: errors first, and among them the cause first.

    Findings for which `ignore` is true are silenced. `uncaught` has type and
    message of the exception that ended the program, and of those that it was
    raised from; the finding that explains it says so.
    """
    view, run = RecordView(record, program, uncaught, error), _Checks()
    found, exceptions = run.all(view, only_unexplained=False), run.all(view, only_unexplained=True)
    causes = Causes(found)
    found += [hit for hit in exceptions if not causes.explain(hit)]
    wrong_functions = {hit.finding.function for hit in found if hit.finding.severity is Severity.ERROR}
    found = [hit for hit in found if not (_is_about_residuals(hit.finding) and hit.finding.function in wrong_functions)]
    silenced = [hit.finding for hit in _in_order(found) if ignore(hit.finding)]
    found = [hit for hit in _in_order(found) if not ignore(hit.finding)]
    raised_error = any(_is_about_an_exception(hit.finding) for hit in (*exceptions, *found))
    notes = run(overwrites_in_source.silent_comments, program)
    return Diagnosis(_with_causes(found, raised_error=raised_error), tuple(silenced), (*notes, *run.notes))


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings to show, the silenced ones, and a note for each check that failed."""

    findings: tuple[Finding, ...]
    silenced: tuple[Finding, ...]
    notes: tuple[str, ...]


def _in_order(found: Sequence[Found]) -> list[Found]:
    return sorted(_merged(found), key=lambda hit: (hit.finding.severity.rank, _rank(hit)))


class _Checks:
    """Runs checks one by one. One that raises becomes a note, and only its own findings are lost."""

    def __init__(self) -> None:
        self.notes: dict[Note, None] = {}

    def all(self, view: RecordView, *, only_unexplained: bool) -> list[Found]:
        """What the registered checks of this kind find, in the order of the register."""
        checks = [check for check in CHECKS if check.only_unexplained is only_unexplained]
        return [
            hit
            for check in checks
            for subject in (view.calls if check.of_each_call else (view,))
            for hit in self(check.function, subject)
        ]

    def __call__(self, check: Callable[..., Iterator[T]], subject: object) -> list[T]:
        try:
            return list(check(subject))
        except Exception as error:  # noqa: BLE001 (whatever a check raises becomes a note)
            detail = str(error).split("\n", 1)[0]
            fault = f"{type(error).__name__}: {detail}"
            self.notes[Note(f"a check failed ({check.__name__}): {fault}", fault)] = None
            return []


def _is_about_residuals(finding: Finding) -> bool:
    """Whether it is about what a rule saves, which matters only once the rule is right."""
    return finding.code.startswith("RES")


def _is_about_an_exception(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR and catalogue.CATALOGUE[finding.code].is_of_an_exception


def _rank(found: Found) -> int:
    return catalogue.CATALOGUE[found.finding.code].rank


def _merged(found: Sequence[Found]) -> list[Found]:
    """One finding for all calls that show it; of those at one place that differ only in types, the first MOST_ALIKE."""
    merged: dict[tuple[object, ...], list[Found]] = {}
    keys_at: dict[tuple[object, ...], list[tuple[object, ...]]] = {}
    for hit in found:
        finding = hit.finding
        place = (finding.code, finding.function, finding.line, finding.source, finding.path)
        key: tuple[object, ...] = (*place, finding.title)
        if key not in merged:
            keys = keys_at.setdefault(place, [])
            if len(keys) >= MOST_ALIKE:
                key = keys[-1]
            else:
                keys.append(key)
        merged.setdefault(key, []).append(hit)
    return [_of_all_calls(hits) for hits in merged.values()]


def _of_all_calls(hits: Sequence[Found]) -> Found:
    first = hits[0]
    calls = tuple(dict.fromkeys(call for hit in hits for call in hit.finding.calls))
    return first if calls == first.finding.calls else Found(dataclasses.replace(first.finding, calls=calls), first.view)


def explains(cause: Found, effect: Found) -> bool:
    """Whether the effect follows from the cause, an error of lower rank in the same function or in a nested call."""
    if cause is effect or cause.finding.severity is not Severity.ERROR or _rank(cause) >= _rank(effect):
        return False
    if cause.view is None or effect.view is None:
        return False
    if cause.view.call.function is effect.view.call.function:
        return True
    return effect.view.call.id in cause.view.ancestors() or cause.view.call.id in effect.view.ancestors()


class Causes:
    """An index of findings: whether any of them explains another, without comparing all pairs."""

    def __init__(self, found: Iterable[Found]) -> None:
        """Keep the least rank of an error for each function, for each call, and for the calls inside each call."""
        self._of_function: dict[Function, int] = {}
        self._of_call: dict[int, int] = {}
        self._inside: dict[int, int] = {}
        for hit in found:
            if hit.view is not None and hit.finding.severity is Severity.ERROR:
                rank, call = _rank(hit), hit.view.call
                self._of_function[call.function] = min(rank, self._of_function.get(call.function, rank))
                self._of_call[call.id] = min(rank, self._of_call.get(call.id, rank))
                for ancestor in hit.view.ancestors():
                    self._inside[ancestor] = min(rank, self._inside.get(ancestor, rank))

    def explain(self, effect: Found) -> bool:
        """Whether one of the findings `explains` this one."""
        if effect.view is None:
            return False
        call, rank = effect.view.call, _rank(effect)
        ranks = [self._of_function.get(call.function, rank), self._inside.get(call.id, rank)]
        return min(*ranks, *(self._of_call.get(ancestor, rank) for ancestor in effect.view.ancestors())) < rank


def _with_causes(found: Sequence[Found], *, raised_error: bool) -> tuple[Finding, ...]:
    """Each finding with its effects, and the effects without a fix: only fixing the cause helps."""
    findings, causes = [], Causes(found)
    for index, hit in enumerate(found):
        is_effect = causes.explain(hit)
        effects = () if is_effect else tuple(i for i, other in enumerate(found) if explains(hit, other))
        explains_error = raised_error and index == 0 and hit.finding.severity is Severity.ERROR
        finding = dataclasses.replace(hit.finding, cause_of=effects, explains_error=explains_error)
        findings.append(dataclasses.replace(finding, fix="", fix_code="", new_name="") if is_effect else finding)
    return tuple(findings)
