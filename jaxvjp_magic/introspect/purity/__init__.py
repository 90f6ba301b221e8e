"""Takes a function, and gives a `Verdict`: is it known to have no effects? Nothing is run to find out.

A primal function that did not run, a bwd rule, a function that JAX has traced
before: the check may run such code again only where nobody could notice. So
this package proves purity, by abstract interpretation of the bytecode with the
present values of the names. A function without a proof has a reason, with a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect.purity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence


def judged(function: Any, arguments: Sequence[Any] | None = None) -> Verdict:
    """The verdict on `function(*arguments)`; without arguments, on a call with arrays."""
    # %load_ext is faster without the rest of this package, which the recorder of a check imports
    from jaxvjp_magic.introspect.purity.judging import judge

    return judge(function, arguments)


__all__ = ["Verdict", "judged"]
