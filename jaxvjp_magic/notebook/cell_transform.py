"""Rewrite `%%vjpcheck` as an ordinary statement, so that IPython runs the cell as it runs every cell.

Only the first line changes. Top-level await, a trailing `;`, the shown last
expression, line numbers in tracebacks and Run All stopping at an error stay as
they are, because IPython itself runs the cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = "--begin-cell"
_MAGIC = re.compile(r"%%vjpcheck(?:[ \t]+(?P<options>.*?))?\s*$")


def rewriter(cell_magic: Callable[[list[str]], list[str]]) -> Callable[[list[str]], list[str]]:
    """The transformation of a cell's lines; `cell_magic` is IPython's own, for a magic below ours.

    It has no side effects and changes nothing twice, because IPython calls it on
    a cell more than once.
    """

    def rewrite(lines: list[str]) -> list[str]:
        try:
            return _rewritten(lines, cell_magic)
        except Exception as error:  # noqa: BLE001 (the cell runs all the same)
            return _unchecked(lines, error)

    # IPython skips transformations with this attribute when it checks whether terminal input is
    # complete: there the cell still begins with %%, and ends at an empty line.
    rewrite.has_side_effects = True  # type: ignore[attr-defined]
    return rewrite


def _unchecked(lines: list[str], error: Exception) -> list[str]:
    """The cell with a line that says why it is not checked; if another magic follows, IPython handles both."""
    if not lines or not lines[0].startswith("%%vjpcheck") or "".join(lines[1:]).lstrip().startswith("%%"):
        return lines
    message = f"vjpcheck: could not check this cell: {type(error).__name__}: {error}"
    return [f"print({message!r})\n", *lines[1:]]


def _rewritten(lines: list[str], cell_magic: Callable[[list[str]], list[str]]) -> list[str]:
    match = _MAGIC.match(lines[0]) if lines else None
    if match is None or lines[0].rstrip().endswith("?"):
        return lines
    body = lines[1:]
    first = next((number for number, line in enumerate(body) if line.strip()), None)
    if first is None:
        return lines  # IPython says that the cell is empty
    options = f"{BEGIN} {match['options'] or ''}".strip()
    if body[first].startswith("%%"):
        body = body[:first] + cell_magic(body[first:])
    return [f"get_ipython().run_line_magic('vjpcheck', {options!r})\n", *body]
