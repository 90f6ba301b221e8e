"""The public report: takes the data of one check, and prints, displays, reads and writes it."""

from __future__ import annotations

import dataclasses

from jaxvjp_magic.rendering.mime import mime_bundle
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.results import schema
from jaxvjp_magic.results.model import ReportData


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Report(ReportData):
    """Everything that one check saw: calls, findings, the program's own error.

    `notes` say what the check itself could not do; they are not findings.
    `not_checked` says what it did not check in the program, and why. `silenced`
    has the findings that an option or a comment silences, and those in files of
    libraries. `omitted` is set if the report was too large to be saved whole
    with a notebook. `complete` is False while the check runs, and if it could
    not be done; `notes` then say why. The truth value of a report is its `ok`.
    """

    def raise_if(self, level: str) -> None:
        """Raise an AssertionError, whose text is the report, if it fails at `level`.

        `level` is "error", "warning", "note" or "never". Raises ValueError for another word.
        """
        if self.fails(level):
            raise AssertionError(str(self))

    def to_json(self) -> str:
        """The report as one line of JSON, schema 1; absent and empty keys are left out."""
        return schema.write(self)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote; unknown keys are ignored.

        The text may come from anyone: sizes and types are checked. Raises
        ValueError, in one line, for text that is not a report of schema 1.
        """
        return schema.read(text, cls)

    def __str__(self) -> str:
        """The report as text, as `text/plain` shows it; one line if that fails."""
        try:
            return render_text(self)
        except Exception as error:  # noqa: BLE001 (it must not end the program that prints it)
            return f"vjpcheck: could not show the report: {type(error).__name__}: {error}"

    def __repr__(self) -> str:
        """The same text, which a failing `assert report.ok, report` shows."""
        return str(self)

    def _repr_mimebundle_(self, **_: object) -> dict[str, object]:
        return mime_bundle(self)
