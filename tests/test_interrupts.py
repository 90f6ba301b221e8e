"""An interrupt may come between any two lines of ours: it passes, JAX is as before, and the next check is clean.

`HYPOTHESIS_PROFILE=thorough` tries every line of ours that the program reaches, and not one in so many.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import HOOKED, LOAD, SQUARE
from faults import standing

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.retracing import retrace

MOST = 10**6 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 30
X = np.arange(3.0, dtype=np.float32)
square = jax.custom_vjp(lambda x: x * x)
square.defvjp(lambda x: (x * x, (x, x)), lambda r, g: (2 * r[0] * g,))


def program():
    out, pullback = jax.vjp(lambda x: square(x).sum(), X)
    return pullback(jnp.ones_like(out))[0]


def checked(*, catching):
    """The program in a check; an interrupt of the program itself is caught by the program, or passes."""
    with vjpcheck() as report:
        try:
            result = program()
        except KeyboardInterrupt:
            if not catching:
                raise
            left = [one.collector.here for one in tracer._hooks()._recorders.values()]
            assert [(here.calls, here.in_flight) for here in left if here.calls or here.in_flight] == []
            result = program()
    return result, report


# Python handles a signal where a function begins, after a call, and where a loop goes back: not on these lines.
NEVER = (
    "try:", "finally:", "with ", "@", "def ", "del here.calls", "if not depth:", "here.in_flight = None",
    "last = _here.asides.pop()",
)  # fmt: skip


class Interrupts:
    """Raises KeyboardInterrupt at one event of our code, a call, a line or a return, where a signal may be handled."""

    def __init__(self, at=None):
        self.at, self.places = at, {}

    def __call__(self, frame, event, _):
        code, line = frame.f_code, linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if "jaxvjp_magic" not in code.co_filename or "/tests/" in code.co_filename or "weakref" in line:
            return None  # what a weak reference calls when an object dies cannot be interrupted
        is_yield = event == "return" and code.co_flags & inspect.CO_GENERATOR
        if event != "exception" and not is_yield and not (event == "line" and line.lstrip().startswith(NEVER)):
            place = (code.co_filename, code.co_qualname, frame.f_lineno, event)
            if place not in self.places:
                self.places[place] = None
                if place == self.at:
                    raise KeyboardInterrupt
        return self


@contextlib.contextmanager
def tracing(trace):
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def places():
    """Where our code can be interrupted while the program runs: all of what stands in JAX, and some of the rest."""
    checked(catching=True)
    seen = Interrupts()
    with tracing(seen):
        checked(catching=True)
    found = list(seen.places)
    first = [
        one
        for one in found
        if one[0].endswith(("hooks.py", "wrapped_rules.py", "retrace.py", "tracer.py", "jaxvjp_magic/session.py"))
    ]
    rest = [one for one in found if one not in first]
    return [*first[:: max(1, len(first) // MOST)], *rest[:: max(1, len(rest) // MOST)]]


@pytest.mark.parametrize("catching", [False, True])
def test_an_interrupt_anywhere_passes_and_leaves_nothing(catching):
    """It arrives as KeyboardInterrupt; hooks, settings and the record of what goes on are as before."""
    before = standing()
    expected, whole = checked(catching=True)
    failures = []
    for place in places():
        try:
            with tracing(Interrupts(place)):
                result, _ = checked(catching=catching)
        except KeyboardInterrupt:
            pass
        except AssertionError as error:
            failures.append(("goes on", place, str(error)))
        else:
            if not catching or not np.array_equal(result, expected):
                failures.append(("did not pass", place))
        if standing() != before or tracer._hooks()._recorders or retrace._here.asides:
            failures.append(("is left", place))
        result, report = checked(catching=False)
        if report.notes or report.calls != whole.calls or not np.array_equal(result, expected):
            failures.append(("next check", place, report.notes))
    assert failures == []


@pytest.mark.parametrize("kind", [SystemExit, MemoryError, GeneratorExit])
@pytest.mark.parametrize("where", ["primal", "fwd", "bwd", "program"])
def test_whatever_ends_the_program_passes(kind, where):
    """Out of a rule or of the program itself, and the report comes."""

    def end(*_):
        raise kind(3)

    f = jax.custom_vjp(end if where == "primal" else jnp.sin)
    f.defvjp(end if where == "fwd" else lambda x: (x, x), end if where == "bwd" else lambda x, g: (g,))
    before = standing()
    with pytest.raises(kind) as raised, vjpcheck() as report:  # noqa: PT012 (each may be the one that raises)
        if where == "primal":
            f(1.0)
        jax.grad(f)(1.0)
        end()
    assert raised.value.args == (3,)
    assert (report.error.type, report.error.message) == (kind.__name__, "3")
    assert report.notes == ()
    assert len(report.calls) == (1 if where == "primal" else 2)
    assert standing() == before


def test_recursion_to_the_limit_ends_as_it_does_without_a_check():
    """The program is told that it is too deep; nothing of ours is in that, and the next check is clean."""

    def deeper(x):
        f = jax.custom_vjp(lambda x: x)
        f.defvjp(lambda x: (deeper(x), None), lambda _, g: (g,))
        return jax.grad(f)(x)

    before = standing()
    with pytest.raises(RecursionError):
        deeper(1.0)
    with pytest.raises(RecursionError), vjpcheck() as report:
        deeper(1.0)
    assert report.error.type == "RecursionError"
    assert report.notes == ()
    assert sum(call.count for call in report.calls) > 20
    assert standing() == before
    assert checked(catching=False)[1].notes == ()


def test_an_interrupt_while_a_kernel_records_is_the_cells(start_kernel):
    """A cell that differentiates without end is interrupted: KeyboardInterrupt, a report, and a clean next cell."""
    kernel = start_kernel()
    kernel.run(LOAD)
    kernel.run(SQUARE)
    # JAX itself loses one interrupt of a hundred (a bare `except` in `_is_ref`): each line that is shown sends another.
    cell = "%%vjpcheck\nwhile True:\n    print('ready', flush=True)\n"
    cell += "    for _ in range(5000):\n        jax.grad(square)(1.)"
    outcome = kernel.interrupt(cell)
    assert outcome.reply["ename"] == "KeyboardInterrupt"
    assert outcome.report["error"]["type"] == "KeyboardInterrupt"
    assert "notes" not in outcome.report
    assert {call["kind"] for call in outcome.report["calls"]} == {"grad", "custom_vjp"}
    assert kernel.evaluate(HOOKED) == "0"
    assert len(kernel.run("%%vjpcheck\njax.grad(square)(1.)").report["calls"]) == 2
