"""Is a function known to have no effects? It is followed without being run, and so is what it calls.

A primal function that did not run, a bwd rule, what JAX has traced before: the
check may run such code once more only where nobody could notice. So purity is
proved here, from the bytecode and from what the names mean now, and not
assumed. Whatever is not known has a reason, with a line.
"""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.tracing.purity.calling import call_with_data
from jaxvjp_magic.tracing.purity.following import Follower
from jaxvjp_magic.tracing.purity.machine import Frame
from jaxvjp_magic.tracing.purity.values import Known, NotKnownError, argument_as, seen_as

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxvjp_magic.tracing.facts import Place

_MOST_ROUNDS = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a function: `why` it is not known to be pure, "" where it is.

    `is_long` where it may run for long, `prints` where its own code calls print
    (a copy can be silent), `calls_back` where JAX calls something of the user's
    when it computes, and not when it traces.
    """

    why: str = ""
    place: Place | None = None
    is_long: bool = False
    prints: bool = False
    calls_back: bool = False

    @property
    def is_pure(self) -> bool:
        """Whether the function is known to have no effects, when it is traced."""
        return not self.why

    @property
    def is_silent(self) -> bool:
        """Whether the function may run on values beside the program: pure, and nothing is printed or called back."""
        return self.is_pure and not self.prints and not self.calls_back


def judged(function: Any, arguments: Sequence[Any] | None = None) -> Verdict:
    """What is known of `function(*arguments)`; without arguments, of a call with arrays."""
    follower = Follower()
    for code in _own_code(function):
        follower.own(code)
    caller = Frame(follower, _nowhere.__code__, "the check", Known(_nowhere).obj)
    try:
        for _ in range(_MOST_ROUNDS):
            if arguments is None:
                call_with_data(follower, caller, seen_as(function))
            else:
                values = [argument_as(one_of, ("argument", i), follower.heap) for i, one_of in enumerate(arguments)]
                follower.call(caller, seen_as(function), values, {})
            if not follower.heap.grown:
                return Verdict("", None, follower.is_long, follower.prints, follower.calls_back)
            follower.again()
    except NotKnownError as error:
        return Verdict(error.why, error.place)
    except RecursionError:
        return Verdict("its calls go too deep to be followed{at}")
    return Verdict("it has too many ways to go{at}")


def _own_code(function: Any) -> list[types.CodeType]:
    """The code that a copy of a function has its own globals for."""
    while True:
        if isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "func") and hasattr(function, "keywords"):
            function = function.func
        else:
            return [function.__code__] if isinstance(function, types.FunctionType) else []


def _nowhere() -> None:
    """Stands for the caller."""


__all__ = ["Verdict", "judged"]
