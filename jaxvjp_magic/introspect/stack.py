"""Whose code is running: the user's line of a call, and tracebacks without our frames."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import site
import sys
import sysconfig
from typing import TYPE_CHECKING

from jaxvjp_magic.record.calls import Place, Raised

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LONGEST_MESSAGE = 2000
_GENERATED_BUT_TYPED = ("<ipython-input", "<stdin", "<timed", "<magic-timeit", "<doctest", "<cell")


@functools.cache
def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.update(site.getsitepackages())
    folders.add(site.getusersitepackages())
    return (_PACKAGE, *(os.path.abspath(folder) + os.sep for folder in folders if folder))


@functools.lru_cache(maxsize=4096)
def is_user_code(filename: str) -> bool:
    """Whether a person wrote this file: no library, no standard library, not generated."""
    if filename.startswith("<"):
        return filename.startswith(_GENERATED_BUT_TYPED)
    path = os.path.abspath(filename)
    return not path.startswith(_library_folders()) and "site-packages" not in path


def user_frame(frame: types.FrameType | None) -> types.FrameType | None:
    """The nearest frame, from this one outward, that runs the user's code."""
    while frame is not None and not is_user_code(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def user_lines(frame: types.FrameType | None) -> Iterator[Place]:
    """The lines of the user's code that are being run, the innermost first."""
    while (frame := user_frame(frame)) is not None:
        yield Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back


@functools.lru_cache(maxsize=4096)
def _place(filename: str, code: types.CodeType, instruction: int, line: int) -> Place:
    # Equal code of two files is equal to the cache: a cell that is run again has another file name.
    first, last, start, end = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    if first is None:
        return Place(filename, line)
    return Place(filename, first, start, end if first == last else None)


def place_of(frame: types.FrameType | None) -> Place | None:
    """The line, and where it is known the columns, at which a frame is."""
    return frame and _place(frame.f_code.co_filename, frame.f_code, frame.f_lasti, frame.f_lineno)


def innermost(error: BaseException) -> types.TracebackType | None:
    """The innermost entry of the user's code in a traceback."""
    found, entry = None, error.__traceback__
    while entry is not None:
        if is_user_code(entry.tb_frame.f_code.co_filename):
            found = entry
        entry = entry.tb_next
    return found


def place_of_error(error: BaseException) -> Place | None:
    """The innermost line of the user's code in a traceback."""
    entry = innermost(error)
    code = entry and entry.tb_frame.f_code
    return entry and code and _place(code.co_filename, code, entry.tb_lasti, entry.tb_lineno)


def describe_error(error: BaseException, frame: types.FrameType | None = None) -> Raised:
    """An exception as a fact; it is on its way through `frame`, whose callers it has not reached."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (an exception whose own __str__ raises)
        message = ""
    if len(message) > _LONGEST_MESSAGE:  # what helps may stand at its end
        message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
    at = place_of_error(error)
    return Raised(type(error).__name__, message, at or place_of(user_frame(frame)), at is not None)


def drop_own_frames(error: BaseException) -> None:
    """Take our frames off the near end of a traceback.

    Called in an `except` block that ends in a bare `raise`: re-raising adds no
    entry for the frame that does it, so the user's traceback is the one that
    there would be without us.
    """
    with contextlib.suppress(Exception):  # the traceback is longer then, by frames that say whose they are
        entry = error.__traceback__
        while entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            entry = entry.tb_next
        error.__traceback__ = entry


def is_own_fault(error: BaseException) -> bool:
    """Whether an exception was raised by a line of ours, and not in JAX or in a function of the program.

    Told by the innermost frame, so it is asked where JAX leaves tracebacks whole.
    """
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE)


class UserCode:
    """What fails in JAX or in the program's functions is an answer, and passes over; a fault of ours does not.

    Nor does an interrupt, which is the user's; whatever else the program's functions raise here is none of theirs.
    """

    def __enter__(self) -> None:
        """From here on."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """To here."""
        return error is not None and not isinstance(error, KeyboardInterrupt) and not is_own_fault(error)


def caller(depth: int) -> types.FrameType | None:
    """The frame `depth` levels above the one that asks, or None."""
    try:
        return sys._getframe(depth + 1)  # noqa: SLF001 (inspect.stack() reads every file on the stack)
    except ValueError:
        return None
