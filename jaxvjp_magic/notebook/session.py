"""What `%load_ext jaxvjp_magic` puts into IPython, and what `%unload_ext` takes out again."""

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
    """Say what a check cannot see with this JAX; nothing, where that is known to be nothing."""
    try:
        for line in tracer.about_jax():
            print(f"vjpcheck: {line}")
    except Exception as error:  # noqa: BLE001 (loading an extension does not end a session)
        print(f"vjpcheck: could not look at JAX: {type(error).__name__}: {error}")


def unload(shell: InteractiveShell) -> None:
    """Take everything out again; a shell without the extension stays as it is."""
    extension = _loaded.pop(shell, None)
    if extension is not None:
        extension.unregister()


class FindingsError(Exception):
    """A checked cell has findings, and `--fail-on` makes them an error. Shown as one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"vjpcheck: {self}"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """How a cell that the front end named is to be checked; `quiet` shows no report where nothing is found."""

    options: Options
    quiet: bool


@dataclasses.dataclass(slots=True)
class _RunningCheck:
    """The check of a cell that runs.

    `depth` counts the nested `run_cell` calls at which it began; `lines_above`
    has what is above code of the cell, by the name of the code;
    `in_passing` is a check that nobody asked for at this cell, and `reports`
    whether it shows its report, should something be found; `error` is what a
    part of the cell raised that `%%capture` or the like ran, and kept to
    itself; `progress` is the line that tells how far it is.
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
        except Exception as failure:  # noqa: BLE001 (places have other names, then)
            self.faults.append(("find the lines of the cell", failure))
        report = self.check.finish(sources, error or self.error)
        for what, one in self.faults:
            report = noted(report, what, one)
        return report


