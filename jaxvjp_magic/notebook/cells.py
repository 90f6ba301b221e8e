"""The texts of a session's cells, for findings: this cell, an earlier one, a file."""

from __future__ import annotations

import dataclasses
import linecache
import re
from typing import TYPE_CHECKING

from jaxvjp_magic.sources import FileSources, Text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_TIMED = ("<timed", "<magic-timeit")  # what %time, %timeit and the like name the code that they compile
_TIMING = re.compile(r"%time(?:it)?\s+(?P<code>.*)")


def is_timed(filename: str) -> bool:
    """Whether code of this name stands below `%%time`, or on a line with `%timeit`."""
    return filename.startswith(_TIMED)


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """The text of one `run_cell`, and where it stands in the cell that the person sees.

    `%%capture` and the like run what stands below them as a cell of its own;
    `seen` is the whole, and `above` the number of its lines above `text`.
    """

    text: str
    seen: str
    above: int = 0

    @classmethod
    def inside(cls, outer: Cell | None, text: str) -> Cell:
        """A cell that runs inside another, if any."""
        whole, part = (outer.text.rstrip(), text.strip("\n").rstrip()) if outer else ("", "")
        head = whole.removesuffix(part)
        if outer is None or not head or head == whole or not _is_head(head):
            return cls(text, text)
        above = head.count("\n") - _empty_lines_above(text)
        return cls(text, outer.seen, outer.above + above)

    @property
    def code_above(self) -> int:
        """The lines above the first that IPython compiles: it drops empty ones at the top."""
        return self.above + _empty_lines_above(self.text)


def _is_head(head: str) -> bool:
    """Whether these are lines of cell magics and empty lines alone, to their end."""
    return head.endswith("\n") and all(line.startswith("%%") or not line.strip() for line in head.splitlines())


def _empty_lines_above(text: str) -> int:
    return next((i for i, line in enumerate(text.splitlines()) if line.strip()), 0)


class CellSources:
    """The checked cell has no name; an earlier one is `In[3]`."""

    def __init__(self, shell: InteractiveShell, seen: str, lines_above: dict[str, int]) -> None:
        """`seen` is the checked cell; `lines_above` what stands above code of it, by the name of the code."""
        self._shell, self._seen, self._lines_above = shell, seen, lines_above
        self._files = FileSources("")

    def text_of(self, filename: str) -> Text:
        """A cell by the name of its code, or a file."""
        if filename in self._lines_above:
            return Text("", "".join(linecache.getlines(filename)), self._lines_above[filename])
        if is_timed(filename):
            return self._timed(filename)
        name = self._shell.compile.format_code_name(filename)
        if name is None:
            return self._files.text_of(filename)
        number = int(name[1].removeprefix("In[").removesuffix("]"))
        typed = self._typed()
        offset = _empty_lines_above(typed[number]) if number < len(typed) else 0
        return Text(name[1], "".join(linecache.getlines(filename)), offset)

    def _timed(self, filename: str) -> Text:
        """All code below any `%%time` has one name: take the nearest cell that it may come from."""
        for name, text in (("", self._seen), *self._earlier()):
            if _below_magics(text)[0]:
                return self._code(name, text)
            timed = [(i, match["code"]) for i, line in enumerate(text.splitlines()) if (match := _TIMING.search(line))]
            if len(timed) == 1:
                return Text(name, timed[0][1], timed[0][0])
        return Text(filename, "")

    def searched(self, filename: str) -> list[Text]:
        """The checked cell, then the earlier ones from the last; for a module, its file."""
        is_cell = filename in self._lines_above or is_timed(filename)
        if not is_cell and self._shell.compile.format_code_name(filename) is None:
            return [self._files.text_of(filename)]
        return [self._code(name, text) for name, text in (("", self._seen), *self._earlier())]

    def history(self) -> list[Text]:
        """The session's cells as they were run, the checked one last."""
        typed = list(enumerate(self._typed()))[1:]
        if typed and typed[-1][1].rstrip() == self._seen.rstrip():
            typed.pop()
        return [self._code(f"In[{number}]", text) for number, text in typed] + [self._code("", self._seen)]

    def _earlier(self) -> list[tuple[str, str]]:
        """The cells before this one, as they were typed, the last first."""
        cells = list(enumerate(self._typed()))[1:]
        seen = self._seen.rstrip()
        return [(f"In[{number}]", text) for number, text in reversed(cells) if text.rstrip() != seen]

    def _typed(self) -> list[str]:
        """The text of each cell of the session, by its number."""
        manager = self._shell.history_manager
        return [] if manager is None else list(manager.input_hist_raw)

    def _code(self, name: str, text: str) -> Text:
        """The Python code of a cell, below `%%time` and the like."""
        above, below = _below_magics(text)
        try:
            code = self._shell.transform_cell(below)
        except SyntaxError:
            code = below
        return Text(name, code, above + _empty_lines_above(below))


def _below_magics(text: str) -> tuple[int, str]:
    """How many lines stand above what the last cell magic on top takes, and that text.

    `%%vjpcheck` is none of them: it becomes a line of the code.
    """
    above, lines = 0, text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if line.startswith("%%") and not line.startswith("%%vjpcheck"):
            above = number
        elif line.strip() and not line.startswith("%%"):
            break
    return above, "".join(lines[above:])
