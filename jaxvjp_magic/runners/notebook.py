"""Run a notebook in a real kernel with every code cell checked, and merge what the cells report."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.catalogue import CATALOGUE
from jaxvjp_magic.rendering.mime import MIME_TYPE
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import ProgramError, Severity
from jaxvjp_magic.runners.errors import CannotRunError
from jaxvjp_magic.runners.merge import merged
from jaxvjp_magic.runners.terminal import said

if TYPE_CHECKING:
    from pathlib import Path

    from jaxvjp_magic.session import Options

_LONGEST_PATH = 100  # of a socket: the system's own limit is 104 or 108
MOST_BYTES = 500_000_000
_START = """
from jaxvjp_magic.session import Options as _options
from jaxvjp_magic.notebook.session import load as _load
_load(get_ipython()).check_every_cell(_options({options}))
del _options, _load
"""


def run_notebook(path: Path, options: Options) -> Report:
    """The report of all cells, in order; the file itself is not changed.

    What the cells print is printed. The run stops at a cell that raises, as Run All
    does.
    """
    notebook = _read(path)
    reports: list[tuple[str, Report]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, dir=_folder_for_sockets()) as sockets:
        client = _client(notebook, path, connection(sockets))
        return _run_cells(client, notebook, options, reports)


def _run_cells(client: Any, notebook: Any, options: Options, reports: list[tuple[str, Report]]) -> Report:
    with client.setup_kernel(cleanup_kc=True):
        _start(client, notebook, options)
        for index, cell in enumerate(notebook.cells):
            is_run = index and cell.cell_type == "code" and "skip-execution" not in _tags(cell)
            if is_run and cell.source.strip():
                outcome = _run_cell(client, cell, index, reports)
                if outcome is not None:
                    return merged(reports, outcome)
    return merged(reports, None)


def _read(path: Path) -> Any:
    import nbformat

    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        message = f"{path} is not a file of at most {MOST_BYTES:,} bytes"
        raise CannotRunError(message)
    try:
        text = path.read_text(encoding="utf-8")
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise CannotRunError(message) from None
    except Exception as error:  # noqa: BLE001 (nbformat raises many types for a damaged file)
        reason = str(error).strip().split("\n", 1)[0][:200]
        message = f"{path} is not a readable notebook: {reason}"
        raise CannotRunError(message) from None
    return notebook


def connection(folder: str) -> dict[str, str]:
    """How to connect to a kernel: by sockets in a folder of its own, which no other process can take or listen to.

    Another kernel could take a free TCP port first. Empty, for the default, if the path is too long.
    """
    path = os.path.join(folder, "kernel")
    return {"transport": "ipc", "ip": path} if os.name == "posix" and len(os.fsencode(path)) <= _LONGEST_PATH else {}


def _folder_for_sockets() -> str | None:
    """None for the default folder of temporary files; another one if that is too long for the name of a socket."""
    usual = tempfile.gettempdir()
    is_short = len(os.fsencode(usual)) + len("/12345678901/kernel-5") <= _LONGEST_PATH
    return None if is_short or not os.access("/tmp", os.W_OK) else "/tmp"  # noqa: S108 (a folder of its own is made in it)


def _client(notebook: Any, path: Path, settings: dict[str, str]) -> Any:
    """A client with a kernel of this Python, in the notebook's folder."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    manager = AsyncKernelManager(**settings)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
    manager._kernel_spec = KernelSpec(argv=command, display_name="Python", language="python")  # noqa: SLF001
    resources = {"metadata": {"path": str(path.resolve().parent)}}
    return NotebookClient(notebook, km=manager, resources=resources, timeout=None, allow_errors=True)


def _start(client: Any, notebook: Any, options: Options) -> None:
    """Load the extension in an extra cell, which gets no number."""
    import nbformat

    arguments = f"verify={options.verify!r}, ignore={options.ignore!r}, retrace={options.retrace!r}"
    arguments += f", libraries={options.libraries!r}"
    cell = nbformat.v4.new_code_cell(_START.format(options=arguments))
    notebook.cells.insert(0, cell)
    client.execute_cell(cell, 0, store_history=False)
    failed = next((output for output in cell.outputs if output.output_type == "error"), None)
    if failed is not None:
        message = f"the kernel could not load jaxvjp_magic: {failed.ename}: {failed.evalue}"
        raise CannotRunError(message)


def _run_cell(client: Any, cell: Any, index: int, reports: list[tuple[str, Report]]) -> ProgramError | None:
    """Run one cell, print its outputs, add its report to `reports`; the exception if it raised."""
    from nbclient.exceptions import DeadKernelError

    replies: list[dict[str, Any]] = []
    client.on_cell_executed = lambda **event: replies.append(event["execute_reply"]["content"])
    number = max((other.execution_count or 0 for other in client.nb.cells if other.cell_type == "code"), default=0)
    try:
        client.execute_cell(cell, index)
    except DeadKernelError:
        return ProgramError("DeadKernelError", "the kernel died", None, f"In[{number + 1}]")
    name, may_raise = f"In[{cell.execution_count}]", "raises-exception" in _tags(cell)
    error = None
    for output in cell.outputs:
        data = output.get("data", {})
        if MIME_TYPE in data:
            report = _shown(data[MIME_TYPE])
            reports.append((name, _expected(report) if may_raise else report))
        elif output.output_type == "stream":
            said(output.text, end="", errors=output.name == "stderr")
        elif output.output_type == "error":
            said("\n".join(output.traceback), errors=True)
            error = ProgramError(output.ename, output.evalue, None, name)
        elif data.get("text/plain"):
            said(data["text/plain"])
    if error is None and replies and replies[-1]["status"] == "error":  # a magic that fails shows no traceback
        error = ProgramError(replies[-1].get("ename", ""), replies[-1].get("evalue", ""), None, name)
    return None if may_raise else error


def _expected(report: Report) -> Report:
    """The report of a cell that may raise: as if the program handled the exception."""
    findings = tuple(
        dataclasses.replace(finding, severity=Severity.NOTE, explains_error=False)
        if finding.code in CATALOGUE and CATALOGUE[finding.code].is_of_an_exception
        else finding
        for finding in report.findings
    )
    return dataclasses.replace(report, findings=findings, error=None)


def _tags(cell: Any) -> list[str]:
    tags = cell.metadata.get("tags", [])
    return tags if isinstance(tags, list) else []


def _shown(data: Any) -> Report:
    """The report in a cell's output; a note if the data is invalid, for any cell may display data of this type."""
    try:
        return Report.from_json(json.dumps(data))
    except ValueError as error:
        return Report(notes=(str(error),))
