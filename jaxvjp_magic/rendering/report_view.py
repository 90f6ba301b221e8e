"""Turn a report into a view: all that text, HTML and the widget say. They only lay it out.

All strings are plain: no control characters, no direction marks.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from jaxvjp_magic import catalogue
from jaxvjp_magic.rendering import diff_text, sentences
from jaxvjp_magic.rendering.cells import Cell, cells, column_of, held, held_bytes, total_held
from jaxvjp_magic.rendering.groups import groups
from jaxvjp_magic.rendering.limits import kept_calls, named_leaves
from jaxvjp_magic.rendering.quoting import is_in_a_cell, plain, split_line
from jaxvjp_magic.results.formatting import size
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.results.model import Call, Finding, ReportData

SYMBOLS = {Severity.ERROR: "×", Severity.WARNING: "!", Severity.NOTE: "·"}  # noqa: RUF001 (a cross, on purpose)
MOST_LEAVES = 4
MOST_ROWS = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A place in words and, if it is in the notebook, as a line and the label of its cell."""

    words: str = ""
    line: int | None = None
    cell: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it is in the checked cell or file itself."""
        return self.line is not None and not self.cell


def _place(line: int | None, source: str) -> Place:
    in_notebook = line is not None and is_in_a_cell(source)
    return Place(
        plain(sentences.place(line, source)), line if in_notebook else None, plain(source) if in_notebook else ""
    )


@dataclasses.dataclass(frozen=True, slots=True)
class FindingView:
    """A finding, ready to be shown.

    `heading` is the title after the place, as in `line 17: f was overwritten`;
    `fix` has its words and its code; `snippet` the line's number, and the line
    before, in and after its marked part.
    """

    index: int
    code: str
    severity: Severity
    place: Place
    heading: str
    title: str
    relation: str
    message: str
    fix: tuple[str, str]
    snippet: tuple[str, str, str, str] | None
    calls: tuple[int, ...]
    is_new: bool

    @property
    def about(self) -> str:
        """What the code means: the first paragraph of its section in the documentation."""
        return plain(catalogue.summary(self.code))


@dataclasses.dataclass(frozen=True, slots=True)
class Since:
    """What changed since the last run: a sentence, and for each change a word and a sentence."""

    summary: str
    lines: tuple[tuple[str, str], ...]


class RowView:
    """One call; `depth` is its nesting depth, `named` has the key paths that findings name in it.

    `was` has the types of the last run, for each column where they differ.
    """

    def __init__(  # noqa: PLR0913 (all that a row has)
        self,
        call: Call,
        depth: int,
        marks: Mapping[str, Finding],
        named: frozenset[str],
        *,
        severities: tuple[str, ...] = (),
        was: Mapping[str, str] | None = None,
        is_new: bool = False,
    ) -> None:
        """A row of the table."""
        self.call, self.depth, self.named = call, depth, named
        self.severities, self.was, self.is_new = severities, dict(was or {}), is_new
        self._marks = marks

    @functools.cached_property
    def cells(self) -> dict[str, Cell]:
        """The cells with as many leaves as a table shows at first."""
        return self.cells_with(MOST_LEAVES)

    def cells_with(self, leaves: int) -> dict[str, Cell]:
        """The cells with at most `leaves` leaves in each, and with all that findings name."""
        return cells(self.call, self._marks, leaves, self.named)

    @property
    def id(self) -> int:
        """The number of the call."""
        return self.call.id

    @property
    def label(self) -> str:
        """`f`, or `grad(f)`."""
        return plain(sentences.label(self.call))

    @property
    def place(self) -> Place:
        """The line of the call."""
        return _place(self.call.line, self.call.source)

    @property
    def held_bytes(self) -> int:
        """The bytes of its residuals, summed over all examples of a vmap."""
        return held_bytes(self.call)

    @property
    def held(self) -> str:
        """The same as text."""
        return held(self.call)


class ReportView:
    """A report, and what changed since the last run, as they are shown."""

    def __init__(self, report: ReportData, changes: Changes | None = None) -> None:
        """Parts are made on demand: there may be thousands of rows."""
        self._report, self._changes = report, changes
        self.headline = plain(sentences.headline(report))
        self.jax = plain(report.jax)
        self.ending = plain(sentences.ending(report))
        self.notes = tuple(map(plain, report.notes))
        self.total = len(report.calls)
        self.is_mapped = any(call.vmap for call in report.calls)
        self.most_held = max(map(held_bytes, report.calls), default=0)
        self.shown_by_findings = frozenset(call for finding in report.findings for call in finding.calls)

    @functools.cached_property
    def findings(self) -> tuple[FindingView, ...]:
        """All findings, in the report's order."""
        return tuple(self._finding(index) for index in range(len(self._report.findings)))

    @functools.cached_property
    def groups(self) -> tuple[tuple[FindingView, tuple[FindingView, ...]], ...]:
        """Each cause, with the findings that follow from it."""
        return tuple(
            (self.findings[i], tuple(self.findings[j] for j in followers)) for i, followers in groups(self._report)
        )

    @functools.cached_property
    def quiet(self) -> tuple[sentences.CoverageLine, ...]:
        """What was not checked, not compared or silenced."""
        lines = sentences.quiet(self._report)
        return tuple(sentences.CoverageLine(plain(line.summary), tuple(map(plain, line.lines))) for line in lines)

    @functools.cached_property
    def since(self) -> Since | None:
        """What changed since the last run; None if there was none."""
        return _since(self._report, self._changes) if self._changes is not None else None

    @functools.cached_property
    def held(self) -> str:
        """The size of all residuals; "" if there are none."""
        total = total_held(self._report.calls)
        return size(total) if any(call.residual_bytes for call in self._report.calls) else ""

    @property
    def is_whole(self) -> bool:
        """Whether no call is left out."""
        return not (self._report.omitted and self._report.omitted.rows)

    @functools.cached_property
    def rows(self) -> tuple[RowView, ...]:
        """The rows of a table: those with findings, and the first of the others."""
        return self._rows(kept_calls(self._report, MOST_ROWS))

    @functools.cached_property
    def all_rows(self) -> tuple[RowView, ...]:
        """The rows of all calls."""
        return self._rows(self._report.calls)

    @property
    def hidden_rows(self) -> int:
        """How many calls the table leaves out."""
        left_out = self._report.omitted.rows if self._report.omitted else 0
        return max(0, self.total - MOST_ROWS) + left_out

    @functools.cached_property
    def caption(self) -> str:
        """What the table shows."""
        mapped = "; types inside a vmap are those of one example" if self.is_mapped else ""
        return f"Calls, nested under their callers{mapped}"

    def findings_of(self, call: int) -> tuple[int, ...]:
        """The findings about a call."""
        return tuple(index for index, finding in enumerate(self._report.findings) if call in finding.calls)

    def _rows(self, calls: Iterable[Call]) -> tuple[RowView, ...]:
        depths, marks, severities = self._of_calls
        named, changes = named_leaves(self._report), self._changes
        was: dict[int, dict[str, str]] = {}
        for shape in changes.shapes if changes else ():
            was.setdefault(shape.call, {})[shape.column] = plain(diff_text.few(shape.before))
        new = frozenset(changes.new_calls if changes else ())
        return tuple(
            RowView(
                call,
                depths[call.id],
                marks.get(call.id, {}),
                named.get(call.id, frozenset()),
                severities=tuple(sorted(severities.get(call.id, ()))),
                was=was.get(call.id),
                is_new=call.id in new,
            )
            for call in calls
        )

    @functools.cached_property
    def _of_calls(self) -> tuple[dict[int, int], dict[int, dict[str, Finding]], dict[int, set[str]]]:
        """By call id: the nesting depth, the worst finding of each column, the severities of the findings."""
        depths: dict[int, int] = {0: -1}
        for call in self._report.calls:
            depths[call.id] = depths.get(call.parent, -1) + 1
        marks: dict[int, dict[str, Finding]] = {}
        severities: dict[int, set[str]] = {}
        for finding in self._report.findings:  # the worst comes first
            column = column_of(finding)
            for call_id in finding.calls:
                severities.setdefault(call_id, set()).add(finding.severity.value)
                if column and finding.severity is not Severity.NOTE:
                    marks.setdefault(call_id, {}).setdefault(column, finding)
        return depths, marks, severities

    def _finding(self, index: int) -> FindingView:
        finding = self._report.findings[index]
        words, code = finding.fix_parts
        snippet = (str(finding.snippet.line), *split_line(finding.snippet)) if finding.snippet else None
        return FindingView(
            index,
            plain(finding.code),
            finding.severity,
            _place(finding.line, finding.source),
            plain(sentences.heading(finding)),
            plain(finding.title),
            plain(sentences.relation(self._report, index)),
            plain(finding.message),
            (plain(words), plain(code)),
            snippet,
            finding.calls,
            self._changes is not None and index in self._changes.new_findings,
        )


def _since(report: ReportData, changes: Changes) -> Since:
    lines = tuple((plain(word), plain(sentence)) for word, sentence in diff_text.lines(report, changes))
    return Since(plain(diff_text.summary(changes)), lines)
