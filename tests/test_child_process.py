"""Looks in a forked child: what comes back, what cannot get out, and that the parent notices nothing."""

from __future__ import annotations

import _imp
import _thread
import builtins
import contextlib
import gc
import itertools
import logging
import mmap
import multiprocessing.resource_tracker
import multiprocessing.shared_memory
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.retracing import child_guard
from jaxvjp_magic.retracing.child_process import Outcome, can_fork, in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux is there a forked child")

X = jax.ShapeDtypeStruct((3,), jnp.float32)
BUDGET = 20.0  # seconds, of which milliseconds are used
TABLE = jnp.arange(3.0)


@pytest.fixture(autouse=True)
def tidy():
    """Each test leaves no child and no descriptor behind, and holds no lock."""
    multiprocessing.resource_tracker.ensure_running()  # a child that shared memory needs
    before = left()
    yield
    assert left() <= before  # what other tests left open in this process may close meanwhile
    assert not _imp.lock_held()


def left():
    """The open pipes and the children of this process, ended ones too."""
    children = [one.read_text().split() for one in Path("/proc/self/task").glob("*/children")]
    return set(map(target, Path("/proc/self/fd").iterdir())) - {""} | {pid for some in children for pid in some}


def target(descriptor):
    """The pipe that this is; "" for all else, and for what another thread closes at this moment."""
    try:
        link = os.readlink(descriptor)  # noqa: PTH115 (a text)
    except FileNotFoundError:
        return ""
    return link if link.startswith("pipe:") else ""


def look(work, budget=BUDGET):
    """What `work()` gives in a child, as text, or why there is nothing."""
    outcome = in_child(lambda: str(work()).encode(), budget)
    return outcome.why if outcome.data is None else outcome.data.decode()


def in_python(program, *options):
    """What a Python process of its own writes, which runs this program; it must end well."""
    code = "from jaxvjp_magic.retracing.child_process import in_child, can_fork\n" + textwrap.dedent(program)
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # it opens files
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


# What comes back


def test_the_bytes_come_back_and_the_way_stays_on():
    assert in_child(lambda: b"\0\1", BUDGET) == Outcome(b"\0\1", "")
    assert in_child(lambda: b"", BUDGET) == Outcome(b"", "")
    assert can_fork() == ""


def test_many_megabytes_come_back_whole():
    data = random.Random(0).randbytes(20_000_000)  # noqa: S311 (no secret)
    assert in_child(lambda: data, BUDGET).data == data


@pytest.mark.parametrize(
    ("work", "why"),
    [
        (lambda: 1 / 0, "it raised ZeroDivisionError: division by zero"),
        (lambda: sys.exit("good bye\nand more"), "it raised SystemExit: good bye"),
        (lambda: exec("raise KeyboardInterrupt"), "it raised KeyboardInterrupt"),  # noqa: S102 (a statement)
        (lambda: pytest.fail("no"), "it raised Failed: no"),
        (lambda: os._exit(3), "its process ended without an answer"),
        (os.abort, f"its process ended by signal {signal.SIGABRT:d}"),
        (lambda: os.closerange(3, 1000), "its process ended without an answer"),
    ],
)
def test_how_the_work_ends_stays_in_the_child(work, why):
    assert look(work) == why
    assert can_fork() == ""


def test_what_was_written_in_part_is_not_taken():
    def work():
        thread = threading.Timer(0.2, os._exit, [0])
        thread.start()
        return b"x" * 10_000_000

    outcome = []
    real, slow = os.read, lambda fd, size: time.sleep(0.3) or real(fd, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", slow)
        outcome.append(in_child(work, BUDGET))
    assert outcome == [Outcome(None, "its process ended without an answer")]


# What cannot get out


def test_what_is_printed_and_logged_goes_nowhere(capfd):
    handler = logging.StreamHandler()
    logger = logging.getLogger("test_child_process")
    logger.addHandler(handler)
    kept = sys.stderr

    def work():
        print("printed")  # noqa: T201 (what it is about)
        print("kept", file=kept, flush=True)
        logger.error("logged")
        warnings.warn("warned", stacklevel=1)
        os.write(1, b"written")
        sys.stdout.buffer.write(b"bytes")
        sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, b"written")
        return sys.stdout.isatty(), sys.stdin.read()

    try:
        assert look(work) == "(False, '')"
    finally:
        logger.removeHandler(handler)
    assert capfd.readouterr() == ("", "")


