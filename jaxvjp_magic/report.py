"""The report: what a check saw and what it found, as plain data.

Nothing here imports jax or IPython: a report can be read, printed and compared
wherever its JSON goes.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
from typing import Any

SCHEMA = 1


class Severity(enum.StrEnum):
    """How sure and how bad a finding is: `error` is wrong for certain.

    The worse is the greater: note < warning < error.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for an error, 1 for a warning, 2 for a note: the worst sorts first."""
        return list(Severity).index(self)

    # The order of the words as texts, which a StrEnum has, would make an error the least of the three.

    def __lt__(self, other: str) -> bool:
        """Whether this is less bad than the other."""
        return self.rank > Severity(other).rank

    def __le__(self, other: str) -> bool:
        """Whether this is at most as bad as the other."""
        return self.rank >= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        """Whether this is worse than the other."""
        return self.rank < Severity(other).rank

    def __ge__(self, other: str) -> bool:
        """Whether this is at least as bad as the other."""
        return self.rank <= Severity(other).rank


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a pytree: its key path, its type, its size.

    `path` begins with the argument's name where there is one (`params['w']`),
    `type` is JAX's (`float32[3]`), `bytes` is given for primals and residuals,
    and `note` says what is special ("None", "symbolic zero", "Python float").
    In a shortened report the last leaf of a large pytree stands for `more`
    others, and has the bytes of all of them.
    """

    path: str = ""
    type: str = ""
    bytes: int | None = None
    note: str = ""
    more: int = 0


