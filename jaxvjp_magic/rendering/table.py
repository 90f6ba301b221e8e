"""What all renderers show: the same columns, cells, marks and sentences, once."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.shorten import kept_calls
from jaxvjp_magic.report import Severity, short_type, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.report import Call, Finding, Leaves, NotChecked, Report

SYMBOLS = {Severity.ERROR: "×", Severity.WARNING: "!", Severity.NOTE: "·"}  # noqa: RUF001 (a cross, meant as one)
COLUMNS = ("call", "line", "vmap", "primals", "output", "residuals", "cotangent", "gradients")
MOST_LEAVES = 4
MOST_ROWS = 50
MOST_NOT_CHECKED = 3
_COLUMN_OF_PHASE = {"fwd": "output", "call": "primals", "primal": "output", "bwd": "gradients", "pullback": "cotangent"}
# What was not looked at: of one function, and of several.
_NOT_CHECKED = {
    "output": ("what {} returns", "what some functions return"),
    "residuals": ("which residuals {} uses", "which residuals some functions use"),
    "calls": ("the calls inside {}", "the calls inside some functions"),
    "values": ("the values of {}", "the values of some functions"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a line of text for each leaf, and the severity that one of them is marked with."""

    lines: tuple[str, ...] = ()
    mark: Severity | None = None
    marked: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One call; `depth` is how far it is nested."""

    call: Call
    depth: int
    cells: dict[str, Cell]


def headline(report: Report) -> str:
    """`2 errors, 1 warning, 3 calls`, or `nothing wrong in 3 calls`; where there was no check, that there was none."""
    if not report.complete:
        return "the check could not be done" if report.notes else "the check is not finished"
    left_out = report.omitted.calls if report.omitted else 0
    calls = number(sum(call.count for call in report.calls) + left_out, "call")
    counts = [number(report.count(level), level.value) for level in Severity if report.count(level)]
    if counts:
        return f"{', '.join(counts)}, {calls}"
    if not report.calls:
        return "no call of jax.vjp or of a custom_vjp function"
    return f"nothing wrong in {calls}"


def number(count: int, word: str) -> str:
    """`1 call`, `1,200 calls`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def ending(report: Report) -> str:
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


def not_checked(report: Report, most: int = MOST_ROWS) -> tuple[str, list[str]]:
    """`not looked at: what f returns: it draws from a global random state; and 2 more`, and what these more are.

    ("", []) where nothing was left out. Of all together at most so many are
    told; the last line counts the rest.
    """
    told = [_thing(one) for one in report.not_checked]
    left_out = report.omitted.not_checked if report.omitted else 0
    total = len(told) + left_out
    first, folded = told[:MOST_NOT_CHECKED], told[MOST_NOT_CHECKED:most]
    if not first:
        return "", []
    more = [f"and {total - len(first):,} more"] if total > len(first) else []
    rest = total - len(first) - len(folded)
    if folded and rest:
        folded.append(f"and {rest:,} more")
    return f"not looked at: {'; '.join([*first, *more])}", folded


def _thing(one: NotChecked) -> str:
    """`the calls inside step: JAX has cached them`."""
    known = (f"{one.what} of {{}}", f"{one.what} of some functions")  # of a later version's report
    of_one, of_several = _NOT_CHECKED.get(one.what, known)
    thing = of_one.replace("{}", one.function) if one.function else of_several
    return f"{thing}: {one.why}" if one.why else thing


def rows(report: Report, most: int = MOST_ROWS, leaves: int = MOST_LEAVES) -> list[Row]:
    """The calls, each below the one that it is part of; of many, the first and those with findings.

    A cell has a line for each of so many leaves.
    """
    depths: dict[int, int] = {0: -1}
    for call in report.calls:
        depths[call.id] = depths.get(call.parent, -1) + 1
    marks = dict(_marks(report))
    return [Row(call, depths[call.id], _cells(call, marks, leaves)) for call in kept_calls(report, most)]


def hidden_rows(report: Report, most: int = MOST_ROWS) -> int:
    """How many calls the table leaves out."""
    left_out = report.omitted.rows if report.omitted else 0
    return max(0, len(report.calls) - most) + left_out


def _marks(report: Report) -> Iterator[tuple[tuple[int, str], Finding]]:
    for finding in reversed(report.findings):  # the worst comes first there, and has the last word here
        column = _COLUMN_OF_PHASE.get(finding.phase)
        if column and finding.severity is not Severity.NOTE:
            for call in finding.calls:
                yield (call, column), finding


def label(call: Call) -> str:
    """`f`, or `grad(f)`: what was called, by its kind."""
    return call.function if call.kind == "custom_vjp" else f"{call.kind}({call.function})"


def _cells(call: Call, marks: dict[tuple[int, str], Finding], leaves: int) -> dict[str, Cell]:
    times = f" ({call.count:,} times)" if call.count > 1 else ""
    line = "" if call.line is None else f"{call.source}:{call.line}" if call.source else str(call.line)
    texts = {
        "call": (label(call) + times,),
        "line": (line,),
        "vmap": (" ".join(map(str, call.vmap)),),
        "primals": (*leaf_lines(call.primals, leaves), *_static(call.nondiff)),
        "output": leaf_lines(call.shown_outputs, leaves),
        "residuals": _residuals(call, leaves),
        "cotangent": leaf_lines(call.cotangents_in, leaves),
        "gradients": leaf_lines(call.cotangents_out, leaves) or _not_run(call),
    }
    return {column: _cell(lines, marks.get((call.id, column))) for column, lines in texts.items()}


def _cell(lines: tuple[str, ...], finding: Finding | None) -> Cell:
    if finding is None:
        return Cell(lines)
    starts = (number for number, line in enumerate(lines) if line.startswith(f"{finding.path} "))
    is_among_the_rest = bool(finding.path and lines and lines[-1].startswith("and "))
    return Cell(lines, finding.severity, next(starts, len(lines) - 1 if is_among_the_rest else 0))


def leaf_lines(leaves: Leaves | None, most: int = MOST_LEAVES) -> tuple[str, ...]:
    """A line for each of the first leaves, and one that counts the rest."""
    if leaves is None:
        return ()
    shown = tuple(f"{leaf.path} {leaf_type(leaf.type, leaf.note)}".strip() for leaf in leaves[:most])
    rest = sum(leaf.more or 1 for leaf in leaves[most:])
    return (*shown, f"and {rest} more") if rest else shown


def leaf_type(type_text: str, note: str) -> str:
    """The short type, with what is special about it."""
    if note in ("symbolic zero", "not perturbed") or note.startswith("sharded"):
        return f"{short_type(type_text)} ({note})"
    return short_type(type_text)


def _static(nondiff: Leaves | None) -> tuple[str, ...]:
    return tuple(f"{leaf.path} {short_type(leaf.type)} (nondiff)" for leaf in nondiff or ())


def _residuals(call: Call, most: int) -> tuple[str, ...]:
    lines = leaf_lines(call.residuals, most)
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


def relation(report: Report, index: int) -> str:
    """`cause of VJP101, VJP106`, or `follows from NAM201`, or ""."""
    finding = report.findings[index]
    if finding.cause_of:
        codes = dict.fromkeys(report.findings[i].code for i in finding.cause_of if i < len(report.findings))
        return f"cause of {', '.join(codes)}"
    causes = dict.fromkeys(other.code for other in report.findings if index in other.cause_of)
    return f"follows from {', '.join(causes)}" if causes else ""
