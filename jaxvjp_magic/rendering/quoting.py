"""Text of the user's, made fit for showing: a line of the program, a fix, any name."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import Snippet


def is_in_a_cell(source: str) -> bool:
    """Whether a place is in the checked cell or in an earlier one, and so in the notebook."""
    return not source or source.startswith("In[")


def plain(line: str) -> str:
    """One line without control characters and without marks that turn its direction."""
    return "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else f"\\u{ord(char):04x}"
        for char in line
    )


def split_line(snippet: Snippet) -> tuple[str, str, str]:
    """The line before, in and after the part that is meant, without its indentation.

    Made visible piece by piece: a control character takes more room then.
    """
    text = snippet.text.expandtabs(1).rstrip()
    indent = len(text) - len(text.lstrip())
    start = max(snippet.start, indent)
    return plain(text[indent:start]), plain(text[start : snippet.end]), plain(text[max(start, snippet.end) :])
