"""The sentences of a report that are the same in every form: how it went, how the program ended, what is not said."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.limits import SAVED_QUIET
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.model import Call, Finding, NotChecked, ReportData

_AT_ONCE = 3  # of them, in the line itself
# What was not looked at: of one function, and of several.
_NOT_CHECKED = {
    "output": ("what {} returns", "what some functions return"),
    "residuals": ("which residuals {} uses", "which residuals some functions use"),
    "calls": ("the calls inside {}", "the calls inside some functions"),
    "rules": ("the rule of {}", "the rules of some functions"),
    "values": ("the values of {}", "values"),
}
_OF_AN_OPTION = {"calls": "the calls inside functions that JAX had traced before"}


def headline(report: ReportData) -> str:
    """`2 errors, 1 warning, 3 calls`, or `no problems found in 3 calls; values not compared (--verify)`.

    Where the check was not done, that it was not; and no word of praise above a
    program that ended in an exception.
    """
    if not report.complete:
        return "the check could not be done" if report.notes else "the check is not finished"
    left_out = report.omitted.calls if report.omitted else 0
    calls = number(sum(call.count for call in report.calls) + left_out, "call")
    counts = [number(report.count(level), level.value) for level in Severity if report.count(level)]
    if counts:
        return f"{', '.join(counts)}, {calls}"
    if not report.calls:
        found = "no call of jax.vjp or of a custom_vjp function"
    elif report.error is None:
        found = f"no problems found in {calls}"
    else:
        found = f"the program ended early, after {calls}"
    return "; ".join([found, *_limits(report)])


def _limits(report: ReportData) -> Iterator[str]:
    """What the headline's word does not cover, in a few words."""
    if _values(report):
        yield f"values not compared ({_values(report)})"
    elif any(left_out.what == "values" for left_out in report.not_checked):
        yield "not all values compared"
    if any(left_out.what != "values" for left_out in report.not_checked):
        yield "some parts were not looked at"


def _values(report: ReportData) -> str:
    """The option that would compare values, where none were compared; "" otherwise."""
    return next(
        (
            left_out.why
            for left_out in report.not_checked
            if left_out.what == "values" and left_out.why.startswith("--")
        ),
        "",
    )


def number(count: int, word: str) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def ending(report: ReportData) -> str:
    """How the program ended, where it raised, and whether a finding says why."""
    if report.error is None:
        return ""
    at = place(report.error.line, report.error.source)
    where = f" at {at}" if at else ""
    if report.error.type == "SystemExit":
        return f"ended in exit({report.error.message}){where}"
    reason = next((finding.code for finding in report.findings if finding.explains_error), "")
    because = f"{reason} explains it" if reason else "no finding explains it"
    return f"ended in {report.error.type}{where}: {because}"


def place(line: int | None, source: str) -> str:
    """`line 4`, or `In[3], line 4`; "" where the line is not known."""
    if line is None:
        return source
    return f"{source}, line {line}" if source else f"line {line}"


@dataclasses.dataclass(frozen=True, slots=True)
class CoverageLine:
    """A line for the end of the report, and those that may be unfolded below it."""

    summary: str
    lines: tuple[str, ...] = ()


def quiet(report: ReportData, most: int = SAVED_QUIET) -> list[CoverageLine]:
    """What the report does not say: what was not looked at, not compared, not shown; a line for each of these.

        not looked at: what f returns: it draws from a global random state; and 2 more
        not compared: the values of g: it prints
        ignored: 1 error VJP104

    Each line lists at most `most` things; its last entry counts the rest.
    """
    left_out = report.omitted.not_checked if report.omitted else 0
    seen = [one for one in report.not_checked if one.what not in ("values", "jax")]  # of JAX a note tells
    in_headline = (report.complete and not report.findings and _values(report)) or None
    values = [one for one in report.not_checked if one.what == "values" and one.why != in_headline]
    asked = [finding for finding in report.silenced if not finding.in_library]
    of_libraries = [finding for finding in report.silenced if finding.in_library]
    lines = [
        _folded("not looked at", [_thing(one) for one in seen], left_out if seen else 0, most),
        _folded("not compared", [_thing(value) for value in values], 0 if seen else left_out, most),
        _counted("ignored", asked, most),
        _counted("in library files (--libraries)", of_libraries, most),
    ]
    return [line for line in lines if line is not None]


def _folded(head: str, told: list[str], left_out: int, most: int) -> CoverageLine | None:
    total = len(told) + left_out
    first, folded = told[:_AT_ONCE], told[_AT_ONCE:most]
    if not first:
        return None
    more = [f"and {total - len(first):,} more"] if total > len(first) else []
    rest = total - len(first) - len(folded)
    if folded and rest:
        folded.append(f"and {rest:,} more")
    return CoverageLine(f"{head}: {'; '.join([*first, *more])}", tuple(folded))


def _counted(head: str, findings: list[Finding], most: int) -> CoverageLine | None:
    """`ignored: 2 errors VJP104, VJP105; 1 note RES401`, and below it what they say."""
    if not findings:
        return None
    counts = []
    for level in Severity:
        codes = [finding.code for finding in findings if finding.severity is level]
        if codes:
            counts.append(f"{number(len(codes), level.value)} {', '.join(dict.fromkeys(codes))}")
    lines = [f"{finding.code} {heading(finding)}" for finding in findings[:most]]
    if len(findings) > most:
        lines.append(f"and {len(findings) - most:,} more")
    return CoverageLine(f"{head}: {'; '.join(counts)}", tuple(lines))


def _thing(one: NotChecked) -> str:
    """`the calls inside step: JAX has cached them`, `values (--verify)`."""
    known = (f"{one.what} of {{}}", f"{one.what} of some functions")  # of a later version's report
    of_one, of_several = _NOT_CHECKED.get(one.what, known)
    thing = of_one.replace("{}", one.function) if one.function else of_several
    if one.why.startswith("--"):
        return f"{_OF_AN_OPTION.get(one.what, thing)} ({one.why})"
    return ": ".join(filter(None, (thing, one.why)))


def label(call: Call) -> str:
    """`f`, or `grad(f)`: what was called, by its kind."""
    return call.function if call.kind == "custom_vjp" else f"{call.kind}({call.function})"


def heading(finding: Finding) -> str:
    """`line 17: test_func was overwritten; test_func_fwd calls it`."""
    where = place(finding.line, finding.source)
    return f"{where}: {finding.title}" if where else finding.title


def relation(report: ReportData, index: int) -> str:
    """`cause of VJP101, VJP106`, or `follows from NAM201`, or ""."""
    finding = report.findings[index]
    if finding.cause_of:
        codes = dict.fromkeys(report.findings[i].code for i in finding.cause_of if i < len(report.findings))
        return f"cause of {', '.join(codes)}"
    causes = dict.fromkeys(other.code for other in report.findings if index in other.cause_of)
    return f"follows from {', '.join(causes)}" if causes else ""
