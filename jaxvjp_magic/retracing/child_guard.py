"""What keeps a forked child from reaching outside of itself, from the moment it is there.

Three rings, as each has gaps. `first_calls` are calls of C that the child makes
before any Python runs in it, the program's own `os.register_at_fork` functions
included: every file descriptor leads to nowhere, nothing grows a file, and the
kernel refuses what would change files, start processes or reach other ones.
`stand` then ends the child at once where the kernel is asked for such a thing
(`seccomp`), and makes memory that is shared with other processes read-only. An
audit hook sees the same in Python, earlier, and can say what it was.

Linux alone; the kernel's filter for the two processors that are in wide use.
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

FORBIDDEN = b"f"  # begins the answer of a child that an audit event has ended

_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000  # what a filter answers; the second with an errno added
_NO_NEW_PRIVILEGES, _SECCOMP, _DEATH_SIGNAL, _DUMPABLE = 38, 22, 1, 4  # options of prctl
_CLONE_THREAD = 0x10000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of a filter
_NUMBER, _PROCESSOR, _ARGUMENTS = 0, 4, 16  # where they lie in what a filter reads
_X32 = 0x40000000  # other numbers for the same calls begin here
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# The kernel's numbers: of the processor, of open, openat, clone, clone3 and socket, and of all that reaches out:
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

# What Python tells of and what does not reach out of the process. All else ends the look, unknown names too.
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
    """The C library. Its functions keep the GIL, and an index makes a new object, in which no one else sets types."""
    return ctypes.PyDLL(None, use_errno=True)


@functools.cache
def _quiet(name: str, *types: Any) -> Any:
    """A function of C that always gives None: a chain of calls goes on after it."""
    function = calls_of_c()[name]
    function.restype, function.argtypes = None, types
    return function


class _Filter(ctypes.Structure):
    """The kernel's `struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("program", ctypes.c_char_p))


