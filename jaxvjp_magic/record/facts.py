"""What was recorded, as plain data: the checks and the report read only this.

Nothing here imports jax, and nothing here holds an array.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayType:
    """The type of one leaf: `text` is JAX's own form, `float32[3]`.

    `shape` is None for a leaf that is no array (a function, a string, None);
    `note` says what is special ("None", "symbolic zero", "Python float").
    """

    text: str
    shape: tuple[object, ...] | None = None
    dtype: str = ""
    bytes: int | None = None
    note: str = ""

    @property
    def is_float0(self) -> bool:
        """Whether this is the type of the gradient of an integer."""
        return self.dtype == "float0"


@dataclasses.dataclass(frozen=True, slots=True)
class Structure:
    """A pytree's containers: `kind` is "*" for a leaf, else the container's name."""

    kind: str
    keys: tuple[str, ...] = ()
    children: tuple[Structure, ...] = ()

    def show(self, leaves: Iterator[str]) -> str:
        """As JAX prints a tree, with the next of `leaves` in each leaf's place."""
        if self.kind == "*":
            return next(leaves)
        inner = [child.show(leaves) for child in self.children]
        if self.kind == "None":
            return "None"
        if self.kind == "dict":
            items = zip(self.keys, inner, strict=True)
            return "{" + ", ".join(f"{key[1:-1]}: {child}" for key, child in items) + "}"
        if self.kind == "tuple":
            return f"({inner[0]},)" if len(inner) == 1 else f"({', '.join(inner)})"
        if self.kind == "list":
            return f"[{', '.join(inner)}]"
        return f"{self.kind}({', '.join(inner)})"

    def __str__(self) -> str:
        """The containers alone: `(*, {'w': *})`."""
        return self.show(itertools.repeat("*"))

    @property
    def described(self) -> str:
        """In words: `a tuple of 2`, `a dict with the keys 'b', 'w'`, `one value`."""
        if self.kind == "*":
            return "one value"
        if self.kind == "None":
            return "None"
        if self.kind == "dict":
            keys = ", ".join(key[1:-1] for key in self.keys)
            return f"a dict with the {'key' if len(self.keys) == 1 else 'keys'} {keys}"
        return f"a {self.kind} of {len(self.children)}"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """One pytree of a call: key paths, types and containers. Compared by identity.

    `names` are those of the arguments, where the pytree is a tuple of them.
    """

    paths: tuple[str, ...]
    types: tuple[ArrayType, ...]
    structure: Structure
    names: tuple[str, ...] = ()
    has_none: bool = False

    def __str__(self) -> str:
        """The types in their containers: `float32[3]`, or `(float32[3], float32[])`."""
        return self.structure.show(array_type.text for array_type in self.types)


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A line of a program; columns count from 0, None where they are not known."""

    filename: str
    line: int
    start: int | None = None
    end: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """How a function may be called by position: it needs so many arguments, and takes at most so many."""

    names: tuple[str, ...]
    needed: int
    most: int | None

    def take(self, count: int) -> bool:
        """Whether a call with this many arguments works."""
        return self.needed <= count and (self.most is None or count <= self.most)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function that took part: its name, and its code where it has some.

    Compared by identity: the recorder makes one for each code object.
    """

    name: str
    code: types.CodeType | None = None
    arguments: tuple[str, ...] = ()

    @property
    def place(self) -> Place | None:
        """The line of its first decorator, or of its `def`."""
        return Place(self.code.co_filename, self.code.co_firstlineno) if self.code else None


@dataclasses.dataclass(frozen=True, slots=True)
class Raised:
    """An exception that left a phase: its type, its message, the user's line.

    `in_program` is False where JAX raised it before a line of the user's was
    reached: `place` is where JAX was called, then.
    """

    type: str
    message: str
    place: Place | None = None
    in_program: bool = True


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
class Primal:
    """The primal function ran, or was evaluated on shapes: what it returns."""

    output: Tree


@dataclasses.dataclass(frozen=True, slots=True)
class Forward:
    """A use of `jax.vjp` ran forward: its output and what the pullback keeps."""

    output: Tree
    residuals: Tree


