"""Calls as they are recorded: which function with which rules, at which line, and what each phase took and returned."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types

    from jaxvjp_magic.record.trees import Tree, TreeLeaf


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A line of a program; columns count from 0, None where they are not known."""

    filename: str
    line: int
    start: int | None = None
    end: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """How a function may be called by position: with `needed` to `most` arguments; None for no limit."""

    names: tuple[str, ...]
    needed: int
    most: int | None

    def take(self, count: int) -> bool:
        """Whether a call with this many arguments works."""
        return self.needed <= count and (self.most is None or count <= self.most)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function in a call: its name, and its code object if it has one.

    Compared by identity: the collector makes one for each code object.
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

    `in_program` is False if JAX raised it before it reached the user's code;
    `place` is then where JAX was called.
    """

    type: str
    message: str
    place: Place | None = None
    in_program: bool = True

    @property
    def is_about_the_signature(self) -> bool:
        """Whether the arguments of a call do not fit the function's signature: JAX's words, or those of `inspect`."""
        by_inspect = self.message.startswith(("missing a required ", "too many positional ", "got an unexpected "))
        return "could not be resolved" in self.message or (by_inspect and not self.in_program)


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
    """The fwd rule ran. `output` is None if it did not return a pair; `got` then says what it returned.

    `shared` has the key paths of outputs that are the same for all examples of
    a vmap, if others are not.
    """

    output: Tree | None
    residuals: Tree | None = None
    got: str = ""
    shared: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Bwd:
    """The bwd rule ran. `result` is None if it must not be compared."""

    cotangents: Tree
    result: Tree | None


@dataclasses.dataclass(frozen=True, slots=True)
class Dropped:
    """The bwd rule returned None for these differentiated leaves, although the output depends on them."""

    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Unused:
    """The bwd rule does not use these residuals."""

    leaves: tuple[TreeLeaf, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Pullback:
    """A pullback was called; `result` is None if it raised."""

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
    """The rules of a custom_vjp function or a hijax primitive, and how they were registered.

    The parameters are those of the function and of its rules; None if they are
    not known, as for a wrapper.
    """

    fwd: Function | None
    bwd: Function | None
    nondiff_argnums: tuple[int, ...] = ()
    symbolic_zeros: bool = False
    function_parameters: Parameters | None = None
    fwd_parameters: Parameters | None = None
    bwd_parameters: Parameters | None = None


WITH_A_PROMISE = ("linear_transpose", "custom_linear_solve", "custom_root")  # kinds of calls that JAX believes


@dataclasses.dataclass(frozen=True, slots=True)
class CallFact:
    """One row: what equal calls of one function at one place did.

    `nondiff` has name and type of the arguments in nondiff_argnums, `arrays` the
    names of those that are JAX arrays or tracers, `differentiated` the key paths
    of the primals that are known to be differentiated. `is_direct` is True if
    the user's own code made the call, and no library.
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