class _ChecksInProgress(threading.local):
    """What is going on in a thread; JupyterLab's subshells run cells in threads of their own."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []  # of each run_cell
        self.checks: list[_RunningCheck] = []
        self.next: Options | None = None  # the next cell is checked


class Extension:
    """One shell's checks: which cell is checked, and what is shown after it."""

    def __init__(self, shell: InteractiveShell) -> None:
        """Nothing is registered yet."""
        self.shell = shell
        self.last: Report | None = None
        self._last_changes: Changes | None = None
        self.every_cell: Options | None = None
        self.reports_in_passing = False  # with every cell checked, a whole report where something is found
        self.ignored: tuple[str, ...] = ()  # for the whole session
        self.collecting = False  # show the data alone, for the command line
        self._asked: dict[str, _Asked] = {}  # by the front end's name of the cell
        self._going = _ChecksInProgress()
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
        for kind in ("line", "cell"):
            self.shell.magics_manager.magics[kind].pop("vjpcheck", None)
        self.shell.magics_manager.registry.pop(type(self._magics).__name__, None)
        self.shell.input_transformers_cleanup.remove(self._rewrite)
        self.shell.events.unregister("pre_run_cell", self._before_cell)
        self.shell.events.unregister("post_run_cell", self._after_cell)
        while self._going.checks:  # in a checked cell: what it did up to here
            self._end(self._going.checks[-1], None, None)

    def check_every_cell(self, options: Options) -> None:
        """For the command line: check each cell from here on, and display the reports' data alone."""
        self.every_cell, self.collecting = options, True

    def parse(self, line: str) -> Options:
        """The options of `%%vjpcheck` in this line; raises UsageError."""
        return self._magics.options(line)

    def ask(self, cells: Iterable[str], options: Options, *, quiet: bool) -> None:
        """Check these cells, by the front end's names, when they run next, and none that was named before."""
        self._asked = dict.fromkeys(cells, _Asked(options, quiet))

    def begin(self, options: Options) -> None:
        """Check the rest of the cell that runs now.

        Once: `%%timeit` runs the first line below it many times.
        A silent cell is not checked: it may display nothing.
        """
        depth = len(self._going.cells)
        if depth == 0 or any(running.depth == depth and not running.in_passing for running in self._going.checks):
            return
        try:
            frame = user_frame(sys._getframe(1))  # noqa: SLF001 (the cell whose first statement this is)
            filename = frame.f_code.co_filename if frame else ""
            self._start(options, (filename,))
        except Exception as error:  # noqa: BLE001 (the cell runs, whatever becomes of its check)
            self._could_not("check this cell", error)

    def run_inside(self, options: Options, cell: str) -> ExecutionResult:
        """Run a cell inside the one that runs now, and check it."""
        self._going.next = options
        try:
            result: ExecutionResult = self.shell.run_cell(cell, store_history=False)
        finally:
            self._going.next = None
        return result

    def _start(
        self, options: Options, filenames: tuple[str, ...], *, in_passing: bool = False, reports: bool = True
    ) -> None:
        cell = self._going.cells[-1]
        check = Check(dataclasses.replace(options, ignore=(*options.ignore, *self.ignored)))
        above = {filename: cell.code_above for filename in filenames if not is_timed(filename)}
        running = _RunningCheck(check, len(self._going.cells), cell.seen, above, in_passing, reports)
        self._going.checks.append(running)  # before it starts: an interrupt may come at any moment
        check.start()
        if options.widget and not in_passing and self._screen.can_show_progress():
            sources = CellSources(self._typed, cell.seen, above)
            running.progress = Progress(cell.seen, lambda: check.so_far(sources))
            running.progress.start()

    def _before_cell(self, info: ExecutionInfo) -> None:
        raw_cell = info.raw_cell or ""
        self._going.cells.append(Cell(raw_cell, raw_cell))  # first of all, for its end takes it away
        if len(self._going.cells) == 1:
            self._screen.told.clear()
        try:
            self._begin_cell(info, raw_cell)
        except Exception as error:  # noqa: BLE001 (the cell runs, whatever becomes of its check)
            self._could_not("check this cell", error)

    def _begin_cell(self, info: ExecutionInfo, raw_cell: str) -> None:
        outer = self._going.cells[-2] if len(self._going.cells) > 1 else None
        cell = self._going.cells[-1] = Cell.inside(outer, raw_cell)
        options, self._going.next = self._going.next, None
        in_passing, reports = False, True
        if options is None and len(self._going.cells) == 1:
            options, in_passing, reports = self._of_outermost(raw_cell)
        if options is None and not self._going.checks:
            return
        filenames = self._code_names(raw_cell, getattr(info, "transformed_cell", None))
        for running in self._going.checks:
            if running.seen is cell.seen:
                running.lines_above.update(dict.fromkeys(filenames, cell.code_above))
        if options is not None:
            self._start(options, filenames, in_passing=in_passing, reports=reports)

    def _of_outermost(self, raw_cell: str) -> tuple[Options | None, bool, bool]:
        """The options of a check that no line of the cell asks for; whether it is in passing, and shows its report."""
        asked = self._asked.pop(cell_name(self.shell), None)
        if _is_own_magic(raw_cell):
            return None, False, True
        if asked is not None:
            return asked.options, asked.quiet, True
        return self.every_cell, True, self.reports_in_passing

    def _code_names(self, raw_cell: str, transformed: str | None) -> tuple[str, ...]:
        """The file names that IPython may give to the code of this cell.

        In a kernel the cell's number is the shell's; in a terminal the shell has counted on already.
        """
        source = transformed or self.shell.transform_cell(raw_cell)
        count = self.shell.execution_count
        return tuple(self.shell.compile.get_code_name(raw_cell, source, number) for number in (count, count - 1))

    def _after_cell(self, result: ExecutionResult | None) -> None:
        if result is not None and result.info is not None and not (result.info.raw_cell or "").strip():
            return  # IPython announces the end of an empty cell, and not its beginning
        depth = len(self._going.cells)
        if depth == 0:
            return  # the cell that loaded the extension
        try:
            self._end_cell(depth, result)
        except Exception as error:  # noqa: BLE001 (the cell has run; what it gave is not ours to change)
            self._could_not("show what this cell does", error, depth)
        finally:
            del self._going.cells[depth - 1 :]
            while self._going.checks and self._going.checks[-1].depth >= depth:  # an interrupt came in between
                self._going.checks.pop().check.abandon()

    def _end_cell(self, depth: int, result: ExecutionResult | None) -> None:
        cell = self._going.cells[-1]
        error = None if result is None else result.error_in_exec or result.error_before_exec
        checked = False
        while self._going.checks and self._going.checks[-1].depth >= depth:
            self._end(self._going.checks[-1], result, error)
            checked = True
        for running in self._going.checks:
            if running.seen is cell.seen:
                running.error = error
        did_not_run = result is not None and result.error_before_exec is not None
        if not checked and did_not_run and _asks_for_check(cell.text):
            print(NOT_RUN)

    def _end(self, running: _RunningCheck, result: ExecutionResult | None, error: BaseException | None) -> None:
        """End the innermost check, and say what it found; JAX is restored before anything is said."""
        try:
            report = running.finish(self._typed, error)
        finally:
            running.check.abandon()
            self._going.checks.remove(running)
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
        """Whether the cell ran at all: what Python sees only when it compiles comes after the statements above it."""
        if result is None or result.error_before_exec is None or result.info is None:
            return True
        try:
            ast.parse(self.shell.transform_cell(result.info.raw_cell or ""))
        except (SyntaxError, ValueError):
            return False
        return True

    def _changes(self, text: str, report: Report) -> tuple[Changes | None, Exception | None]:
        """What changed since the last run of the same cell, if it has run before; and what that failed with."""
        try:
            return self._runs.add(run_name(self.shell), text, report), None
        except Exception as error:  # noqa: BLE001 (the report is worth as much without it)
            return None, error

    def _fail(self, result: ExecutionResult, failure: FindingsError) -> None:
        """Let the cell, which has run to its end, count as one that raised."""
        result.error_in_exec = failure
        self.shell.last_execution_succeeded = False
        self.shell.showtraceback((type(failure), failure, None))

    def _could_not(self, what: str, error: Exception, ended: int | None = None) -> None:
        """A fault of ours, as a note in the report that is to come; as a line where none is.

        `ended` is the depth of the cell that ends, whose checks report no more.
        """
        going = [check for check in self._going.checks if ended is None or check.depth < ended]
        if going:
            going[-1].faults.append((what, error))
        else:
            self._screen.could_not(what, error)

    def show_last(self, *, widget: bool) -> None:
        """Display the last report in full."""
        if self.last is not None:
            self._screen.show(self.last, self._last_changes, widget=widget)

    def _show_in_passing(self, report: Report, running: _RunningCheck) -> None:
        """With every cell checked, say nothing where there is nothing to say."""
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