@dataclasses.dataclass(frozen=True, slots=True)
class Fwd:
    """The fwd rule ran. `output` is None where it returned no pair: then `got` says what.

    `shared` has the paths of outputs that are the same for all examples of a
    vmap, where others are not.
    """

    output: Tree | None
    residuals: Tree | None = None
    got: str = ""
    shared: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Bwd:
    """The bwd rule ran. `result` is None where its result is not to be compared."""

    cotangents: Tree
    result: Tree | None


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """The bwd rule returned None for these leaves, on which the output depends and which are differentiated."""

    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Unused:
    """The bwd rule does not use these leaves of the residuals."""

    paths: tuple[str, ...]
    types: tuple[ArrayType, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pullback:
    """A pullback was called; `result` is None where it raised."""

    cotangents: Tree
    result: Tree | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Failed:
    """An exception left this phase: "primal", "fwd", "bwd", "forward", "pullback" or "call"."""

    phase: str
    raised: Raised


Event = Primal | Forward | Fwd | Bwd | Dropped | Unused | Pullback | Failed


@dataclasses.dataclass(frozen=True, slots=True)
class CustomRule:
    """The rules of a custom_vjp function, and how they were registered.

    The parameters are those of the function and of its rules, None where they
    cannot be told (a wrapper, a library's own).
    """

    fwd: Function | None
    bwd: Function | None
    nondiff_argnums: tuple[int, ...] = ()
    symbolic_zeros: bool = False
    function_parameters: Parameters | None = None
    fwd_parameters: Parameters | None = None
    bwd_parameters: Parameters | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class NameUse:
    """A rule looks up a name that once meant its custom_vjp function.

    `chain` says what the name is now, outermost first (`("vmap",)`), or is
    empty where its value does not lead back to the function. `scope` is
    "global" or "closure", `through` a helper between the rule and the name.
    With `is_own_name` it is the name that the function was defined with. With
    `helper` it meant that function, not the custom_vjp one, and the rules would
    fit if it still did.
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
    """A function or a rule holds a tracer in a closure variable; `is_differentiated` where that is sure."""

    name: str
    function: Function
    rule: Function
    phase: str
    is_differentiated: bool = True


@dataclasses.dataclass(frozen=True, slots=True)
class Edited:
    """A rule's name means another function now, which no custom_vjp function has been given."""

    name: str
    function: Function
    rule: Function
    phase: str
    now: Function


@dataclasses.dataclass(frozen=True, slots=True)
class LateBound:
    """Several rules were made of the same code in a loop, and these names, which it changes, are one for all."""

    names: tuple[str, ...]
    function: Function
    rule: Function
    phase: str


@dataclasses.dataclass(frozen=True, slots=True)
class Changed:
    """A global was read while a rule was traced, and has another value now; both in words."""

    name: str
    function: Function
    rule: Function
    phase: str
    before: str
    now: str


@dataclasses.dataclass(frozen=True, slots=True)
class ValueFact:
    """A value that is wrong, found by `--verify`.

    `phase` is "fwd" (its value is not the function's), "bwd" (its gradient is
    not autodiff's; or NaN that begins there) or "pullback" (NaN). `pattern` names
    how: "unused", "swapped" or "swapped PATH", "sign", "factor 2", "along 1.3",
    "transpose", "conjugate", "stopped", "nonlinear", "measured" (by finite
    differences alone), "zeros", "nan", "" for nothing in particular. `is_random`
    where arguments were replaced by random values, for the rule ran on tracers;
    `place` is where a NaN was made first.
    """

    function: Function
    primals: Tree | None
    phase: str
    path: str = ""
    pattern: str = ""
    is_random: bool = False
    place: Place | None = None


Fact = NameUse | Leak | ClosedOver | Edited | LateBound | Changed | ValueFact


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
class CallFact:
    """One row: what equal calls of one function at one place did.

    `nondiff` has name and type of the arguments in nondiff_argnums, `arrays` the
    names of those that are arrays of JAX or tracers, `differentiated` the paths
    of the primals that are known to be. `is_direct` where the user's own line
    asked for it, and no library between.
    """

    kind: str
    function: Function
    primals: Tree | None
    place: Place | None = None
    rule: CustomRule | None = None
    nondiff: tuple[tuple[str, str], ...] = ()
    arrays: tuple[str, ...] = ()
    differentiated: tuple[str, ...] = ()
    vmap: tuple[int, ...] = ()
    is_direct: bool = True
    id: int = 0
    parent: int = 0
    count: int = 1
    events: tuple[Event, ...] = ()


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
