"""The texts of a session's cells, for findings: this cell, an earlier one, a file."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING

from jaxvjp_magic.sources import FileSources, Text

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_TIMED = ("<timed", "<magic-timeit")


class CellSources:
    """The checked cell has no name; an earlier one is `In[3]`."""

    def __init__(self, shell: InteractiveShell, filename: str, raw_cell: str) -> None:
        """`filename` is what the checked cell's code gives as its file."""
        self._shell, self._filename, self._raw_cell = shell, filename, raw_cell
        self._files = FileSources("")

    def text_of(self, filename: str) -> Text:
        """A cell by the name of its code, or a file."""
        if filename == self._filename or filename.startswith(_TIMED):
            return self._checked_cell(filename)
        name = self._shell.compile.format_code_name(filename)
        if name is None:
            return self._files.text_of(filename)
        return Text(name[1], "".join(linecache.getlines(filename)))

    def _checked_cell(self, filename: str) -> Text:
        raw = self._raw_cell.splitlines(keepends=True)
        lines = linecache.getlines(filename)
        if lines:  # IPython drops empty lines at the top of a cell; the person sees them
            return Text("", "".join(lines), next((i for i, line in enumerate(raw) if line.strip()), 0))
        # %%time and the like compile what stands below them; a %%vjpcheck there is a line of that code
        above = 0
        for number, line in enumerate(raw, 1):
            if line.strip() and not line.startswith("%%"):
                break
            if line.startswith("%%") and not line.startswith("%%vjpcheck"):
                above = number
        return Text("", "".join(raw[above:]), above)

    def searched(self, filename: str) -> list[Text]:
        """The checked cell, then the earlier ones from the last; for a module, its file."""
        if filename != self._filename and self._shell.compile.format_code_name(filename) is None:
            return [self._files.text_of(filename)]
        earlier = list(enumerate(self._shell.history_manager.input_hist_parsed))[1:-1]
        cells = [Text(f"In[{number}]", text) for number, text in reversed(earlier)]
        return [self._checked_cell(self._filename), *cells]
