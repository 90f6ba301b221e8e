"""Cells that reach whatever shows a report, in a session in this process."""

from __future__ import annotations

import contextlib
import itertools
import re

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from jaxvjp_magic.notebook import progress, session


class Shell(InteractiveShell):
    """A session in this process, for which a front end asks; what is displayed is kept."""

    kernel = object()

    def get_parent(self):
        if not self.cell:  # as in a terminal
            return {}
        return {"metadata": {"cellId": self.cell}, "header": {"msg_id": str(next(self.requests))}}

    def begin(self):
        """As after a restart, for the extension reads earlier cells; and as if each had run once, for it compares."""
        self.history_manager.input_hist_raw[:] = [""]
        self.history_manager.input_hist_parsed[:] = [""]
        self.execution_count = 1
        self.extension._runs._runs = list(self.runs)

    def see(self, cell, name="one"):
        """What a cell gives, raises and prints, without a word of ours; and every word of ours."""
        self.cell = name
        shown = []
        self.display_pub.publish = lambda data=None, **_: shown.append(data)
        result = self.run_cell(cell, store_history=True)
        error = result.error_in_exec or result.error_before_exec
        return (result.result, error and (type(error), re.sub(r"<ipython-input-[^>]*>", "CELL", str(error)))), shown

    requests = itertools.count()


RULE = """
import jax, jax.numpy as jnp, time
f = jax.custom_vjp(lambda x: {0})
f.defvjp(lambda x: ({0}, (x, x * 3)), lambda r, g: ({1},))
"""
USE = "print('said')\ntime.sleep(0.02)\njax.grad(lambda x: f(x).sum())(jnp.ones(3)).tolist()"
OVERWRITTEN = """
f = jax.custom_vjp(lambda x: jnp.dot(x, x))
def fwd(x):
    return f(x), x
f.defvjp(fwd, lambda x, g: (2 * x * g,))
f = jax.vmap(f)
print('said')
jax.vjp(f, jnp.ones((2, 3)))[0].tolist()
"""
CHECK = "%%vjpcheck --no-retrace\n"
FIRST = CHECK + RULE.format("x * 2", "g * 2") + USE
CELLS = (  # the first once more, with another name each time it is not seen as run before
    (FIRST, "one"),
    (CHECK + RULE.format("x * 2", "jnp.ones((3, 3))") + USE, "one"),
    (CHECK + RULE.format("x * jnp.ones(2)[:, None]", "g[0] * 2") + USE, "one"),
    (CHECK + RULE.format("(open('/dev/null', 'w').close(), x * 2)[1]", "g * 2") + USE, "one"),  # not looked at
    (CHECK + "import jax\nprint('said')\njax.grad(lambda x: x)(1.0).tolist()", "one"),
    (CHECK + OVERWRITTEN, "two"),
    (CHECK + "%%capture\n" + OVERWRITTEN, ""),
    (CHECK + OVERWRITTEN.replace("jax.vjp", "%time jax.vjp"), ""),
    ("%vjpcheck on --no-retrace", ""),
    (RULE.format("x * 2", "jnp.ones((3, 3))") + USE, ""),
    ("%vjpcheck off", ""),
)


@contextlib.contextmanager
def session_with_checks():
    """A session with the extension; the line of a long cell comes soon, and tracebacks are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "FIRST", 0.001)
        patch.setattr(progress, "EVERY", 0.001)
        shell = Shell.instance(config=Config(HistoryManager={"hist_file": ":memory:"}))
        shell.run_line_magic("xmode", "Minimal")
        shell.extension = session.load(shell)
        yield shell
        session.unload(shell)
        Shell.clear_instance()


def in_passing(shell, index):
    """Check every cell from here on, if the cell of this index is not asked for by its first line."""
    is_needed = not CELLS[index][0].startswith("%")
    if is_needed:
        shell.see("%vjpcheck on --no-retrace")
    return is_needed
