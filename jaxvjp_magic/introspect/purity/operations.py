"""Takes the operations of followed code with abstract values, and gives their results.

An operation may only change what the function itself created. Any other, or
unknown, operation raises `NotKnownError` with a clause that says why.
"""

from __future__ import annotations

import dataclasses
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
    Allocation,
    Atom,
    Attribute,
    BoundFunction,
    CellVariable,
    Closure,
    Concrete,
    Heap,
    IteratorValue,
    NotKnownError,
    SuperObject,
    TupleValue,
    Value,
    is_data,
    joined,
    one_of,
    seen_as,
    singleton,
)
from jaxvjp_magic.introspect.purity.bytecode import Frame
from jaxvjp_magic.introspect.purity.dependencies import Meanings
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.introspect.static_attributes import held_by
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_DEEPEST = 40  # nested calls
_LONG = 1000  # iterations of a loop, or of nested loops together
_EXACT_CONTAINERS = (tuple, list, dict, set, frozenset, range, types.MappingProxyType, np.ndarray)
_ABSENT: Any = object()


class Follower:
    """Follows one function and what it calls; raises NotKnownError as soon as something may have an effect."""

    def __init__(self, call_one: Callable[..., Value], root: types.FunctionType | None = None) -> None:
        """`call_one` gives the result of a call. The names that `root` reads are noted, to keep its verdict."""
        self._call_one = call_one
        self.heap = Heap()
        self.names = Meanings(root)
        self.is_long = False  # it may run for long
        self.prints = False  # in its own code, or in a function made in it
        self.calls_back = False  # JAX would call a function of the user's when it computes
        self.with_rules: set[int] = set()  # ids of the functions whose rules are being followed
        self._results: dict[Any, Value] = {}
        self._in_progress: dict[Any, Value] = {}
        self._depth = 0
        self._loops: dict[int, dict[Any, int]] = {}  # the iterations of each loop over a range, by id of the code
        self._own: set[int] = set()  # ids of the code that runs with a copy of its globals

    def own(self, code: types.CodeType) -> None:
        """Note that this code and the functions inside it run as a copy, in which print is silent."""
        self._own.add(id(code))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self.own(constant)

    def again(self) -> None:
        """Begin another round, with the heap as it is now."""
        self.heap.again()
        self._results.clear()

    # Names ------------------------------------------------------------------------------------------

    def constant(self, obj: Any) -> Value:
        """The value of a constant in the code."""
        return singleton(TupleValue(tuple(map(self.constant, obj)))) if type(obj) is tuple else singleton(Concrete(obj))

    def global_value(self, function: Any, name: str) -> Value:
        """The value of a global or a builtin."""
        scope = function.scope.obj if isinstance(function, Closure) else function.__globals__
        self.names.is_global(scope, name)
        obj = scope.get(name, known_functions.BUILTINS.get(name, _ABSENT))
        return frozenset() if obj is _ABSENT else seen_as(obj)  # without it, a NameError

    def contents(self, cells: Value, name: str) -> Value:
        """The content of a variable that functions share."""
        values: list[Value] = []
        for atom in cells:
            if isinstance(atom, CellVariable):
                values.append(self.heap.get(atom))
            elif isinstance(atom, Concrete) and isinstance(atom.obj, types.CellType):
                try:
                    values.append(seen_as(atom.obj.cell_contents))
                except ValueError:  # not yet bound
                    continue
            else:
                message = f"it reads {name}{{at}}, whose value is not known"
                raise NotKnownError(message)
        return joined(*values)

    def imported(self, name: str, names: Value, function: Any) -> Value:
        """A module that has been imported before; a first import would run its code."""
        self.names.are_kept = False
        module = sys.modules.get(name)
        scope = function.scope.obj if isinstance(function, Closure) else function.__globals__
        package = scope.get("__package__") or ""
        if module is None and package:
            module = sys.modules.get(f"{package}.{name}")
        if module is None:
            message = f"it imports {name}{{at}}"
            raise NotKnownError(message)
        if names == NONE and "." in name:
            module = sys.modules[name.split(".", 1)[0]]
        return singleton(Concrete(module))

    # Functions that the code makes ------------------------------------------------------------------

    def function(self, frame: Frame, code: Value, cells: Value, defaults: Value, keywords: Value) -> Value:
        """MAKE_FUNCTION: a closure of the code."""
        closures = []
        for atom in code:
            if not isinstance(atom, Concrete) or not isinstance(atom.obj, types.CodeType):
                message = "it creates a function{at} in a way that is not followed"
                raise NotKnownError(message)
            scope = (
                frame.function.scope if isinstance(frame.function, Closure) else Concrete(frame.function.__globals__)
            )
            cell_tuples = [cell for cell in cells if isinstance(cell, TupleValue)]
            default_tuples = [default for default in defaults if isinstance(default, TupleValue)]
            cell_items = cell_tuples[0].items if cell_tuples else ()
            closures.append(Closure(atom.obj, scope, cell_items, default_tuples[0].items if default_tuples else ()))
            if keywords:
                names = [name for name in atom.obj.co_varnames if name][atom.obj.co_argcount :]
                keyword_only = names[: atom.obj.co_kwonlyargcount]
                keyword_defaults = tuple((name, self.values_of(frame, keywords)) for name in keyword_only)
                closures[-1] = dataclasses.replace(closures[-1], keywords=keyword_defaults)
        return frozenset(closures)

    def with_attribute(self, frame: Frame, function: Value, flag: int, value: Value) -> Value:
        """SET_FUNCTION_ATTRIBUTE: Python 3.13 adds defaults and closure one by one."""
        closures: list[Atom] = []
        for atom in function:
            if not isinstance(atom, Closure):
                message = "it creates a function{at} in a way that is not followed"
                raise NotKnownError(message)
            items = next((attribute.items for attribute in value if isinstance(attribute, TupleValue)), ())
            parts = list(_parts(atom))
            if flag == 8:  # noqa: PLR2004 (CPython's numbers)
                parts[2] = items
            elif flag == 1:
                parts[3] = items
            elif flag == 2:  # noqa: PLR2004 (as above)
                names = atom.code.co_varnames[atom.code.co_argcount :][: atom.code.co_kwonlyargcount]
                parts[4] = tuple((name, self.values_of(frame, value)) for name in names)
            closures.append(Closure(*parts))
        return frozenset(closures)

    def made(self, frame: Frame, container: type, *content: Value) -> Value:
        """A container that the function creates."""
        allocation = Allocation(frame.site(container), container)
        self.heap.put(allocation, joined(*content))
        return singleton(allocation)

    # Attributes and items ---------------------------------------------------------------------------

    def attribute(self, frame: Frame, owner: Value, name: str) -> Value:
        """The value of `owner.name`."""
        return joined(*(self._attribute(frame, atom, name) for atom in owner))

    def _attribute(self, frame: Frame, atom: Atom, name: str) -> Value:
        if isinstance(atom, Concrete) and not isinstance(atom.obj, PLAIN):
            return self._attribute_of(frame, atom.obj, name)
        if (
            isinstance(atom, Allocation)
            and atom.kind not in known_functions.CONTAINER_METHODS
            and atom.kind is not tuple
        ):
            held = self.heap.get((atom, name))
            return joined(held, self._in_class(frame, atom.kind, singleton(atom), name, is_in_heap=bool(held)))
        if isinstance(atom, SuperObject):
            return self.super_attribute(frame, atom.of_class, atom.own, name)
        if atom is SAFE and name in ("defvjp", "defjvp", "defjvps", "def_vmap"):
            return singleton(SAFE)
        if isinstance(atom, BoundFunction) and name in ("__self__", "__func__"):
            return atom.first if name == "__self__" else atom.function
        return singleton(Attribute(singleton(atom), name))

    def _attribute_of(self, frame: Frame, obj: Any, name: str) -> Value:
        """An attribute of a live object, without running code of its class."""
        if isinstance(obj, types.ModuleType):
            self.names.is_in(obj, name)
            if name not in vars(obj):
                _unknown(f"it reads {obj.__name__}.{name}{{at}}, which is computed on access")
            return seen_as(vars(obj)[name])
        self.names.are_kept = self.names.are_kept and known_functions.is_jax(obj)
        if isinstance(obj, type):
            for cls in obj.__mro__:
                if name in vars(cls):
                    value = vars(cls)[name]
                    if isinstance(value, (staticmethod, types.FunctionType)):
                        return seen_as(getattr(value, "__func__", value))
                    if isinstance(value, classmethod):
                        return singleton(BoundFunction(seen_as(value.__func__), singleton(Concrete(obj))))
                    return ANY_DATA if hasattr(type(value), "__get__") else seen_as(value)
            return singleton(Attribute(singleton(Concrete(obj)), name))
        if known_functions.is_jax(obj) and not isinstance(obj, (*internals.CUSTOM_VJPS, jax.custom_jvp)):
            return singleton(Attribute(singleton(Concrete(obj)), name))
        reads: Any = type(obj).__getattribute__
        if reads is not object.__getattribute__ and not isinstance(obj, types.MethodType):
            return (
                singleton(Attribute(singleton(Concrete(obj)), name))
                if isinstance(obj, (*_EXACT_CONTAINERS, super))
                else _unknown(
                    f"it reads {name} of {known_functions.shown(obj)}{{at}}, "
                    "whose class defines its own attribute access"
                )
            )
        held = held_by(obj).get(name, _ABSENT)
        return self._in_class(frame, type(obj), singleton(Concrete(obj)), name, held=held)

    def _in_class(
        self, frame: Frame, cls: type, own: Value, name: str, *, held: Any = _ABSENT, is_in_heap: bool = False
    ) -> Value:
        """An attribute of an object of this class, which has `held` under the name in its own `__dict__`."""
        value = _ABSENT
        for base in cls.__mro__:
            if name in vars(base):
                value = vars(base)[name]
                break
        self.names.are_kept = False
        if isinstance(value, property) or (hasattr(type(value), "__set__") and held is not _ABSENT):
            return self._described(frame, cls, value, own, name)
        if held is not _ABSENT:
            return seen_as(held)
        if is_in_heap:
            return frozenset()
        if value is _ABSENT:
            if name in ("__dict__", "__class__", "__doc__", "__module__"):
                return ANY_DATA
            if any("__getattr__" in vars(base) for base in cls.__mro__):
                _unknown(f"it reads {name} of {one_of(cls)}{{at}}, which computes it on access")
            return frozenset()  # an AttributeError
        return self._described(frame, cls, value, own, name)

    def _described(self, frame: Frame, cls: type, value: Any, own: Value, name: str) -> Value:
        """What a class member gives for the object `own`, as descriptors do."""
        if isinstance(value, types.FunctionType):
            return singleton(BoundFunction(seen_as(value), own))
        if isinstance(value, staticmethod):
            return seen_as(value.__func__)
        if isinstance(value, classmethod):
            return singleton(BoundFunction(seen_as(value.__func__), singleton(Concrete(cls))))
        if isinstance(value, property):
            return self.call(frame, seen_as(value.fget), [own], {})
        if isinstance(value, functools.cached_property):
            _unknown(f"it fills the cached property {name}{{at}}")
        if isinstance(value, types.MemberDescriptorType):
            slots = [
                seen_as(value.__get__(atom.obj)) for atom in own if isinstance(atom, Concrete) and _has(value, atom)
            ]
            return joined(*slots) if slots else frozenset()
        if isinstance(value, (types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType)):
            return singleton(Attribute(own, name))
        if hasattr(type(value), "__get__") and not isinstance(value, (internals.PjitFunction, type)):
            _unknown(f"it reads {name} of {one_of(cls)}{{at}}, {one_of(type(value))}")
        if isinstance(value, internals.PjitFunction):
            return singleton(BoundFunction(seen_as(value), own))
        return seen_as(value)

    def super_attribute(self, frame: Frame, of_class: Value, own: Value, name: str) -> Value:
        """The value of `super().name`."""
        classes = [atom.obj for atom in of_class if isinstance(atom, Concrete) and isinstance(atom.obj, type)]
        values: list[Value] = []
        for atom in own:
            cls = atom.kind if isinstance(atom, Allocation) else type(atom.obj) if isinstance(atom, Concrete) else None
            if cls is None or len(classes) != 1 or classes[0] not in cls.__mro__:
                _unknown(f"it calls super().{name}{{at}}, which is not followed")
            for base in cls.__mro__[cls.__mro__.index(classes[0]) + 1 :]:
                if name in vars(base):
                    values.append(self._described(frame, base, vars(base)[name], singleton(atom), name))
                    break
        return joined(*values)

    def store_attribute(self, owner: Value, name: str, value: Value) -> None:
        """`owner.name = value`, allowed only for an object that the function created."""
        for atom in owner:
            is_own = isinstance(atom, Allocation) and atom.kind not in known_functions.CONTAINER_METHODS
            if not isinstance(atom, Allocation) or not is_own or _has_setter(atom.kind, name):
                _unknown(f"it sets the attribute {name}{{at}}")
            self.heap.put((atom, name), value)

    def item(self, frame: Frame, owner: Value, key: Value) -> Value:
        """The value of `owner[key]`."""
        values: list[Value] = []
        for atom in owner:
            if isinstance(atom, TupleValue):
                indices = [index.obj for index in key if isinstance(index, Concrete) and type(index.obj) is int]
                is_known = len(indices) == len(key) == 1 and -len(atom.items) <= indices[0] < len(atom.items)
                values.append(atom.items[indices[0]] if is_known else joined(*atom.items, singleton(atom)))
            elif isinstance(atom, Concrete) and not isinstance(atom.obj, PLAIN):
                values.append(self._item_of(frame, atom.obj, key))
            elif isinstance(atom, Allocation):
                values.append(self._item_of_allocation(frame, atom, key))
            elif atom is VIEW:
                values.append(singleton(VIEW))
            elif atom is DATA or isinstance(atom, (Attribute, Concrete, IteratorValue)):
                values.append(ANY_DATA)
            else:
                _unknown("it takes an item{at} of something unknown")
        return joined(*values)

    def _item_of(self, frame: Frame, obj: Any, key: Value) -> Value:
        if type(obj) in (list, tuple, dict):
            keys = [key_atom.obj for key_atom in key if isinstance(key_atom, Concrete)]
            if len(keys) == len(key) == 1 and isinstance(keys[0], PLAIN):
                try:
                    value = obj[keys[0]]
                except (KeyError, IndexError, TypeError):
                    return frozenset()
                self.names.are_kept = False
                return seen_as(value)
            return self.elements_of_object(frame, obj, values=True)
        if isinstance(obj, (internals.PjitFunction, type)) or known_functions.is_jax(obj):
            return ANY_DATA
        function = inspect.getattr_static(type(obj), "__getitem__", None)
        if isinstance(function, types.FunctionType):
            return self.call(frame, seen_as(function), [singleton(Concrete(obj)), key], {})
        if isinstance(obj, tuple):  # a named tuple
            return self.elements_of_object(frame, obj, values=True)
        message = f"it takes an item of {one_of(type(obj))}{{at}}"
        raise NotKnownError(message)

    def _item_of_allocation(self, frame: Frame, atom: Allocation, key: Value) -> Value:
        function = inspect.getattr_static(atom.kind, "__getitem__", None)
        if isinstance(function, types.FunctionType):
            return self.call(frame, seen_as(function), [singleton(atom), key], {})
        return joined(self.heap.get(atom), ANY_DATA if atom.kind is np.ndarray else frozenset())

    def store_item(self, owner: Value, value: Value) -> None:
        """`owner[...] = value`, allowed only for a container that the function created."""
        for atom in owner:
            if not isinstance(atom, Allocation) or atom.kind not in (list, dict, set, np.ndarray):
                _unknown("it changes an item{at} of something from outside")
            self.heap.put(atom, value)

    # Iteration --------------------------------------------------------------------------------------

    def elements(self, frame: Frame, value: Value) -> Value:
        """The items of an iteration over a value, joined."""
        values: list[Value] = []
        for atom in value:
            if isinstance(atom, TupleValue):
                values.append(joined(*atom.items))
            elif isinstance(atom, IteratorValue):
                values.append(atom.of)
            elif isinstance(atom, Allocation):
                if inspect.getattr_static(atom.kind, "__iter__", None) is None or isinstance(
                    inspect.getattr_static(atom.kind, "__iter__"), types.FunctionType
                ):
                    _unknown(f"it iterates over {one_of(atom.kind)}{{at}}")
                values.append(ANY_DATA if atom.kind is dict else joined(self.heap.get(atom)))
            elif isinstance(atom, Concrete) and not isinstance(atom.obj, PLAIN):
                values.append(self.elements_of_object(frame, atom.obj))
            elif atom is VIEW:
                values.append(singleton(VIEW))
            elif is_data(atom) or atom is DATA:
                values.append(ANY_DATA)
            else:
                _unknown("it iterates over something unknown{at}")
        return joined(*values)

    def elements_of_object(self, frame: Frame, obj: Any, *, values: bool = False) -> Value:
        """The items of a live container. To iterate over a live iterator would advance it, which is an effect."""
        if type(obj) not in _EXACT_CONTAINERS and not (isinstance(obj, tuple) and hasattr(obj, "_fields")):
            function = inspect.getattr_static(type(obj), "__iter__", None)
            if isinstance(function, types.FunctionType) and function.__code__.co_flags & inspect.CO_GENERATOR:
                return self.elements(frame, self.call(frame, seen_as(function), [singleton(Concrete(obj))], {}))
            _unknown(f"it advances {one_of(type(obj))}{{at}}")
        if isinstance(obj, (range, np.ndarray)):
            return ANY_DATA
        content = list(obj.values() if isinstance(obj, dict) and values else obj)[: 4 * MOST_ITEMS]
        self.names.are_kept = False
        return joined(*{value for value in map(seen_as, content)})  # noqa: C416 (a set of values is small)

    def values_of(self, frame: Frame, mapping: Value) -> Value:
        """The values of a dictionary, joined."""
        values: list[Value] = []
        for atom in mapping:
            if isinstance(atom, Concrete) and type(atom.obj) in (dict, types.MappingProxyType):
                values.append(self.elements_of_object(frame, atom.obj, values=True))
            elif isinstance(atom, Allocation):
                values.append(self.heap.get(atom))
            elif is_data(atom) or atom is DATA:
                values.append(ANY_DATA)
            elif isinstance(atom, IteratorValue):
                values.append(atom.of)
            else:
                _unknown("it unpacks something unknown{at}")
        return joined(*values)

    def unpacked(self, frame: Frame, value: Value, count: int) -> list[Value]:
        """The `count` values of an unpacked sequence."""
        if all(isinstance(atom, TupleValue) for atom in value):
            items = [atom.items for atom in value if isinstance(atom, TupleValue) and len(atom.items) == count]
            return [joined(*(tuple_items[i] for tuple_items in items)) for i in range(count)]
        return [self.elements(frame, value)] * count

    def iterates(self, frame: Frame, value: Value) -> None:
        """Note that a loop over a value begins: over a long range, it may take long."""
        for atom in value:
            if isinstance(atom, Concrete) and isinstance(atom.obj, range) and len(atom.obj) > 1:
                loops = self._loops.setdefault(id(frame.code), {})
                loops[frame.site()] = len(atom.obj)
                self.is_long = self.is_long or math.prod(loops.values()) >= _LONG

    # Operators --------------------------------------------------------------------------------------

    def truth(self, value: Value) -> set[bool]:
        """The truth values that a condition may have."""
        if value and all(isinstance(atom, Concrete) and isinstance(atom.obj, PLAIN) for atom in value):
            return {bool(atom.obj) for atom in value if isinstance(atom, Concrete)}
        return {True, False}

    def binary(self, frame: Frame, first: Value, second: Value, symbol: str, *, in_place: bool) -> Value:
        """The value of `first + second` and the like; `symbol` is the operator."""
        if in_place:
            for atom in first:
                if atom is VIEW or (isinstance(atom, Concrete) and not isinstance(atom.obj, PLAIN)):
                    _unknown("it changes something from outside{at}")
                if isinstance(atom, Allocation):
                    self.heap.put(atom, self.elements(frame, second) if atom.kind is not np.ndarray else ANY_DATA)
                    return first
        containers: list[Value] = []
        for atom in joined(first, second):
            if isinstance(atom, Concrete) and not isinstance(atom.obj, (*PLAIN, *_EXACT_CONTAINERS, type, np.dtype)):
                if type(atom.obj).__module__.split(".", 1)[0] in ("jax", "jaxlib", "numpy", "builtins", "ml_dtypes"):
                    continue
                if not _has_plain_operators(type(atom.obj)):
                    _unknown(f"it uses {symbol}{{at}} on {one_of(type(atom.obj))}")
            elif isinstance(atom, Allocation) and not _has_plain_operators(atom.kind):
                _unknown(f"it uses {symbol}{{at}} on {one_of(atom.kind)}")
            elif isinstance(atom, TupleValue) or (isinstance(atom, Allocation) and atom.kind in (list, tuple)):
                containers.append(self.made(frame, tuple, self.elements(frame, singleton(atom))))
        return joined(*containers) if containers else _folded(first, second, symbol)

    # Contexts ---------------------------------------------------------------------------------------

    def enter(self, frame: Frame, manager: Value) -> tuple[Value, Value]:
        """The exit function of a `with` block, and the value for its `as`."""
        exits: list[Value] = []
        entered: list[Value] = []
        for atom in manager:
            if atom is CONTEXT:
                exits.append(singleton(SAFE))
                entered.append(ANY_DATA)
            elif isinstance(atom, Allocation) or (
                isinstance(atom, Concrete) and is_user_code(_file_of(type(atom.obj)))
            ):
                exits.append(self.attribute(frame, singleton(atom), "__exit__"))
                entered.append(self.call(frame, self.attribute(frame, singleton(atom), "__enter__"), [], {}))
            else:
                shown = known_functions.shown(atom.obj) if isinstance(atom, Concrete) else "something unknown"
                _unknown(f"it enters {shown}{{at}}")
        return joined(*exits), joined(*entered)

    # Calls ------------------------------------------------------------------------------------------

    def call_with_stars(self, frame: Frame, function: Value, starred: Value, keywords: Value) -> Value:
        """The result of `function(*starred, **keywords)`."""
        tuples = [atom for atom in starred if isinstance(atom, TupleValue)]
        is_exact = len(tuples) == len(starred) == 1
        arguments = list(tuples[0].items) if is_exact else [self.elements(frame, starred)]
        named = {"**": self.values_of(frame, keywords)} if keywords else {}
        if named and not named["**"]:
            named = {}
        return self.call(frame, function, arguments, named, starred=not is_exact)

    def call(
        self, frame: Frame, function: Value, arguments: list[Value], named: dict[str, Value], *, starred: bool = False
    ) -> Value:
        """The result of a call, joined over the functions that it may call."""
        results = [self._call_one(self, frame, atom, arguments, named, starred=starred) for atom in function]
        return joined(*results)

    def run(self, function: Closure | types.FunctionType, variables: dict[str, Value]) -> Value:
        """Follow a function whose arguments are in `variables`; the result for equal arguments is kept."""
        code = function.code if isinstance(function, Closure) else function.__code__
        identity = function if isinstance(function, Closure) else Concrete(function)
        key = identity, tuple(sorted(variables.items(), key=lambda item: item[0]))
        earlier_result = self._results.get(key)
        if earlier_result is not None:
            return earlier_result
        if key in self._in_progress:  # recursion, unless it is a rule that calls its function: JAX runs no rule then
            self.is_long = self.is_long or not self.with_rules
            return self._in_progress[key]
        if self._depth >= _DEEPEST:
            _unknown("its calls nest too deeply to follow{at}")
        cells = (
            function.cells
            if isinstance(function, Closure)
            else tuple(singleton(Concrete(cell)) for cell in function.__closure__ or ())
        )
        variables |= dict(zip(code.co_freevars, cells, strict=False))
        if isinstance(function, types.FunctionType):
            self.names.inside(function)
        self._in_progress[key] = frozenset()
        self._depth += 1
        frame = Frame(self, code, key, function)
        try:
            for _ in range(5):
                result = frame.follow(dict(variables))
                if result <= self._in_progress[key]:
                    break
                self._in_progress[key] = joined(result, self._in_progress[key])
                frame = Frame(self, code, key, function)
        except NotKnownError as error:
            if error.place is None or (not is_user_code(error.place.filename) and is_user_code(code.co_filename)):
                error.place = frame.place()
            raise
        finally:
            self._depth -= 1
            del self._in_progress[key]
        self._results[key] = result
        return result

    def is_own(self, frame: Frame) -> bool:
        """Whether the code of the frame runs as a copy, in which print is silent."""
        return id(frame.code) in self._own