Leaves = tuple[Leaf, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One use of `jax.vjp`, or one call of a custom_vjp function.

    A phase that did not run is None; `()` is a phase whose pytree has no
    leaves. `parent` is the `id` of the enclosing call, 0 for none, and `count`
    says how many equal calls this entry stands for. `vmap` has the sizes of the
    mapped axes, outermost first; all types are those of one example.
    """

    id: int
    kind: str
    function: str
    line: int | None = None
    source: str = ""
    count: int = 1
    parent: int = 0
    vmap: tuple[int, ...] = ()
    status: str = "ok"
    primals: Leaves | None = None
    nondiff: Leaves | None = None
    outputs: Leaves | None = None
    fwd_outputs: Leaves | None = None
    residuals: Leaves | None = None
    cotangents_in: Leaves | None = None
    cotangents_out: Leaves | None = None

    @property
    def shown_outputs(self) -> Leaves | None:
        """What the call gave: fwd's outputs where fwd ran, else the primal's."""
        return self.outputs if self.fwd_outputs is None else self.fwd_outputs

    @property
    def residual_bytes(self) -> int:
        """The bytes of all residuals of one call."""
        return sum(leaf.bytes or 0 for leaf in self.residuals or ())


@dataclasses.dataclass(frozen=True, slots=True)
class Snippet:
    """A line of the checked program, and the part of it that is meant."""

    line: int
    text: str
    start: int = 0
    end: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or risky.

    `title` is the first line (what, with both shapes), `message` the reason,
    `fix` what to write instead. `line` counts from 1 in the checked cell or
    file, or in `source` where that is not empty. `cause_of` has the indices, in
    the report's findings, of those that follow from this one, `calls` the ids
    of the calls that show it. `new_name` is for tools: where the name at the
    snippet had better be another, that one.
    """

    code: str
    severity: Severity
    title: str
    message: str
    fix: str = ""
    function: str = ""
    line: int | None = None
    source: str = ""
    phase: str = ""
    path: str = ""
    expected: str = ""
    got: str = ""
    snippet: Snippet | None = None
    calls: tuple[int, ...] = ()
    cause_of: tuple[int, ...] = ()
    explains_error: bool = False
    new_name: str = ""
    in_library: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramError:
    """The exception that ended the checked cell or program."""

    type: str
    message: str = ""
    line: int | None = None
    source: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that the check did not look at, or did not compare, and why.

    `what` is "output" (what `function` returns), "residuals" (which of them
    `function`, a bwd rule, uses), "calls" (those inside `function`), "rules"
    (those of `function`, of a kind that is not traced), "values", or "jax" (a
    place in JAX that is not where it was). `function` is "" where the same holds
    for several. `line` and `source` are the place of its definition, as those of
    a finding. `why` is a clause, or the option that would change it.
    """

    what: str
    function: str = ""
    line: int | None = None
    source: str = ""
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Omitted:
    """What a shortened report leaves out: entries of `calls`, the calls that they stand for, and of `not_checked`."""

    rows: int = 0
    calls: int = 0
    not_checked: int = 0


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Report:
    """Everything one check saw: calls, findings, the program's own error.

    `notes` say what the check itself could not do; they are not findings.
    `not_checked` says what of the program it left alone, and why. `silenced` has
    the findings that somebody asked not to see, and those whose place is in a
    library's file. `omitted` is given where the report is saved with a notebook,
    and too large to be saved whole. `complete` is False as long as the check goes on, and where it could
    not be done; `notes` say why, then. As a truth value a report is its `ok`.
    """

    jax: str = ""
    findings: tuple[Finding, ...] = ()
    calls: tuple[Call, ...] = ()
    error: ProgramError | None = None
    notes: tuple[str, ...] = ()
    omitted: Omitted | None = None
    not_checked: tuple[NotChecked, ...] = ()
    complete: bool = True
    silenced: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the check was done, and there is no finding of severity error."""
        return self.complete and not self.count(Severity.ERROR)

    def __bool__(self) -> bool:
        """The same as `ok`."""
        return self.ok

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(finding.severity is severity for finding in self.findings)

    def reaches(self, level: str) -> bool:
        """Whether a finding is at or above `level`: "error", "warning", "note", "never"."""
        if level == "never":
            return False
        least = Severity(level)
        return any(finding.severity >= least for finding in self.findings)

    def fails(self, level: str) -> bool:
        """Whether it must not pass: a finding reaches `level`, or the check was not done; never with "never"."""
        return self.reaches(level) or (level != "never" and not self.complete)

    def raise_if(self, level: str) -> None:
        """Raise an AssertionError, whose text is the report, where it fails at `level`.

        `level` is "error", "warning", "note" or "never". Raises ValueError for another word.
        """
        if self.fails(level):
            raise AssertionError(str(self))

    def to_json(self) -> str:
        """The report as one line of JSON, schema 1; absent and empty keys are left out."""
        data = {"schema": SCHEMA, "jax": self.jax, "ok": self.ok}
        if self.error is not None:
            data["error"] = _compact(self.error)
        if self.not_checked:
            data["not_checked"] = [_compact(one) for one in self.not_checked]
        data["findings"] = [_compact(finding) for finding in self.findings]
        data["calls"] = [_compact(call) for call in self.calls]
        if self.silenced:
            data["silenced"] = [_compact(finding) for finding in self.silenced]
        if self.notes:
            data["notes"] = list(self.notes)
        if self.omitted is not None:
            data["omitted"] = _compact(self.omitted)
        if not self.complete:
            data["complete"] = False
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote; keys that this version does not know are left out.

        The text may be anybody's: sizes and types are checked. Raises
        ValueError, in one line, for text that is no report of schema 1.
        """
        from jaxvjp_magic.results.schema import read

        return read(text)

    def __str__(self) -> str:
        """The report as text, as `text/plain` shows it; one line where that fails."""
        try:
            from jaxvjp_magic.rendering.text import render_text

            return render_text(self)
        except Exception as error:  # noqa: BLE001 (a report is printed in somebody's program)
            return f"vjpcheck: could not show the report: {type(error).__name__}: {error}"

    def __repr__(self) -> str:
        """The same: what a failing `assert report.ok, report` shows."""
        return str(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        from jaxvjp_magic.rendering.mime import mime_bundle

        return mime_bundle(self)


def noted(report: Report, what: str, error: Exception) -> Report:
    """The report with a note on what could not be done; of one fault of ours there is one note."""
    note = f"could not {what}: {type(error).__name__}: {error}"
    return dataclasses.replace(report, notes=one_a_fault((*report.notes, note)))


def one_a_fault(notes: tuple[str, ...]) -> tuple[str, ...]:
    """The notes, and of those that tell of the same exception of ours the first."""
    kept: dict[str, str] = {}
    for note in notes:
        what, _, detail = note.partition(": ")
        kept.setdefault(detail if what.startswith(("could not ", "a check failed ")) else note, note)
    return tuple(kept.values())


_LEAVES = ("primals", "nondiff", "outputs", "fwd_outputs", "residuals", "cotangents_in", "cotangents_out")
_KEPT = {"id", "parent", "count", "path", "type"}


def _compact(item: Any) -> dict[str, Any]:
    """A dataclass as a dict without what does not apply.

    That is a value that is its field's default. What has no default is there,
    however empty; so is 0 where it is not the same as unknown. A phase that did
    not run has no key; one that ran without leaves is null.
    """
    data: dict[str, Any] = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if field.name in _LEAVES and value is not None:
            data[field.name] = [_compact(leaf) for leaf in value] or None
        elif dataclasses.is_dataclass(value):
            data[field.name] = _compact(value)
        elif field.name in _KEPT or value != field.default:
            data[field.name] = value
    return data


_SHORT = (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i"), ("complex", "c"))


def short_type(text: str) -> str:
    """JAX's short form of a type: `float32[10,3]` is `f32[10,3]`; other text stays."""
    match = re.match(r"(Ref\{)?(bfloat|float|uint|int|complex)(\d+\w*\[)", text)
    if not match or text.startswith("float0"):
        return text
    short = dict(_SHORT)[match[2]]
    return f"{match[1] or ''}{short}{text[match.start(3) :]}"


def size(count: int) -> str:
    """Bytes for people: `120 B`, `1.5 kB`, `36.0 GB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004 (a kilobyte)
        value, units = value / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