def test_no_one_is_asked(monkeypatch):
    monkeypatch.setattr(builtins, "input", lambda _: pytest.fail("was asked"))
    assert look(lambda: input("? ")) == "it raised EOFError: nobody answers in a forked child"
    assert look(lambda: breakpoint()) == "None"  # noqa: T100 (what it is about)


def test_state_of_python_stays():
    counter, seen, generator = itertools.count(), [], np.random.default_rng(0)
    chance, numbers = random.getstate(), generator.bit_generator.state

    def work():
        seen.append(next(counter))
        generator.normal()
        random.random()  # noqa: S311 (no secret)
        os.environ["TEST_FORKED"] = "1"
        warnings.simplefilter("error")
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.chdir("/")
        return len(seen)

    folder, filters, handler = os.getcwd(), list(warnings.filters), signal.getsignal(signal.SIGUSR1)  # noqa: PTH109
    assert look(work) == "1"
    assert (next(counter), seen) == (0, [])
    assert (random.getstate(), generator.bit_generator.state) == (chance, numbers)
    assert (os.getcwd(), list(warnings.filters), signal.getsignal(signal.SIGUSR1)) == (folder, filters, handler)  # noqa: PTH109
    assert "TEST_FORKED" not in os.environ


def test_random_numbers_are_those_that_the_program_would_get():
    assert look(random.random) == str(random.random())  # noqa: S311 (no secret)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("open(path, 'a').write('x')", "it would open '{path}' for writing"),
        ("open(path, 'r+')", "it would open '{path}' for writing"),
        ("os.open(path, os.O_RDONLY | os.O_TRUNC)", "it would open '{path}' for writing"),
        ("pathlib.Path(path).write_text('')", "it would open '{path}' for writing"),
        ("np.save(path, np.ones(3))", "it would open '{path}.npy' for writing"),
        ("os.remove(path)", "it would remove a file"),
        ("os.rename(path, path + '2')", "it would rename a file"),
        ("os.mkdir(path + 'd')", "it would make a folder"),
        ("os.chmod(path, 0)", "it would use os.chmod"),
        ("os.utime(path)", "it would use os.utime"),
        ("os.mkfifo(path + 'f')", "it would act outside its process"),  # of which Python does not tell
        ("os.system('true')", "it would run a shell command"),
        ("subprocess.run(['true'])", "it would start a process"),
        ("os.fork()", "it would start a process"),
        ("os.kill(os.getppid(), 9)", "it would send a signal"),
        ("signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)", "it would act outside its process"),
        ("socket.create_connection(('127.0.0.1', 9))", "it would use socket.getaddrinfo"),
        ("socket.socket()", "it would open a socket"),
        ("ctypes.CDLL(None).unlink(path.encode())", "it would load a library of C"),
        ("libc.unlink(path.encode())", "it would act outside its process"),  # found before
        ("libc.creat(path.encode(), 0)", "it would act outside its process"),
        ("tempfile.mkdtemp()", "it would use tempfile.mkdtemp"),
        ("shutil.rmtree(os.path.dirname(path))", "it would use shutil.rmtree"),
        ("sqlite3.connect(path)", "it would use sqlite3.connect"),
        ("multiprocessing.shared_memory.SharedMemory(create=True, size=9)", "it would act outside its process"),
        ("np.memmap(path, mode='r+')", "it would open '{path}' for writing"),
        ("sys.audit('some.event')", "it would use some.event"),
    ],
)
def test_what_reaches_out_ends_the_look(tmp_path, text, why):
    import ctypes
    import pathlib
    import shutil
    import sqlite3
    import tempfile

    path = tmp_path / "file"
    path.write_text("as before")
    libc = ctypes.CDLL(None)
    libc.unlink, libc.creat  # noqa: B018 (found from here on)
    tools = (ctypes, pathlib, shutil, sqlite3, tempfile, os, np, sys, signal, socket, subprocess, multiprocessing)
    names = {one.__name__: one for one in tools} | {"path": str(path), "np": np, "libc": libc}

    def work():
        with contextlib.suppress(BaseException):  # as programs do
            eval(text, names)  # noqa: S307 (our own text)
        return "went on"

    assert look(work) == why.format(path=path)
    assert [(one, one.read_text()) for one in tmp_path.iterdir()] == [(path, "as before")]
    assert can_fork() == ""


