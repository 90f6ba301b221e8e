"""Find the source text of code by its file name, for findings: the checked cell, an earlier one, a file."""

from __future__ import annotations

import dataclasses
import linecache
import re
from typing import TYPE_CHECKING

from jaxvjp_magic.notebook.cell_text import below_magics, empty_lines_above
from jaxvjp_magic.source.program import FileSources, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.notebook.cell_text import TypedCells

_TIMED = ("<timed", "<magic-timeit")  # file names of code that %time, %timeit and the like compile
_TIMING = re.compile(r"%time(?:it)?\s+(?P<code>.*)")


def is_timed(filename: str) -> bool:
    """Whether code of this name is below `%%time`, or on a line with `%timeit`."""
    return filename.startswith(_TIMED)


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """The text of one `run_cell`, and where it is in the cell that the user sees.

    `%%capture` and the like run the code below them as a cell of its own;
    `seen` is the whole cell, and `above` the number of its lines above `text`.
    """

    text: str
    seen: str
    above: int = 0

    @classmethod
    def inside(cls, outer: Cell | None, text: str) -> Cell:
        """A cell that runs inside `outer`, if there is one."""
        whole, part = (outer.text.rstrip(), text.strip("\n").rstrip()) if outer else ("", "")
        head = whole.removesuffix(part)
        if outer is None or not head or head == whole or not _is_head(head):
            return cls(text, text)
        above = head.count("\n") - empty_lines_above(text)
        return cls(text, outer.seen, outer.above + above)

    @property
    def code_above(self) -> int:
        """The number of lines above the first that IPython compiles; it drops empty lines at the top."""
        return self.above + empty_lines_above(self.text)


def _is_head(head: str) -> bool:
    """Whether these are whole lines, all of them cell magics or empty."""
    return head.endswith("\n") and all(line.startswith("%%") or not line.strip() for line in head.splitlines())


class CellSources:
    """The sources of a session: the checked cell has no name, an earlier one is `In[3]`."""

    def __init__(self, typed: TypedCells, seen: str, lines_above: dict[str, int]) -> None:
        """`seen` is the checked cell; `lines_above` the number of lines above its code, by the code's file name."""
        self._typed, self._seen, self._lines_above = typed, seen, lines_above
        self._files = FileSources("")
        self._checked: Text | None = None

    def text_of(self, filename: str) -> Text:
        """The text of a cell or a file, by the file name of its code."""
        if filename in self._lines_above:
            return Text("", "".join(linecache.getlines(filename)), self._lines_above[filename])
        if is_timed(filename):
            return self._timed(filename)
        name = self._typed.shell.compile.format_code_name(filename)
        if name is None:
            return self._files.text_of(filename)
        number, typed = int(name[1].removeprefix("In[").removesuffix("]")), self._typed.cells
        offset = empty_lines_above(typed[number]) if number < len(typed) else 0
        return Text(name[1], "".join(linecache.getlines(filename)), offset)

    def _timed(self, filename: str) -> Text:
        """All code below `%%time` has the same file name: take the nearest cell that it may come from."""
        typed = self._typed.cells
        for number, text in ((0, self._seen), *((earlier, typed[earlier]) for earlier in self._earlier())):
            if below_magics(text)[0]:
                return self._typed.code(number) if number else self.checked()
            lines = enumerate(text.splitlines()) if "%time" in text else ()
            timed = [(i, match["code"]) for i, line in lines if (match := _TIMING.search(line))]
            if len(timed) == 1:
                return Text(f"In[{number}]" if number else "", timed[0][1], timed[0][0])
        return Text(filename, "")

    def searched(self, filename: str) -> Iterator[Text]:
        """The checked cell, then the earlier ones from the last; for a module, its file."""
        is_cell = filename in self._lines_above or is_timed(filename)
        if not is_cell and self._typed.shell.compile.format_code_name(filename) is None:
            yield self._files.text_of(filename)
            return
        yield self.checked()
        yield from map(self._typed.code, self._earlier())

    def checked(self) -> Text:
        """The checked cell's code: where it is in the session's history, as it ran."""
        if self._checked is None:
            number = len(self._typed.cells) - 1
            if self._is_the_last():
                self._checked = dataclasses.replace(self._typed.code(number), source="")
            else:
                self._checked = self._typed.transformed("", self._seen)
        return self._checked

    def history(self) -> list[Text]:
        """The session's cells as they were run, the checked one last."""
        numbers = range(1, len(self._typed.cells) - self._is_the_last())
        return [*map(self._typed.code, numbers), self.checked()]

    def _is_the_last(self) -> bool:
        """Whether the checked cell is the last of the history; not before it has begun, nor without a number."""
        typed = self._typed.cells
        return len(typed) > 1 and typed[-1].rstrip() == self._seen.rstrip()

    def _earlier(self) -> Iterator[int]:
        """The numbers of the cells before this one, the last first, without those with the same text."""
        typed, seen = self._typed.cells, self._seen.rstrip()
        return (number for number in reversed(range(1, len(typed))) if typed[number].rstrip() != seen)
