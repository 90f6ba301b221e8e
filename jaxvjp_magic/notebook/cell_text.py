"""Give a session's cells as typed and as Python code; each is read once, however long the session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.source.program import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from IPython.core.interactiveshell import InteractiveShell


class TypedCells:
    """One shell's cells by their numbers.

    Text and code are the strings that IPython's own history holds, so that a
    cell costs only a dict entry here: a third of a kilobyte.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        """Cells are read on demand."""
        self.shell = shell
        self._codes: dict[int, tuple[str, Text]] = {}

    @property
    def cells(self) -> Sequence[str]:
        """The typed cells; the index is the cell's number, and entry 0 is not a cell."""
        manager = self.shell.history_manager
        return () if manager is None else manager.input_hist_raw

    def code(self, number: int) -> Text:
        """The Python code of a cell, as IPython ran it."""
        cells = self.cells
        typed, cached = cells[number], self._codes.get(number)
        if cached is None or cached[0] != typed:
            if len(self._codes) >= len(cells):
                self._codes.clear()  # `%reset`: the numbers start again
            cached = self._codes[number] = typed, self.transformed(f"In[{number}]", typed, self._as_run(number))
        return cached[1]

    def _as_run(self, number: int) -> str | None:
        manager = self.shell.history_manager
        codes = () if manager is None else manager.input_hist_parsed
        return codes[number] if len(codes) == len(self.cells) else None

    def transformed(self, name: str, text: str, as_run: str | None = None) -> Text:
        """The Python code of this text, below `%%time` and the like; `as_run` is the code of the whole cell."""
        above, below = below_magics(text)
        if above or as_run is None:  # with a magic on top, IPython ran one call of that magic
            try:
                as_run = self.shell.transform_cell(below)
            except SyntaxError:
                as_run = below
        # IPython's history drops empty lines at the end; without them the same cell has one text and one syntax tree.
        return Text(name, as_run.rstrip("\n"), above + empty_lines_above(below))


def below_magics(text: str) -> tuple[int, str]:
    """The number of lines above the body of the last cell magic on top, and that body.

    `%%vjpcheck` does not count: it becomes a line of the code.
    """
    if not text.lstrip().startswith("%%"):
        return 0, text
    above, lines = 0, text.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        if line.startswith("%%") and not line.startswith("%%vjpcheck"):
            above = number
        elif line.strip() and not line.startswith("%%"):
            break
    return above, "".join(lines[above:])


def empty_lines_above(text: str) -> int:
    """The number of empty lines at the top, which IPython drops."""
    return next((i for i, line in enumerate(text.splitlines()) if line.strip()), 0)