def test_reading_and_importing_go_on(tmp_path):
    (tmp_path / "module_of_a_test.py").write_text("VALUE = 3")
    array = tmp_path / "array.npy"
    np.save(array, np.arange(3))

    def work():
        sys.path.insert(0, str(tmp_path))
        import module_of_a_test

        mapped = np.load(array, mmap_mode="r")
        copied = np.load(array, mmap_mode="c")
        copied[0] = 1
        anonymous = mmap.mmap(-1, 10)
        anonymous[0] = 1
        thread = threading.Thread(target=lambda: copied.__setitem__(1, 5))
        thread.start()
        thread.join()
        return (
            module_of_a_test.VALUE,
            mapped.tolist(),
            copied.tolist(),
            sorted(one.name for one in tmp_path.iterdir()),
        )

    assert look(work) == "(3, [0, 1, 2], [1, 5, 2], ['array.npy', 'module_of_a_test.py'])"
    assert "module_of_a_test" not in sys.modules
    assert len(list(tmp_path.iterdir())) == 2


def test_open_files_and_sockets_lead_nowhere(tmp_path):
    path = tmp_path / "log"
    one, other = socket.socketpair()
    poll = select.epoll()
    poll.register(other, select.EPOLLIN)
    with path.open("w") as file, one, other, poll:
        file.write("once;")  # not flushed yet

        def work():
            file.write("never;")
            file.flush()
            os.write(file.fileno(), b"never;")
            with contextlib.suppress(OSError):
                one.send(b"never")
            with contextlib.suppress(OSError):
                poll.unregister(other)
            return "done"

        assert look(work) == "it would act outside its process"
        one.send(b"x")
        assert poll.poll(1)
        assert other.recv(9) == b"x"
    assert path.read_text() == "once;"


def test_no_finalizer_and_no_atexit_runs(tmp_path):
    program = f"""
        import atexit, weakref, sys
        class A: pass
        a = A()
        weakref.finalize(a, lambda: open({str(tmp_path / "f")!r}, "a").write("finalized "))
        atexit.register(lambda: print("atexit"))
        sys.stdout.write("buffered ")
        print(in_child(lambda: b"x", 5).data)
    """
    assert in_python(program) == "buffered b'x'\natexit\n"
    assert (tmp_path / "f").read_text() == "finalized "


def test_shared_memory_is_read_only_in_the_child(tmp_path):
    fault = f"its process ended by signal {signal.SIGSEGV:d}"
    mapped = np.memmap(tmp_path / "array", dtype=np.uint8, mode="w+", shape=5000)
    anonymous = mmap.mmap(-1, 10)
    shared = multiprocessing.shared_memory.SharedMemory(create=True, size=10)
    lock = multiprocessing.get_context("fork").Lock()
    try:
        mapped[0] = anonymous[0] = shared.buf[0] = 7
        assert look(lambda: (mapped[0], anonymous[0], shared.buf[0])) == "(np.uint8(7), 7, 7)"
        assert look(lambda: mapped.__setitem__(1, 1)) == fault
        assert look(lambda: anonymous.__setitem__(1, 1)) == fault
        assert look(lambda: shared.buf.__setitem__(1, 1)) == fault
        assert look(lock.acquire) == fault
        assert look(shared.unlink) == "it would act outside its process"
        mapped[1] = anonymous[1] = shared.buf[1] = 2  # the parent may, as ever
        assert lock.acquire(timeout=1)
    finally:
        shared.close()
        shared.unlink()
        anonymous.close()


