"""Threads, tasks, nested checks, a program that changes JAX: each check has its own calls, and nothing stays."""

from __future__ import annotations

import asyncio
import collections
import gc
import importlib
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import HOOKED, LOAD, SQUARE, value_of
from faults import standing

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.jax_compat import internals

X = jnp.arange(3.0)
api = internals.api


def rule(name):
    """A right rule, whose function has this name."""
    f = jax.custom_vjp(lambda x: x * x)
    f.fun.__name__ = f.fun.__qualname__ = name
    f.fun.__code__ = f.fun.__code__.replace(co_name=name)  # functions of one code are one function to a report
    f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    return f


def names(report):
    """The custom_vjp functions that a report has, with how often each was called."""
    found = collections.Counter()
    for call in report.calls:
        found[call.function] += call.count * (call.kind == "custom_vjp")
    return dict(+found)


@pytest.fixture(autouse=True)
def clean():
    """JAX is as before each of these tests."""
    before = standing()
    yield
    assert standing() == before
    assert tracer._hooks()._recorders == {}


@pytest.fixture(scope="module")
def kernel(start_kernel):
    """A kernel with the extension and the function `square`."""
    kernel = start_kernel()
    kernel.run(LOAD)
    kernel.run(SQUARE)
    return kernel


def in_threads(*functions):
    """Run each in a thread of its own; what one raises is raised here."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (it is raised below)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


# Threads ------------------------------------------------------------------------------------------


def test_checks_in_two_threads_have_their_own_calls():
    """Each thread's check sees what that thread does, whichever began last."""
    both, reports = threading.Barrier(2), {}

    def work(name):
        f = rule(name)
        with vjpcheck() as report:
            for _ in range(5):
                both.wait()
                jax.grad(f)(1.0)
            both.wait()
        reports[name] = report

    in_threads(lambda: work("one"), lambda: work("two"))
    assert {name: names(report) for name, report in reports.items()} == {"one": {"one": 5}, "two": {"two": 5}}


def test_a_thread_without_a_check_is_seen_by_the_last_that_began():
    """A worker has no check of its own: what it does is in the report of the innermost check."""
    with vjpcheck() as outer:
        in_threads(lambda: jax.grad(rule("before"))(1.0))
        with vjpcheck() as inner:
            in_threads(lambda: jax.grad(rule("within"))(1.0))
        in_threads(lambda: jax.grad(rule("after"))(1.0))
    assert names(outer) == {"before": 1, "after": 1}
    assert names(inner) == {"within": 1}


def test_a_thread_that_outlives_its_check_goes_on_in_silence():
    """It differentiates with functions and a pullback from inside the check: right, and nothing is recorded or kept."""
    begun, over, results = threading.Event(), threading.Event(), []
    f, kept = rule("f"), []

    def work():
        x = jnp.ones(4) * 3
        out, pullback = jax.vjp(f, x)
        compiled = jax.jit(jax.grad(lambda x: f(x).sum()))
        compiled(x)
        begun.set()
        over.wait()
        gradient = pullback(jnp.ones_like(out))[0]
        results.extend(np.array(one) for one in (gradient, compiled(x), jax.grad(f)(3.0)))
        kept.extend(map(weakref.ref, (x, out, gradient)))

    thread = threading.Thread(target=work)
    with vjpcheck() as report:
        thread.start()
        begun.wait()
    calls = report.calls
    over.set()
    thread.join()
    assert [one.tolist() for one in results] == [[6.0] * 4, [6.0] * 4, 6.0]
    gc.collect()
    assert [one() for one in kept] == [None] * 3
    assert report.calls is calls
    assert report.notes == ()


def test_a_pullback_may_be_called_in_another_thread():
    """Inside the check it belongs to its call; after it, it works as ever."""
    with vjpcheck() as report:
        out, pullback = jax.vjp(lambda x: x * x, X)
        in_threads(lambda: pullback(out))
    assert [(call.kind, call.status) for call in report.calls] == [("vjp", "ok")]
    results = []
    in_threads(lambda: results.append(pullback(jnp.ones(3))[0]))
    assert results[0].tolist() == [0.0, 2.0, 4.0]


def test_tasks_that_take_turns_have_checks_of_their_own():
    """Two tasks in one thread, whose checks end in the order in which they began."""

    async def work(name, turns):
        f = rule(name)
        with vjpcheck() as report:
            for _ in range(turns):
                jax.grad(f)(1.0)
                await asyncio.sleep(0)
        return names(report)

    async def main():
        return await asyncio.gather(work("one", 2), work("two", 4), work("three", 3))

    results = []
    in_threads(lambda: results.append(asyncio.run(main())))  # here a loop may be running: a browser's
    assert results == [[{"one": 2}, {"two": 4}, {"three": 3}]]


# Checks in checks ---------------------------------------------------------------------------------


