"""Sandbox of a forked child: takes the pipe to the parent, and from the fork on lets nothing else out.

Three rings, because each has gaps. `first_calls` are C calls that the child makes
before any Python runs in it, the program's own `os.register_at_fork` functions
included: every file descriptor leads to /dev/null, no file may grow, and the
kernel refuses calls that change files, start processes or reach other ones.
`stand` then makes the kernel kill the child for such a call (`seccomp`), and
makes memory that is shared with other processes read-only. An audit hook catches
the same in Python, earlier, and can say what it was.

Linux only; the kernel's filter covers x86_64 and aarch64.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import faulthandler
import functools
import gc
import logging
import os
import platform
import resource
import signal
import struct
import sys
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORBIDDEN = b"f"  # tag of the answer of a child that an audit event ended

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # a filter's answers; the second plus an errno
_NO_NEW_PRIVILEGES, _SECCOMP, _DEATH_SIGNAL, _DUMPABLE = 38, 22, 1, 4  # options of prctl
_CLONE_THREAD = 0x10000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of a filter
_NUMBER, _PROCESSOR, _ARGUMENTS = 0, 4, 16  # their offsets in what a filter reads
_X32 = 0x40000000  # from here on: x32's numbers for the same calls
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# The kernel's numbers: the processor; open, openat, clone, clone3 and socket; and all calls that reach out:
# files (rename, unlink, chmod, utime, xattr, ...), sockets (connect, sendto, ...), processes (kill, execve, ptrace,
# ...), queues and memory of System V and POSIX, the clock, io_uring (which goes past filters).
_PROCESSORS = {
    "x86_64": (
        0xC000003E, 2, 257, 56, 435, 41,
        (30, 42, 44, 46, 49, 57, 58, 59, 62, 65, 69, 76, 77, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 101, 129,
         132, 133, 164, 165, 166, 188, 189, 190, 197, 198, 199, 200, 220, 227, 235, 241, 242, 258, 259, 260, 261, 263,
         264, 265, 266, 268, 280, 285, 297, 304, 307, 311, 316, 322, 424, 425, 437, 452),
    ),
    "aarch64": (
        0xC00000B7, -1, 56, 220, 435, 198,
        (5, 6, 7, 14, 15, 16, 33, 34, 35, 36, 37, 38, 39, 40, 45, 46, 47, 52, 53, 54, 55, 88, 112, 117, 129, 130, 138,
         170, 181, 182, 189, 192, 193, 196, 200, 203, 206, 211, 221, 240, 265, 269, 271, 276, 281, 424, 425, 437, 452),
    ),
}  # fmt: skip

# Audit events that do not reach out of the process. Any other event ends the child, unknown names too.
_HARMLESS_EVENTS = """
_thread.start_new_thread _thread.start_joinable_thread array.__new__ builtins.breakpoint builtins.id builtins.input
builtins.input/result code.__new__ compile ctypes.PyObj_FromPtr ctypes.addressof ctypes.cdata ctypes.cdata/buffer
ctypes.create_string_buffer ctypes.create_unicode_buffer ctypes.get_errno ctypes.set_errno ctypes.string_at
ctypes.wstring_at exec function.__new__ gc.get_objects gc.get_referents gc.get_referrers glob.glob glob.glob/2
import marshal.dumps marshal.load marshal.loads object.__delattr__ object.__getattr__ object.__setattr__ os.chdir
os.fwalk os.getxattr os.listdir os.listxattr os.putenv os.scandir os.unsetenv os.walk pathlib.Path.glob
pathlib.Path.rglob pickle.find_class setopencodehook socket.gethostname sys._current_exceptions sys._current_frames
sys._getframe sys._getframemodulename sys.addaudithook sys.excepthook sys.monitoring.register_callback
sys.set_asyncgen_hooks_finalizer sys.set_asyncgen_hooks_firstiter sys.setprofile sys.settrace sys.unraisablehook
time.sleep
"""
_HARMLESS = frozenset(_HARMLESS_EVENTS.split())
_IN_WORDS = {
    "ctypes.dlopen": "load a library of C",
    "ctypes.dlsym": "call a library of C",
    "mmap.__new__": "map a file into memory for writing",
    "os.exec": "start another program",
    "os.fork": "start a process",
    "os.forkpty": "start a process",
    "os.kill": "send a signal",
    "os.killpg": "send a signal",
    "os.mkdir": "make a folder",
    "os.posix_spawn": "start a process",
    "os.remove": "remove a file",
    "os.rename": "rename a file",
    "os.rmdir": "remove a folder",
    "os.system": "run a shell command",
    "socket.__new__": "open a socket",
    "subprocess.Popen": "start a process",
}


@functools.cache
def calls_of_c() -> Any:
    """The C library. Its functions keep the GIL, and each index makes a new object: nobody else sets its types."""
    return ctypes.PyDLL(None, use_errno=True)


@functools.cache
def _quiet(name: str, *types: Any) -> Any:
    """A C function that always returns None, so that a chain of calls goes on after it."""
    function = calls_of_c()[name]
    function.restype, function.argtypes = None, types
    return function


class _Filter(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


@functools.cache
def _filter(refused: int) -> _Filter | None:
    """The seccomp filter that answers `refused` to calls that reach out; None on a processor not listed here."""
    if platform.machine() not in _PROCESSORS or struct.calcsize("P") * 8 != 64:  # noqa: PLR2004 (bits)
        return None
    processor, open_, openat, clone, clone3, socket, numbers = _PROCESSORS[platform.machine()]
    # Each instruction: opcode, how many to skip if true, how many if false, operand.
    program = [(_LOAD, 0, 0, _PROCESSOR), (_EQUAL, 1, 0, processor), (_RETURN, 0, 0, refused), (_LOAD, 0, 0, _NUMBER)]
    program += [(0x35, 0, 1, _X32), (_RETURN, 0, 0, refused)]
    for number in numbers:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    for number, argument in ((open_, 1), (openat, 2)):
        if number >= 0:  # opening is allowed, for reading only
            program += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
            program += [(_ANY_BIT, 0, 1, _WRITING), (_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    program += [(_EQUAL, 0, 4, clone), (_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 1, 0, _CLONE_THREAD)]
    program += [(_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    # clone3's flags lie in memory that a filter cannot read; without it the C library uses clone, for threads too.
    program += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
    # Python's own sockets raise an audit event. The C library opens one to look up a user, and goes on without.
    program += [(_EQUAL, 0, 1, socket), (_RETURN, 0, 0, _REFUSE | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return _Filter(len(program), b"".join(struct.pack("HBBI", *instruction) for instruction in program))


def _filter_calls(refused: int) -> Iterator[Callable[[], object]]:
    rules = _filter(refused)
    if rules is not None:
        prctl = _quiet("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)
        yield functools.partial(prctl, _NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # without it, only root may set a filter
        yield functools.partial(prctl, _SECCOMP, 2, ctypes.addressof(rules), 0, 0)


def first_calls(pipe: int) -> list[Callable[[], object]]:
    """The calls that the child makes before any Python runs in it, each returning None; `pipe` stays open.

    Made in the parent, whose open descriptors the child inherits.
    """
    close, dup2 = _quiet("close", ctypes.c_int), _quiet("dup2", ctypes.c_int, ctypes.c_int)
    limit = _quiet("setrlimit", ctypes.c_int, ctypes.c_void_p)
    prctl = _quiet("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)
    zeros = (ctypes.c_ulong * 2)(0, 0)
    calls: list[Callable[[], object]] = [
        functools.partial(prctl, _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # if the parent dies, so does the child
        # `open` gives the lowest free descriptor: 0.
        functools.partial(close, 0),
        functools.partial(_quiet("open", ctypes.c_char_p, ctypes.c_int), os.devnull.encode(), os.O_RDWR),
    ]
    # Writes succeed, and go nowhere; a socket's other end and epoll's lists notice nothing.
    calls += [functools.partial(dup2, 0, fd) for fd in sorted({1, 2, *_descriptors()} - {0, pipe})]
    calls += [functools.partial(limit, option, zeros) for option in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)]
    calls += [gc.disable, *_filter_calls(_REFUSE | errno.EPERM)]
    return calls


def _descriptors() -> list[int]:
    return list(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 (numbers)


def stand(pipe: int) -> None:
    """From now on let nothing out of this process except through `pipe`, and let nothing in it wait for a person."""
    sys.settrace(None)
    sys.setprofile(None)
    monitoring: Any = getattr(sys, "monitoring", None)  # since Python 3.12
    for tool in () if monitoring is None else range(6):
        if monitoring.get_tool(tool) is not None:
            monitoring.set_events(tool, 0)
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()  # a terminal's keys are for the parent, and so is the terminal
    faulthandler.disable()
    for fd in set(_descriptors()) - {0, 1, 2, pipe}:  # another thread may have opened one just before
        os.dup2(0, fd, inheritable=False)
    _silence()
    _protect_shared_memory()
    calls_of_c()["prctl"](_DUMPABLE, 0, 0, 0, 0)  # no core dump, whatever the system does with those
    for call in _filter_calls(_KILL):
        call()
    internals: Any = sys.modules.get("jaxvjp_magic.jax_compat.internals")
    if internals is not None:
        internals.forbid_compiling(lambda *_, **__: _end(pipe, "run something with JAX, not only trace it"))
    sys.addaudithook(functools.partial(_audit, pipe))


def _silence() -> None:
    """Give the child streams of its own: a notebook's pass the text to a thread that does not exist here."""
    sys.dont_write_bytecode = True
    for name in ("stdout", "stderr"):
        stream = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 (no file)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    stream = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (as above)
    sys.stdin = sys.__stdin__ = stream  # type: ignore[misc]  # (it may be set)
    builtins.input = _no_answer
    if "getpass" in sys.modules:  # in a notebook it asks the page
        sys.modules["getpass"].getpass = _no_answer  # type: ignore[attr-defined]  # (a module)
    sys.breakpointhook = lambda *_, **__: None
    sys.unraisablehook = lambda _: None
    sys.excepthook = lambda *_: None
    logging.disable()
    warnings.simplefilter("ignore")


