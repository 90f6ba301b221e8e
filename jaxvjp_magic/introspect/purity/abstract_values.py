"""What a value may be while a function is followed without being run.

A `Value` is a set of possibilities. What is known only to be a number, an
array or a container of them is `DATA`; what is reached from the live function
is `Known`, the object itself; what the function makes is `Fresh`, and may be
changed as it likes.
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

MOST_ATOMS = 32  # possibilities of one value
MOST_ITEMS = 64  # of a container that are told apart
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


class NotKnownError(Exception):
    """The function is not known to have no effects: `why` is a clause in which `{at}` stands for `place`."""

    def __init__(self, why: str, place: Place | None = None) -> None:
        """The place is filled in on the way out."""
        super().__init__(why)
        self.why, self.place = why, place


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A possibility that has nothing but a name."""

    name: str


DATA = Mark("data")  # numbers, arrays that nobody can change or that were made here, containers of these
VIEW = Mark("view")  # data that may share its memory with an array of NumPy's from outside
NULL = Mark("null")  # what CPython leaves below a function that is called
SAFE = Mark("function")  # what JAX makes of functions that have been followed: to call it does nothing else
CONTEXT = Mark("context")  # a context manager that changes nothing outside of this thread and the block


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Known:
    """An object that is there: equal by identity, a number or a text by its value."""

    obj: Any

    def __eq__(self, other: object) -> bool:
        """Whether it is the same object."""
        if not isinstance(other, Known):
            return False
        if type(self.obj) in PLAIN:
            return type(other.obj) is type(self.obj) and bool(other.obj == self.obj)
        return other.obj is self.obj

    def __hash__(self) -> int:
        """As equality has it."""
        return hash((type(self.obj), self.obj)) if type(self.obj) in PLAIN else id(self.obj)


@dataclasses.dataclass(frozen=True, slots=True)
class Fresh:
    """A container, an array, or an object of class `kind`, that the function makes at `site`."""

    site: Any
    kind: type


@dataclasses.dataclass(frozen=True, slots=True)
class Tup:
    """A tuple of which each item is known apart."""

    items: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """An iterator, made here, over such values."""

    of: Value


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a function that is followed, which those inside it share: its content is in the heap."""

    frame: Any
    name: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A function that a `def` or a `lambda` made while another was followed."""

    code: types.CodeType
    scope: Known  # its globals
    cells: tuple[Value, ...]
    defaults: tuple[Value, ...] = ()
    keywords: tuple[tuple[str, Value], ...] = ()

    def _key(self) -> Any:
        return id(self.code), id(self.scope.obj), self.cells, self.defaults, self.keywords

    def __eq__(self, other: object) -> bool:
        """Of the same code, in the same variables."""
        return isinstance(other, Made) and self._key() == other._key()

    def __hash__(self) -> int:
        """As equality has it."""
        return hash(self._key())


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """A function with what it gets first."""

    function: Value
    first: Value


@dataclasses.dataclass(frozen=True, slots=True)
class Attribute:
    """What an object that is not followed has under a name: data, or a method that may be called."""

    owner: Value
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Super:
    """`super()` in a method of a class, for an object."""

    of_class: Value
    own: Value


Atom = Mark | Known | Fresh | Tup | Items | Variable | Made | Bound | Attribute | Super
Value = frozenset[Atom]

ANY_DATA: Value = frozenset({DATA})
NONE: Value = frozenset({Known(None)})


def one_of(kind: type) -> str:
    """`a Layer`, `an Encoder`."""
    return f"{'an' if kind.__name__[:1] in 'AEIOUaeiou' else 'a'} {kind.__name__}"


def one(atom: Atom) -> Value:
    """The value that is just this."""
    return frozenset({atom})


def joined(*values: Value) -> Value:
    """Any of these."""
    union: Value = frozenset().union(*values)
    if len(union) > MOST_ATOMS:
        if all(is_data(atom) for atom in union):
            return ANY_DATA
        message = "it has too many branches to follow{at}"
        raise NotKnownError(message)
    return union


def is_data(atom: Atom) -> bool:
    """Whether this is a number, a text or an array, and no more."""
    if isinstance(atom, Known):
        return isinstance(atom.obj, PLAIN)
    return atom is DATA or isinstance(atom, Attribute)


def seen_as(obj: Any) -> Value:
    """A live object as a value."""
    if is_veiled(obj):
        message = f"it uses {one_of(type(obj))}{{at}}, whose class defines its own attribute access"
        raise NotKnownError(message)
    if isinstance(obj, np.ndarray):
        return one(VIEW)
    if isinstance(obj, (internals.ArrayImpl, internals.Tracer, np.generic, np.dtype, slice)):
        return ANY_DATA
    return one(Known(obj))


def argument_as(obj: Any, site: Any, heap: Any) -> Value:
    """An argument of a look as a value: JAX builds its containers anew, so they are the function's own."""
    if is_veiled(obj):
        return seen_as(obj)
    if isinstance(obj, PLAIN):
        return one(Known(obj)) if obj is None or isinstance(obj, (int, str)) else ANY_DATA
    if type(obj) is tuple and len(obj) <= MOST_ITEMS:
        return one(Tup(tuple(argument_as(item, (site, i), heap) for i, item in enumerate(obj))))
    if type(obj) in (list, dict):
        fresh = Fresh(site, type(obj))
        items = obj.values() if isinstance(obj, dict) else obj
        content = [argument_as(item, (site, i), heap) for i, item in enumerate(list(items)[:MOST_ITEMS])]
        heap.put(fresh, joined(ANY_DATA, *content))
        return one(fresh)
    if hasattr(obj, "shape") and hasattr(obj, "dtype"):
        return ANY_DATA
    return seen_as(obj)


class Heap:
    """What the containers, objects and variables that are made while a function is followed may hold.

    Contents only grow. `grown` tells whether something was read before it grew:
    then all is followed once more.
    """

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._content: dict[Any, Value] = {}
        self._read: set[Any] = set()
        self.grown = False

    def put(self, place: Any, value: Value) -> None:
        """It may hold this, too."""
        before = self._content.get(place, frozenset())
        now = joined(before, value)
        if now != before:
            self._content[place] = now
            self.grown = self.grown or place in self._read

    def get(self, place: Any) -> Value:
        """All that it may hold; nothing where nothing was put there."""
        self._read.add(place)
        return self._content.get(place, frozenset())

    def content(self) -> dict[Any, Value]:
        """All that is in it by now."""
        return dict(self._content)

    def again(self) -> None:
        """Begin another round."""
        self._read.clear()
        self.grown = False
