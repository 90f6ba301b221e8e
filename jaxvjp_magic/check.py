"""One check, from beginning to report; and the context manager for scripts and tests."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

from jaxvjp_magic import rules
from jaxvjp_magic.report import Report, noted, one_a_fault
from jaxvjp_magic.sources import FileSources, Program
from jaxvjp_magic.tracing.facts import Record
from jaxvjp_magic.tracing.frames import is_user_code
from jaxvjp_magic.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.sources import Sources


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a check is asked to do, however it was started.

    `retrace` says which functions that JAX has traced before are traced once
    more: "pure", those that are known to have no effects, and in a forked child
    the others; "all", without asking; "none".
    """

    verify: bool = False
    ignore: tuple[str, ...] = ()
    fail_on: str = "never"
    retrace: str = "pure"
    into: str = ""
    widget: bool = True


class Check:
    """Watches JAX between `start` and `finish`. Neither raises: what fails becomes a note in the report."""

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
        except BaseException:  # an interrupt: the program that was to be checked does not run
            self.abandon()
            raise

    def so_far(self, sources: Sources) -> Report:
        """The report of what was recorded up to now; may be asked from any thread."""
        from jaxvjp_magic.build import build_report

        record = Record() if self._tracer is None else self._tracer.so_far()
        return build_report(record, Program(sources), ignore=self.options.ignore)

    def finish(self, sources: Sources, error: BaseException | None = None) -> Report:
        """Restore JAX and make the report."""
        record = Record()
        try:
            if self._tracer is not None:
                record = self._tracer.stop()
            from jaxvjp_magic.build import build_report

            report = build_report(record, Program(sources), error=error, ignore=self.options.ignore)
        except Exception as failure:  # noqa: BLE001 (the program's own result matters more than the report)
            report = noted(Report(jax=record.jax, notes=record.notes), "make the report", failure)
        finally:
            self.abandon()
        return dataclasses.replace(report, notes=one_a_fault((*self._notes, *report.notes)))

    def abandon(self) -> None:
        """Restore JAX, and make no report; after `finish` there is nothing left to do."""
        if self._tracer is not None:
            self._tracer.abandon()


RETRACE = ("pure", "all", "none")


def retrace_word(given: str | bool) -> str:  # noqa: FBT001 (True and False are what it was before it was a word)
    """The word for `retrace`; raises ValueError for another one."""
    word = {True: "pure", False: "none"}.get(given, given) if isinstance(given, bool) else given
    if word not in RETRACE:
        message = f"retrace is one of {', '.join(RETRACE)}, and not {word!r}"
        raise ValueError(message)
    return str(word)


@contextlib.contextmanager
def vjpcheck(*, verify: bool = False, ignore: Iterable[str] = (), retrace: str | bool = "pure") -> Iterator[Report]:
    """Check what runs inside a `with` block.

    The report that it gives is empty until the block ends, and complete after
    it, also when the block raises; the exception passes through.

        with vjpcheck() as report:
            jax.grad(loss)(params)
        assert report.ok, report

    `verify` compares the rules' values too, `ignore` lists codes that are not
    reported. `retrace` says which functions that jit has compiled before are
    traced once more, so that the calls in them are seen: "pure" those that are
    known to have no effects, and in a forked child the others, "all" without
    asking, "none" none. True stands for "pure", False for "none".

    Raises ValueError for an unknown code in `ignore`, or word for `retrace`.
    """
    codes = rules.parse_codes(ignore if isinstance(ignore, str) else ",".join(ignore))
    check = Check(Options(verify=verify, ignore=codes, retrace=retrace_word(retrace)))
    report = Report()
    error: BaseException | None = None
    main = ""
    try:
        with contextlib.suppress(Exception):  # places have the name of their file, then
            main = _file_of_caller()
        check.start()
        yield report
    except BaseException as raised:
        error = raised
        raise
    finally:
        try:
            _fill(report, check.finish(FileSources(main), error))
        finally:
            check.abandon()
            error = None


def _fill(report: Report, finished: Report) -> None:
    """The report is frozen for everybody else: the block holds it already, so it is filled in place."""
    for field in dataclasses.fields(Report):
        object.__setattr__(report, field.name, getattr(finished, field.name))


def _file_of_caller() -> str:
    frame = sys._getframe(1)  # noqa: SLF001 (the file that holds the `with` statement)
    while frame.f_back is not None and not is_user_code(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename
