"""The cells of a call's row: a line of text for each leaf, and which of them a finding marks."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from jaxvjp_magic.rendering.limits import kept_leaves
from jaxvjp_magic.rendering.quoting import plain
from jaxvjp_magic.rendering.sentences import label
from jaxvjp_magic.results.formatting import short_type, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jaxvjp_magic.results.model import Call, Finding, Leaves, Severity

COLUMNS = ("call", "line", "vmap", "primals", "output", "residuals", "cotangent", "gradients")
_COLUMN_OF_PHASE = {"fwd": "output", "call": "primals", "primal": "output", "bwd": "gradients", "pullback": "cotangent"}
_SHORTEST_PATH = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a line of text for each leaf, the size of all of them, and the severity that a line is marked with."""

    leaves: tuple[str, ...] = ()
    mark: Severity | None = None
    marked: int = 0
    total: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The leaves, with their size: in the line of the only one, or in a line of its own."""
        if not self.total or not self.leaves:
            return self.leaves
        if len(self.leaves) == 1:
            return (f"{self.leaves[0]}  {self.total}",)
        return (*self.leaves, f"total  {self.total}")


def column_of(finding: Finding) -> str | None:
    """The column that a finding is about."""
    return _COLUMN_OF_PHASE.get(finding.phase)


def cells(call: Call, marks: Mapping[str, Finding], most: int, named: frozenset[str]) -> dict[str, Cell]:
    """All cells of a call, with at most so many leaves in each; `marks` has the finding of each column."""
    times = f" ({call.count:,} times)" if call.count > 1 else ""
    line = "" if call.line is None else f"{call.source}:{call.line}" if call.source else str(call.line)
    static = tuple(f"{leaf.path} {short_type(leaf.type)} (nondiff)" for leaf in call.nondiff or ())
    found = {
        "call": _cell((label(call) + times,), marks.get("call")),
        "line": _cell((line,), marks.get("line")),
        "vmap": _cell((" ".join(map(str, call.vmap)),), marks.get("vmap")),
        "primals": _of_leaves(call.primals, most, named, marks.get("primals"), static),
        "output": _of_leaves(call.shown_outputs, most, named, marks.get("output")),
        "residuals": dataclasses.replace(
            _of_leaves(call.residuals, most, named, marks.get("residuals")),
            total=size(call.residual_bytes) if _has_bytes(call) else "",
        ),
        "cotangent": _of_leaves(call.cotangents_in, most, named, marks.get("cotangent")),
        "gradients": _of_leaves(call.cotangents_out, most, named, marks.get("gradients")),
    }
    if not found["gradients"].lines and call.status in ("bwd not run", "pullback not called"):
        found["gradients"] = _cell((f"({call.status})",), marks.get("gradients"))
    return found


def _cell(lines: tuple[str, ...], finding: Finding | None, marked: int = 0) -> Cell:
    return Cell(tuple(map(plain, lines)), finding.severity if finding else None, marked)


def _of_leaves(
    leaves: Leaves | None, most: int, named: frozenset[str], finding: Finding | None, more: tuple[str, ...] = ()
) -> Cell:
    """A line for each of the first leaves, and of those that are `named`, and one that counts the rest."""
    kept, rest = kept_leaves(tuple(leaf for leaf in leaves or () if not leaf.more), most, named)
    lines = tuple(f"{leaf.path} {leaf_type(leaf.type, leaf.note)}".strip() for leaf in kept)
    left_out = len(rest) + sum(leaf.more for leaf in leaves or ())
    lines = (*lines, f"and {left_out} more") if left_out else lines
    path = finding.path if finding else ""
    at = next((i for i, leaf in enumerate(kept) if path and leaf.path == path), len(kept) if path and left_out else 0)
    return _cell((*lines, *more), finding, at)


def leaf_type(type_text: str, note: str) -> str:
    """The short type, with what is special about it."""
    if note in ("symbolic zero", "not perturbed") or note.startswith("sharded"):
        return f"{short_type(type_text)} ({note})"
    return short_type(type_text)


def fitted(line: str, width: int) -> str:
    """A leaf's line in so many letters: its type stays, its path loses its middle."""
    if len(line) <= width:
        return line
    path, _, rest = line.partition(" ")
    room = width - len(rest) - 2
    if not rest or room < _SHORTEST_PATH:
        return line[: width - 1] + "…"
    return f"{path[: room // 2]}…{path[len(path) - (room - room // 2) :]} {rest}"


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
