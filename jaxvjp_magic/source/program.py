"""From a recorded place to the line of the cell or file, as the user knows it."""

from __future__ import annotations

import dataclasses
import linecache
import os
from typing import TYPE_CHECKING, Protocol

from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.results.model import Snippet
from jaxvjp_magic.source import bindings, rule_ast

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable

    from jaxvjp_magic.record.calls import Place
    from jaxvjp_magic.source.rule_ast import Rule


@dataclasses.dataclass(frozen=True, slots=True)
class Spot:
    """A place as the user sees it; `source` is "" in the checked cell or file."""

    line: int | None = None
    source: str = ""
    snippet: Snippet | None = None
    in_library: bool = False

    def __str__(self) -> str:
        """`line 4`, or `In[3], line 4`."""
        if self.line is None:
            return "an unknown line"
        return f"{self.source}, line {self.line}" if self.source else f"line {self.line}"


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """A cell or file: its name in the report, its text, what to add to line numbers, and whether it is a library's."""

    source: str
    text: str
    offset: int = 0
    in_library: bool = False


class Sources(Protocol):
    """Where the text of the checked program is found."""

    def text_of(self, filename: str) -> Text:
        """The cell or file that code with this filename comes from."""

    def searched(self, filename: str) -> Iterable[Text]:
        """The texts in which a global of the module may be bound, the likeliest first."""

    def checked(self) -> Text:
        """The checked cell or file."""

    def history(self) -> list[Text]:
        """What has been run, in order, the checked cell or file last. Costly in a long session: call only if needed."""


class FileSources:
    """For a script, or a `with vjpcheck()` in a module: the checked file is `main`."""

    def __init__(self, main: str) -> None:
        """`main` is the file whose places are shown by their line alone."""
        self._main = main

    def text_of(self, filename: str) -> Text:
        """The file; its `source` is its path, or "" for the checked file."""
        is_main = _same_file(filename, self._main)
        text = "".join(linecache.getlines(filename))
        return Text("" if is_main else _short(filename), text, 0, not is_main and not is_user_code(filename))

    def searched(self, filename: str) -> list[Text]:
        """The module's own file."""
        return [self.text_of(filename)]

    def checked(self) -> Text:
        """The checked file."""
        return self.history()[-1]

    def history(self) -> list[Text]:
        """The checked file alone."""
        return [self.text_of(self._main)]


def _same_file(first: str, second: str) -> bool:
    return os.path.abspath(first) == os.path.abspath(second)


def _short(filename: str) -> str:
    relative = os.path.relpath(filename) if filename.startswith(os.sep) else filename
    return filename if relative.startswith("..") else relative


class Program:
    """The checked program, for the checks: lines and their text."""

    def __init__(self, sources: Sources) -> None:
        """Read texts from `sources`, each once: a report has many places in few texts."""
        self.sources = sources
        self._texts: dict[str, Text] = {}
        self._lines: dict[str, list[str]] = {}
        self._spots: dict[Place, Spot] = {}
        self._rules: dict[int, tuple[types.CodeType, Rule | None]] = {}

    def text_of(self, filename: str) -> Text:
        """The cell or file that code with this filename comes from."""
        text = self._texts.get(filename)
        if text is None:
            text = self._texts[filename] = self.sources.text_of(filename)
        return text

    def spot(self, place: Place | None) -> Spot:
        """A recorded place, as the user sees it."""
        if place is None:
            return Spot()
        spot = self._spots.get(place)
        if spot is None:
            spot = self.spot_in(self.text_of(place.filename), place.line, place.start, place.end)
            self._spots[place] = spot
        return spot

    def spot_in(self, text: Text, line: int, start: int | None = None, end: int | None = None) -> Spot:
        """A line of a text, with these columns, or with the whole line."""
        lines = self._lines.get(text.text)
        if lines is None:
            lines = self._lines[text.text] = text.text.splitlines()
        snippet = None
        if 0 < line <= len(lines):
            shown = lines[line - 1]
            whole = (len(shown) - len(shown.lstrip()), len(shown))
            # Python counts columns in bytes of UTF-8, people in characters.
            columns = whole if start is None or end is None else (_column(shown, start), _column(shown, end))
            snippet = Snippet(line + text.offset, shown, *columns)
        return Spot(line + text.offset, text.source, snippet, text.in_library)

    def definition(self, code: types.CodeType | None) -> Spot:
        """The `def` of a function."""
        if code is None:
            return Spot()
        text = self.text_of(code.co_filename)
        return self.spot_in(text, bindings.def_line(text.text, code.co_firstlineno))

    def class_definition(self, name: str) -> Spot | None:
        """Where the program defines a class of this name; None if it does not."""
        for text in reversed(self.sources.history()):
            for binding in bindings.bindings(text.text, name):
                if binding.is_definition:
                    return self.spot_in(text, binding.line)
        return None

    def rule_text(self, code: types.CodeType | None) -> Rule | None:
        """The syntax tree of a rule; None if its text is not found."""
        if code is None:
            return None
        cached = self._rules.get(id(code))  # by identity: a code object is hashed, and compared, as a whole
        if cached is None:
            text, line = self.text_of(code.co_filename).text, code.co_firstlineno
            columns = [start for first, _, start, _ in code.co_positions() if first == line and start]
            cached = self._rules[id(code)] = code, rule_ast.rule_at(text, line, columns[0] if columns else None)
        return cached[1]

    def returned(self, code: types.CodeType | None, index: int) -> Spot:
        """Where a rule computes this element of the tuple that it returns, or its `return`."""
        rule = self.rule_text(code)
        line = rule_ast.element_line(rule, index) if rule is not None else None
        if code is None or line is None:
            return self.returning(code)
        return self.spot_in(self.text_of(code.co_filename), line)

    def use_of(self, code: types.CodeType | None, name: str) -> Spot:
        """The first place where a function looks a name up, or its definition."""
        columns = bindings.lookup(code, name) if code is not None else None
        if code is None or columns is None:
            return self.definition(code)
        return self.spot_in(self.text_of(code.co_filename), *columns)

    def returning(self, code: types.CodeType | None) -> Spot:
        """The only `return` of a function, or its `def`."""
        line = bindings.return_line(code) if code is not None else None
        if code is None or line is None:
            return self.definition(code)
        return self.spot_in(self.text_of(code.co_filename), line)


def _column(line: str, offset: int) -> int:
    return len(line.encode()[:offset].decode(errors="ignore"))
