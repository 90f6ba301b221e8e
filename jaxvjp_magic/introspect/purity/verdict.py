"""What is known of a function, and why it is not known to be pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Place


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
