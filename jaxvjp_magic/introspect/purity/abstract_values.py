"""Turns objects into abstract values, with which the bytecode of a function is interpreted without running it.

A `Value` is a set of atoms, the possibilities. `DATA` is any number, array or
container of these; `Concrete` is an object that exists outside the function;
`Allocation` is one that the function creates, and so may change.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxvjp_magic.introspect.static_attributes import is_veiled
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    import types

    from jaxvjp_magic.record.calls import Place

MOST_ATOMS = 32  # in one value
MOST_ITEMS = 64  # of a container that have values of their own
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


class NotKnownError(Exception):
    """The function is not known to be pure: `why` is a clause with `{at}` where `place` belongs."""

    def __init__(self, why: str, place: Place | None = None) -> None:
        """Without a place, `Follower.run` fills it in."""
        super().__init__(why)
        self.why, self.place = why, place


@dataclasses.dataclass(frozen=True, slots=True)
class OpaqueValue:
    """An atom of which nothing is known but what sort of value it is."""

    name: str


DATA = OpaqueValue("data")  # numbers, arrays that are immutable or were made in the function, containers of these
VIEW = OpaqueValue("view")  # data that may share memory with a NumPy array from outside
NULL = OpaqueValue("null")  # CPython's NULL beside a function that is called
SAFE = OpaqueValue("function")  # a JAX transformation of followed functions: a call has no other effects
CONTEXT = OpaqueValue("context")  # a context manager that changes nothing outside this thread and its block


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Concrete:
    """A live object from outside the function. Equal by identity; numbers and strings by value."""

    obj: Any

    def __eq__(self, other: object) -> bool:
        """Whether it is the same object, or an equal number or string of the same type."""
        if not isinstance(other, Concrete):
            return False
        if type(self.obj) in PLAIN:
            return type(other.obj) is type(self.obj) and bool(other.obj == self.obj)
        return other.obj is self.obj

    def __hash__(self) -> int:
        """Consistent with `__eq__`."""
        return hash((type(self.obj), self.obj)) if type(self.obj) in PLAIN else id(self.obj)


@dataclasses.dataclass(frozen=True, slots=True)
class Allocation:
    """A container, an array or an object of class `kind` that the function creates at `site`."""

    site: Any
    kind: type


@dataclasses.dataclass(frozen=True, slots=True)
class TupleValue:
    """A tuple with a value for each item."""

    items: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class IteratorValue:
    """An iterator that the function made; each item is `of`."""

    of: Value


@dataclasses.dataclass(frozen=True, slots=True)
class CellVariable:
    """A variable that a followed function shares with the functions inside it. Its content is in the heap."""

    frame: Any
    name: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A function that a `def` or a `lambda` in followed code made."""

    code: types.CodeType
    scope: Concrete  # its globals
    cells: tuple[Value, ...]
    defaults: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()

    def _key(self) -> Any:
        return id(self.code), id(self.scope.obj), self.cells, self.defaults, self.keywords

    def __eq__(self, other: object) -> bool:
        """Whether code, globals, cells and defaults are the same."""
        return isinstance(other, Closure) and self._key() == other._key()

    def __hash__(self) -> int:
        """Consistent with `__eq__`."""
        return hash(self._key())


@dataclasses.dataclass(frozen=True, slots=True)
class BoundFunction:
    """A function with its first argument: a bound method, a partial."""

    function: Value
    first: Value


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of an object that is not followed: data, or a method that may be called."""

    owner: Value
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class SuperObject:
    """`super()` in a method of `of_class`, for the object `own`."""

    of_class: Value
    own: Value


Atom = (
    OpaqueValue
    | Concrete
    | Allocation
    | TupleValue
    | IteratorValue
    | CellVariable
    | Closure
    | BoundFunction
    | Attribute
    | SuperObject
)
Value = frozenset[Atom]

ANY_DATA: Value = frozenset({DATA})
NONE: Value = frozenset({Concrete(None)})


def one_of(cls: type) -> str:
    """`a Layer`, `an Encoder`."""
    return f"{'an' if cls.__name__[:1] in 'AEIOUaeiou' else 'a'} {cls.__name__}"


def singleton(atom: Atom) -> Value:
    """The value with this as its only atom."""
    return frozenset({atom})


def joined(*values: Value) -> Value:
    """The join of abstract values: their union."""
    union: Value = frozenset().union(*values)
    if len(union) > MOST_ATOMS:
        if all(is_data(atom) for atom in union):
            return ANY_DATA
        message = "it has too many branches to follow{at}"
        raise NotKnownError(message)
    return union


def is_data(atom: Atom) -> bool:
    """Whether this is a plain number or string, an unknown attribute, or `DATA`."""
    if isinstance(atom, Concrete):
        return isinstance(atom.obj, PLAIN)
    return atom is DATA or isinstance(atom, Attribute)


def seen_as(obj: Any) -> Value:
    """The abstract value of a live object.

    Raises NotKnownError for an object that overrides attribute access.
    """
    if is_veiled(obj):
        message = f"it uses {one_of(type(obj))}{{at}}, whose class defines its own attribute access"
        raise NotKnownError(message)
    if isinstance(obj, np.ndarray):
        return singleton(VIEW)
    if isinstance(obj, (internals.ArrayImpl, internals.Tracer, np.generic, np.dtype, slice)):
        return ANY_DATA
    return singleton(Concrete(obj))


def argument_as(obj: Any, site: Any, heap: Any) -> Value:
    """The abstract value of an argument. JAX rebuilds its containers, so they count as created by the function."""
    if is_veiled(obj):
        return seen_as(obj)
    if isinstance(obj, PLAIN):
        return singleton(Concrete(obj)) if obj is None or isinstance(obj, (int, str)) else ANY_DATA
    if type(obj) is tuple and len(obj) <= MOST_ITEMS:
        return singleton(TupleValue(tuple(argument_as(item, (site, i), heap) for i, item in enumerate(obj))))
    if type(obj) in (list, dict):
        allocation = Allocation(site, type(obj))
        items = obj.values() if isinstance(obj, dict) else obj
        content = [argument_as(item, (site, i), heap) for i, item in enumerate(list(items)[:MOST_ITEMS])]
        heap.put(allocation, joined(ANY_DATA, *content))
        return singleton(allocation)
    if hasattr(obj, "shape") and hasattr(obj, "dtype"):
        return ANY_DATA
    return seen_as(obj)


class Heap:
    """What the allocations and cell variables of a followed function may hold.

    Contents only grow. `grown` is true if something grew after it was read: then
    the function is followed again, until a fixpoint.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._content: dict[Any, Value] = {}
        self._read: set[Any] = set()
        self.grown = False

    def put(self, place: Any, value: Value) -> None:
        """Join `value` into the content of `place`."""
        before = self._content.get(place, frozenset())
        after = joined(before, value)
        if after != before:
            self._content[place] = after
            self.grown = self.grown or place in self._read

    def get(self, place: Any) -> Value:
        """All that `place` may hold so far."""
        self._read.add(place)
        return self._content.get(place, frozenset())

    def content(self) -> dict[Any, Value]:
        """A copy of all contents."""
        return dict(self._content)

    def again(self) -> None:
        """Begin another round: contents stay, and count as not yet read."""
        self._read.clear()
        self.grown = False