def test_a_check_in_a_rule_takes_what_happens_in_it():
    """The inner report has the inner calls, the outer one the rest; nothing is in both."""
    inside = []

    def bwd(x, g):
        with vjpcheck() as report:
            gradient = jax.grad(rule("inner"))(x)
        inside.append(names(report))
        return (gradient * g,)

    f = rule("outer")
    f.defvjp(lambda x: (x * x, x), bwd)
    with vjpcheck() as report:
        assert jax.grad(f)(3.0) == 6.0
    assert names(report) == {"outer": 1}
    assert {"inner": 1} in inside  # a look at what bwd uses may have run it once more, in silence
    assert report.notes == ()


def test_a_check_inside_the_display_of_a_checked_cell(kernel):
    """An object whose repr runs a check, shown by a checked cell: the cell's report has the cell's calls."""
    cell = (
        "%%vjpcheck\nfrom jaxvjp_magic import vjpcheck\n"
        "class Shown:\n    def _repr_html_(self):\n        with vjpcheck() as self.report:\n"
        "            jax.grad(square)(2.)\n        return f'{len(self.report.calls)} calls'\n"
        "jax.vjp(square, 1.)\nshown = Shown()\nshown"
    )
    outcome = kernel.run(cell)
    (html,) = [content["data"]["text/html"] for kind, content in outcome.own if kind == "execute_result"]
    assert html == "2 calls"
    assert [call["kind"] for call in outcome.report["calls"]] == ["vjp", "custom_vjp"]
    assert kernel.evaluate(HOOKED) == "0"


# A program that changes JAX -----------------------------------------------------------------------


def test_a_patch_that_the_program_leaves_in_jax_stays(monkeypatch):
    """It wraps what stands there during the check; afterwards it stands, works, and later checks count once."""
    counted = []

    def patched(self, *arguments):
        counted.append(1)
        return before(self, *arguments)

    original = api.VJP.__call__
    with vjpcheck() as first:
        before = api.VJP.__call__
        api.VJP.__call__ = patched
        jax.vjp(rule("f"), 1.0)[1](1.0)
    try:
        assert api.VJP.__call__ is patched
        with vjpcheck() as second:
            assert jax.vjp(rule("f"), 1.0)[1](1.0)[0] == 2.0
        assert api.VJP.__call__ is patched
        assert jax.vjp(rule("f"), 1.0)[1](1.0)[0] == 2.0
    finally:
        api.VJP.__call__ = original
    for report in (first, second):
        assert [(call.kind, call.count) for call in report.calls] == [("vjp", 1), ("custom_vjp", 1)]
        assert report.notes == ()
    assert len(counted) == 3


def test_functions_of_jax_that_the_program_wraps_are_seen_through(monkeypatch):
    """`jax.vjp` and `custom_vjp.__call__` replaced during a check, and left so: JAX's own are recorded behind them."""
    call, vjp = jax.custom_vjp.__call__, jax.vjp
    with vjpcheck() as first:
        monkeypatch.setattr(jax.custom_vjp, "__call__", lambda self, *args: call(self, *args))
        monkeypatch.setattr(jax, "vjp", lambda *args: vjp(*args))
        jax.vjp(rule("f"), 1.0)[1](1.0)
    with vjpcheck() as second:
        jax.vjp(rule("f"), 1.0)[1](1.0)
    for report in (first, second):
        assert [(call.kind, call.count) for call in report.calls] == [("vjp", 1), ("custom_vjp", 1)]


def test_jax_may_be_reloaded_and_its_caches_cleared_in_a_check():
    """What was recorded before and what comes after is in one report."""
    f = rule("f")
    with vjpcheck() as report:
        jax.jit(jax.grad(f))(1.0)
        importlib.reload(jax)
        jax.clear_caches()
        assert jax.jit(jax.grad(f))(3.0) == 6.0
    assert names(report) == {"f": 2}  # traced once more
    assert report.notes == ()


@pytest.mark.parametrize("magic", ["%reload_ext jaxvjp_magic", "%unload_ext jaxvjp_magic"])
def test_the_extension_may_be_reloaded_inside_a_checked_cell(kernel, magic):
    """The report has what ran up to there, the cell runs on, and JAX is its own."""
    outcome = kernel.run(f"%%vjpcheck\njax.grad(square)(1.)\n{magic}\nprint({HOOKED})\njax.grad(square)(2.).item()")
    assert outcome.stream("stdout") == "0\n"
    assert value_of(outcome) == "4.0"
    assert len(outcome.report["calls"]) == 2
    kernel.run(LOAD)
    assert len(kernel.run("%%vjpcheck\njax.grad(square)(1.)").report["calls"]) == 2
    assert kernel.evaluate(HOOKED) == "0"


def test_a_finalizer_may_call_jax_while_a_call_is_recorded():
    """The garbage collector runs it at any moment, also inside the collector."""
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))
    count = []

    class Cycle:
        """Freed by the collector alone."""

        def __init__(self):
            self.me = self

        def __del__(self):
            count.append(jax.grad(f)(3.0))

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        with vjpcheck() as report:
            for i in range(20):
                Cycle()
                jax.grad(lambda x: f(x).sum())(jnp.ones(i % 3 + 1))
    finally:
        gc.set_threshold(*before)
    assert count
    assert sum(call.count for call in report.calls if call.kind == "grad") >= 20
    assert report.notes == ()
