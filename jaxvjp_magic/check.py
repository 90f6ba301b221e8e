"""One check, from beginning to report; and the context manager for scripts and tests."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING

from jaxvjp_magic import rules
from jaxvjp_magic.report import Report
from jaxvjp_magic.sources import FileSources, Program
from jaxvjp_magic.tracing.facts import Record
from jaxvjp_magic.tracing.frames import is_user_code
from jaxvjp_magic.tracing.tracer import Tracer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jaxvjp_magic.sources import Sources


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a check is asked to do, however it was started."""

    verify: bool = False
    ignore: tuple[str, ...] = ()
    fail_on: str = "never"
    retrace: bool = True
    into: str = ""
    widget: bool = True


class Check:
    """Watches JAX between `start` and `finish`."""

    def __init__(self, options: Options) -> None:
        """A check that has not started."""
        self.options = options
        self._tracer = Tracer(retrace=options.retrace, verify=options.verify)

    def start(self) -> None:
        """Record from now on."""
        self._tracer.start()

    def so_far(self, sources: Sources) -> Report:
        """The report of what was recorded up to now; may be asked from any thread."""
        from jaxvjp_magic.build import build_report

        return build_report(self._tracer.so_far(), Program(sources), ignore=self.options.ignore)

    def finish(self, sources: Sources, error: BaseException | None = None) -> Report:
        """Restore JAX and make the report. Never raises: what fails becomes a note in it."""
        record = Record()
        try:
            record = self._tracer.stop()
            from jaxvjp_magic.build import build_report

            report = build_report(record, Program(sources), error=error, ignore=self.options.ignore)
        except Exception as failure:  # noqa: BLE001 (the program's own result matters more than the report)
            note = f"could not make the report: {type(failure).__name__}: {failure}"
            report = Report(jax=record.jax, notes=(*record.notes, note))
        return report


@contextlib.contextmanager
def vjpcheck(*, verify: bool = False, ignore: Iterable[str] = (), retrace: bool = True) -> Iterator[Report]:
    """Check what runs inside a `with` block.

    The report that it gives is empty until the block ends, and complete after
    it, also when the block raises; the exception passes through.

        with vjpcheck() as report:
            jax.grad(loss)(params)
        assert report.ok, report

    `verify` compares the rules' values too, `ignore` lists codes that are not
    reported, `retrace=False` keeps JAX's caches, and leaves out the calls that
    are hidden in functions which jit has compiled before.

    Raises ValueError for an unknown code in `ignore`.
    """
    codes = rules.parse_codes(ignore if isinstance(ignore, str) else ",".join(ignore))
    check = Check(Options(verify=verify, ignore=codes, retrace=retrace))
    report = Report()
    main = _file_of_caller()
    check.start()
    error: BaseException | None = None
    try:
        yield report
    except BaseException as raised:
        error = raised
        raise
    finally:
        # The report is frozen for everybody else: the block holds it already, so it is filled in place.
        finished = check.finish(FileSources(main), error)
        for field in dataclasses.fields(Report):
            object.__setattr__(report, field.name, getattr(finished, field.name))
        error = None


def _file_of_caller() -> str:
    frame = sys._getframe(1)  # noqa: SLF001 (the file that holds the `with` statement)
    while frame.f_back is not None and not is_user_code(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename
