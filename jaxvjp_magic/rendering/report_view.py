"""What all renderers show: the same columns, cells, marks and sentences, once."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.limits import kept_calls, kept_leaves, named_leaves
from jaxvjp_magic.results.formatting import short_type, size
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.results.model import Call, Finding, Leaves, NotChecked, ReportData

SYMBOLS = {Severity.ERROR: "×", Severity.WARNING: "!", Severity.NOTE: "·"}  # noqa: RUF001 (a cross, meant as one)
COLUMNS = ("call", "line", "vmap", "primals", "output", "residuals", "cotangent", "gradients")
MOST_LEAVES = 4
MOST_ROWS = 50
MOST_QUIET = 3
_SHORTEST_PATH = 6
_COLUMN_OF_PHASE = {"fwd": "output", "call": "primals", "primal": "output", "bwd": "gradients", "pullback": "cotangent"}
# What was not looked at: of one function, and of several.
_NOT_CHECKED = {
    "output": ("what {} returns", "what some functions return"),
    "residuals": ("which residuals {} uses", "which residuals some functions use"),
    "calls": ("the calls inside {}", "the calls inside some functions"),
    "rules": ("the rule of {}", "the rules of some functions"),
    "values": ("the values of {}", "values"),
}
_OF_AN_OPTION = {"calls": "the calls inside what JAX had traced before"}


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a line of text for each leaf, and the severity that one of them is marked with."""

    lines: tuple[str, ...] = ()
    mark: Severity | None = None
    marked: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One call; `depth` is how far it is nested, and `named` has the key paths that findings name in it."""

    call: Call
    depth: int
    cells: dict[str, Cell]
    named: frozenset[str] = frozenset()


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
    elif any(one.what == "values" for one in report.not_checked):
        yield "not all values compared"
    if any(one.what != "values" for one in report.not_checked):
        yield "not all was looked at"


def _values(report: ReportData) -> str:
    """The option that would compare values, where none were compared; "" otherwise."""
    return next((one.why for one in report.not_checked if one.what == "values" and one.why.startswith("--")), "")


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
class Quiet:
    """A line for the end of the report, and those that may be unfolded below it."""

    summary: str
    lines: tuple[str, ...] = ()


def quiet(report: ReportData, most: int = MOST_ROWS) -> list[Quiet]:
    """What the report does not say: what was not looked at, not compared, not shown; a line for each of these.

        not looked at: what f returns: it draws from a global random state; and 2 more
        not compared: the values of g: it prints
        ignored: 1 error VJP104

    Of each at most so many things are told; the last line counts the rest.
    """
    left_out = report.omitted.not_checked if report.omitted else 0
    seen = [one for one in report.not_checked if one.what not in ("values", "jax")]  # of JAX a note tells
    in_headline = (report.complete and not report.findings and _values(report)) or None
    values = [one for one in report.not_checked if one.what == "values" and one.why != in_headline]
    asked = [one for one in report.silenced if not one.in_library]
    of_libraries = [one for one in report.silenced if one.in_library]
    lines = [
        _folded("not looked at", [_thing(one) for one in seen], left_out if seen else 0, most),
        _folded("not compared", [_thing(one) for one in values], 0 if seen else left_out, most),
        _counted("ignored", asked, most),
        _counted("in libraries' own files (--libraries)", of_libraries, most),
    ]
    return [one for one in lines if one is not None]


def _folded(head: str, told: list[str], left_out: int, most: int) -> Quiet | None:
    total = len(told) + left_out
    first, folded = told[:MOST_QUIET], told[MOST_QUIET:most]
    if not first:
        return None
    more = [f"and {total - len(first):,} more"] if total > len(first) else []
    rest = total - len(first) - len(folded)
    if folded and rest:
        folded.append(f"and {rest:,} more")
    return Quiet(f"{head}: {'; '.join([*first, *more])}", tuple(folded))


def _counted(head: str, findings: list[Finding], most: int) -> Quiet | None:
    """`ignored: 2 errors VJP104, VJP105; 1 note RES401`, and below it what they say."""
    if not findings:
        return None
    counts = []
    for level in Severity:
        codes = [one.code for one in findings if one.severity is level]
        if codes:
            counts.append(f"{number(len(codes), level.value)} {', '.join(dict.fromkeys(codes))}")
    lines = [f"{one.code} {heading(one)}" for one in findings[:most]]
    if len(findings) > most:
        lines.append(f"and {len(findings) - most:,} more")
    return Quiet(f"{head}: {'; '.join(counts)}", tuple(lines))


def _thing(one: NotChecked) -> str:
    """`the calls inside step: JAX has cached them`, `values (--verify)`."""
    known = (f"{one.what} of {{}}", f"{one.what} of some functions")  # of a later version's report
    of_one, of_several = _NOT_CHECKED.get(one.what, known)
    thing = of_one.replace("{}", one.function) if one.function else of_several
    if one.why.startswith("--"):
        return f"{_OF_AN_OPTION.get(one.what, thing)} ({one.why})"
    return ": ".join(filter(None, (thing, one.why)))


def rows(report: ReportData, most: int = MOST_ROWS, leaves: int = MOST_LEAVES) -> list[Row]:
    """The calls, each below the one that it is part of; of many, the first and those with findings.

    A cell has a line for each of so many leaves, those that findings name among them.
    """
    depths: dict[int, int] = {0: -1}
    for call in report.calls:
        depths[call.id] = depths.get(call.parent, -1) + 1
    marks, of_calls = dict(_marks(report)), named_leaves(report)
    found = []
    for call in kept_calls(report, most):
        named = of_calls.get(call.id, frozenset())
        found.append(Row(call, depths[call.id], _cells(call, marks, leaves, named), named))
    return found


def hidden_rows(report: ReportData, most: int = MOST_ROWS) -> int:
    """How many calls the table leaves out."""
    left_out = report.omitted.rows if report.omitted else 0
    return max(0, len(report.calls) - most) + left_out


def _marks(report: ReportData) -> Iterator[tuple[tuple[int, str], Finding]]:
    for finding in reversed(report.findings):  # the worst comes first there, and has the last word here
        column = _COLUMN_OF_PHASE.get(finding.phase)
        if column and finding.severity is not Severity.NOTE:
            for call in finding.calls:
                yield (call, column), finding


def label(call: Call) -> str:
    """`f`, or `grad(f)`: what was called, by its kind."""
    return call.function if call.kind == "custom_vjp" else f"{call.kind}({call.function})"


def _cells(call: Call, marks: dict[tuple[int, str], Finding], leaves: int, named: frozenset[str]) -> dict[str, Cell]:
    times = f" ({call.count:,} times)" if call.count > 1 else ""
    line = "" if call.line is None else f"{call.source}:{call.line}" if call.source else str(call.line)
    texts = {
        "call": (label(call) + times,),
        "line": (line,),
        "vmap": (" ".join(map(str, call.vmap)),),
        "primals": (*leaf_lines(call.primals, leaves, named), *_static(call.nondiff)),
        "output": leaf_lines(call.shown_outputs, leaves, named),
        "residuals": _residuals(call, leaves, named),
        "cotangent": leaf_lines(call.cotangents_in, leaves, named),
        "gradients": leaf_lines(call.cotangents_out, leaves, named) or _not_run(call),
    }
    return {column: _cell(lines, marks.get((call.id, column))) for column, lines in texts.items()}


def _cell(lines: tuple[str, ...], finding: Finding | None) -> Cell:
    if finding is None:
        return Cell(lines)
    starts = (number for number, line in enumerate(lines) if line.startswith(f"{finding.path} "))
    is_among_the_rest = bool(finding.path and lines and lines[-1].startswith("and "))
    return Cell(lines, finding.severity, next(starts, len(lines) - 1 if is_among_the_rest else 0))


def leaf_lines(leaves: Leaves | None, most: int = MOST_LEAVES, named: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """A line for each of the first leaves, and of those that are `named`, and one that counts the rest."""
    if leaves is None:
        return ()
    whole = tuple(leaf for leaf in leaves if not leaf.more)
    kept, rest = kept_leaves(whole, most, named)
    shown = tuple(f"{leaf.path} {leaf_type(leaf.type, leaf.note)}".strip() for leaf in kept)
    number = len(rest) + sum(leaf.more for leaf in leaves)
    return (*shown, f"and {number} more") if number else shown


def fitted(line: str, width: int) -> str:
    """A leaf's line in so many letters: its type stays, its path loses its middle."""
    if len(line) <= width:
        return line
    path, _, rest = line.partition(" ")
    room = width - len(rest) - 2
    if not rest or room < _SHORTEST_PATH:
        return line[: width - 1] + "…"
    return f"{path[: room // 2]}…{path[len(path) - (room - room // 2) :]} {rest}"


