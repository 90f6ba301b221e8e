"""The record of one check: all facts that checks and report need, and what was not checked."""

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
    `transformed` those that are a transformed custom_vjp function, with the name
    of the transformation. `pullbacks` and `tuples` have the names of pullbacks
    and of tuples, local ones too if `is_in_function`.
    """

    raised: Raised
    not_callable: dict[str, str] = dataclasses.field(default_factory=dict)
    transformed: dict[str, str] = dataclasses.field(default_factory=dict)
    pullbacks: frozenset[str] = frozenset()
    tuples: frozenset[str] = frozenset()
    is_in_function: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class NotChecked:
    """Something that was not checked or not compared, and why.

    `what` is "output" (what a function returns), "residuals" (which of them a
    bwd rule uses), "calls" (those inside a function that JAX has traced before),
    "rules" (those of a kind that is not traced), "values" or "jax". `why` is a
    clause ("it calls table{at}, an lru_cache"), in which `{at}` is replaced by
    `place`. `function` may be None if one reason covers many places.
    """

    what: str
    function: Function | None
    why: str
    place: Place | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """All facts of one check.

    `complete` is False if JAX could not be traced at all, `verified` True if
    values were to be compared. `more_not_checked` counts what was not checked
    and is not listed in `not_checked`.
    """

    jax: str = ""
    calls: tuple[CallFact, ...] = ()
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    not_checked: tuple[NotChecked, ...] = ()
    complete: bool = True
    verified: bool = False
    more_not_checked: int = 0
