"""Run small programs under a check, with their lines counted as a person counts them."""

from __future__ import annotations

import linecache
import textwrap
from itertools import count

from jaxvjp_magic.check import Check, Options
from jaxvjp_magic.sources import FileSources

_numbers = count(1)
PRELUDE = "import jax, jax.numpy as jnp; from functools import partial"


def check_program(text, **options):
    """The report of a program; its first line is line 1 and imports jax, jnp and partial."""
    filename = f"program_{next(_numbers)}.py"
    source = PRELUDE + "\n" + textwrap.dedent(text).strip("\n") + "\n"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    check = Check(Options(**options))
    check.start()
    error = None
    try:
        exec(compile(source, filename, "exec"), {"__name__": "__main__"})  # noqa: S102 (that is the purpose)
    except Exception as raised:  # noqa: BLE001 (the report tells)
        error = raised
    report = check.finish(FileSources(filename), error)
    assert report.notes == ()
    return report
