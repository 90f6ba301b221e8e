"""See what JAX's reverse-mode rules really do: shapes, mismatches and overwritten names.

%load_ext jaxvjp_magic        in a notebook, then %%vjpcheck on top of a cell
with vjpcheck() as report:    in a script or a test
vjpcheck FILE                 on the command line
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity
from jaxvjp_magic.session import vjpcheck

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

try:
    __version__ = version("jaxvjp_magic")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0.0.0"

__all__ = ["Call", "Finding", "Leaf", "Report", "Severity", "vjpcheck"]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`%load_ext jaxvjp_magic`."""
    from jaxvjp_magic.notebook.session import load, tell_of_jax

    load(ipython)
    tell_of_jax()


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """`%unload_ext jaxvjp_magic`."""
    from jaxvjp_magic.notebook.session import unload

    unload(ipython)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """The folder of the built JupyterLab extension, and its name, for `jupyter labextension develop`."""
    return [{"src": "labextension", "dest": "jaxvjp-magic"}]
