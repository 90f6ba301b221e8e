"""Looks that may have effects, in a forked child: every effect stays there, and only bytes come back.

The caller is a process of the user's, with threads of XLA and of a notebook,
and is to notice nothing:

- `os.fork` would run what the program has registered with `os.register_at_fork`
  (of JAX, a warning), and Python 3.12 and later warn where there are threads. So
  the C library's `fork` is called, and in the child what Python itself does there.
- What must not be lost where a KeyboardInterrupt comes, the child's number and
  the pipe's two ends, is stored by C in the same call that makes it (`_at_once`).
- No thread is started, no handler of a signal is changed. The child is always
  ended and waited for, here.

The program's functions that are to run in a child after a fork do run: Python's
own are among them, which make its locks anew. They run behind the first ring of
`forked_guard`, with every descriptor leading nowhere and the kernel refusing what
reaches out; only what is written into shared memory then would get out.
"""

from __future__ import annotations

import _imp
import _signal  # type: ignore[import-not-found]  # the type stubs leave it out: signal's own wraps enumerations
import contextlib
import ctypes
import functools
import importlib
import operator
import os
import random
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGUN, _DATA, _RAISED = b"w", b"d", b"e"  # the first byte, sent when the work begins; two kinds of answers
_HEAD = 1 + 1 + 8  # that byte, the kind, the length
_WORKING = 0.2  # a child that used this part of its time was working, not waiting for a lock
_TELLING = 0.25  # seconds: of less, nothing is concluded, as the machine may be busy
_STANDARD = 3  # 0, 1 and 2 are the standard streams'
_off = ""  # why nothing is looked at in a child any more, in this session


@dataclass(frozen=True)
class Outcome:
    """What came back from a child: `data`, or `why` there is none, in a clause."""

    data: bytes | None
    why: str


def can_fork() -> str:
    """Why nothing can be looked at in a forked child here, in a clause; "" where it can."""
    if _off:
        return _off
    if sys.platform != "linux":  # macOS's frameworks do not survive it, Windows has none
        return "forked children are used only on Linux"
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "without CPython's global lock, a child cannot be forked safely"
    if signal.getsignal(signal.SIGCHLD) not in {signal.SIG_DFL, signal.SIG_IGN}:
        return "the program handles the end of child processes (SIGCHLD) itself"
    return ""


def in_child(work: Callable[[], bytes], budget: float) -> Outcome:
    """What `work()` gives in a forked child, which is ended after `budget` seconds."""
    why = can_fork()
    if why:
        return Outcome(None, why)
    child = _Child()
    try:
        why = child.start(work) or child.listen(budget)
    except OSError as error:
        why = f"the system could not start a child process: {error.strerror}"
    finally:
        # An interrupt may come within, too; it goes on when all is tidy. No call stands outside of the inner `try`:
        # it is around calls that Python looks for signals.
        late = None
        while True:
            try:
                child.end()
                break
            except BaseException as error:  # noqa: BLE001 (raised below)
                late = error
        if late is not None:
            raise late
    return child.outcome(why)


