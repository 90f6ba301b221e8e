"""The result of following a function: whether it is pure, and if not known to be, why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Place


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of a function: `why` it is not known to be pure, "" where it is.

    `is_long`: it may run for long. `prints`: its own code calls print, which a
    copy can silence. `calls_back`: JAX calls one of the user's functions when it
    computes, not when it traces.
    """

    why: str = ""
    place: Place | None = None
    is_long: bool = False
    prints: bool = False
    calls_back: bool = False

    @property
    def is_pure(self) -> bool:
        """Whether tracing the function is known to have no effects."""
        return not self.why

    @property
    def is_silent(self) -> bool:
        """Whether the function may also run on values: it is pure, prints nothing and has no callbacks."""
        return self.is_pure and not self.prints and not self.calls_back
