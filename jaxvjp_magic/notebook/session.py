"""Load the extension into an IPython shell and unload it: check cells as they run, and show their reports."""

from __future__ import annotations

import ast
import dataclasses
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

from IPython.core.inputtransformer2 import cell_magic
from IPython.display import display

from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.introspect.stack import user_frame
from jaxvjp_magic.notebook.cell_text import TypedCells
from jaxvjp_magic.notebook.cell_transform import rewriter
from jaxvjp_magic.notebook.cells import Cell, CellSources, is_timed
from jaxvjp_magic.notebook.display import Screen
from jaxvjp_magic.notebook.history import Runs, cell_name, run_name
from jaxvjp_magic.notebook.magics import VjpCheckMagics
from jaxvjp_magic.notebook.progress import Progress
from jaxvjp_magic.rendering.mime import MIME_TYPE, full_data
from jaxvjp_magic.rendering.sentences import headline
from jaxvjp_magic.results.notes import noted
from jaxvjp_magic.session import Check, Options
from jaxvjp_magic.source.program import FileSources

if TYPE_CHECKING:
    from collections.abc import Iterable

    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from jaxvjp_magic.report import Report
    from jaxvjp_magic.results.diff import Changes
    from jaxvjp_magic.source.program import Sources

NOT_RUN = "vjpcheck: nothing was checked, the cell did not run"
_loaded: weakref.WeakKeyDictionary[InteractiveShell, Extension] = weakref.WeakKeyDictionary()


def load(shell: InteractiveShell) -> Extension:
    """Register everything, once for each shell."""
    extension = _loaded.get(shell)
    if extension is None:
        extension = _loaded[shell] = Extension(shell)
        extension.register()
    return extension


def tell_of_jax() -> None:
    """Print what a check cannot see with this version of JAX, if anything."""
    try:
        for line in tracer.about_jax():
            print(f"vjpcheck: {line}")
    except Exception as error:  # noqa: BLE001 (loading an extension must not end a session)
        print(f"vjpcheck: could not look at JAX: {type(error).__name__}: {error}")


def unload(shell: InteractiveShell) -> None:
    """Unregister everything; a shell without the extension stays as it is."""
    extension = _loaded.pop(shell, None)
    if extension is not None:
        extension.unregister()


class FindingsError(Exception):
    """A checked cell has findings, and `--fail-on` makes them an error. Shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"vjpcheck: {self}"]


@dataclasses.dataclass(frozen=True, slots=True)
class _RequestedCheck:
    """How to check a cell that the front end named; `quiet` shows no report if nothing is found."""

    options: Options
    quiet: bool


@dataclasses.dataclass(slots=True)
class _RunningCheck:
    """The check of a running cell.

    `depth` is the number of nested `run_cell` calls at its start; `lines_above`
    has the number of lines above code of the cell, by the code's file name;
    `in_passing` is a check that the cell did not ask for, and `reports` whether
    it shows its report if something is found; `error` is an exception in a part
    of the cell that `%%capture` or the like ran and swallowed; `progress` is the
    live line; `faults` has what failed in the check itself, with the action.
    """

    check: Check
    depth: int
    seen: str
    lines_above: dict[str, int]
    in_passing: bool
    reports: bool
    error: BaseException | None = None
    progress: Progress | None = None
    faults: list[tuple[str, Exception]] = dataclasses.field(default_factory=list)

    def finish(self, typed: TypedCells, error: BaseException | None = None) -> Report:
        """End the check."""
        fault = None if self.progress is None else self.progress.stop()
        if fault is not None:
            self.faults.append(("show how far the cell is", fault))
        sources: Sources = FileSources("")
        try:
            sources = CellSources(typed, self.seen, self.lines_above)
        except Exception as failure:  # noqa: BLE001 (then places have other names)
            self.faults.append(("find the lines of the cell", failure))
        report = self.check.finish(sources, error or self.error)
        for action, raised in self.faults:
            report = noted(report, action, raised)
        return report


class _ChecksInProgress(threading.local):
    """The running cells and checks of a thread; JupyterLab's subshells run cells in threads of their own."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []  # one for each run_cell, the innermost last
        self.checks: list[_RunningCheck] = []
        self.next: Options | None = None  # how the next cell is checked


