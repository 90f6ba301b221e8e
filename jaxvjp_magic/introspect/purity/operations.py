"""What the operations of a function that is followed mean: which of them change nothing that was there before.

Whatever is not known raises `NotKnownError`, with a clause that says why.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np

from jaxvjp_magic.introspect.purity import known_functions
from jaxvjp_magic.introspect.purity.abstract_values import (
    ANY_DATA,
    CONTEXT,
    DATA,
    MOST_ITEMS,
    NONE,
    NULL,
    PLAIN,
    SAFE,
    VIEW,
    Atom,
    Attribute,
    Bound,
    Fresh,
    Heap,
    Items,
    Known,
    Made,
    NotKnownError,
    Super,
    Tup,
    Value,
    Variable,
    is_data,
    joined,
    one,
    one_of,
    seen_as,
)
from jaxvjp_magic.introspect.purity.bytecode import Frame
from jaxvjp_magic.introspect.purity.dependencies import Meanings
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.introspect.static_attributes import held_by
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEEPEST = 40  # calls inside each other
_LONG = 1000  # turns of a loop, or of one in another
_EXACT_CONTAINERS = (tuple, list, dict, set, frozenset, range, types.MappingProxyType, np.ndarray)
_ABSENT: Any = object()


class Follower:
    """Follows one function and what it calls; raises NotKnownError as soon as something may have an effect."""

    def __init__(self, call_one: Callable[..., Value], root: types.FunctionType | None = None) -> None:
        """Nothing is followed yet. `call_one` says what a call does; of `root`, what names mean is noted."""
        self._call_one = call_one
        self.heap = Heap()
        self.names = Meanings(root)
        self.is_long = False  # it may take long, or loop for long
        self.prints = False  # in its own code, or in a function made in it
        self.calls_back = False  # JAX would call a function of the user's when it computes
        self.with_rules: set[int] = set()  # the functions with rules whose rules are being followed
        self._known: dict[Any, Value] = {}
        self._going: dict[Any, Value] = {}
        self._depth = 0
        self._loops: dict[int, dict[Any, int]] = {}  # the turns of each loop over a range, by function
        self._own: set[int] = set()  # the code whose globals are copied with it, by identity

    def own(self, code: types.CodeType) -> None:
        """This code, and that of the functions made in it, is copied before it runs: there, print is silent."""
        self._own.add(id(code))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.own(constant)

    def again(self) -> None:
        """Another round with all that is known of contents by now."""
        self.heap.again()
        self._known.clear()

    # Names ------------------------------------------------------------------------------------------

    def constant(self, obj: Any) -> Value:
        """A constant in the code."""
        return one(Tup(tuple(map(self.constant, obj)))) if type(obj) is tuple else one(Known(obj))

    def global_value(self, made: Any, name: str) -> Value:
        """What a global, or a builtin, means."""
        scope = made.scope.obj if isinstance(made, Made) else made.__globals__
        self.names.is_global(scope, name)
        obj = scope.get(name, known_functions.BUILTINS.get(name, _ABSENT))
        return frozenset() if obj is _ABSENT else seen_as(obj)  # without it, a NameError

    def contents(self, cells: Value, name: str) -> Value:
        """What a variable that functions share holds."""
        found: list[Value] = []
        for atom in cells:
            if isinstance(atom, Variable):
                found.append(self.heap.get(atom))
            elif isinstance(atom, Known) and isinstance(atom.obj, types.CellType):
                try:
                    found.append(seen_as(atom.obj.cell_contents))
                except ValueError:  # not yet bound
                    continue
            else:
                message = f"it reads {name}{{at}}, whose value is not known"
                raise NotKnownError(message)
        return joined(*found)

    def imported(self, name: str, names: Value, made: Any) -> Value:
        """A module that is imported already; to import one runs its code."""
        self.names.are_kept = False
        module = sys.modules.get(name)
        package = (made.scope.obj if isinstance(made, Made) else made.__globals__).get("__package__") or ""
        if module is None and package:
            module = sys.modules.get(f"{package}.{name}")
        if module is None:
            message = f"it imports {name}{{at}}"
            raise NotKnownError(message)
        if names == NONE and "." in name:
            module = sys.modules[name.split(".", 1)[0]]
        return one(Known(module))

    # Functions that are made here -------------------------------------------------------------------

    def function(self, frame: Frame, code: Value, cells: Value, defaults: Value, keywords: Value) -> Value:
        """A function from its code."""
        made = []
        for atom in code:
            if not isinstance(atom, Known) or not isinstance(atom.obj, types.CodeType):
                message = "it creates a function{at} in a way that is not followed"
                raise NotKnownError(message)
            scope = frame.made.scope if isinstance(frame.made, Made) else Known(frame.made.__globals__)
            own = [one for one in cells if isinstance(one, Tup)]
            given = [one for one in defaults if isinstance(one, Tup)]
            made.append(Made(atom.obj, scope, own[0].items if own else (), given[0].items if given else ()))
            if keywords:
                names = [name for name in atom.obj.co_varnames if name][atom.obj.co_argcount :]
                rest = names[: atom.obj.co_kwonlyargcount]
                code_of, scope, inside, given_first, _ = _parts(made[-1])
                made[-1] = Made(
                    code_of, scope, inside, given_first, tuple((name, self.values_of(frame, keywords)) for name in rest)
                )
        return frozenset(made)

    def with_attribute(self, frame: Frame, function: Value, flag: int, value: Value) -> Value:
        """Python 3.13 adds defaults and closure one after another."""
        found: list[Atom] = []
        for atom in function:
            if not isinstance(atom, Made):
                message = "it creates a function{at} in a way that is not followed"
                raise NotKnownError(message)
            items = next((one.items for one in value if isinstance(one, Tup)), ())
            parts = list(_parts(atom))
            if flag == 8:  # noqa: PLR2004 (CPython's numbers)
                parts[2] = items
            elif flag == 1:
                parts[3] = items
            elif flag == 2:  # noqa: PLR2004 (as above)
                names = atom.code.co_varnames[atom.code.co_argcount :][: atom.code.co_kwonlyargcount]
                parts[4] = tuple((name, self.values_of(frame, value)) for name in names)
            found.append(Made(*parts))
        return frozenset(found)

    def made(self, frame: Frame, kind: type, *content: Value) -> Value:
        """A container that is made here."""
        fresh = Fresh(frame.site(kind), kind)
        self.heap.put(fresh, joined(*content))
        return one(fresh)

    # Attributes and items ---------------------------------------------------------------------------

    def attribute(self, frame: Frame, owner: Value, name: str) -> Value:
        """What `owner.name` is."""
        return joined(*(self._attribute(frame, atom, name) for atom in owner))

    def _attribute(self, frame: Frame, atom: Atom, name: str) -> Value:
        if isinstance(atom, Known) and not isinstance(atom.obj, PLAIN):
            return self._attribute_of(frame, atom.obj, name)
        if isinstance(atom, Fresh) and atom.kind not in known_functions.CONTAINER_METHODS and atom.kind is not tuple:
            held = self.heap.get((atom, name))
            return joined(held, self._in_class(frame, atom.kind, one(atom), name, found=bool(held)))
        if isinstance(atom, Super):
            return self.super_attribute(frame, atom.of_class, atom.own, name)
        if atom is SAFE and name in ("defvjp", "defjvp", "defjvps", "def_vmap"):
            return one(SAFE)
        if isinstance(atom, Bound) and name in ("__self__", "__func__"):
            return atom.first if name == "__self__" else atom.function
        return one(Attribute(one(atom), name))

    def _attribute_of(self, frame: Frame, obj: Any, name: str) -> Value:
        """Of a live object, without running anything of its class."""
        if isinstance(obj, types.ModuleType):
            self.names.is_in(obj, name)
            if name not in vars(obj):
                _unknown(f"it reads {obj.__name__}.{name}{{at}}, which is computed on access")
            return seen_as(vars(obj)[name])
        self.names.are_kept = self.names.are_kept and known_functions.is_jax(obj)
        if isinstance(obj, type):
            for kind in obj.__mro__:
                if name in vars(kind):
                    value = vars(kind)[name]
                    if isinstance(value, (staticmethod, types.FunctionType)):
                        return seen_as(getattr(value, "__func__", value))
                    if isinstance(value, classmethod):
                        return one(Bound(seen_as(value.__func__), one(Known(obj))))
                    return ANY_DATA if hasattr(type(value), "__get__") else seen_as(value)
            return one(Attribute(one(Known(obj)), name))
        if known_functions.is_jax(obj) and not isinstance(obj, (internals.CustomVjp, jax.custom_jvp)):
            return one(Attribute(one(Known(obj)), name))
        reads: Any = type(obj).__getattribute__
        if reads is not object.__getattribute__ and not isinstance(obj, types.MethodType):
            return (
                one(Attribute(one(Known(obj)), name))
                if isinstance(obj, (*_EXACT_CONTAINERS, super))
                else _unknown(
                    f"it reads {name} of {known_functions.shown(obj)}{{at}}, "
                    "whose class defines its own attribute access"
                )
            )
        held = held_by(obj).get(name, _ABSENT)
        return self._in_class(frame, type(obj), one(Known(obj)), name, held=held)

    def _in_class(
        self, frame: Frame, kind: type, own: Value, name: str, *, held: Any = _ABSENT, found: bool = False
    ) -> Value:
        """What an object has in its class, or in itself: `held`."""
        value = _ABSENT
        for one_kind in kind.__mro__:
            if name in vars(one_kind):
                value = vars(one_kind)[name]
                break
        self.names.are_kept = False
        if isinstance(value, property) or (hasattr(type(value), "__set__") and held is not _ABSENT):
            return self._described(frame, kind, value, own, name)
        if held is not _ABSENT:
            return seen_as(held)
        if found:
            return frozenset()
        if value is _ABSENT:
            if name in ("__dict__", "__class__", "__doc__", "__module__"):
                return ANY_DATA
            if any("__getattr__" in vars(one_kind) for one_kind in kind.__mro__):
                _unknown(f"it reads {name} of {one_of(kind)}{{at}}, which computes it on access")
            return frozenset()  # an AttributeError
        return self._described(frame, kind, value, own, name)

    def _described(self, frame: Frame, kind: type, value: Any, own: Value, name: str) -> Value:
        if isinstance(value, types.FunctionType):
            return one(Bound(seen_as(value), own))
        if isinstance(value, staticmethod):
            return seen_as(value.__func__)
        if isinstance(value, classmethod):
            return one(Bound(seen_as(value.__func__), one(Known(kind))))
        if isinstance(value, property):
            return self.call(frame, seen_as(value.fget), [own], {})
        if isinstance(value, functools.cached_property):
            _unknown(f"it fills the cached property {name}{{at}}")
        if isinstance(value, types.MemberDescriptorType):
            found = [seen_as(value.__get__(atom.obj)) for atom in own if isinstance(atom, Known) and _has(value, atom)]
            return joined(*found) if found else frozenset()
        if isinstance(value, (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType)):
            return one(Attribute(own, name))
        if hasattr(type(value), "__get__") and not isinstance(value, (internals.PjitFunction, type)):
            _unknown(f"it reads {name} of {one_of(kind)}{{at}}, {one_of(type(value))}")
        if isinstance(value, internals.PjitFunction):
            return one(Bound(seen_as(value), own))
        return seen_as(value)

    def super_attribute(self, frame: Frame, of_class: Value, own: Value, name: str) -> Value:
        """What `super().name` is."""
        kinds = [atom.obj for atom in of_class if isinstance(atom, Known) and isinstance(atom.obj, type)]
        found: list[Value] = []
        for atom in own:
            whole = atom.kind if isinstance(atom, Fresh) else type(atom.obj) if isinstance(atom, Known) else None
            if whole is None or len(kinds) != 1 or kinds[0] not in whole.__mro__:
                _unknown(f"it calls super().{name}{{at}}, which is not followed")
            for kind in whole.__mro__[whole.__mro__.index(kinds[0]) + 1 :]:
                if name in vars(kind):
                    found.append(self._described(frame, kind, vars(kind)[name], one(atom), name))
                    break
        return joined(*found)

    def store_attribute(self, owner: Value, name: str, value: Value) -> None:
        """`owner.name = value`: of what was made here alone."""
        for atom in owner:
            is_own = isinstance(atom, Fresh) and atom.kind not in known_functions.CONTAINER_METHODS
            if not isinstance(atom, Fresh) or not is_own or _has_setter(atom.kind, name):
                _unknown(f"it sets the attribute {name}{{at}}")
            self.heap.put((atom, name), value)

    def item(self, frame: Frame, owner: Value, key: Value) -> Value:
        """What `owner[key]` is."""
        found: list[Value] = []
        for atom in owner:
            if isinstance(atom, Tup):
                picked = [k.obj for k in key if isinstance(k, Known) and type(k.obj) is int]
                known_key = len(picked) == len(key) == 1 and -len(atom.items) <= picked[0] < len(atom.items)
                found.append(atom.items[picked[0]] if known_key else joined(*atom.items, one(atom)))
            elif isinstance(atom, Known) and not isinstance(atom.obj, PLAIN):
                found.append(self._item_of(frame, atom.obj, key))
            elif isinstance(atom, Fresh):
                found.append(self._item_of_fresh(frame, atom, key))
            elif atom is VIEW:
                found.append(one(VIEW))
            elif atom is DATA or isinstance(atom, (Attribute, Known, Items)):
                found.append(ANY_DATA)
            else:
                _unknown("it takes an item{at} of something unknown")
        return joined(*found)

    def _item_of(self, frame: Frame, obj: Any, key: Value) -> Value:
        if type(obj) in (list, tuple, dict):
            picked = [k.obj for k in key if isinstance(k, Known)]
            if len(picked) == len(key) == 1 and isinstance(picked[0], PLAIN):
                try:
                    value = obj[picked[0]]
                except (KeyError, IndexError, TypeError):
                    return frozenset()
                self.names.are_kept = False
                return seen_as(value)
            return self.elements_of_object(frame, obj, values=True)
        if isinstance(obj, (internals.PjitFunction, type)) or known_functions.is_jax(obj):
            return ANY_DATA
        function = inspect.getattr_static(type(obj), "__getitem__", None)
        if isinstance(function, types.FunctionType):
            return self.call(frame, seen_as(function), [one(Known(obj)), key], {})
        if isinstance(obj, tuple):  # a named tuple
            return self.elements_of_object(frame, obj, values=True)
        message = f"it takes an item of {one_of(type(obj))}{{at}}"
        raise NotKnownError(message)

    def _item_of_fresh(self, frame: Frame, atom: Fresh, key: Value) -> Value:
        function = inspect.getattr_static(atom.kind, "__getitem__", None)
        if isinstance(function, types.FunctionType):
            return self.call(frame, seen_as(function), [one(atom), key], {})
        return joined(self.heap.get(atom), ANY_DATA if atom.kind is np.ndarray else frozenset())

    def store_item(self, owner: Value, value: Value) -> None:
        """`owner[...] = value`: in what was made here alone."""
        for atom in owner:
            if not isinstance(atom, Fresh) or atom.kind not in (list, dict, set, np.ndarray):
                _unknown("it changes an item{at} of something from outside")
            self.heap.put(atom, value)

    # Iteration --------------------------------------------------------------------------------------

    def elements(self, frame: Frame, value: Value) -> Value:
        """What comes out of iterating over a value."""
        found: list[Value] = []
        for atom in value:
            if isinstance(atom, Tup):
                found.append(joined(*atom.items))
            elif isinstance(atom, Items):
                found.append(atom.of)
            elif isinstance(atom, Fresh):
                if inspect.getattr_static(atom.kind, "__iter__", None) is None or isinstance(
                    inspect.getattr_static(atom.kind, "__iter__"), types.FunctionType
                ):
                    _unknown(f"it iterates over {one_of(atom.kind)}{{at}}")
                found.append(ANY_DATA if atom.kind is dict else joined(self.heap.get(atom)))
            elif isinstance(atom, Known) and not isinstance(atom.obj, PLAIN):
                found.append(self.elements_of_object(frame, atom.obj))
            elif atom is VIEW:
                found.append(one(VIEW))
            elif is_data(atom) or atom is DATA:
                found.append(ANY_DATA)
            else:
                _unknown("it iterates over something unknown{at}")
        return joined(*found)

    def elements_of_object(self, frame: Frame, obj: Any, *, values: bool = False) -> Value:
        """Of a container that is there; of an iterator from outside, to iterate is to move it on."""
        if type(obj) not in _EXACT_CONTAINERS and not (isinstance(obj, tuple) and hasattr(obj, "_fields")):
            function = inspect.getattr_static(type(obj), "__iter__", None)
            if isinstance(function, types.FunctionType) and function.__code__.co_flags & inspect.CO_GENERATOR:
                return self.elements(frame, self.call(frame, seen_as(function), [one(Known(obj))], {}))
            _unknown(f"it advances {one_of(type(obj))}{{at}}")
        if isinstance(obj, (range, np.ndarray)):
            return ANY_DATA
        content = list(obj.values() if isinstance(obj, dict) and values else obj)[: 4 * MOST_ITEMS]
        self.names.are_kept = False
        return joined(*{value for value in map(seen_as, content)})  # noqa: C416 (a set of values is small)

    def values_of(self, frame: Frame, mapping: Value) -> Value:
        """The values of a dictionary."""
        found: list[Value] = []
        for atom in mapping:
            if isinstance(atom, Known) and type(atom.obj) in (dict, types.MappingProxyType):
                found.append(self.elements_of_object(frame, atom.obj, values=True))
            elif isinstance(atom, Fresh):
                found.append(self.heap.get(atom))
            elif is_data(atom) or atom is DATA:
                found.append(ANY_DATA)
            elif isinstance(atom, Items):
                found.append(atom.of)
            else:
                _unknown("it unpacks something unknown{at}")
        return joined(*found)

    def unpacked(self, frame: Frame, value: Value, count: int) -> list[Value]:
        """The items of a sequence that is taken apart."""
        if all(isinstance(atom, Tup) for atom in value):
            items = [atom.items for atom in value if isinstance(atom, Tup) and len(atom.items) == count]
            return [joined(*(each[i] for each in items)) for i in range(count)]
        return [self.elements(frame, value)] * count

    def iterates(self, frame: Frame, value: Value) -> None:
        """A loop over a value begins: over a long range, it may take long."""
        for atom in value:
            if isinstance(atom, Known) and isinstance(atom.obj, range) and len(atom.obj) > 1:
                loops = self._loops.setdefault(id(frame.code), {})
                loops[frame.site()] = len(atom.obj)
                self.is_long = self.is_long or math.prod(loops.values()) >= _LONG

    # Operators --------------------------------------------------------------------------------------

    def truth(self, value: Value) -> set[bool]:
        """What a condition may be."""
        if value and all(isinstance(atom, Known) and isinstance(atom.obj, PLAIN) for atom in value):
            return {bool(atom.obj) for atom in value if isinstance(atom, Known)}
        return {True, False}

    def binary(self, frame: Frame, first: Value, second: Value, symbol: str, *, in_place: bool) -> Value:
        """`first + second` and the like."""
        if in_place:
            for atom in first:
                if atom is VIEW or (isinstance(atom, Known) and not isinstance(atom.obj, PLAIN)):
                    _unknown("it changes something from outside{at}")
                if isinstance(atom, Fresh):
                    self.heap.put(atom, self.elements(frame, second) if atom.kind is not np.ndarray else ANY_DATA)
                    return first
        result: list[Value] = []
        for atom in joined(first, second):
            if isinstance(atom, Known) and not isinstance(atom.obj, (*PLAIN, *_EXACT_CONTAINERS, type, np.dtype)):
                if type(atom.obj).__module__.split(".", 1)[0] in ("jax", "jaxlib", "numpy", "builtins", "ml_dtypes"):
                    continue
                if not _has_plain_operators(type(atom.obj)):
                    _unknown(f"it uses {symbol}{{at}} on {one_of(type(atom.obj))}")
            elif isinstance(atom, Fresh) and not _has_plain_operators(atom.kind):
                _unknown(f"it uses {symbol}{{at}} on {one_of(atom.kind)}")
            elif isinstance(atom, Tup) or (isinstance(atom, Fresh) and atom.kind in (list, tuple)):
                result.append(self.made(frame, tuple, self.elements(frame, one(atom))))
        return joined(*result) if result else _folded(first, second, symbol)

    # Contexts ---------------------------------------------------------------------------------------

    def enter(self, frame: Frame, manager: Value) -> tuple[Value, Value]:
        """What leaves a `with` block, and what it gives."""
        leave: list[Value] = []
        given: list[Value] = []
        for atom in manager:
            if atom is CONTEXT:
                leave.append(one(SAFE))
                given.append(ANY_DATA)
            elif isinstance(atom, Fresh) or (isinstance(atom, Known) and is_user_code(_file_of(type(atom.obj)))):
                leave.append(self.attribute(frame, one(atom), "__exit__"))
                given.append(self.call(frame, self.attribute(frame, one(atom), "__enter__"), [], {}))
            else:
                what = known_functions.shown(atom.obj) if isinstance(atom, Known) else "something unknown"
                _unknown(f"it enters {what}{{at}}")
        return joined(*leave), joined(*given)

    # Calls ------------------------------------------------------------------------------------------

    def call_with_stars(self, frame: Frame, function: Value, starred: Value, keywords: Value) -> Value:
        """`function(*starred, **keywords)`."""
        tuples = [atom for atom in starred if isinstance(atom, Tup)]
        exact = len(tuples) == len(starred) == 1
        arguments = list(tuples[0].items) if exact else [self.elements(frame, starred)]
        named = {"**": self.values_of(frame, keywords)} if keywords else {}
        if named and not named["**"]:
            named = {}
        return self.call(frame, function, arguments, named, starred=not exact)

    def call(
        self, frame: Frame, function: Value, arguments: list[Value], named: dict[str, Value], *, starred: bool = False
    ) -> Value:
        """What a call gives."""
        found = [self._call_one(self, frame, atom, arguments, named, starred=starred) for atom in function]
        return joined(*found)

    def run(self, made: Made | types.FunctionType, variables: dict[str, Value]) -> Value:
        """Follow a function whose arguments are in its variables; once for equal ones."""
        code = made.code if isinstance(made, Made) else made.__code__
        identity = made if isinstance(made, Made) else Known(made)
        key = identity, tuple(sorted(variables.items(), key=lambda item: item[0]))
        known_result = self._known.get(key)
        if known_result is not None:
            return known_result
        if key in self._going:  # it calls itself; or its rule does, which JAX does not run in the rule
            self.is_long = self.is_long or not self.with_rules
            return self._going[key]
        if self._depth >= _DEEPEST:
            _unknown("its calls nest too deeply to follow{at}")
        cells = made.cells if isinstance(made, Made) else tuple(one(Known(cell)) for cell in made.__closure__ or ())
        variables |= dict(zip(code.co_freevars, cells, strict=False))
        if isinstance(made, types.FunctionType):
            self.names.inside(made)
        self._going[key] = frozenset()
        self._depth += 1
        frame = Frame(self, code, key, made)
        try:
            for _ in range(5):
                result = frame.follow(dict(variables))
                if result <= self._going[key]:
                    break
                self._going[key] = joined(result, self._going[key])
                frame = Frame(self, code, key, made)
        except NotKnownError as error:
            if error.place is None or (not is_user_code(error.place.filename) and is_user_code(code.co_filename)):
                error.place = frame.place()
            raise
        finally:
            self._depth -= 1
            del self._going[key]
        self._known[key] = result
        return result

    def is_own(self, frame: Frame) -> bool:
        """Whether the code that is followed now is copied with its globals before it runs."""
        return id(frame.code) in self._own


def _unknown(why: str) -> NoReturn:
    raise NotKnownError(why)


def _parts(made: Made) -> tuple[Any, ...]:
    return made.code, made.scope, made.cells, made.defaults, made.keywords


def _has(slot: Any, atom: Known) -> bool:
    try:
        slot.__get__(atom.obj)
    except AttributeError:
        return False
    return True


def _has_setter(kind: type, name: str) -> bool:
    """Whether to set an attribute runs code of the class; a frozen dataclass's raises."""
    setter: Any = kind.__setattr__
    is_plain = setter is object.__setattr__ or setter is BaseException.__setattr__
    value = inspect.getattr_static(kind, name, None)
    return not is_plain or (hasattr(type(value), "__set__") and not isinstance(value, types.MemberDescriptorType))


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_OPERATORS = (
    *(f"__{reverse}{name}__" for name in _ARITHMETIC for reverse in ("", "r")),
    *(f"__{name}__" for name in ("eq", "lt", "gt", "le", "ge", "ne")),
)


