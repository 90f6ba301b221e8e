"""Run small programs under a check, with their lines counted as a person counts them."""

from __future__ import annotations

import linecache
import textwrap
from dataclasses import replace
from itertools import count

from jaxvjp_magic.session import Check, Options
from jaxvjp_magic.source.program import FileSources

_numbers = count(1)
NOTES = ()  # what the check has to say of itself
PRELUDE = "import jax, jax.numpy as jnp; from functools import partial"


def check_program(text, **options):
    """The report of a program; its first line is line 1 and imports jax, jnp and partial."""
    return check_cells(text, **options)


class Session(FileSources):
    """The cells of a session, each a file of its own; the last one is checked."""

    def __init__(self, filenames):
        super().__init__(filenames[-1])
        self.filenames = filenames

    def text_of(self, filename):
        text = super().text_of(filename)
        earlier = self.filenames[:-1]
        return replace(text, source=f"In[{earlier.index(filename) + 1}]") if filename in earlier else text

    def searched(self, filename):
        return [self.text_of(one) for one in reversed(self.filenames)]

    def history(self):
        return [self.text_of(one) for one in self.filenames]


def check_cells(*cells, **options):
    """The report of the last of these cells, which are run one after the other in one namespace."""
    filenames, namespace = [], {"__name__": "__main__"}
    for text in cells:
        filename = f"program_{next(_numbers)}.py"
        source = PRELUDE + "\n" + textwrap.dedent(text).strip("\n") + "\n"
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        filenames.append(filename)
        code = compile(source, filename, "exec")
        if len(filenames) < len(cells):
            exec(code, namespace)  # noqa: S102 (that is the purpose)
    check = Check(Options(**options))
    check.start()
    error = None
    try:
        exec(code, namespace)  # noqa: S102 (as above)
    except Exception as raised:  # noqa: BLE001 (the report tells)
        error = raised
    report = check.finish(Session(filenames), error)
    assert report.notes == NOTES
    return report
