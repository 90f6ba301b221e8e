"""What `%load_ext jaxvjp_magic` puts into IPython, and what `%unload_ext` takes out again."""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import cell_magic
from IPython.display import display

from jaxvjp_magic.check import Check, Options
from jaxvjp_magic.notebook.cells import CellSources
from jaxvjp_magic.notebook.magics import VjpCheckMagics
from jaxvjp_magic.notebook.rewriting import rewriter
from jaxvjp_magic.rendering.bundle import MIME_TYPE, mime_bundle
from jaxvjp_magic.rendering.table import headline
from jaxvjp_magic.tracing import tracer
from jaxvjp_magic.tracing.frames import user_frame

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from jaxvjp_magic.report import Report

_loaded: weakref.WeakKeyDictionary[InteractiveShell, Extension] = weakref.WeakKeyDictionary()


def load(shell: InteractiveShell) -> Extension:
    """Register everything, once for each shell."""
    extension = _loaded.get(shell)
    if extension is None:
        extension = _loaded[shell] = Extension(shell)
        extension.register()
    return extension


def unload(shell: InteractiveShell) -> None:
    """Take everything out again; a shell without the extension stays as it is."""
    extension = _loaded.pop(shell, None)
    if extension is not None:
        extension.unregister()


class FindingsError(Exception):
    """A checked cell has findings, and `--fail-on` makes them an error. Shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"vjpcheck: {self}"]


class _RunningCheck:
    """The check of the cell that runs, and the depth of nested `run_cell` calls at which it began."""

    def __init__(self, check: Check, depth: int, filename: str, raw_cell: str) -> None:
        self.check, self.depth, self.filename, self.raw_cell = check, depth, filename, raw_cell


class Extension:
    """One shell's checks: which cell is checked, and what is shown after it."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Nothing is registered yet."""
        self.shell = shell
        self.last: Report | None = None
        self.every_cell: Options | None = None
        self.collecting = False  # show the data alone, for the command line
        self._running: list[_RunningCheck] = []
        self._cells: list[str] = []  # the raw text of each run_cell that is going on
        self._next: Options | None = None
        self._magics = VjpCheckMagics(self)
        self._rewrite = rewriter(cell_magic)

    def register(self) -> None:
        """Add the magics, the transformation of cells, and what runs before and after each cell."""
        self._withdraw = tracer.prepare()
        self.shell.register_magics(self._magics)
        transformers = self.shell.input_transformers_cleanup
        at = transformers.index(cell_magic) if cell_magic in transformers else len(transformers)
        transformers.insert(at, self._rewrite)
        self.shell.events.register("pre_run_cell", self._before_cell)
        self.shell.events.register("post_run_cell", self._after_cell)

    def unregister(self) -> None:
        """Leave the shell as it was."""
        self._withdraw()
        for kind in ("line", "cell"):
            self.shell.magics_manager.magics[kind].pop("vjpcheck", None)
        self.shell.magics_manager.registry.pop(type(self._magics).__name__, None)
        self.shell.input_transformers_cleanup.remove(self._rewrite)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        for running in self._running:
            running.check.finish(self._sources(running))

    def check_every_cell(self, options: Options) -> None:
        """For the command line: check each cell from here on, and display the reports' data alone."""
        self.every_cell, self.collecting = options, True

    def begin(self, options: Options) -> None:
        """Check the rest of the cell that runs now."""
        frame = user_frame(sys._getframe(1))  # noqa: SLF001 (the cell whose first statement this is)
        filename = frame.f_code.co_filename if frame else ""
        self._start(options, filename)

    def begin_next(self, options: Options) -> None:
        """Check the cell that is run next, inside the one that runs now."""
        self._next = options

    def _start(self, options: Options, filename: str) -> None:
        check = Check(options)
        check.start()
        raw_cell = self._cells[-1] if self._cells else ""
        self._running.append(_RunningCheck(check, len(self._cells), filename, raw_cell))

    def _before_cell(self, info: ExecutionInfo) -> None:
        self._cells.append(info.raw_cell)
        options, self._next = self._next, None
        if options is None and len(self._cells) == 1 and not _is_own_magic(info.raw_cell):
            options = self.every_cell
        if options is not None:
            self._start(options, self._code_name(info.raw_cell, getattr(info, "transformed_cell", None)))

    def _code_name(self, raw_cell: str, transformed: str | None) -> str:
        """The file name that IPython will give to the code of this cell."""
        source = transformed or self.shell.transform_cell(raw_cell)
        return self.shell.compile.get_code_name(raw_cell, source, self.shell.execution_count)

    def _after_cell(self, result: ExecutionResult) -> None:
        depth = len(self._cells)
        if self._cells:
            self._cells.pop()
        if result is not None and result.error_before_exec is not None and _asks_for_check(result):
            print("vjpcheck: nothing was checked, the cell did not run")
        while self._running and self._running[-1].depth >= depth:
            self._finish(self._running.pop(), result)

    def _sources(self, running: _RunningCheck) -> CellSources:
        return CellSources(self.shell, running.filename, running.raw_cell)

    def _finish(self, running: _RunningCheck, result: ExecutionResult | None) -> None:
        options = running.check.options
        error = result.error_in_exec if result is not None else None
        report = self.last = running.check.finish(self._sources(running), error)
        if options.into:
            self.shell.user_ns[options.into] = report
        if options is self.every_cell:
            self._show_in_passing(report)
        else:
            self.show(report)
        if result is not None and result.success and report.reaches(options.fail_on):
            failure = FindingsError(f"{headline(report)} (--fail-on {options.fail_on})")
            result.error_in_exec = failure
            self.shell.showtraceback((type(failure), failure, None))

    def show(self, report: Report) -> None:
        """Display a report in full."""
        try:
            display(mime_bundle(report), raw=True)
        except Exception as error:  # noqa: BLE001 (a report that cannot be shown must not end the cell)
            print(f"vjpcheck: could not show the report: {type(error).__name__}: {error}")

    def _show_in_passing(self, report: Report) -> None:
        """With every cell checked, say nothing where there is nothing to say."""
        if self.collecting:
            bundle: dict[str, Any] = {MIME_TYPE: mime_bundle(report)[MIME_TYPE], "text/plain": ""}
            display(bundle, raw=True)
        elif report.findings:
            print(f"vjpcheck: {headline(report)}; %vjpcheck last shows them")


def _is_own_magic(raw_cell: str) -> bool:
    return raw_cell.lstrip().startswith(("%%vjpcheck", "%vjpcheck"))


def _asks_for_check(result: ExecutionResult) -> bool:
    return _is_own_magic(str(getattr(result.info, "raw_cell", "")))
