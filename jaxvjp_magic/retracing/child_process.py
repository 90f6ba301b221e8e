"""Runs a function in a forked child: its effects stay there, and only bytes come back, or the reason why not.

The parent is the user's process, with threads of XLA and of a notebook, and must
notice nothing:

- `os.fork` would run what is registered with `os.register_at_fork` (JAX's warns),
  and since Python 3.12 it warns if there are threads. So this calls the C
  library's `fork`, and in the child what Python itself runs there.
- A KeyboardInterrupt must not lose the child's pid or the pipe's two ends: C
  stores them in the same call that makes them (`_at_once`).
- No thread is started, no signal handler is changed. The child is always killed
  and waited for.

The program's after-fork functions for the child do run: Python's own are among
them, which renew its locks. They run behind the first ring of `child_guard`:
every descriptor leads nowhere and the kernel refuses calls that reach out. Only
a write into shared memory could get out then.
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

_BEGUN, _DATA, _RAISED = b"w", b"d", b"e"  # sent when the work begins; tags of the two answers
_HEAD = 1 + 1 + 8  # that byte, the tag, the length
_WORKING = 0.2  # a child that used this share of its time was working, not waiting for a lock
_TELLING = 0.25  # seconds; a shorter time proves nothing, as the machine may be busy
_STANDARD = 3  # descriptors 0, 1 and 2 are the standard streams
_off = ""  # why this session forks no more children; "" while it does


@dataclass(frozen=True)
class Outcome:
    """What came back from a child: `data`, or `why` there is none, in a clause."""

    data: bytes | None
    why: str


def can_fork() -> str:
    """Why no child can be forked here, as a clause; "" if one can."""
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
    """The result of `work()` in a forked child, which is killed after `budget` seconds."""
    why = can_fork()
    if why:
        return Outcome(None, why)
    child = _Child()
    try:
        why = child.start(work) or child.listen(budget)
    except OSError as error:
        why = f"the system could not start a child process: {error.strerror}"
    finally:
        # An interrupt may come here, too; it is raised again after the cleanup. No call is outside of the inner
        # `try`, because Python checks for signals around calls.
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
        """Fork the child. Returns why that was not possible, or ""."""
        _at_once(self._ends.extend, os.pipe)
        if self._ends[0] < _STANDARD or self._ends[1] < _STANDARD:  # the guard redirects these
            return "a standard stream of the process is closed"
        _fork(self._pids, work, self._ends[1])
        _at_once(os.close, self._ends.pop)
        return ""

    def listen(self, budget: float) -> str:
        """Read until the child has answered or ended. Returns why there is no answer if its time ran out, else ""."""
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
        """Why the child gave no answer in time. If it was waiting, this session forks no other child.

        It may wait for a lock that another thread held, and that thread does not exist in a child.
        """
        global _off  # noqa: PLW0603 (for the session)
        sleeping, used = _at_work(self._pids[0])
        if not sleeping or used >= _WORKING * budget or budget < _TELLING:
            return f"it took longer than {budget:.2g} s"
        _off = f"a child process did not answer within {budget:.2g} s (it was waiting)"
        return f"it did not answer within {budget:.2g} s (it was waiting)"

    def end(self) -> None:
        """Kill the child if it still runs, wait for it, close the pipe. Safe to call again."""
        if len(self._statuses) < len(self._pids):
            try:
                os.kill(self._pids[0], signal.SIGKILL)
                _at_once(self._statuses.append, functools.partial(os.waitpid, self._pids[0], 0))
            except (ProcessLookupError, ChildProcessError):
                # SIGCHLD is ignored, so there is nothing to wait for; or the program has waited for all children.
                self._statuses.append((self._pids[0], 0))
        while self._ends:
            with contextlib.suppress(OSError):  # where the program has closed it
                _at_once(os.close, self._ends.pop)

    def outcome(self, why: str) -> Outcome:
        """The outcome of a child that has ended; `why` is the reason if it was stopped."""
        if why:
            return Outcome(None, why)
        if self._whole():
            tag, data = bytes(self._got[1:2]), bytes(self._got[_HEAD:])
            return Outcome(data, "") if tag == _DATA else Outcome(None, data.decode(errors="replace"))
        status = self._statuses[0][1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGSYS:
            return Outcome(None, "it would act outside its process")
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
            return Outcome(None, f"its process ended by signal {os.WTERMSIG(status)}")
        return Outcome(None, "its process ended without an answer")


def _at_work(pid: int) -> tuple[bool, float]:
    """Whether a process sleeps now, and its processor time in seconds."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 (a virtual file)
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return True, 0.0
    return fields[0] == b"S", (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _at_once(store: Callable[[Any], object], *calls: Callable[[], Any]) -> None:
    """Make the calls in order until one returns a true value, and `store` that: all in C.

    Python would check for signals in between, and a KeyboardInterrupt would lose the value.
    """
    next(map(store, filter(None, map(operator.call, calls))), None)


def _fork(pids: list[int], work: Callable[[], bytes], pipe: int) -> None:
    """Fork, and put the child's pid in `pids`; in the child, do the work and exit."""
    from jaxvjp_magic.retracing import child_guard  # not at the top: it works on Linux only

    if "jax" in sys.modules:
        importlib.import_module("jaxvjp_magic.jax_compat.internals")  # so that the child finds it imported
    library = child_guard.calls_of_c()
    fork, after = library["fork"], ctypes.PyDLL(None)["PyOS_AfterFork_Child"]
    after.restype = None
    # In the child `fork` returns 0, so the calls after it are made, before any bytecode could wait for the GIL of a
    # thread that does not exist there; in the parent they are not. The import lock is held meanwhile, as in
    # `os.fork`; in the child, `after` releases it.
    calls = (_imp.acquire_lock, fork, *child_guard.first_calls(pipe), after)
    parent = os.getpid()
    random_state = random.getstate()  # a fork reseeds it, and the child must do what the program would do
    # Not `signal.pthread_sigmask`, which is Python: an interrupt could come before it calls this one.
    mask = _signal.pthread_sigmask
    signals = mask(signal.SIG_BLOCK, ())
    try:
        # No signal handler of the program may run in the child before the guard is up.
        mask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            _at_once(pids.append, *calls)
        finally:
            if pids:
                _imp.release_lock()
            elif os.getpid() != parent:  # in the parent, an interrupt came before the fork
                _child(work, pipe, random_state)
    finally:
        mask(signal.SIG_SETMASK, signals)
    if pids[0] < 0:
        error_number = ctypes.get_errno()
        pids.clear()
        raise OSError(error_number, os.strerror(error_number))


def _child(work: Callable[[], bytes], pipe: int, random_state: tuple[Any, ...]) -> NoReturn:
    """What the child does, from its first line of Python to its end."""
    global _off  # noqa: PLW0603 (of this process)
    try:
        from jaxvjp_magic.retracing import child_guard

        _off = "it is a forked child itself"
        random.setstate(random_state)
        child_guard.stand(pipe)
        os.write(pipe, _BEGUN)
        try:
            data, tag = work(), _DATA
        except BaseException as error:  # noqa: BLE001 (whatever it is, it stays here)
            message = str(error).partition("\n")[0][:200]
            data = f"it raised {type(error).__name__}{message and ': '}{message}".encode(errors="replace")
            tag = _RAISED
        child_guard.answer(pipe, tag, data)
    finally:
        os._exit(0)
