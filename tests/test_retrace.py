"""What JAX has traced before is seen, computes what it computes without the check, and is not compiled again."""

from __future__ import annotations

import contextlib
import gc
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.retracing import retrace

X = jnp.arange(4.0)


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


def body(carry, x):
    return sine(carry) * x, carry


def loop(x):
    return lax.scan(body, x[0], x)[0]


def summed(x):
    return sine(x).sum()


def both(x):
    return lax.cond(x[0] > 1, summed, jnp.sum, x)


total = jax.jit(summed)
around = jax.jit(lambda x: total(x) + 1)
saving = jax.checkpoint(summed)
step = jax.jit(jax.grad(lambda x: jax.vmap(sine)(x).sum()))
PROGRAMS = {
    "jit": lambda: step(X),
    "grad of jit": lambda: jax.grad(total)(X),
    "vmap of jit": lambda: jax.vmap(total)(X[:, None]),
    "jit in jit": lambda: around(X),
    "loop": lambda: loop(X),
    "grad of a loop": lambda: jax.grad(loop)(X),
    "grad of a branch": lambda: jax.grad(both)(X),
    "checkpoint": lambda: jax.grad(saving)(X),
    "eager": lambda: jax.grad(summed)(X),
}
every_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())


@contextlib.contextmanager
def counting(event):
    """The durations of one of JAX's events, as they come."""
    durations, is_on = [], [True]

    def listen(name, duration, **_):
        if is_on[0] and name.endswith(event):
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield durations
    finally:
        is_on[0] = False


def compilations():
    return counting("backend_compile_duration")


@every_program
def test_what_was_traced_before_is_seen_and_not_compiled_again(program):
    """Its calls are in the report, its value is the same, and no more is compiled than without the check."""
    before = program()
    with compilations() as plain:
        program()
    with compilations() as during, vjpcheck() as report:
        checked = program()
    with compilations() as after:
        program()
    assert any(call.kind == "custom_vjp" for call in report.calls)
    assert jax.tree.all(jax.tree.map(np.array_equal, before, checked))
    assert len(during) <= len(plain)
    assert len(after) <= len(plain)  # JAX compiles the derivative of an eager loop each time
    assert report.notes == ()


def test_what_is_compiled_in_a_check_is_not_compiled_again_after_it():
    """A function whose first call is checked is traced once and compiled once."""
    traces = []

    @jax.jit
    def fresh(x):
        traces.append(1)
        return jax.grad(lambda x: sine(x).sum())(x) * 3

    with vjpcheck() as report:
        fresh(X)
    with compilations() as compiled:
        fresh(X)
        fresh(X)
    assert len(report.calls) == 2
    assert len(traces) == 1
    assert compiled == []


def test_a_second_call_in_a_check_takes_the_fast_path():
    """Python is asked once for each function and type, as JAX asks without the check."""
    step(X)
    with vjpcheck():
        step(X)
        called = []
        original = internals.pjit._infer_params
        internals.pjit._infer_params = lambda *args: called.append(1) or original(*args)
        try:
            step(X)
        finally:
            internals.pjit._infer_params = original
    assert called == []


def test_a_function_is_traced_once_for_each_signature_in_a_check():
    """As without the check: each trace runs the program's function."""
    traced = []

    @jax.jit
    def function(x, y):
        traced.append((x, y))
        return x + y

    with vjpcheck():
        for y in (1.0, jnp.ones(3), 1.0, jnp.ones(3)):
            function(2.0, y)
            function(2.0, y=y)
    assert len(traced) == 4


def test_what_cannot_be_weakly_referenced_is_traced_as_ever():
    """JAX says that it does not take it, and so it does in a check."""

    class Slotted:
        __slots__ = ()

        def __call__(self, x):
            return x + 1

    with vjpcheck() as report, pytest.raises(TypeError, match="weak reference"):
        jax.jit(Slotted())(1)
    assert report.notes == ()


def test_checks_leave_no_entries_in_the_fast_path():
    """JAX looks through those of other settings one by one: with each check, a jitted function would be slower."""
    kept = jax.jit(lambda x: x + 1)
    sizes = []
    for _ in range(5):
        with vjpcheck():
            kept(X)
        sizes.append(kept._cache_size())
    assert sizes == [1] * 5


def test_a_cache_is_not_asked_for_its_keys_while_a_thread_is_inside():
    """In JAX 0.8 that thread may hold the cache's lock and wait for the interpreter's: both would wait for ever."""
    inside, entered, done = retrace._Inside(), threading.Event(), threading.Event()

    def work():
        with inside:
            entered.set()
            done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait()
    assert inside.alone(lambda: ["keys"]) is None
    done.set()
    thread.join()
    assert inside.alone(lambda: ["keys"]) == ["keys"]