def leaf_type(type_text: str, note: str) -> str:
    """The short type, with what is special about it."""
    if note in ("symbolic zero", "not perturbed") or note.startswith("sharded"):
        return f"{short_type(type_text)} ({note})"
    return short_type(type_text)


def _static(nondiff: Leaves | None) -> tuple[str, ...]:
    return tuple(f"{leaf.path} {short_type(leaf.type)} (nondiff)" for leaf in nondiff or ())


def _residuals(call: Call, most: int, named: frozenset[str]) -> tuple[str, ...]:
    lines = leaf_lines(call.residuals, most, named)
    if not lines or not _has_bytes(call):
        return lines
    if len(lines) == 1:
        return (f"{lines[0]}  {size(call.residual_bytes)}",)
    return (*lines, f"total  {size(call.residual_bytes)}")


def _has_bytes(call: Call) -> bool:
    """Whether the size of a residual is known; 0 bytes are a size."""
    return any(leaf.bytes is not None for leaf in call.residuals or ())


def held_bytes(call: Call) -> int:
    """The bytes of a call's residuals, those of all examples of a vmap together."""
    return call.residual_bytes * math.prod(call.vmap)


def held(call: Call) -> str:
    """`120 B`, or ten times 12 B inside a vmap; "" where that is not known."""
    if not _has_bytes(call):
        return ""
    examples = f"{math.prod(call.vmap):,} × " if call.vmap else ""  # noqa: RUF001 (a sign of multiplication)
    return examples + size(call.residual_bytes)


def total_held(calls: Iterable[Call]) -> int:
    """The bytes of all residuals, once: those of a nested call are among those of the call around it."""
    counted: set[int] = set()
    total = 0
    for call in calls:
        if call.parent in counted:
            counted.add(call.id)
        elif call.residual_bytes:
            counted.add(call.id)
            total += held_bytes(call) * call.count
    return total


def _not_run(call: Call) -> tuple[str, ...]:
    return (f"({call.status})",) if call.status in ("bwd not run", "pullback not called") else ()


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
