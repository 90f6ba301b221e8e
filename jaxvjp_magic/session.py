"""One check, from start to report, and `vjpcheck`, which checks a block or a function in scripts and tests."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from jaxvjp_magic import catalogue
from jaxvjp_magic.instrument.tracer import Tracer
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.record.notes import one_per_fault
from jaxvjp_magic.record.record import Record
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.notes import noted
from jaxvjp_magic.source.program import FileSources, Program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from jaxvjp_magic.source.program import Sources

F = TypeVar("F", bound="Callable[..., Any]")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a check is asked to do, however it was started.

    `retrace` says which functions that JAX has traced before are traced once
    more: "pure", those that are known to have no effects, and the others in a
    forked child; "all", whatever their effects; "none". With `libraries`,
    warnings and notes about files of libraries are shown, too.
    """

    verify: bool = False
    ignore: tuple[str, ...] = ()
    fail_on: str = "never"
    retrace: str = "pure"
    into: str = ""
    widget: bool = True
    libraries: bool = False


class Check:
    """Watches JAX between `start` and `finish`. Neither raises: a failure becomes a note in the report."""

    def __init__(self, options: Options) -> None:
        """A check that has not started."""
        self.options = options
        self._tracer: Tracer | None = None
        self._notes: tuple[str, ...] = ()

    def start(self) -> None:
        """Record from now on."""
        try:
            self._tracer = Tracer(retrace=self.options.retrace, verify=self.options.verify)
            self._tracer.start()
        except Exception as error:  # noqa: BLE001 (the program runs on without the check)
            self._notes = noted(Report(), "start the check", error).notes
        except BaseException:  # an interrupt: the program does not run then
            self.abandon()
            raise

    @property
    def _shown(self) -> dict[str, Any]:
        return {"ignore": self.options.ignore, "libraries": self.options.libraries}

    def so_far(self, sources: Sources) -> Report:
        """The report of what has been recorded so far; may be called from any thread."""
        from jaxvjp_magic.analyse import build_report

        record = Record() if self._tracer is None else self._tracer.so_far()
        return build_report(record, Program(sources), **self._shown)

    def finish(self, sources: Sources, error: BaseException | None = None) -> Report:
        """Restore JAX and make the report."""
        record = Record()
        try:
            if self._tracer is not None:
                record = self._tracer.stop()
            from jaxvjp_magic.analyse import build_report

            report = build_report(record, Program(sources), error=error, **self._shown)
        except Exception as failure:  # noqa: BLE001 (the program's own result matters more than the report)
            report = noted(Report(jax=record.jax, notes=record.notes, complete=False), "make the report", failure)
        finally:
            self.abandon()
        notes = one_per_fault((*self._notes, *report.notes))
        return dataclasses.replace(report, notes=notes, complete=report.complete and not self._notes)

    def abandon(self) -> None:
        """Restore JAX, and make no report; does nothing after `finish`."""
        if self._tracer is not None:
            self._tracer.abandon()


RETRACE = ("pure", "all", "none")
FAIL_ON = ("never", "error", "warning", "note")


def _require_one_of(words: tuple[str, ...], word: str, option: str) -> str:
    if word not in words:
        message = f"{option} must be one of {', '.join(words)}, not {word!r}"
        raise ValueError(message)
    return word


