"""Let a front end check cells without a magic in them: JupyterLab's button, Run All with checks, its setting.

The front end calls these functions in the `user_expressions` of a request
without code: the answer is a value or an exception, and the session's names,
history and counter stay as they are. Whether this module can be imported shows
the front end whether this Python has jaxvjp_magic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.getipython import get_ipython

from jaxvjp_magic.notebook.session import Extension, load

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_next(cells: Iterable[str], options: str = "", *, quiet: bool = False) -> None:
    """Check these cells, by the front end's names for them, the next time that each runs.

    Earlier requests that have not run are dropped, so that a request without
    cells takes back what an exception or an interrupt left over. `quiet` shows no
    report if nothing is found.
    """
    extension = _extension()
    extension.ask(cells, extension.parse(options), quiet=quiet)


def check_every_cell(options: str | None) -> None:
    """Check each cell from here on, and show the report if something is found; None ends that."""
    extension = _extension()
    extension.every_cell = None if options is None else extension.parse(options)
    extension.reports_in_passing = options is not None


def _extension() -> Extension:
    shell = get_ipython()
    if shell is None:
        message = "there is no IPython session here"
        raise RuntimeError(message)
    return load(shell)
