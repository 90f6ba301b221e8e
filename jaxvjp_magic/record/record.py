"""The record of one check: all that the checks and the report are made of, and what was not looked at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import CallFact, Function, Place, Raised
    from jaxvjp_magic.record.facts import Fact


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorFact:
    """The exception that ended the program, and what the names mean where it was raised.

    `not_callable` has the globals that cannot be called, with what they are;
    `transformed` those that a transformation made of a custom_vjp function,
    with its name. `pullbacks` are the names of pullbacks, `tuples` those of
    tuples; both may be local names where `is_in_function`.
    """

    raised: Raised
    not_callable: dict[str, str] = dataclasses.field(default_factory=dict)
    transformed: dict[str, str] = dataclasses.field(default_factory=dict)
    pullbacks: frozenset[str] = frozenset()
    tuples: frozenset[str] = frozenset()
    is_in_function: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that was not looked at or not compared, and why.

    `what` is "output" (what a function returns), "residuals" (which of them a
    bwd rule uses), "calls" (those inside a function that JAX has traced before),
    "rules" (those of a kind that is not traced), "values" or "jax". `why` is a
    clause ("it calls table{at}, an lru_cache"), in which `{at}` stands for
    `place`; of what was left out in many places for one reason, `function` may
    be None.
    """

    what: str
    function: Function | None
    why: str
    place: Place | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """All facts of one check.

    `complete` is False where JAX could not be traced at all, `verified` True
    where values were asked for. `more_not_checked` counts what was left alone
    and is not in `not_checked`.
    """

    jax: str = ""
    calls: tuple[CallFact, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    complete: bool = True
    verified: bool = False
    more_not_checked: int = 0