def _has_plain_operators(kind: type) -> bool:
    """Whether no operator of a class is a function of Python's; those of a dataclass compare its fields."""
    found = (inspect.getattr_static(kind, name, None) for name in _OPERATORS)
    return not any(isinstance(one, types.FunctionType) and one.__code__.co_filename != "<string>" for one in found)


def _folded(first: Value, second: Value, symbol: str) -> Value:
    """Whole numbers are known after + and *, so that `range(2 * n)` is."""
    if len(first) == len(second) == 1 and symbol in ("+", "*", "-"):
        (a,), (b,) = first, second
        if isinstance(a, Known) and isinstance(b, Known) and type(a.obj) is int and type(b.obj) is int:
            value = {"+": a.obj + b.obj, "*": a.obj * b.obj, "-": a.obj - b.obj}[symbol]
            return one(Known(value)) if abs(value) < 10**9 else ANY_DATA
    return ANY_DATA


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or "<stdin>"


def constants_in(values: Iterable[Value]) -> Iterable[Any]:
    """The live objects among values, those in tuples too."""
    for value in values:
        for atom in value:
            if isinstance(atom, Known):
                yield atom.obj
            elif isinstance(atom, Tup):
                yield from constants_in(atom.items)


__all__ = ["NULL", "Follower"]