@functools.cache
def _filter(refused: int) -> _Filter | None:
    """The kernel's filter that answers `refused` to all that reaches out; None on a processor without numbers here."""
    if platform.machine() not in _PROCESSORS or struct.calcsize("P") * 8 != 64:  # noqa: PLR2004 (bits)
        return None
    processor, open_, openat, clone, clone3, socket, others = _PROCESSORS[platform.machine()]
    # Each: what to do, how many instructions to leave out if so, and if not, and what it is about.
    program = [(_LOAD, 0, 0, _PROCESSOR), (_EQUAL, 1, 0, processor), (_RETURN, 0, 0, refused), (_LOAD, 0, 0, _NUMBER)]
    program += [(0x35, 0, 1, _X32), (_RETURN, 0, 0, refused)]
    for number in others:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refused)]
    for number, argument in ((open_, 1), (openat, 2)):
        if number >= 0:  # may be opened, but for reading
            program += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]
            program += [(_ANY_BIT, 0, 1, _WRITING), (_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    program += [(_EQUAL, 0, 4, clone), (_LOAD, 0, 0, _ARGUMENTS), (_ANY_BIT, 1, 0, _CLONE_THREAD)]
    program += [(_RETURN, 0, 0, refused), (_RETURN, 0, 0, _ALLOW)]
    # What it is to do lies in memory that a filter does not see; the C library then uses clone, for threads too.
    program += [(_EQUAL, 0, 1, clone3), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
    # Python would have told of it. The C library asks for one where it looks up a user, and goes on without.
    program += [(_EQUAL, 0, 1, socket), (_RETURN, 0, 0, _REFUSE | errno.EPERM), (_RETURN, 0, 0, _ALLOW)]
    return _Filter(len(program), b"".join(struct.pack("HBBI", *one) for one in program))


def _filter_calls(refused: int) -> Iterator[Callable[[], object]]:
    rules = _filter(refused)
    if rules is not None:
        prctl = _quiet("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)
        yield functools.partial(prctl, _NO_NEW_PRIVILEGES, 1, 0, 0, 0)  # without it, only root may
        yield functools.partial(prctl, _SECCOMP, 2, ctypes.addressof(rules), 0, 0)


def first_calls(pipe: int) -> list[Callable[[], object]]:
    """What the child does before any Python runs in it, each call of C giving None; `pipe` stays open.

    Made in the parent, which the lists of open descriptors are the same for.
    """
    close, dup2 = _quiet("close", ctypes.c_int), _quiet("dup2", ctypes.c_int, ctypes.c_int)
    limit = _quiet("setrlimit", ctypes.c_int, ctypes.c_void_p)
    prctl = _quiet("prctl", ctypes.c_int, *[ctypes.c_ulong] * 4)
    nothing = (ctypes.c_ulong * 2)(0, 0)
    calls: list[Callable[[], object]] = [
        functools.partial(prctl, _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0),  # where the parent dies, so does the child
        # The first that is free is 0.
        functools.partial(close, 0),
        functools.partial(_quiet("open", ctypes.c_char_p, ctypes.c_int), os.devnull.encode(), os.O_RDWR),
    ]
    # What is written into them succeeds, and goes nowhere; a socket's other side and epoll's list notice nothing.
    calls += [functools.partial(dup2, 0, fd) for fd in sorted({1, 2, *_descriptors()} - {0, pipe})]
    calls += [functools.partial(limit, what, nothing) for what in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)]
    calls += [gc.disable, *_filter_calls(_REFUSE | errno.EPERM)]
    return calls


def _descriptors() -> list[int]:
    return list(map(int, os.listdir("/proc/self/fd")))  # noqa: PTH208 (numbers)


def stand(pipe: int) -> None:
    """Let nothing out of this process from now on, but through `pipe`; and let nothing of it wait for a person."""
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
    calls_of_c()["prctl"](_DUMPABLE, 0, 0, 0, 0)  # no dump, whatever the system does with them
    for call in _filter_calls(_KILL):
        call()
    internals: Any = sys.modules.get("jaxvjp_magic.jax_compat.internals")
    if internals is not None:
        internals.forbid_compiling(lambda *_, **__: _end(pipe, "run something with JAX, not only trace it"))
    sys.addaudithook(functools.partial(_audit, pipe))


def _silence() -> None:
    """Give the child streams of its own: a notebook's would hand what is written to a thread that is not there."""
    sys.dont_write_bytecode = True
    for name in ("stdout", "stderr"):
        stream = open(1, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 (no file)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    stream = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (as above)
    sys.stdin = sys.__stdin__ = stream  # type: ignore[misc]  # (it may be set)
    builtins.input = _no_answer
    if "getpass" in sys.modules:  # which asks a notebook's page
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
    """Make what this process shares with others read-only: who writes into it is ended by the system."""
    protect = calls_of_c()["mprotect"]
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    with open("/proc/self/maps", "rb") as maps:  # noqa: PTH123 (a Path would take longer than all else here)
        shared = [line for line in maps if line.split(maxsplit=2)[1] in {b"rw-s", b"-w-s", b"rwxs"}]
    for line in shared:
        start, end = (int(one, 16) for one in line.split(maxsplit=1)[0].split(b"-"))
        if protect(start, end - start, 1):
            raise OSError(ctypes.get_errno(), "shared memory cannot be protected")


def _audit(pipe: int, event: str, arguments: tuple[Any, ...]) -> None:
    """End the child if an audit event says that something would act outside it.

    An exception would do too little: the program may catch it and go on, and what
    is seen then is not what it does.
    """
    if event in _HARMLESS or event.startswith("cpython."):
        return
    what = _IN_WORDS.get(event, f"use {event}")
    if event == "open":
        path, mode, flags = arguments
        if not flags & _WRITING and not (isinstance(mode, str) and set("wax+") & set(mode)):
            return
        if isinstance(path, int):  # a descriptor: leads nowhere, or was opened here
            return
        what = f"open {path!r:.100} for writing"
    elif event == "mmap.__new__" and (arguments[0] == -1 or arguments[2] in {1, 3}):  # of no file, to read, a copy
        return
    _end(pipe, what)


def _end(pipe: int, what: str) -> NoReturn:
    try:
        answer(pipe, FORBIDDEN, f"it would {what}".encode(errors="replace"))
    finally:
        os._exit(0)


def answer(pipe: int, kind: bytes, data: bytes) -> None:
    """Write one answer: its kind, its length, and itself."""
    whole = memoryview(kind + len(data).to_bytes(8, "little") + data)
    while whole:
        whole = whole[os.write(pipe, whole) :]