scale = 2.0


def scaled(x):
    return (sine(x) * scale).sum()


def test_a_global_that_changed_since_gives_what_it_gives_without_the_check():
    """JAX keeps using the compiled version; so does the check, and it says what it could not show."""
    global scale  # noqa: PLW0603 (that is the point)
    compiled = jax.jit(scaled)
    before, gradient = compiled(X), jax.grad(compiled)(X)
    scale = 5.0
    try:
        with vjpcheck() as report:
            assert compiled(X) == before
            assert np.array_equal(jax.grad(compiled)(X), gradient)
    finally:
        scale = 2.0
    (note,) = report.notes
    assert note == (
        "scaled was compiled before this check, and a value that it reads has changed since. "
        "JAX keeps using the compiled version; the calls inside are not shown"
    )


def test_a_library_that_puts_something_new_into_each_trace_is_no_change_of_the_programs():
    """A token in each of equinox's errors: the program goes on as it was, and there is nothing to say."""
    equinox = pytest.importorskip("equinox")
    checked = jax.jit(lambda x: sine(equinox.error_if(x, x < 0, "negative")))
    before = jax.vmap(checked)(X)
    with vjpcheck() as report:
        after = jax.vmap(checked)(X)
    assert np.array_equal(before, after)
    assert report.notes == ()
    assert [call.kind for call in report.calls] == ["custom_vjp"]


def test_a_function_that_cannot_be_traced_again_goes_on_as_it_was():
    """What it needs has gone; JAX does not ask for it, so nobody notices."""
    needed = [2.0]
    compiled = jax.jit(lambda x: sine(x) * needed[0])
    before = compiled(X)
    needed.clear()
    with vjpcheck() as report:
        assert np.array_equal(compiled(X), before)
    assert report.error is None
    assert report.notes == ()


def test_a_trace_of_our_own_prints_nothing(capsys):
    """What a function prints while it is traced was printed when the program traced it."""
    compiled = jax.jit(lambda x: print("traced") or sine(x))  # noqa: T201 (that is the point)
    compiled(X)
    capsys.readouterr()
    with vjpcheck() as report:
        compiled(X)
    assert capsys.readouterr().out == ""
    assert len(report.calls) == 1


@every_program
def test_checking_again_and_again_leaves_nothing_behind(program):
    """As many objects after fifteen more checks as before, but for what Python itself remembers of types."""

    def check():
        with vjpcheck():
            program()

    def objects():
        gc.collect()
        return len(gc.get_objects())

    for _ in range(5):
        check()
    before = objects()
    for _ in range(15):
        check()
    assert objects() - before < 2 * 15  # a single pytree that stayed would be some twenty for each


@pytest.mark.parametrize(
    "function",
    [body, PROGRAMS["jit"], jax.tree_util.Partial(body, 1.0), jnp.sin, sine, "text".upper, len],
    ids=lambda function: type(function).__name__,
)
def test_a_copy_is_another_object_that_does_the_same(function):
    """Of functions, methods, partials, and of whatever else can be called."""
    copy = retrace.copy_of(function)
    assert copy is not function
    assert not hasattr(copy, "__wrapped__") or not isinstance(function, type(body))


def test_a_copy_shares_variables_defaults_and_attributes():
    """It reads and writes the same closure, and takes the same arguments."""
    count = 0

    def counted(x, by=1, *, times=2):
        nonlocal count
        count += by * times
        return x

    counted.mark = "kept"
    copy = retrace.copy_of(counted)
    copy(1)
    assert (count, copy.mark, copy.__name__, copy.__qualname__) == (2, "kept", "counted", counted.__qualname__)
    assert copy.__kwdefaults__ == {"times": 2}


def test_jax_finds_all_that_it_asks_its_caches_for():
    """`clear_cache` of a jitted function and `jax.clear_caches` work in a check, and the function after it."""
    compiled = jax.jit(lambda x: sine(x) + 1)
    before = compiled(X)
    with vjpcheck() as report:
        compiled.clear_cache()
        assert np.array_equal(compiled(X), before)
        jax.clear_caches()
        assert np.array_equal(compiled(X), before)
    assert report.notes == ()
    assert len(report.calls) == 1


def test_a_fault_in_retracing_is_a_note(monkeypatch):
    """The program has what it needs; the report says what could not be looked at."""
    total(X)
    monkeypatch.setattr(retrace, "copy_of", lambda _: 1 / 0)
    with vjpcheck() as report:
        value = total(X)
    assert value == total(X)
    assert report.notes == ("could not record a call: ZeroDivisionError: division by zero",)
