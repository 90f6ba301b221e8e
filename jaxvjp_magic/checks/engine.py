"""All checks over one record: findings in the order a person should read them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic import catalogue
from jaxvjp_magic.checks import (  # noqa: F401 (they register their checks)
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

    Those that `ignore` names are silenced. `uncaught` has type and message of
    the exception that ended the program, and of those behind it; the finding
    that explains it says so.
    """
    view, run = RecordView(record, program, uncaught, error), _Checks()
    found, exceptions = run.all(view, only_unexplained=False), run.all(view, only_unexplained=True)
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

    def all(self, view: RecordView, *, only_unexplained: bool) -> list[Found]:
        """What the registered checks of this kind find, in the order of the register."""
        checks = [check for check in CHECKS if check.only_unexplained is only_unexplained]
        return [
            one
            for check in checks
            for subject in (view.calls if check.of_each_call else (view,))
            for one in self(check.function, subject)
        ]

    def __call__(self, check: Callable[..., Iterator[T]], subject: object) -> list[T]:
        try:
            return list(check(subject))
        except Exception as error:  # noqa: BLE001 (a fault of ours is a note, whatever it is)
            detail = str(error).split("\n", 1)[0]
            fault = f"{type(error).__name__}: {detail}"
            self.notes[Note(f"a check failed ({check.__name__}): {fault}", fault)] = None
            return []


def _is_about_residuals(finding: Finding) -> bool:
    """What a rule saves is looked at when the rule is right."""
    return finding.code.startswith("RES")


def _is_about_an_exception(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR and catalogue.CATALOGUE[finding.code].is_of_an_exception


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
    return first if calls == first.finding.calls else Found(dataclasses.replace(first.finding, calls=calls), first.view)


def explains(cause: Found, effect: Found) -> bool:
    """Whether the one follows from the other: of the same function, or one call around the other."""
    if cause is effect or cause.finding.severity is not Severity.ERROR or _rank(cause) >= _rank(effect):
        return False
    if cause.view is None or effect.view is None:
        return False
    if cause.view.call.function is effect.view.call.function:
        return True
    return effect.view.call.id in cause.view.ancestors() or cause.view.call.id in effect.view.ancestors()


class Causes:
    """Findings, so arranged that whether one of them explains another is known without asking each."""

    def __init__(self, found: Iterable[Found]) -> None:
        """For each function and call, the least rank of an error in it, and of one in the calls inside it."""
        self._of_function: dict[Function, int] = {}
        self._of_call: dict[int, int] = {}
        self._inside: dict[int, int] = {}
        for one in found:
            if one.view is not None and one.finding.severity is Severity.ERROR:
                rank, call = _rank(one), one.view.call
                self._of_function[call.function] = min(rank, self._of_function.get(call.function, rank))
                self._of_call[call.id] = min(rank, self._of_call.get(call.id, rank))
                for around in one.view.ancestors():
                    self._inside[around] = min(rank, self._inside.get(around, rank))

    def explain(self, effect: Found) -> bool:
        """Whether one of the findings `explains` this one."""
        if effect.view is None:
            return False
        call, rank = effect.view.call, _rank(effect)
        ranks = [self._of_function.get(call.function, rank), self._inside.get(call.id, rank)]
        return min(*ranks, *(self._of_call.get(around, rank) for around in effect.view.ancestors())) < rank


def _with_causes(found: Sequence[Found], *, raised_error: bool) -> tuple[Finding, ...]:
    """Each finding with the ones that follow from it, and these without a fix: it would be no cure."""
    findings, causes = [], Causes(found)
    for index, one in enumerate(found):
        follows = causes.explain(one)
        effects = () if follows else tuple(i for i, other in enumerate(found) if explains(one, other))
        explains_error = raised_error and index == 0 and one.finding.severity is Severity.ERROR
        finding = dataclasses.replace(one.finding, cause_of=effects, explains_error=explains_error)
        findings.append(dataclasses.replace(finding, fix="", fix_code="", new_name="") if follows else finding)
    return tuple(findings)
