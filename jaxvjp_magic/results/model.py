"""The parts of a report, as plain data: calls with their leaves, findings, what was not checked."""

from __future__ import annotations

import dataclasses
import enum


class Severity(enum.StrEnum):
    """How bad a finding is: an `error` is certainly wrong.

    A worse severity is greater: note < warning < error.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for an error, 1 for a warning, 2 for a note: the worst sorts first."""
        return list(Severity).index(self)

    # A StrEnum compares as text, and "error" would be the least of the three.

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


_WITH_RULES = ("custom_vjp", "custom_jvp", "custom_vmap", "hijax")


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf of a pytree: its key path, its type, its size.

    `path` begins with the argument's name where there is one (`params['w']`),
    `type` is JAX's (`float32[3]`), `bytes` is given for primals and residuals,
    and `note` says what is special ("None", "symbolic zero", "Python float").
    In a shortened report the last leaf of a large pytree represents `more`
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
    """One use of `jax.vjp`, or one call of a custom_vjp function or a hijax primitive.

    A phase that did not run is None; `()` is a phase whose pytree has no
    leaves. `parent` is the `id` of the enclosing call, 0 for none, and `count`
    says how many equal calls this entry represents. `vmap` has the sizes of the
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
    def has_rules(self) -> bool:
        """Whether this is a call of something with a fwd and a bwd rule, and no use of `jax.vjp`."""
        return self.kind in _WITH_RULES

    @property
    def shown_outputs(self) -> Leaves | None:
        """The outputs of the call: fwd's if fwd ran, else the primal function's."""
        return self.outputs if self.fwd_outputs is None else self.fwd_outputs

    @property
    def residual_bytes(self) -> int:
        """The bytes of all residuals of one call."""
        return sum(leaf.bytes or 0 for leaf in self.residuals or ())


@dataclasses.dataclass(frozen=True, slots=True)
class Snippet:
    """A line of the checked program, and the columns that a finding is about."""

    line: int
    text: str
    start: int = 0
    end: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Fix:
    """What to write instead: in words, as code that can be pasted, or both."""

    words: str = ""
    code: str = ""

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.words or self.code)

    def __str__(self) -> str:
        """`take it apart:  (gradient,) = pullback(cotangent)`."""
        return ":  ".join(filter(None, (self.words, self.code)))


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or risky.

    `title` is the first line (what is wrong, with both shapes), `message` the
    reason, `fix` what to write instead; it ends with `fix_code`, the part of it
    that can be pasted. `line` counts from 1 in the checked cell or file, or in
    `source` if that is not empty. `cause_of` has the indices, in the report's
    findings, of those that follow from this one, `calls` the ids of the calls
    that show it. `new_name` is for tools: a better name for the one at the
    snippet.
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
    fix_code: str = ""

    @property
    def fix_parts(self) -> tuple[str, str]:
        """The fix in words, as in `take it apart:  `, and in code; either may be empty."""
        is_suffix = self.fix.endswith(self.fix_code)  # a report that was read may say anything
        return (self.fix.removesuffix(self.fix_code), self.fix_code) if is_suffix else (self.fix, "")


@dataclasses.dataclass(frozen=True, slots=True)
class ProgramError:
    """The exception that ended the checked cell or program."""

    type: str
    message: str = ""
    line: int | None = None
    source: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that was not checked or not compared, and why.

    `what` is "output" (what `function` returns), "residuals" (which of them
    `function`, a bwd rule, uses), "calls" (those inside `function`), "rules"
    (those of `function`, of a kind that is not traced), "values", or "jax" (a
    patch point that this JAX does not have). `function` is "" if the entry covers
    several. `line` and `source` say where it is defined, as in a finding. `why`
    is a clause, or the option that would change it.
    """

    what: str
    function: str = ""
    line: int | None = None
    source: str = ""
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Omitted:
    """What a shortened report leaves out: entries of `calls`, the calls they represent, entries of `not_checked`."""

    rows: int = 0
    calls: int = 0
    not_checked: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ReportData:
    """The data of a report; `jaxvjp_magic.Report` adds how it is shown, and documents the fields."""

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
        """Whether the check is complete, and no finding is an error."""
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
        """Whether a finding reaches `level`, or the check is not complete; always False for "never"."""
        return self.reaches(level) or (level != "never" and not self.complete)
