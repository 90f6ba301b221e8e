"""Is a function known to have no effects? It is followed without being run, and so is what it calls.

A primal function that did not run, a bwd rule, what JAX has traced before: the
check may run such code once more only where nobody could notice. So purity is
proved here, from the bytecode and from what the names mean now, and not
assumed. Whatever is not known has a reason, with a line.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxvjp_magic.record.facts import Place


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
    # %load_ext need not wait for the rest of this package; a check's listener loads it
    from jaxvjp_magic.introspect.purity.verdicts import judge

    return judge(function, arguments)


__all__ = ["Verdict", "judged"]