@overload
def vjpcheck(function: F) -> F: ...
@overload
def vjpcheck(
    *,
    verify: bool = False,
    ignore: Iterable[str] = (),
    retrace: str | bool = "pure",
    fail_on: str = "never",
    libraries: bool = False,
) -> Block: ...
def vjpcheck(  # noqa: PLR0913 (options, all of them by name)
    function: Any = None,
    *,
    verify: bool = False,
    ignore: Iterable[str] = (),
    retrace: str | bool = "pure",
    fail_on: str = "never",
    libraries: bool = False,
) -> Any:
    """Check what runs inside a `with` block, or in each call of a function.

        with vjpcheck() as report:
            jax.grad(loss)(params)
        report.raise_if("error")

    The report is empty, and not `ok`, until the block ends. Then it is complete,
    even if the block raises; the exception passes through. A block can be
    entered once; call `vjpcheck()` for each.

        @vjpcheck
        def step(params): ...

    As a decorator it checks each call of the function, and prints the report to
    standard error if it has findings. `step.report` is the report of the last
    call.

    `verify` also compares the rules' values; `ignore` lists codes that are not
    reported. `retrace` says which functions that jit has compiled before are
    traced once more, so that the calls in them are seen: "pure", those that are
    known to have no effects, and the others in a forked child; "all", whatever
    their effects; "none". True means "pure", False "none". With `fail_on`, a finding
    at least as bad as "note", "warning" or "error", or a check that is not
    complete, raises an AssertionError when the block ends; its text is the
    report. If the block itself raises, the report is added to its exception as a
    note, so that the traceback shows it. With `libraries`, warnings and notes
    about files of libraries are shown, too.

    Raises ValueError for an unknown code in `ignore`, or an unknown word for
    `retrace` or `fail_on`; TypeError for something that is not a function, or
    for a generator; RuntimeError for a block that is entered again.
    """
    if function is not None and not callable(function):
        message = f"vjpcheck checks functions, not {function!r}; pass options by name: vjpcheck(verify=True)"
        raise TypeError(message)
    if isinstance(retrace, bool):
        retrace = "pure" if retrace else "none"  # it was a bool once
    options = Options(
        verify=verify,
        ignore=catalogue.parse_codes(ignore if isinstance(ignore, str) else ",".join(ignore)),
        fail_on=_require_one_of(FAIL_ON, fail_on, "fail_on"),
        retrace=_require_one_of(RETRACE, retrace, "retrace"),
        libraries=libraries,
    )
    return Block(options) if function is None else Block(options)(function)


def _checked(options: Options, main: str) -> Generator[Report]:
    check = Check(options)
    report = Report(complete=False)
    error: BaseException | None = None
    try:
        with contextlib.suppress(Exception):  # without it, places show their file
            main = main or _file_of_caller()
        check.start()
        yield report
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            _fill(report, check.finish(FileSources(main), error))
            if isinstance(error, Exception) and report.fails(options.fail_on):
                with contextlib.suppress(Exception):  # its class may override add_note
                    error.add_note(str(report))
        finally:
            check.abandon()
            error = None
    report.raise_if(options.fail_on)


class Block(contextlib._GeneratorContextManager["Report"]):  # noqa: SLF001 (as safe from interrupts as contextlib's own)
    """What `vjpcheck()` returns: a context manager for one block, or a decorator."""

    def __init__(self, options: Options, main: str = "") -> None:
        """`main` is the file whose lines are shown without its name; by default the caller's."""
        super().__init__(_checked, (options, main), {})
        self._options = options
        self._is_used = False

    def __enter__(self) -> Report:
        """Record from now on."""
        if self._is_used:
            message = "a vjpcheck block can be entered only once; call vjpcheck() for each block"
            raise RuntimeError(message)
        self._is_used = True
        return super().__enter__()

    def __call__(self, function: F) -> F:
        """The function, with each call of it checked."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            message = (
                f"{function.__name__} is a generator: its body runs after the call; use `with vjpcheck()` inside it"
            )
            raise TypeError(message)
        options, main = self._options, function.__code__.co_filename if inspect.isfunction(function) else ""
        checked: Any

        def publish(report: Report | None) -> None:
            if report is None:  # interrupted before it began
                return
            checked.report = report
            if (report.findings or not report.complete) and not report.fails(options.fail_on):
                sys.stderr.write(f"{report}\n")

        if inspect.iscoroutinefunction(function):

            async def checked(*args: Any, **kwargs: Any) -> Any:
                report = None
                try:
                    with Block(options, main) as report:
                        return await function(*args, **kwargs)
                finally:
                    publish(report)

        else:

            def checked(*args: Any, **kwargs: Any) -> Any:
                report = None
                try:
                    with Block(options, main) as report:
                        return function(*args, **kwargs)
                finally:
                    publish(report)

        checked = functools.wraps(function)(checked)
        return cast("F", checked)


def _fill(report: Report, finished: Report) -> None:
    """Fill the report in place, although it is frozen: the block already holds it."""
    for field in dataclasses.fields(Report):
        object.__setattr__(report, field.name, getattr(finished, field.name))


def _file_of_caller() -> str:
    frame = sys._getframe(1)  # noqa: SLF001 (the file that holds the `with` statement)
    while frame.f_back is not None and not is_user_code(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename
