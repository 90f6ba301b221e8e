"""Run a notebook in a real kernel with every code cell checked, and merge what the cells report."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.cli import CannotRunError
from jaxvjp_magic.rendering.bundle import MIME_TYPE
from jaxvjp_magic.report import Call, Finding, ProgramError, Report

if TYPE_CHECKING:
    from pathlib import Path

    from jaxvjp_magic.check import Options

MOST_BYTES = 500_000_000
_START = """
from jaxvjp_magic.check import Options as _options
from jaxvjp_magic.notebook.extension import load as _load
_load(get_ipython()).check_every_cell(_options({options}))
del _options, _load
"""


def run_notebook(path: Path, options: Options) -> Report:
    """The report of all cells, in order; the file itself is not changed.

    What the cells print goes where it always goes. The run stops at a cell that
    raises, as Run All does.
    """
    notebook = _read(path)
    reports: list[tuple[str, Report]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as sockets:
        client = _client(notebook, path, connection(sockets))
        return _run_cells(client, notebook, options, reports)


def _run_cells(client: Any, notebook: Any, options: Options, reports: list[tuple[str, Report]]) -> Report:
    with client.setup_kernel(cleanup_kc=True):
        _start(client, notebook, options)
        for index, cell in enumerate(notebook.cells):
            if index and cell.cell_type == "code" and cell.source.strip():
                outcome = _run_cell(client, cell, index, reports)
                if outcome is not None:
                    return _merged(reports, outcome)
    return _merged(reports, None)


def _read(path: Path) -> Any:
    import nbformat

    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        message = f"{path} is no file of at most {MOST_BYTES:,} bytes"
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
        message = f"{path} is no notebook that can be read: {reason}"
        raise CannotRunError(message) from None
    return notebook


def connection(folder: str) -> dict[str, str]:
    """How to reach a kernel: by sockets in a folder of its own, which nobody else can take or listen to.

    Free TCP ports may be taken by another kernel before this one has them.
    """
    return {"transport": "ipc", "ip": os.path.join(folder, "kernel")} if os.name == "posix" else {}


def _client(notebook: Any, path: Path, reached: dict[str, str]) -> Any:
    """A kernel of this very Python, in the notebook's folder."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    manager = AsyncKernelManager(**reached)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
    manager._kernel_spec = KernelSpec(argv=command, display_name="Python", language="python")  # noqa: SLF001
    resources = {"metadata": {"path": str(path.resolve().parent)}}
    return NotebookClient(notebook, km=manager, resources=resources, timeout=None, allow_errors=True)


def _start(client: Any, notebook: Any, options: Options) -> None:
    """Load the extension by a cell of our own, which leaves no number behind."""
    import nbformat

    wanted = f"verify={options.verify!r}, ignore={options.ignore!r}, retrace={options.retrace!r}"
    cell = nbformat.v4.new_code_cell(_START.format(options=wanted))
    notebook.cells.insert(0, cell)
    client.execute_cell(cell, 0, store_history=False)
    failed = next((output for output in cell.outputs if output.output_type == "error"), None)
    if failed is not None:
        message = f"the kernel could not load jaxvjp_magic: {failed.ename}: {failed.evalue}"
        raise CannotRunError(message)


def _run_cell(client: Any, cell: Any, index: int, reports: list[tuple[str, Report]]) -> ProgramError | None:
    """Run one cell, print what it shows, keep its report; the exception if it raised."""
    from nbclient.exceptions import DeadKernelError

    number = max((other.execution_count or 0 for other in client.nb.cells if other.cell_type == "code"), default=0)
    try:
        client.execute_cell(cell, index)
    except DeadKernelError:
        return ProgramError("DeadKernelError", "the kernel died", None, f"In[{number + 1}]")
    name = f"In[{cell.execution_count}]"
    error = None
    for output in cell.outputs:
        data = output.get("data", {})
        if MIME_TYPE in data:
            reports.append((name, _shown(data[MIME_TYPE])))
        elif output.output_type == "stream":
            print(output.text, end="", file=sys.stderr if output.name == "stderr" else sys.stdout, flush=True)
        elif output.output_type == "error":
            print("\n".join(output.traceback), file=sys.stderr, flush=True)
            error = ProgramError(output.ename, output.evalue, None, name)
        elif data.get("text/plain"):
            print(data["text/plain"], flush=True)
    return error


def _shown(data: Any) -> Report:
    """A report that a cell showed; any cell may show something that calls itself one."""
    try:
        return Report.from_json(json.dumps(data))
    except ValueError as error:
        return Report(notes=(str(error),))


def _merged(reports: list[tuple[str, Report]], error: ProgramError | None) -> Report:
    """One report; places in a cell say which, and ids and indices count through."""
    calls: list[Call] = []
    findings: list[Finding] = []
    notes: dict[str, None] = {}
    for name, report in reports:
        first_call, first_finding = len(calls), len(findings)
        calls += [
            dataclasses.replace(
                call,
                id=call.id + first_call,
                parent=call.parent + first_call if call.parent else 0,
                source=call.source or name,
            )
            for call in report.calls
        ]
        findings += [
            dataclasses.replace(
                finding,
                source=finding.source or name,
                calls=tuple(call + first_call for call in finding.calls),
                cause_of=tuple(other + first_finding for other in finding.cause_of),
            )
            for finding in report.findings
        ]
        notes.update(dict.fromkeys(report.notes))
        if report.error is not None:
            error = dataclasses.replace(report.error, source=report.error.source or name)
    version = next((report.jax for _, report in reports if report.jax), "")
    return Report(version, _ordered(findings), tuple(calls), error, tuple(notes))


def _ordered(findings: list[Finding]) -> tuple[Finding, ...]:
    """The worst first, and once what several cells show: a later cell may know it for certain."""
    known: dict[tuple[object, ...], int] = {}
    for index, one in enumerate(findings):
        key = (one.code, one.function, one.source, one.line, one.path)
        first = known.setdefault(key, index)
        if one.severity.rank < findings[first].severity.rank:
            known[key] = index
    order = sorted(known.values(), key=lambda index: findings[index].severity.rank)
    place = {index: position for position, index in enumerate(order)}
    return tuple(
        dataclasses.replace(
            findings[index], cause_of=tuple(place[other] for other in findings[index].cause_of if other in place)
        )
        for index in order
    )