# The way is switched off where a child waits for what does not come


def test_a_lock_that_is_held_costs_the_budget_once():
    lock = threading.Lock()
    with lock:
        assert look(lock.acquire, 0.5) == "it did not answer within 0.5 s (it was waiting)"
    why = "a child process did not answer within 0.5 s (it was waiting)"
    assert can_fork() == why
    assert in_child(lambda: b"", BUDGET) == Outcome(None, why)
    assert lock.acquire(timeout=1)


def test_nothing_is_concluded_from_a_short_time(monkeypatch):
    monkeypatch.setattr(child_guard, "stand", lambda _: time.sleep(60))
    assert look(lambda: 1, 0.1) == "it took longer than 0.1 s"
    assert can_fork() == ""


@pytest.mark.any_jax
def test_work_that_takes_long_leaves_the_way_on():
    assert look(lambda: sum(itertools.count()), 0.5) == "it took longer than 0.5 s"
    assert can_fork() == ""


def test_there_is_no_child_of_a_child():
    assert look(lambda: in_child(lambda: b"", BUDGET).why) == "it is a forked child itself"


# The parent notices nothing


@pytest.mark.any_jax
def test_an_interrupt_passes_on_and_leaves_nothing():
    """At many moments, from before the fork to after the end of the wait."""
    interrupted, before = 0, left()
    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
    old = signal.signal(signal.SIGALRM, lambda *_: _thread.interrupt_main())
    gc.disable()  # Python prints and forgets an interrupt that comes in a callback of the collector's, as JAX has one
    try:
        for microseconds in range(1, 30_000, 400):
            try:
                signal.setitimer(signal.ITIMER_REAL, microseconds / 1e6)
                in_child(lambda: time.sleep(0.02) or b"x", BUDGET)
                time.sleep(0.03)
            except KeyboardInterrupt:
                interrupted += 1
            assert not _imp.lock_held()
            assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
            assert left() == before
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        signal.signal(signal.SIGINT, was)
        gc.enable()
    assert interrupted == 75
    assert can_fork() == ""


def test_signals_with_handlers_do_not_end_the_wait():
    seen = []
    old = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        assert look(lambda: time.sleep(0.2)) == "None"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert len(seen) > 3


def test_a_program_that_handles_the_end_of_children_is_left_alone():
    old = signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        assert in_child(lambda: b"", 1) == Outcome(None, can_fork())
        assert can_fork() == "the program handles the end of child processes (SIGCHLD) itself"
    finally:
        signal.signal(signal.SIGCHLD, old)


def test_children_that_nobody_waits_for():
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert look(lambda: 1) == "1"
        assert look(os.abort) == "its process ended without an answer"  # the system does not say how
        assert look(lambda: sum(itertools.count()), 0.3) == "it took longer than 0.3 s"
    finally:
        signal.signal(signal.SIGCHLD, old)


@pytest.mark.parametrize(
    ("name", "why"),
    [("darwin", "forked children are used only on Linux"), ("win32", "forked children are used only on Linux")],
)
def test_other_systems(monkeypatch, name, why):
    monkeypatch.setattr(sys, "platform", name)
    assert can_fork().startswith(why)


def test_where_the_system_has_no_process_to_give(monkeypatch):
    program = """
        import os, resource
        in_child(lambda: b"", 5)
        if os.getuid() == 0:
            os.setuid(12345)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        print(in_child(lambda: b"", 5).why, can_fork(), os.listdir("/proc/self/fd"))
    """
    assert in_python(program) == (
        "the system could not start a child process: Resource temporarily unavailable  ['0', '1', '2', '3']\n"
    )