class Extension:
    """One shell's checks: which cell is checked, and what is shown after it."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Nothing is registered yet."""
        self.shell = shell
        self.last: Report | None = None
        self._last_changes: Changes | None = None
        self.every_cell: Options | None = None
        self.reports_in_passing = False  # with every cell checked: show a whole report if something is found
        self.ignored: tuple[str, ...] = ()  # for the whole session
        self.collecting = False  # show only the data, for the command line
        self._requested: dict[str, _RequestedCheck] = {}  # by the front end's name of the cell
        self._in_progress = _ChecksInProgress()
        self._runs = Runs()
        self._typed = TypedCells(shell)
        self._screen = Screen(shell)
        self._magics = VjpCheckMagics(self)
        self._rewrite = rewriter(cell_magic)

    def register(self) -> None:
        """Add the magics, the transformation of cells, and what runs before and after each cell."""
        self.shell.register_magics(self._magics)
        self.shell.input_transformers_cleanup.append(self._rewrite)
        self.shell.events.register("pre_run_cell", self._before_cell)
        self.shell.events.register("post_run_cell", self._after_cell)

    def unregister(self) -> None:
        """Leave the shell as it was."""
        for magic_kind in ("line", "cell"):
            self.shell.magics_manager.magics[magic_kind].pop("vjpcheck", None)
        self.shell.magics_manager.registry.pop(type(self._magics).__name__, None)
        self.shell.input_transformers_cleanup.remove(self._rewrite)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        while self._in_progress.checks:  # in a checked cell: report what it did so far
            self._end(self._in_progress.checks[-1], None, None)

    def check_every_cell(self, options: Options) -> None:
        """For the command line: check each cell from here on, and display only the reports' data."""
        self.every_cell, self.collecting = options, True

    def parse(self, line: str) -> Options:
        """The options of `%%vjpcheck` in this line; raises UsageError."""
        return self._magics.options(line)

    def ask(self, cells: Iterable[str], options: Options, *, quiet: bool) -> None:
        """Check these cells, by the front end's names, when they run next; drop earlier requests."""
        self._requested = dict.fromkeys(cells, _RequestedCheck(options, quiet))

    def begin(self, options: Options) -> None:
        """Check the rest of the running cell.

        Only once: `%%timeit` runs the first line below it many times.
        A silent cell is not checked, because it must not display anything.
        """
        depth = len(self._in_progress.cells)
        if depth == 0 or any(running.depth == depth and not running.in_passing for running in self._in_progress.checks):
            return
        try:
            frame = user_frame(sys._getframe(1))  # noqa: SLF001 (the cell whose first statement this is)
            filename = frame.f_code.co_filename if frame else ""
            self._start(options, (filename,))
        except Exception as error:  # noqa: BLE001 (a failed check must not stop the cell)
            self._could_not("check this cell", error)

    def run_inside(self, options: Options, cell: str) -> ExecutionResult:
        """Run a cell inside the running one, and check it."""
        self._in_progress.next = options
        try:
            result: ExecutionResult = self.shell.run_cell(cell, store_history=False)
        finally:
            self._in_progress.next = None
        return result

    def _start(
        self, options: Options, filenames: tuple[str, ...], *, in_passing: bool = False, reports: bool = True
    ) -> None:
        cell = self._in_progress.cells[-1]
        check = Check(dataclasses.replace(options, ignore=(*options.ignore, *self.ignored)))
        above = {filename: cell.code_above for filename in filenames if not is_timed(filename)}
        running = _RunningCheck(check, len(self._in_progress.cells), cell.seen, above, in_passing, reports)
        self._in_progress.checks.append(running)  # before it starts: an interrupt may come at any moment
        check.start()
        if options.widget and not in_passing and self._screen.can_show_progress():
            sources = CellSources(self._typed, cell.seen, above)
            running.progress = Progress(cell.seen, lambda: check.so_far(sources))
            running.progress.start()

    def _before_cell(self, info: ExecutionInfo) -> None:
        raw_cell = info.raw_cell or ""
        self._in_progress.cells.append(Cell(raw_cell, raw_cell))  # first of all, because `_after_cell` removes it
        if len(self._in_progress.cells) == 1:
            self._screen.told.clear()
        try:
            self._begin_cell(info, raw_cell)
        except Exception as error:  # noqa: BLE001 (a failed check must not stop the cell)
            self._could_not("check this cell", error)

    def _begin_cell(self, info: ExecutionInfo, raw_cell: str) -> None:
        outer = self._in_progress.cells[-2] if len(self._in_progress.cells) > 1 else None
        cell = self._in_progress.cells[-1] = Cell.inside(outer, raw_cell)
        options, self._in_progress.next = self._in_progress.next, None
        in_passing, reports = False, True
        if options is None and len(self._in_progress.cells) == 1:
            options, in_passing, reports = self._of_outermost(raw_cell)
        if options is None and not self._in_progress.checks:
            return
        filenames = self._code_names(raw_cell, getattr(info, "transformed_cell", None))
        for running in self._in_progress.checks:
            if running.seen is cell.seen:
                running.lines_above.update(dict.fromkeys(filenames, cell.code_above))
        if options is not None:
            self._start(options, filenames, in_passing=in_passing, reports=reports)

    def _of_outermost(self, raw_cell: str) -> tuple[Options | None, bool, bool]:
        """The options of a check that no line of the cell asks for, whether it is in passing and shows its report."""
        request = self._requested.pop(cell_name(self.shell), None)
        if _is_own_magic(raw_cell):
            return None, False, True
        if request is not None:
            return request.options, request.quiet, True
        return self.every_cell, True, self.reports_in_passing

    def _code_names(self, raw_cell: str, transformed: str | None) -> tuple[str, ...]:
        """The file names that IPython may give to the code of this cell.

        In a kernel the cell's number is the shell's; in a terminal the shell has already incremented it.
        """
        source = transformed or self.shell.transform_cell(raw_cell)
        count = self.shell.execution_count
        return tuple(self.shell.compile.get_code_name(raw_cell, source, number) for number in (count, count - 1))

    def _after_cell(self, result: ExecutionResult | None) -> None:
        if result is not None and result.info is not None and not (result.info.raw_cell or "").strip():
            return  # for an empty cell IPython calls only post_run_cell
        depth = len(self._in_progress.cells)
        if depth == 0:
            return  # the cell that loaded the extension
        try:
            self._end_cell(depth, result)
        except Exception as error:  # noqa: BLE001 (the cell has run; its result must not change)
            self._could_not("show what this cell does", error, depth)
        finally:
            del self._in_progress.cells[depth - 1 :]
            while self._in_progress.checks and self._in_progress.checks[-1].depth >= depth:  # after an interrupt
                self._in_progress.checks.pop().check.abandon()

    def _end_cell(self, depth: int, result: ExecutionResult | None) -> None:
        cell = self._in_progress.cells[-1]
        error = None if result is None else result.error_in_exec or result.error_before_exec
        checked = False
        while self._in_progress.checks and self._in_progress.checks[-1].depth >= depth:
            self._end(self._in_progress.checks[-1], result, error)
            checked = True
        for running in self._in_progress.checks:
            if running.seen is cell.seen:
                running.error = error
        did_not_run = result is not None and result.error_before_exec is not None
        if not checked and did_not_run and _asks_for_check(cell.text):
            print(NOT_RUN)

    def _end(self, running: _RunningCheck, result: ExecutionResult | None, error: BaseException | None) -> None:
        """End the innermost check, and show its report; JAX is restored before anything is shown."""
        try:
            report = running.finish(self._typed, error)
        finally:
            running.check.abandon()
            self._in_progress.checks.remove(running)
        options = running.check.options
        self._last_changes, fault = self._changes(running.seen, report)
        report = self.last = report if fault is None else noted(report, "compare with the last run", fault)
        if options.into:
            self.shell.user_ns[options.into] = report
        if running.in_passing:
            self._show_in_passing(report, running)
        elif not self._has_run(result):
            print(NOT_RUN)
        else:
            self.show_last(widget=options.widget)
        if result is not None and result.success and report.fails(options.fail_on):
            self._fail(result, FindingsError(f"{headline(report)} (--fail-on {options.fail_on})"))

    def _has_run(self, result: ExecutionResult | None) -> bool:
        """Whether some of the cell ran: an error that only compiling shows comes after the statements above it."""
        if result is None or result.error_before_exec is None or result.info is None:
            return True
        try:
            ast.parse(self.shell.transform_cell(result.info.raw_cell or ""))
        except (SyntaxError, ValueError):
            return False
        return True

    def _changes(self, text: str, report: Report) -> tuple[Changes | None, Exception | None]:
        """What changed since the last run of the same cell, if there was one; and the exception if that failed."""
        try:
            return self._runs.add(run_name(self.shell), text, report), None
        except Exception as error:  # noqa: BLE001 (the report is complete without it)
            return None, error

    def _fail(self, result: ExecutionResult, failure: FindingsError) -> None:
        """Mark the cell, which ran to its end, as one that raised."""
        result.error_in_exec = failure
        self.shell.last_execution_succeeded = False
        self.shell.showtraceback((type(failure), failure, None))

    def _could_not(self, action: str, error: Exception, ended: int | None = None) -> None:
        """Report a failure of the check itself: as a note in the next report, or as a line if there is none.

        `ended` is the depth of the cell that ends, whose checks report no more.
        """
        checks = [running for running in self._in_progress.checks if ended is None or running.depth < ended]
        if checks:
            checks[-1].faults.append((action, error))
        else:
            self._screen.could_not(action, error)

    def show_last(self, *, widget: bool) -> None:
        """Display the last report in full."""
        if self.last is not None:
            self._screen.show(self.last, self._last_changes, widget=widget)

    def _show_in_passing(self, report: Report, running: _RunningCheck) -> None:
        """Show the report of a check that the cell did not ask for, if something is found."""
        if self.collecting:
            bundle: dict[str, Any] = {MIME_TYPE: full_data(report), "text/plain": ""}
            display(bundle, raw=True)
        elif report.findings and running.reports:
            self.show_last(widget=running.check.options.widget)
        elif report.findings:
            print(f"vjpcheck: {headline(report)}; %vjpcheck last shows them")


def _is_own_magic(raw_cell: str) -> bool:
    return raw_cell.lstrip().startswith(("%%vjpcheck", "%vjpcheck"))


def _asks_for_check(raw_cell: str) -> bool:
    return raw_cell.lstrip().startswith("%%vjpcheck")