class _Child:
    """One child, as its parent sees it."""

    def __init__(self) -> None:
        self._ends: list[int] = []  # of the pipe: to read, to write
        self._pids: list[int] = []
        self._statuses: list[tuple[int, int]] = []
        self._got = bytearray()

    def start(self, work: Callable[[], bytes]) -> str:
        """Fork the child; why it could not be done, or ""."""
        _at_once(self._ends.extend, os.pipe)
        if self._ends[0] < _STANDARD or self._ends[1] < _STANDARD:  # where the guard needs others
            return "a standard stream of the process is closed"
        _fork(self._pids, work, self._ends[1])
        _at_once(os.close, self._ends.pop)
        return ""

    def listen(self, budget: float) -> str:
        """Read what the child sends, until it has answered or its time is over; why it has not, then."""
        end = time.monotonic() + budget
        poll = select.poll()
        poll.register(self._ends[0], select.POLLIN)
        while (left := end - time.monotonic()) > 0:
            if not poll.poll(left * 1000):
                continue
            part = os.read(self._ends[0], 1 << 16)
            self._got += part
            if not part or self._whole():
                return ""
        return self._too_long(budget)

    def _whole(self) -> bool:
        return len(self._got) >= _HEAD and len(self._got) == _HEAD + int.from_bytes(self._got[2:_HEAD], "little")

    def _too_long(self, budget: float) -> str:
        """Whether it worked all the time, or waited for what does not come: then there will be no other child.

        It may be a lock that a thread held, which is not there in a child.
        """
        global _off  # noqa: PLW0603 (for the session)
        sleeping, used = _at_work(self._pids[0])
        if not sleeping or used >= _WORKING * budget or budget < _TELLING:
            return f"it took longer than {budget:.2g} s"
        _off = f"a child process did not answer within {budget:.2g} s (it was waiting)"
        return f"it did not answer within {budget:.2g} s (it was waiting)"

    def end(self) -> None:
        """End it if it is still there, wait for it, close the pipe; what was done before is not done again."""
        if len(self._statuses) < len(self._pids):
            try:
                os.kill(self._pids[0], signal.SIGKILL)
                _at_once(self._statuses.append, functools.partial(os.waitpid, self._pids[0], 0))
            except (ProcessLookupError, ChildProcessError):
                # Where SIGCHLD is ignored, nothing is left to wait for; or the program has waited for all children.
                self._statuses.append((self._pids[0], 0))
        while self._ends:
            with contextlib.suppress(OSError):  # where the program has closed it
                _at_once(os.close, self._ends.pop)

    def outcome(self, why: str) -> Outcome:
        """What came of it, when it has ended."""
        if why:
            return Outcome(None, why)
        if self._whole():
            kind, data = bytes(self._got[1:2]), bytes(self._got[_HEAD:])
            return Outcome(data, "") if kind == _DATA else Outcome(None, data.decode(errors="replace"))
        status = self._statuses[0][1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
            return Outcome(None, "it would act outside its process")
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            return Outcome(None, f"its process ended by signal {os.WTERMSIG(status)}")
        return Outcome(None, "its process ended without an answer")


def _at_work(pid: int) -> tuple[bool, float]:
    """Whether a process sleeps now, and the seconds of processor time that it has used."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 (a virtual file)
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return True, 0.0
    return fields[0] == b"S", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _at_once(store: Callable[[Any], object], *calls: Callable[[], Any]) -> None:
    """Call one after the other, until one gives something, and `store` that: all in C.

    Python would look for signals in between, and a KeyboardInterrupt would lose it.
    """
    next(map(store, filter(None, map(operator.call, calls))), None)


def _fork(pids: list[int], work: Callable[[], bytes], pipe: int) -> None:
    """Fork, and put the child's number in `pids`; in the child, do the work and end."""
    from jaxvjp_magic.retracing import child_guard  # here, as what it needs is there on Linux alone

    if "jax" in sys.modules:
        importlib.import_module("jaxvjp_magic.jax_compat.internals")  # the child is to find it there
    library = child_guard.calls_of_c()
    fork, after = library["fork"], ctypes.PyDLL(None)["PyOS_AfterFork_Child"]
    after.restype = None
    # In the child `fork` gives 0, so the others are called, before a bytecode of Python could wait for the GIL of a
    # thread that is not there; in the parent they are not. The lock of imports is held meanwhile, as in `os.fork`:
    # in the child, `after` frees it.
    calls = (_imp.acquire_lock, fork, *child_guard.first_calls(pipe), after)
    parent = os.getpid()
    chance = random.getstate()  # a fork seeds it anew, and the child is to do what the program would do
    # Not `signal`'s own, which is in Python: an interrupt could come before it has called this one.
    mask = _signal.pthread_sigmask
    signals = mask(signal.SIG_BLOCK, ())
    try:
        # No handler of the program's runs in the child, before the guard stands.
        mask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _at_once(pids.append, *calls)
        finally:
            if pids:
                _imp.release_lock()
            elif os.getpid() != parent:  # not so where an interrupt came before the fork
                _child(work, pipe, chance)
    finally:
        mask(signal.SIG_SETMASK, signals)
    if pids[0] < 0:
        number = ctypes.get_errno()
        pids.clear()
        raise OSError(number, os.strerror(number))


def _child(work: Callable[[], bytes], pipe: int, chance: tuple[Any, ...]) -> NoReturn:
    """What the child does, from its first line of Python to its end."""
    global _off  # noqa: PLW0603 (of this process)
    try:
        from jaxvjp_magic.retracing import child_guard

        _off = "it is a forked child itself"
        random.setstate(chance)
        child_guard.stand(pipe)
        os.write(pipe, _BEGUN)
        try:
            data, kind = work(), _DATA
        except BaseException as error:  # noqa: BLE001 (whatever it is, it stays here)
            first = str(error).partition("\n")[0][:200]
            data = f"it raised {type(error).__name__}{first and ': '}{first}".encode(errors="replace")
            kind = _RAISED
        child_guard.answer(pipe, kind, data)
    finally:
        os._exit(0)
