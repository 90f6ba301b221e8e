"""Turn a call into the cells of its table row: a line of text for each leaf, and the mark of a finding."""

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
    """One cell: a line of text for each leaf, their total size, and the severity of the mark on one line."""

    leaves: tuple[str, ...] = ()
    mark: Severity | None = None
    marked: int = 0
    total: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The leaves with their total size: on the same line if there is one leaf, else on a line of its own."""
        if not self.total or not self.leaves:
            return self.leaves
        if len(self.leaves) == 1:
            return (f"{self.leaves[0]}  {self.total}",)
        return (*self.leaves, f"total  {self.total}")


def column_of(finding: Finding) -> str | None:
    """The column that a finding is about."""
    return _COLUMN_OF_PHASE.get(finding.phase)


def cells(call: Call, marks: Mapping[str, Finding], limit: int, named: frozenset[str]) -> dict[str, Cell]:
    """All cells of a call, by column, with at most `limit` leaves in each; `marks` has the finding of a column."""
    times = f" ({call.count:,} times)" if call.count > 1 else ""
    line = "" if call.line is None else f"{call.source}:{call.line}" if call.source else str(call.line)
    static = tuple(f"{leaf.path} {short_type(leaf.type)} (nondiff)" for leaf in call.nondiff or ())
    row = {
        "call": _cell((label(call) + times,), marks.get("call")),
        "line": _cell((line,), marks.get("line")),
        "vmap": _cell((" ".join(map(str, call.vmap)),), marks.get("vmap")),
        "primals": _of_leaves(call.primals, limit, named, marks.get("primals"), static),
        "output": _of_leaves(call.shown_outputs, limit, named, marks.get("output")),
        "residuals": dataclasses.replace(
            _of_leaves(call.residuals, limit, named, marks.get("residuals")),
            total=size(call.residual_bytes) if _has_bytes(call) else "",
        ),
        "cotangent": _of_leaves(call.cotangents_in, limit, named, marks.get("cotangent")),
        "gradients": _of_leaves(call.cotangents_out, limit, named, marks.get("gradients")),
    }
    if not row["gradients"].lines and call.status in ("bwd not run", "pullback not called"):
        row["gradients"] = _cell((f"({call.status})",), marks.get("gradients"))
    return row


def _cell(lines: tuple[str, ...], finding: Finding | None, marked: int = 0) -> Cell:
    return Cell(tuple(map(plain, lines)), finding.severity if finding else None, marked)


def _of_leaves(
    leaves: Leaves | None, limit: int, named: frozenset[str], finding: Finding | None, static: tuple[str, ...] = ()
) -> Cell:
    """A line for each of the first leaves and of the `named` ones, and a line that counts the rest."""
    kept, rest = kept_leaves(tuple(leaf for leaf in leaves or () if not leaf.more), limit, named)
    lines = tuple(f"{leaf.path} {leaf_type(leaf.type, leaf.note)}".strip() for leaf in kept)
    left_out = len(rest) + sum(leaf.more for leaf in leaves or ())
    lines = (*lines, f"and {left_out} more") if left_out else lines
    path = finding.path if finding else ""
    marked = next(
        (i for i, leaf in enumerate(kept) if path and leaf.path == path), len(kept) if path and left_out else 0
    )
    return _cell((*lines, *static), finding, marked)


def leaf_type(type_text: str, note: str) -> str:
    """The short type, and the leaf's note if it says something about the type."""
    if note in ("symbolic zero", "not perturbed") or note.startswith("sharded"):
        return f"{short_type(type_text)} ({note})"
    return short_type(type_text)


def fitted(line: str, width: int) -> str:
    """A leaf's line cut to `width` characters: its type stays, its path loses its middle."""
    if len(line) <= width:
        return line
    path, _, rest = line.partition(" ")
    room = width - len(rest) - 2
    if not rest or room < _SHORTEST_PATH:
        return line[: width - 1] + "…"
    return f"{path[: room // 2]}…{path[len(path) - (room - room // 2) :]} {rest}"


def _has_bytes(call: Call) -> bool:
    """Whether the size of a residual is known, which may be 0."""
    return any(leaf.bytes is not None for leaf in call.residuals or ())


def held_bytes(call: Call) -> int:
    """The bytes of a call's residuals, summed over all examples of a vmap."""
    return call.residual_bytes * math.prod(call.vmap)


def held(call: Call) -> str:
    """`120 B`, or ten times 12 B inside a vmap; "" if the size is unknown."""
    if not _has_bytes(call):
        return ""
    examples = f"{math.prod(call.vmap):,} × " if call.vmap else ""  # noqa: RUF001 (a multiplication sign)
    return examples + size(call.residual_bytes)


def total_held(calls: Iterable[Call]) -> int:
    """The bytes of all residuals. Those of a nested call are among those of the enclosing call, and counted once."""
    counted: set[int] = set()
    total = 0
    for call in calls:
        if call.parent in counted:
            counted.add(call.id)
        elif call.residual_bytes:
            counted.add(call.id)
            total += held_bytes(call) * call.count
    return total
