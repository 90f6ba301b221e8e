"""The public report: the data of one check, which can be printed, displayed, and written as JSON."""

from __future__ import annotations

import dataclasses

from jaxvjp_magic.rendering.mime import mime_bundle
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.results import schema
from jaxvjp_magic.results.model import ReportData


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Report(ReportData):
    """Everything one check saw: calls, findings, the program's own error.

    `notes` say what the check itself could not do; they are not findings.
    `not_checked` says what of the program it left alone, and why. `silenced` has
    the findings that somebody asked not to see, and those whose place is in a
    library's file. `omitted` is given where the report is saved with a notebook,
    and too large to be saved whole. `complete` is False as long as the check
    goes on, and where it could not be done; `notes` say why, then. As a truth
    value a report is its `ok`.
    """

    def raise_if(self, level: str) -> None:
        """Raise an AssertionError, whose text is the report, where it fails at `level`.

        `level` is "error", "warning", "note" or "never". Raises ValueError for another word.
        """
        if self.fails(level):
            raise AssertionError(str(self))

    def to_json(self) -> str:
        """The report as one line of JSON, schema 1; absent and empty keys are left out."""
        return schema.write(self)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote; keys that this version does not know are left out.

        The text may be anybody's: sizes and types are checked. Raises
        ValueError, in one line, for text that is not a report of schema 1.
        """
        return schema.read(text, cls)

    def __str__(self) -> str:
        """The report as text, as `text/plain` shows it; one line where that fails."""
        try:
            return render_text(self)
        except Exception as error:  # noqa: BLE001 (a report is printed in somebody's program)
            return f"vjpcheck: could not show the report: {type(error).__name__}: {error}"

    def __repr__(self) -> str:
        """The same: what a failing `assert report.ok, report` shows."""
        return str(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        return mime_bundle(self)
