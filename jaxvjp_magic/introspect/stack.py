"""Takes frames and tracebacks, and gives the user's line of a call; removes the frames of this package."""

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
    """Whether the user wrote this file: it is not from a library or the standard library, and not generated."""
    if filename.startswith("<"):
        return filename.startswith(_GENERATED_BUT_TYPED)
    path = os.path.abspath(filename)
    return not path.startswith(_library_folders()) and "site-packages" not in path


def user_frame(frame: types.FrameType | None) -> types.FrameType | None:
    """The innermost frame, from this one outward, that runs the user's code."""
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
    # The file name is a key of its own: a cell that is run again has equal code in another file.
    first, last, start, end = next(itertools.islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    if first is None:
        return Place(filename, line)
    return Place(filename, first, start, end if first == last else None)


def place_of(frame: types.FrameType | None) -> Place | None:
    """The line at which a frame is, with the columns where they are known."""
    return frame and _place(frame.f_code.co_filename, frame.f_code, frame.f_lasti, frame.f_lineno)


def innermost(error: BaseException) -> types.TracebackType | None:
    """The innermost entry of the user's code in a traceback."""
    last, entry = None, error.__traceback__
    while entry is not None:
        if is_user_code(entry.tb_frame.f_code.co_filename):
            last = entry
        entry = entry.tb_next
    return last


def place_of_error(error: BaseException) -> Place | None:
    """The innermost line of the user's code in a traceback."""
    entry = innermost(error)
    code = entry and entry.tb_frame.f_code
    return entry and code and _place(code.co_filename, code, entry.tb_lasti, entry.tb_lineno)


def describe_error(error: BaseException, frame: types.FrameType | None = None) -> Raised:
    """An exception as a fact. It is now passing through `frame`; the callers of that are not in its traceback yet."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 (an exception whose own __str__ raises)
        message = ""
    if len(message) > _LONGEST_MESSAGE:  # the helpful part may be at its end
        message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
    at = place_of_error(error)
    return Raised(type(error).__name__, message, at or place_of(user_frame(frame)), at is not None)


def drop_own_frames(error: BaseException) -> None:
    """Remove the outermost entries of a traceback that are frames of this package.

    Call it in an `except` block that ends in a bare `raise`: re-raising adds no
    entry for its own frame, so the user sees the traceback that there would be
    without a check.
    """
    with contextlib.suppress(Exception):  # else the traceback is longer, by frames that are clearly not the user's
        entry = error.__traceback__
        while entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            entry = entry.tb_next
        error.__traceback__ = entry


def is_own_fault(error: BaseException) -> bool:
    """Whether this package raised an exception, and not JAX or a function of the program.

    The innermost frame decides, so call it where JAX has not filtered the traceback.
    """
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry is not None and entry.tb_frame.f_code.co_filename.startswith(_PACKAGE)


class UserCode:
    """A context that suppresses errors of JAX and of the program's functions: that they fail is an answer.

    Errors of this package pass through, and so does KeyboardInterrupt, which is the user's.
    """

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, error_type: object, error: BaseException | None, traceback: object) -> bool:
        """Suppress what is not this package's own fault."""
        return error is not None and not isinstance(error, KeyboardInterrupt) and not is_own_fault(error)


def caller(depth: int) -> types.FrameType | None:
    """The frame `depth` levels above the calling one, or None."""
    try:
        return sys._getframe(depth + 1)  # noqa: SLF001 (inspect.stack() reads every file on the stack)
    except ValueError:
        return None
