"""Is a function known to have no effects? It is followed without being run, and so is what it calls.

A primal function that did not run, a bwd rule, what JAX has traced before: the
check may run such code once more only where nobody could notice. So purity is
proved here, from the bytecode and from what the names mean now, and not
assumed. Whatever is not known has a reason, with a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect.purity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


def judged(function: Any, arguments: Sequence[Any] | None = None) -> Verdict:
    """What is known of `function(*arguments)`; without arguments, of a call with arrays."""
    # %load_ext need not wait for the rest of this package; a check's recorder loads it
    from jaxvjp_magic.introspect.purity.judging import judge

    return judge(function, arguments)


__all__ = ["Verdict", "judged"]