def test_where_a_standard_stream_is_closed():
    program = """
        import os
        os.close(0)
        print(in_child(lambda: b"", 5).why)
    """
    assert in_python(program) == "a standard stream of the process is closed\n"


def test_no_warning_with_threads_and_jax():
    program = """
        import jax, jax.numpy as jnp, threading, warnings
        jax.jit(lambda x: x * 2)(jnp.ones(3)).block_until_ready()
        stop = threading.Event()
        threads = [threading.Thread(target=stop.wait) for _ in range(3)]
        for one in threads: one.start()
        warnings.simplefilter("error")
        before = list(warnings.filters), warnings._filters_version if hasattr(warnings, "_filters_version") else 0
        shape = lambda: str(jax.eval_shape(jnp.sin, jax.ShapeDtypeStruct((3,), float)).shape).encode()
        print(in_child(shape, 20), before[0] == list(warnings.filters))
        stop.set()
    """
    assert in_python(program, "-X", "dev", "-W", "error") == "Outcome(data=b'(3,)', why='') True\n"


def test_functions_that_are_registered_for_forks():
    """None runs in the parent; those for the child do, behind the guard: what they write and open goes nowhere."""
    program = """
        import os, sys, tempfile
        folder = tempfile.mkdtemp()
        log = open(folder + "/log", "w", buffering=1)
        done = []
        def child():
            done.append("child")
            print("loud", flush=True); log.write("loud"); os.write(2, b"loud")
            for reach, path in ((os.mkdir, "/d"), (lambda path: open(path, "w"), "/f"), (os.remove, "/log")):
                try: reach(folder + path)
                except OSError: done.append("refused")
            raise ValueError("in the hook")
        os.register_at_fork(before=lambda: done.append("before"), after_in_parent=lambda: done.append("parent"),
                            after_in_child=child)
        print(in_child(lambda: str(done).encode(), 5).data.decode(), done, os.listdir(folder), open(log.name).read())
    """
    assert in_python(program) == "['child', 'refused', 'refused', 'refused'] [] ['log'] \n"


def test_a_trace_function_sees_no_child():
    program = """
        import os, sys
        parent, seen = os.getpid(), []
        def trace(frame, event, argument):
            if os.getpid() != parent and "stand" not in frame.f_code.co_name: seen.append(frame.f_code.co_name)
            return trace
        def work(): return str([one for one in seen if one == "work"]).encode()
        sys.settrace(trace)
        print(in_child(work, 5).data, sys.gettrace() is trace)
    """
    assert in_python(program) == "b'[]' True\n"


def test_a_child_dies_with_its_parent():
    program = """
        import os, sys, threading, time
        def work():
            time.sleep(30)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), 9)).start()
        in_child(work, 40)
    """
    code = "from jaxvjp_magic.retracing.child_process import in_child\n" + textwrap.dedent(program)
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert time.monotonic() - begin < 20  # the pipes are closed: nobody has them any more


def test_limits_are_the_child_s():
    assert look(lambda: resource.getrlimit(resource.RLIMIT_CORE)) == "(0, 0)"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.any_jax
@pytest.mark.parametrize("jobs", [2])
def test_beside_threads_that_spin(jobs):
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=spin) for _ in range(jobs)]
    for one in threads:
        one.start()
    try:
        assert [look(lambda: 3) for _ in range(20)] == ["3"] * 20
    finally:
        stop.set()
        for one in threads:
            one.join()


