"""Make text from the user's program safe to show: a source line, a fix, a name."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.results.model import Snippet


def is_in_a_cell(source: str) -> bool:
    """Whether a place is in the notebook: in the checked cell or in an earlier one."""
    return not source or source.startswith("In[")


def plain(line: str) -> str:
    """One line with control characters and direction marks escaped."""
    return "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else f"\\u{ord(char):04x}"
        for char in line
    )


def split_line(snippet: Snippet) -> tuple[str, str, str]:
    """The line before, in and after its marked part, without indentation.

    Each piece is escaped by itself, because an escape is longer than its character.
    """
    text = snippet.text.expandtabs(1).rstrip()
    indent = len(text) - len(text.lstrip())
    start = max(snippet.start, indent)
    return plain(text[indent:start]), plain(text[start : snippet.end]), plain(text[max(start, snippet.end) :])
