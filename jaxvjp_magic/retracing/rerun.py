"""Runs code of the program a second time, here or in a forked child; returns its result, or reports why not.

All second runs of a check go through here. What is known to be pure and short
runs in this process. Everything else runs in a forked child, where its effects
stay, and returns plain data. What cannot run there either is skipped, and the
report says so. The time for all of them is bounded by a share of the program's.
"""

from __future__ import annotations

import logging
import marshal
import pickle
import time
import types
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

from jaxvjp_magic.introspect.purity import Verdict, judged
from jaxvjp_magic.introspect.static_attributes import code_of
from jaxvjp_magic.record.record import NotChecked
from jaxvjp_magic.retracing import child_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jaxvjp_magic.record.calls import Function, Place

AT_FIRST = 1.0  # seconds that second runs may take in any check
EXPENSIVE = 0.2  # seconds: what took longer, or is known to be slow, waits until the share allows it
SHARE = 0.5  # plus this part of the time that the program itself has taken
TRACES_AT_FIRST, TRACES_SHARE = 2.0, 1.0  # the same for what JAX traced before and a child traces again
LEAST = 0.02  # seconds, half of them for the fork: with less left, no child is started
LONGEST = 5.0  # seconds for one run in a child
_NOT_ON_SHAPES = "it does not run on shapes only"
_NO_TIME = "the time for second runs was used up"


class Budget:
    """How long the second runs of one check may take."""

    def __init__(self, at_first: float = AT_FIRST, share: float = SHARE) -> None:
        """The program's time starts now."""
        self._at_first, self._share = at_first, share
        self._began, self._spent = time.perf_counter(), 0.0
        self._costs: dict[Any, float] = {}  # what a run of the same code took the last time

    def left(self, *, at_first: bool = True) -> float:
        """Seconds that a run may take; an expensive one gets only the share, without the seconds `at_first`."""
        own = time.perf_counter() - self._began - self._spent
        return min(LONGEST, self._at_first * at_first + self._share * own - self._spent)

    def allows(self, code: Any) -> bool:
        """Whether there is time to run this code, if it takes as long as the last time."""
        cost = self._costs.get(code, 0.0)
        return self.left(at_first=cost < EXPENSIVE) > cost

    def took(self, code: Any, seconds: float) -> None:
        """Charge the seconds that a run of this code took."""
        self._spent += seconds
        self._costs[code] = seconds


class Collector(Protocol):
    """What a second run reports to: the record of the check, or of a forked child."""

    def note(self, text: str) -> None:
        """Add a line to the report's notes."""

    def not_checked(self, entry: NotChecked) -> None:
        """Record that something was not checked."""

    def begin_anew(self) -> None:
        """In a child: forget what the parent recorded."""

    def found(self) -> tuple[Any, ...]:
        """In a child: what it recorded since then, as plain data."""

    def take_in(self, found: tuple[Any, ...]) -> None:
        """Add what a child found."""


class Reruns:
    """The second runs of one check."""

    def __init__(self, collector: Collector) -> None:
        """What is not run is reported to `collector`."""
        self._collector = collector
        self.budget, self.traces = Budget(), Budget(TRACES_AT_FIRST, TRACES_SHARE)

    def verdict(self, parts: Sequence[tuple[Any, Sequence[Any] | None]]) -> Verdict:
        """The verdict on several functions with their arguments: that of the first impure one, else all combined."""
        verdicts = [judged(function, arguments) for function, arguments in parts]
        impure = next((verdict for verdict in verdicts if not verdict.is_pure), None)
        if impure is not None:
            return impure
        flags = (any(getattr(verdict, name) for verdict in verdicts) for name in ("is_long", "prints", "calls_back"))
        return Verdict("", None, *flags)

    def run(
        self,
        topic: str,
        function: Function | None,
        parts: Sequence[tuple[Any, Sequence[Any] | None]],
        work: Callable[[], Any],
    ) -> Any:
        """The result of `work()`, which calls these parts; None if it returns None, raises, or may not run.

        `topic` and `function` say what is unknown then, as in `NotChecked`.
        """
        code = id(work.__code__), id(_code(parts[0][0]))
        if not self.budget.allows(code):
            self.left_alone(topic, function, _NO_TIME)
            return None
        begun = time.perf_counter()
        try:
            verdict = self.verdict(parts)
            if verdict.is_pure and not verdict.is_long and not verdict.prints and not is_logged():
                result = work()
            else:
                result, is_skipped = self._in_child(topic, function, verdict, work)
                if is_skipped:
                    return None
            if result is None:
                self.left_alone(topic, function, _NOT_ON_SHAPES)
        finally:
            self.budget.took(code, time.perf_counter() - begun)
        return result

    def _in_child(
        self, topic: str, function: Function | None, verdict: Verdict, work: Callable[[], Any]
    ) -> tuple[Any, bool]:
        """The result of `work()` in a child, and whether it was skipped."""
        budget = self.budget.left(at_first=not verdict.is_long)
        if budget < LEAST:
            self.left_alone(topic, function, _NO_TIME)
            return None, True
        outcome = in_child(work, budget)
        if outcome.data is None:
            why = f"{verdict.why}, and in a child process {outcome.why}" if verdict.why else outcome.why
            self.left_alone(topic, function, why, verdict.place)
            return None, True
        return unpacked(outcome.data), False

    def left_alone(self, topic: str, function: Function | None, why: str, place: Place | None = None) -> None:
        """Report that something was not checked."""
        self._collector.not_checked(NotChecked(topic, function, why, place))


def is_logged() -> bool:
    """Whether the program sees the lines that JAX logs for each trace."""
    return logging.getLogger("jax._src.dispatch").isEnabledFor(logging.DEBUG)


def in_child(work: Callable[[], Any], budget: float) -> child_process.Outcome:
    """The packed result of `work()` in a forked child."""
    why = child_process.can_fork()
    return child_process.Outcome(None, why) if why else child_process.in_child(lambda: packed(work()), budget)


def packed(value: Any) -> bytes:
    """Facts as bytes; there may be code objects in them."""
    buffer = BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """What a child of this process has `packed`."""
    return pickle.loads(data)  # noqa: S301 (our own child wrote it)


class _Pickler(pickle.Pickler):
    """Pickles code objects, too."""

    def reducer_override(self, obj: Any) -> Any:
        """How to rebuild an object."""
        return (marshal.loads, (marshal.dumps(obj),)) if isinstance(obj, types.CodeType) else NotImplemented


def _code(function: Any) -> Any:
    from jaxvjp_magic.introspect.callables import below_wrappers

    return code_of(below_wrappers(function))
