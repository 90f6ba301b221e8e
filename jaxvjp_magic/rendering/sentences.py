"""Turn a report into the sentences of every form: the headline, how the program ended, what was not checked."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.limits import SAVED_QUIET
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.results.model import Call, Finding, NotChecked, ReportData

_AT_ONCE = 3  # things in the summary itself
# What was not checked: of one function, and of several.
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

    If the check could not be done, it says so; and it does not say "no problems"
    of a program that ended in an exception.
    """
    if not report.complete:
        return "the check could not be done" if report.notes else "the check is not finished"
    left_out = report.omitted.calls if report.omitted else 0
    calls = number(sum(call.count for call in report.calls) + left_out, "call")
    counts = [number(report.count(severity), severity.value) for severity in Severity if report.count(severity)]
    if counts:
        return f"{', '.join(counts)}, {calls}"
    if not report.calls:
        outcome = "no call of jax.vjp or of a custom_vjp function"
    elif report.error is None:
        outcome = f"no problems found in {calls}"
    else:
        outcome = f"the program ended early, after {calls}"
    return "; ".join([outcome, *_limits(report)])


def _limits(report: ReportData) -> Iterator[str]:
    """What the headline does not cover, in a few words."""
    if _values(report):
        yield f"values not compared ({_values(report)})"
    elif any(entry.what == "values" for entry in report.not_checked):
        yield "not all values compared"
    if any(entry.what != "values" for entry in report.not_checked):
        yield "some parts were not looked at"


def _values(report: ReportData) -> str:
    """The option that would compare values, if none were compared; "" otherwise."""
    return next(
        (entry.why for entry in report.not_checked if entry.what == "values" and entry.why.startswith("--")),
        "",
    )


def number(count: int, word: str) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def ending(report: ReportData) -> str:
    """How the program ended, if it raised, and whether a finding explains it; "" if it did not raise."""
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
    """`line 4`, or `In[3], line 4`; the source alone if the line is unknown."""
    if line is None:
        return source
    return f"{source}, line {line}" if source else f"line {line}"


@dataclasses.dataclass(frozen=True, slots=True)
class CoverageLine:
    """A line at the end of the report, and the lines that unfold below it."""

    summary: str
    lines: tuple[str, ...] = ()


def quiet(report: ReportData, limit: int = SAVED_QUIET) -> list[CoverageLine]:
    """What was not checked, not compared or not shown, with a line for each.

        not looked at: what f returns: it draws from a global random state; and 2 more
        not compared: the values of g: it prints
        ignored: 1 error VJP104

    Each line lists at most `limit` things; its last entry counts the rest.
    """
    left_out = report.omitted.not_checked if report.omitted else 0
    parts = [entry for entry in report.not_checked if entry.what not in ("values", "jax")]  # a note tells about JAX
    in_headline = (report.complete and not report.findings and _values(report)) or None
    values = [entry for entry in report.not_checked if entry.what == "values" and entry.why != in_headline]
    ignored = [finding for finding in report.silenced if not finding.in_library]
    of_libraries = [finding for finding in report.silenced if finding.in_library]
    lines = [
        _folded("not looked at", list(map(_not_checked, parts)), left_out if parts else 0, limit),
        _folded("not compared", list(map(_not_checked, values)), 0 if parts else left_out, limit),
        _counted("ignored", ignored, limit),
        _counted("in library files (--libraries)", of_libraries, limit),
    ]
    return [line for line in lines if line is not None]


def _folded(head: str, things: list[str], left_out: int, limit: int) -> CoverageLine | None:
    total = len(things) + left_out
    first, folded = things[:_AT_ONCE], things[_AT_ONCE:limit]
    if not first:
        return None
    more = [f"and {total - len(first):,} more"] if total > len(first) else []
    rest = total - len(first) - len(folded)
    if folded and rest:
        folded.append(f"and {rest:,} more")
    return CoverageLine(f"{head}: {'; '.join([*first, *more])}", tuple(folded))


def _counted(head: str, findings: list[Finding], limit: int) -> CoverageLine | None:
    """`ignored: 2 errors VJP104, VJP105; 1 note RES401`, and the findings below it."""
    if not findings:
        return None
    counts = []
    for severity in Severity:
        codes = [finding.code for finding in findings if finding.severity is severity]
        if codes:
            counts.append(f"{number(len(codes), severity.value)} {', '.join(dict.fromkeys(codes))}")
    lines = [f"{finding.code} {heading(finding)}" for finding in findings[:limit]]
    if len(findings) > limit:
        lines.append(f"and {len(findings) - limit:,} more")
    return CoverageLine(f"{head}: {'; '.join(counts)}", tuple(lines))


def _not_checked(entry: NotChecked) -> str:
    """`the calls inside step: JAX has cached them`, `values (--verify)`."""
    fallback = (f"{entry.what} of {{}}", f"{entry.what} of some functions")  # for the report of a later version
    of_one, of_several = _NOT_CHECKED.get(entry.what, fallback)
    thing = of_one.replace("{}", entry.function) if entry.function else of_several
    if entry.why.startswith("--"):
        return f"{_OF_AN_OPTION.get(entry.what, thing)} ({entry.why})"
    return ": ".join(filter(None, (thing, entry.why)))


def label(call: Call) -> str:
    """`f`, or `grad(f)`: the function, and the transformation unless it has rules of its own."""
    return call.function if call.has_rules else f"{call.kind}({call.function})"


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