def _no_answer(*_: object, **__: object) -> NoReturn:
    message = "nobody answers in a forked child"
    raise EOFError(message)


def _protect_shared_memory() -> None:
    """Make memory shared with other processes read-only: the system kills this process if it writes there."""
    protect = calls_of_c()["mprotect"]
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 (a Path would take longer than all else here)
        shared = [line for line in maps if line.split(maxsplit=2)[1] in {b"rw-s", b"-w-s", b"rwxs"}]
    for line in shared:
        start, end = (int(address, 16) for address in line.split(maxsplit=1)[0].split(b"-"))
        if protect(start, end - start, 1):
            raise OSError(ctypes.get_errno(), "shared memory cannot be protected")


def _audit(pipe: int, event: str, arguments: tuple[Any, ...]) -> None:
    """End the child if an audit event says that something would act outside it.

    An exception is not enough: the program may catch it and go on, and then the
    check sees something that the program does not do.
    """
    if event in _HARMLESS or event.startswith("cpython."):
        return
    action = _IN_WORDS.get(event, f"use {event}")
    if event == "open":
        path, mode, flags = arguments
        if not flags & _WRITING and not (isinstance(mode, str) and set("wax+") & set(mode)):
            return
        if isinstance(path, int):  # a descriptor: leads nowhere, or was opened here
            return
        action = f"open {path!r:.100} for writing"
    elif event == "mmap.__new__" and (
        arguments[0] == -1 or arguments[2] in {1, 3}
    ):  # no file, read-only, or a private copy
        return
    _end(pipe, action)


def _end(pipe: int, action: str) -> NoReturn:
    try:
        answer(pipe, FORBIDDEN, f"it would {action}".encode(errors="replace"))
    finally:
        os._exit(0)


def answer(pipe: int, tag: bytes, data: bytes) -> None:
    """Write one answer: its tag byte, its length in 8 bytes, and the data."""
    rest = memoryview(tag + len(data).to_bytes(8, "little") + data)
    while rest:
        rest = rest[os.write(pipe, rest) :]
