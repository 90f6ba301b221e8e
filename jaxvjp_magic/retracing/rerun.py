"""Code of the program that is run once more: beside it where that cannot be noticed, in a forked child, or not at all.

The one way for all of the check's second runs. What is known to be pure, and
not to take long, runs here. All else runs in a forked child, where its effects
stay, and gives back plain data. What cannot run there either is left alone, and
the report says so. The time that all of this takes is bounded by a share of the
program's own.
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

AT_FIRST = 1.0  # seconds that looks may take in any check
EXPENSIVE = 0.2  # seconds: what took longer, or is known to, waits until the share allows it
SHARE = 0.5  # and of the time that the program itself took by then
TRACES_AT_FIRST, TRACES_SHARE = 2.0, 1.0  # the same for what JAX has traced before and is traced in a child
LEAST = 0.02  # seconds, of which the half is for the fork: with less left, none is begun
LONGEST = 5.0  # seconds for one run in a child
_NOT_ON_SHAPES = "it does not run on shapes only"
_NO_TIME = "the time for second runs was used up"


class Budget:
    """How long the second runs of one check may take."""

    def __init__(self, at_first: float = AT_FIRST, share: float = SHARE) -> None:
        """The program begins now."""
        self._at_first, self._share = at_first, share
        self._began, self._spent = time.perf_counter(), 0.0
        self._costs: dict[Any, float] = {}  # what a run of the same code took the last time

    def left(self, *, at_first: bool = True) -> float:
        """Seconds that a run may take; of what is expensive, not those of `at_first`."""
        own = time.perf_counter() - self._began - self._spent
        return min(LONGEST, self._at_first * at_first + self._share * own - self._spent)

    def allows(self, code: Any) -> bool:
        """Whether there is time for a run of this code, as long as it took before."""
        cost = self._costs.get(code, 0.0)
        return self.left(at_first=cost < EXPENSIVE) > cost

    def took(self, code: Any, seconds: float) -> None:
        """A run of this code took so long."""
        self._spent += seconds
        self._costs[code] = seconds


class Collector(Protocol):
    """What a second run reports to: the record of the check, or of a forked child."""

    def note(self, text: str) -> None:
        """Something of ours did not work."""

    def not_checked(self, what: NotChecked) -> None:
        """Something is left alone."""

    def begin_anew(self) -> None:
        """In a child: forget what is recorded by now."""

    def found(self) -> tuple[Any, ...]:
        """In a child: what is recorded since then, as plain data."""

    def take_in(self, found: tuple[Any, ...]) -> None:
        """What a child found."""


class Reruns:
    """The second runs of one check."""

    def __init__(self, collector: Collector) -> None:
        """`collector` notes what is left alone."""
        self._collector = collector
        self.budget, self.traces = Budget(), Budget(TRACES_AT_FIRST, TRACES_SHARE)

    def verdict(self, parts: Sequence[tuple[Any, Sequence[Any] | None]]) -> Verdict:
        """What is known of several functions with their arguments: the first that is not pure, else all together."""
        found = [judged(function, arguments) for function, arguments in parts]
        impure = next((one for one in found if not one.is_pure), None)
        if impure is not None:
            return impure
        flags = (any(getattr(one, name) for one in found) for name in ("is_long", "prints", "calls_back"))
        return Verdict("", None, *flags)

    def run(
        self,
        what: str,
        function: Function | None,
        parts: Sequence[tuple[Any, Sequence[Any] | None]],
        work: Callable[[], Any],
    ) -> Any:
        """What `work()` gives, which calls these parts; None where it gives None, raises, or may not run.

        `what` and `function` say what is not known then, as in `NotChecked`.
        """
        code = id(work.__code__), id(_code(parts[0][0]))
        if not self.budget.allows(code):
            self.left_alone(what, function, _NO_TIME)
            return None
        begun = time.perf_counter()
        try:
            verdict = self.verdict(parts)
            if verdict.is_pure and not verdict.is_long and not verdict.prints and not is_logged():
                result = work()
            else:
                result, left = self._in_child(what, function, verdict, work)
                if left:
                    return None
            if result is None:
                self.left_alone(what, function, _NOT_ON_SHAPES)
        finally:
            self.budget.took(code, time.perf_counter() - begun)
        return result

    def _in_child(
        self, what: str, function: Function | None, verdict: Verdict, work: Callable[[], Any]
    ) -> tuple[Any, bool]:
        """What the work gives, and whether it is left alone."""
        budget = self.budget.left(at_first=not verdict.is_long)
        if budget < LEAST:
            self.left_alone(what, function, _NO_TIME)
            return None, True
        outcome = in_child(work, budget)
        if outcome.data is None:
            because = f"{verdict.why}, and in a child process {outcome.why}" if verdict.why else outcome.why
            self.left_alone(what, function, because, verdict.place)
            return None, True
        return unpacked(outcome.data), False

    def left_alone(self, what: str, function: Function | None, why: str, place: Place | None = None) -> None:
        """Something is not looked at."""
        self._collector.not_checked(NotChecked(what, function, why, place))


def is_logged() -> bool:
    """Whether the program sees what JAX writes to its log whenever it traces."""
    return logging.getLogger("jax._src.dispatch").isEnabledFor(logging.DEBUG)


def in_child(work: Callable[[], Any], budget: float) -> child_process.Outcome:
    """What `work()` gives, packed, from a forked child."""
    why = child_process.can_fork()
    return child_process.Outcome(None, why) if why else child_process.in_child(lambda: packed(work()), budget)


def packed(value: Any) -> bytes:
    """Facts as bytes; a code object is one of them."""
    into = BytesIO()
    _Pickler(into, pickle.HIGHEST_PROTOCOL).dump(value)
    return into.getvalue()


def unpacked(data: bytes) -> Any:
    """What `packed` made bytes of, in a child of this process."""
    return pickle.loads(data)  # noqa: S301 (our own child wrote it)


class _Pickler(pickle.Pickler):
    """Packs code objects, too."""

    def reducer_override(self, obj: Any) -> Any:
        """How to make an object again."""
        return (marshal.loads, (marshal.dumps(obj),)) if isinstance(obj, types.CodeType) else NotImplemented


def _code(function: Any) -> Any:
    from jaxvjp_magic.introspect.callables import below_wrappers

    return code_of(below_wrappers(function))
