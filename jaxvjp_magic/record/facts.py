"""Facts that are recorded beside the calls: names that rules look up, leaked tracers, wrong values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Function, Place
    from jaxvjp_magic.record.trees import Tree


@dataclasses.dataclass(frozen=True, slots=True)
class NameUse:
    """A rule looks up a name that once meant its custom_vjp function.

    `chain` has the transformations that the name's value applies to the
    function, outermost first (`("vmap",)`); it is empty if the value does not
    lead back to the function. `scope` is "global" or "closure", `through` a
    helper that the rule calls and that looks the name up. `is_own_name` is True
    for the name that the function was defined with. With `helper` the name meant
    that function, not the custom_vjp one, and the rules would fit if it still
    did.
    """

    name: str
    function: Function
    rule: Function
    phase: str
    scope: str
    chain: tuple[str, ...]
    now: str
    through: str = ""
    is_own_name: bool = True
    helper: Function | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Leak:
    """A rule left a tracer in a global that it looks up."""

    name: str
    function: Function
    rule: Function
    phase: str


@dataclasses.dataclass(frozen=True, slots=True)
class ClosedOver:
    """A function or a rule holds a tracer in a closure variable; `is_differentiated` if that is certain."""

    name: str
    function: Function
    rule: Function
    phase: str
    is_differentiated: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Edited:
    """A rule's name now means another function, which was never passed to defvjp."""

    name: str
    function: Function
    rule: Function
    phase: str
    now: Function


@dataclasses.dataclass(frozen=True, slots=True)
class LateBound:
    """Rules that a loop makes from the same code all read these names, which the loop changes."""

    names: tuple[str, ...]
    function: Function
    rule: Function
    phase: str


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """A global was read while a rule was traced, and has another value now; `before` and `now` describe both."""

    name: str
    function: Function
    rule: Function
    phase: str
    before: str
    now: str


@dataclasses.dataclass(frozen=True, slots=True)
class PolicyNames:
    """A function below jax.checkpoint ran: the names that its policy asks for, and those that its values have."""

    asked: tuple[str, ...]
    present: tuple[str, ...]
    place: Place | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class LinearFact:
    """A promise to JAX about a linear map that does not hold, found by `--verify`.

    `kind` is the function of JAX that was given `function`, and `rule`, if it
    takes one. `broken` says which promise it is: "constant" or "nonlinear" of
    what has to be linear, "symmetric", "tangent_solve", "transpose_solve",
    "transpose" of a primitive's own rule.
    """

    function: Function
    rule: Function | None
    kind: str
    broken: str
    place: Place | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ValueFact:
    """A value that is wrong, found by `--verify`.

    `phase` is "fwd" (its value is not the function's), "bwd" (its gradient is
    not autodiff's, or it produces a NaN) or "pullback" (NaN). `pattern` says how
    it is wrong: "unused", "offset", "swapped" with the leaf at `other`, "sign",
    "factor" (times `factor`, a simple number), "along" (times `factor`, another
    number), "transpose", "conjugate", "stopped", "nonlinear", "measured" (by
    finite differences alone), "zeros", "nan", or "" if none of these. `is_random`
    is True if the rule ran on tracers, so that random values replaced its
    arguments; `place` is where the first NaN was produced.
    """

    function: Function
    primals: Tree | None
    phase: str
    path: str = ""
    pattern: str = ""
    factor: float = 1.0
    other: str = ""
    is_random: bool = False
    place: Place | None = None


Fact = NameUse | Leak | ClosedOver | Edited | LateBound | Changed | PolicyNames | LinearFact | ValueFact
