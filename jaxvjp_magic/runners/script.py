"""Run a script as `python FILE` does, under a check."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import importlib.util
import sys
import threading
import traceback
import types
from typing import TYPE_CHECKING

from jaxvjp_magic.runners.errors import CannotRunError
from jaxvjp_magic.session import Check
from jaxvjp_magic.source.program import FileSources

if TYPE_CHECKING:
    from pathlib import Path

    from jaxvjp_magic.report import Report
    from jaxvjp_magic.session import Options


def run_script(path: Path, arguments: list[str], options: Options) -> Report:
    """Run the script to its end, its threads and exit functions included, and report.

    An exception that ends it is printed as Python prints it, and is in the report.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise CannotRunError(message) from None
    file = str(path.absolute())
    main = _main_module(file)
    sys.argv = [str(path), *arguments]
    sys.path[0] = str(path.resolve().parent)
    check = Check(options)
    check.start()
    ended: BaseException | None = None
    try:
        # without this file's imports from __future__: the script has its own
        code = compile(_decodable(source, file), file, "exec", dont_inherit=True)
        exec(code, main.__dict__)  # noqa: S102 (running it is what was asked for)
    except BaseException as raised:  # noqa: BLE001 (exit() and Ctrl-C end the script, not the report)
        _without_runner(raised)
        ended = _shown(raised)
    report = check.finish(FileSources(file), ended)
    _end()
    return report


def _decodable(source: bytes, file: str) -> bytes:
    """The source as it is; raises SyntaxError for bytes that Python rejects in a file and `compile` accepts."""
    try:
        source.decode()
    except UnicodeDecodeError as error:
        with contextlib.suppress(UnicodeDecodeError, SyntaxError):
            importlib.util.decode_source(source)
            return source  # it declares its encoding
        line = source[: error.start].count(b"\n") + 1
        message = f"Non-UTF-8 code starting with '\\x{source[error.start]:02x}' in file {file} on line {line}, but no "
        message += "encoding declared; see https://peps.python.org/pep-0263/ for details"
        raise SyntaxError(message) from None
    return source


def _main_module(file: str) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__.update(__file__=file, __builtins__=builtins, __spec__=None, __cached__=None)
    main.__annotations__ = {}
    sys.modules["__main__"] = main
    return main


def _without_runner(error: BaseException) -> None:
    """Remove the frames before the script's own, also from the exception's causes and contexts."""
    seen, waiting = set(), [error]
    while waiting:
        exception = waiting.pop()
        entry = exception.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_filename == __file__:
                exception.__traceback__ = entry.tb_next
            entry = entry.tb_next
        seen.add(id(exception))
        related = (exception.__cause__, exception.__context__)
        waiting += [other for other in related if other is not None and id(other) not in seen]


def _shown(error: BaseException) -> BaseException | None:
    """Print the exception as Python does at a program's end; None for an exit with status 0."""
    if isinstance(error, SystemExit):
        if error.code is None or error.code == 0:
            return None
        if not isinstance(error.code, int):
            print(error.code, file=sys.stderr)
        return error
    sys.stdout.flush()
    if sys.excepthook is sys.__excepthook__:
        traceback.print_exception(error)
    else:
        sys.excepthook(type(error), error, error.__traceback__)
    return error


def _end() -> None:
    """Join threads and run exit functions, so that the report comes after all that the program prints."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # noqa: SLF001 (the only way to run them before the report)
    sys.stdout.flush()
    sys.stderr.flush()