def test_in_several_threads_at_once():
    found = []
    threads = [threading.Thread(target=lambda i=i: found.extend(look(lambda: i) for _ in range(10))) for i in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(found) == sorted("012" * 10)


# JAX: abstract evaluation alone


def shape_of(function, *arguments):
    """The text that a child has for the shape of what this function gives."""
    return look(lambda: jax.tree.map(lambda one: one.str_short(), jax.eval_shape(function, *arguments)))


def test_shapes_come_from_traces():
    array = np.ones((3, 3), np.float32)
    assert look(lambda: jax.eval_shape(lambda x: jnp.asarray(array) @ x * jnp.arange(3) + TABLE, X).shape) == "(3,)"
    assert look(lambda: jax.eval_shape(jax.grad(lambda x: jnp.sin(x).sum()), X).shape) == "(3,)"
    assert look(lambda: jax.eval_shape(lambda x: x + jax.random.normal(jax.random.key(0), (3,)), X).shape) == "(3,)"
    assert look(lambda: jax.eval_shape(lambda x: x * np.asarray(TABLE), X).shape) == "(3,)"
    assert look(lambda: jax.device_put(array).shape) == "(3, 3)"


def test_shapes_through_flax_and_haiku():
    with warnings.catch_warnings(action="ignore"):  # of what they use of JAX
        nn = pytest.importorskip("flax.linen")
        hk = pytest.importorskip("haiku")
    dense = nn.Dense(3)

    def with_flax(x):
        return dense.apply(dense.init(jax.random.key(0), x), x)

    def with_haiku(x):
        net = hk.transform(lambda x: hk.Linear(4)(x))
        return net.apply(net.init(jax.random.PRNGKey(0), x), None, x)

    assert look(lambda: jax.eval_shape(with_flax, X).shape) == "(3,)"
    assert look(lambda: jax.eval_shape(with_haiku, X).shape) == "(4,)"
    assert look(lambda: jax.eval_shape(jax.grad(lambda x: with_flax(x).sum()), X).shape) == "(3,)"


@pytest.mark.parametrize(
    "work",
    [
        lambda: TABLE * 2,
        lambda: jnp.tanh(TABLE),
        lambda: jax.jit(lambda x: jnp.cos(x) * 3)(TABLE),
        lambda: jax.jit(lambda x: jnp.cos(x) * 3).lower(TABLE),
        lambda: jax.random.normal(jax.random.key(0), (3,)),
        lambda: float(TABLE[0]),
        lambda: jax.lax.scan(lambda c, x: (c + x, c), 0.0, TABLE),
    ],
)
def test_what_xla_would_run_ends_the_look_and_does_not_hang(work):
    (TABLE * 2).block_until_ready()  # is compiled by now, and on jit's fast path
    assert look(work) == "it would run something with JAX, not only trace it"
    assert can_fork() == ""
    assert (TABLE * 2).tolist() == [0, 2, 4]


def test_an_array_that_is_still_computed_is_not_waited_for():
    big = jax.jit(lambda x: jax.lax.fori_loop(0, 6, lambda _, x: x @ x / 1500, x))
    ones = jnp.ones((1500, 1500))
    big(ones).block_until_ready()
    for read in (lambda one: np.asarray(one), lambda one: np.array(one), lambda one: one.tolist()):
        pending = big(ones)
        assert not pending.is_ready()
        assert look(lambda: read(pending)) == "it would run something with JAX, not only trace it"  # noqa: B023
        pending.block_until_ready()


def test_an_accelerator_is_not_touched(monkeypatch):
    assert internals.accelerators() == []
    monkeypatch.setattr(internals, "accelerators", lambda: ["cuda"])
    assert look(lambda: jax.eval_shape(lambda x: x * jnp.arange(3), X).shape) == "(3,)"
    assert look(lambda: jax.device_put(np.ones(3))) == "it would run something with JAX, not only trace it"


def test_without_the_filter_of_the_kernel(monkeypatch):
    """On a processor whose numbers are not known, Python's own ring stands."""
    child_guard._filter.cache_clear()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    try:
        assert look(lambda: os.mkdir("never")) == "it would make a folder"  # noqa: PTH102 (as programs do)
        assert look(lambda: 3) == "3"
    finally:
        child_guard._filter.cache_clear()