def _unknown(why: str) -> NoReturn:
    raise NotKnownError(why)


def _parts(closure: Closure) -> tuple[Any, ...]:
    return closure.code, closure.scope, closure.cells, closure.defaults, closure.keywords


def _has(slot: Any, atom: Concrete) -> bool:
    try:
        slot.__get__(atom.obj)
    except AttributeError:
        return False
    return True


def _has_setter(cls: type, name: str) -> bool:
    """Whether setting an attribute runs code of the class; that of a frozen dataclass raises."""
    setter: Any = cls.__setattr__
    is_plain = setter is object.__setattr__ or setter is BaseException.__setattr__
    value = inspect.getattr_static(cls, name, None)
    return not is_plain or (hasattr(type(value), "__set__") and not isinstance(value, types.MemberDescriptorType))


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor")
_OPERATORS = (
    *(f"__{reverse}{name}__" for name in _ARITHMETIC for reverse in ("", "r")),
    *(f"__{name}__" for name in ("eq", "lt", "gt", "le", "ge", "ne")),
)


def _has_plain_operators(cls: type) -> bool:
    """Whether no operator of a class is written in Python; those that a dataclass generates only compare fields."""
    operators = (inspect.getattr_static(cls, name, None) for name in _OPERATORS)
    functions = (operator for operator in operators if isinstance(operator, types.FunctionType))
    return not any(function.__code__.co_filename != "<string>" for function in functions)


def _folded(first: Value, second: Value, symbol: str) -> Value:
    """Integer arithmetic on constants, so that the length of `range(2 * n)` is known."""
    if len(first) == len(second) == 1 and symbol in ("+", "*", "-"):
        (a,), (b,) = first, second
        if isinstance(a, Concrete) and isinstance(b, Concrete) and type(a.obj) is int and type(b.obj) is int:
            value = {"+": a.obj + b.obj, "*": a.obj * b.obj, "-": a.obj - b.obj}[symbol]
            return singleton(Concrete(value)) if abs(value) < 10**9 else ANY_DATA
    return ANY_DATA


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or "<stdin>"


def constants_in(values: Iterable[Value]) -> Iterable[Any]:
    """The live objects among values, also inside tuples."""
    for value in values:
        for atom in value:
            if isinstance(atom, Concrete):
                yield atom.obj
            elif isinstance(atom, TupleValue):
                yield from constants_in(atom.items)


__all__ = ["NULL", "Follower"]
