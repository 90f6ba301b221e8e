"""Takes an abstract callable and its arguments, and gives the abstract result of the call.

Functions are followed into their code, unless the table of known functions has them; classes and objects are
called as Python does it. A call that may have an effect raises NotKnownError.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np

from jaxvjp_magic.introspect.hijax_primitives import bwd_name
from jaxvjp_magic.introspect.purity import known_functions
from jaxvjp_magic.introspect.purity.abstract_values import (
    ANY_DATA,
    CONTEXT,
    DATA,
    NONE,
    PLAIN,
    SAFE,
    VIEW,
    Allocation,
    Atom,
    Attribute,
    BoundFunction,
    Closure,
    Concrete,
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
from jaxvjp_magic.introspect.purity.bytecode import ends_the_program
from jaxvjp_magic.introspect.purity.operations import constants_in
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from jaxvjp_magic.introspect.purity.bytecode import Frame
    from jaxvjp_magic.introspect.purity.operations import Follower

Named = dict[str, Value]
_STARRED = "**"
_RULES = ("fwd", "bwd", "jvp", "vmap_rule")
_CUSTOM = (*internals.CUSTOM_VJPS, jax.custom_jvp, jax.custom_batching.custom_vmap)


def call_one(
    follower: Follower, frame: Frame, atom: Atom, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """The result of calling one atom of a value."""
    if isinstance(atom, Closure):
        return follower.run(atom, _bound_to(atom.code, atom.defaults, dict(atom.keywords), arguments, named, starred))
    if isinstance(atom, BoundFunction):
        return follower.call(frame, atom.function, [atom.first, *arguments], named, starred=starred)
    if atom is SAFE:
        follow_callables(follower, frame, [*arguments, *named.values()])
        return ANY_DATA
    if isinstance(atom, Attribute):
        return _call_method(follower, frame, atom, arguments, named)
    if isinstance(atom, Allocation):
        function = inspect.getattr_static(atom.kind, "__call__", None)
        if isinstance(function, types.FunctionType):
            return follower.call(frame, seen_as(function), [singleton(atom), *arguments], named, starred=starred)
    if isinstance(atom, Concrete) and callable(atom.obj):
        return _call_known(follower, frame, atom.obj, arguments, named, starred=starred)
    message = "it calls a function that is passed to it{at}"
    raise NotKnownError(message)


def _call_known(
    follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    all_arguments = [*arguments, *named.values()]
    if ends_the_program(obj):
        message = f"it raises {obj.__name__}{{at}}"
        raise NotKnownError(message)
    category = known_functions.kind_of(obj)
    if category == "unknown":
        _refuse(obj)
    if category == "special":
        return _call_special(follower, frame, obj, arguments, named)
    if category:
        if any(
            known_functions.may_warn_of(dtype)
            for dtype in constants_in(all_arguments)
            if isinstance(dtype, (str, type, np.dtype))
        ):
            message = f"it calls {known_functions.shown(obj)}{{at}} with a 64-bit type, which JAX may warn about"
            raise NotKnownError(message)
        if category in ("new", "view", "long") and "out" in named:
            _refuse(obj, " with out=")
        follow_callables(follower, frame, all_arguments)
        for value in all_arguments:
            follower.iterates(frame, value)
        if category in ("vjp", "linearize"):
            aux = (ANY_DATA,) * ("has_aux" in named)
            return singleton(TupleValue((ANY_DATA, singleton(SAFE), *aux)))
        return _result(follower, frame, obj, category, all_arguments)
    if isinstance(obj, types.MethodType):
        return follower.call(
            frame, seen_as(obj.__func__), [singleton(Concrete(obj.__self__)), *arguments], named, starred=starred
        )
    if isinstance(obj, (functools.partial, internals.PartialInside)):
        first = [seen_as(value) for value in obj.args]
        keywords = {name: seen_as(value) for name, value in obj.keywords.items()} | named
        return follower.call(frame, seen_as(obj.func), [*first, *arguments], keywords, starred=starred)
    if isinstance(obj, _CUSTOM):
        return _call_custom(follower, frame, obj, arguments, named, starred=starred)
    if isinstance(obj, internals.PjitFunction):
        return follower.call(frame, seen_as(inner_of(obj)), arguments, named, starred=starred)
    if isinstance(obj, types.FunctionType):
        function = obj
        defaults = tuple(map(seen_as, function.__defaults__ or ()))
        keywords = {name: seen_as(value) for name, value in (function.__kwdefaults__ or {}).items()}
        return follower.run(function, _bound_to(function.__code__, defaults, keywords, arguments, named, starred))
    if isinstance(obj, type):
        return _construct(follower, frame, obj, arguments, named, starred=starred)
    if isinstance(obj, functools._lru_cache_wrapper):  # noqa: SLF001 (its type has no other name)
        message = f"it calls {known_functions.shown(obj)}{{at}}, an lru_cache"
        raise NotKnownError(message)
    if isinstance(obj, types.BuiltinMethodType) and type(obj.__self__) in (str, bytes, tuple, range, *PLAIN):
        return ANY_DATA
    if known_functions.is_jax(obj):
        follow_callables(follower, frame, all_arguments)
        return ANY_DATA
    follower.names.are_kept = False
    is_primitive = isinstance(obj, internals.HiPrimitive)  # JAX calls `expand`, or the rules, followed too
    function = inspect.getattr_static(type(obj), "expand" if is_primitive else "__call__", None)
    if isinstance(function, types.FunctionType):
        return follower.call(frame, seen_as(function), [singleton(Concrete(obj)), *arguments], named, starred=starred)
    raise _refusal(obj)


def _refuse(obj: Any, how: str = "") -> NoReturn:
    raise _refusal(obj, how)


def _refusal(obj: Any, how: str = "") -> NotKnownError:
    return NotKnownError(f"it calls {known_functions.shown(obj)}{how}{{at}}, which is not known to have no effects")


def _result(follower: Follower, frame: Frame, obj: Any, category: str, all_arguments: list[Value]) -> Value:
    """The result of a known function of this category."""
    follower.calls_back = follower.calls_back or category == "callback"
    follower.is_long = follower.is_long or category == "long"
    if category == "wrapper":
        for inner in known_functions.functions_inside(obj):
            call_with_data(follower, frame, seen_as(inner))
    elif category == "iterator":
        elements = [follower.elements(frame, value) for value in all_arguments if _iterable(value)]
        return singleton(IteratorValue(joined(ANY_DATA, *elements)))
    elif category == "new":
        array = Allocation(frame.site("array"), np.ndarray)
        follower.heap.put(array, ANY_DATA)
        return singleton(array)
    elif category == "view" and any(atom is VIEW for value in all_arguments for atom in value):
        return singleton(VIEW)
    if category in _OPAQUE_RESULTS:
        return singleton(_OPAQUE_RESULTS[category])
    return _OF_BUILTINS[obj](follower, frame, all_arguments) if obj in (range, type, max, min) else ANY_DATA


_OPAQUE_RESULTS = {"function": SAFE, "context": CONTEXT}
_RANGE = 3  # the most arguments of range


def _range(follower: Follower, _: Frame, all_arguments: list[Value]) -> Value:
    numbers = [atom.obj for value in all_arguments for atom in value if isinstance(atom, Concrete)]
    are_known = len(numbers) == len(all_arguments) == sum(map(len, all_arguments)) and all(
        type(n) is int for n in numbers
    )
    if not are_known or not 0 < len(numbers) <= _RANGE or 0 in numbers[2:]:
        follower.is_long = True  # the length is not known
        return ANY_DATA
    return singleton(Concrete(range(*numbers)))


def _type(_: Follower, __: Frame, all_arguments: list[Value]) -> Value:
    classes: set[Atom] = set()
    for atom in joined(*all_arguments):
        if isinstance(atom, Allocation):
            classes.add(Concrete(atom.kind))
        elif isinstance(atom, Concrete) and not isinstance(atom.obj, PLAIN):
            classes.add(Concrete(type(atom.obj)))
    return frozenset(classes) or ANY_DATA


def _largest(follower: Follower, frame: Frame, all_arguments: list[Value]) -> Value:
    return joined(*all_arguments) if len(all_arguments) > 1 else follower.elements(frame, all_arguments[0])


_OF_BUILTINS: dict[Any, Any] = {range: _range, type: _type, max: _largest, min: _largest}


def _iterable(value: Value) -> bool:
    return not any(
        isinstance(atom, (Closure, BoundFunction)) or (isinstance(atom, Concrete) and callable(atom.obj))
        for atom in value
    )


def _call_special(follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named) -> Value:
    """One of Python's functions that are not simply pure: they call, create or change something."""
    if obj in (list, set, sorted, tuple, dict):
        return _container(follower, frame, obj, arguments, named)
    if obj in (zip, enumerate, reversed):
        return _iterator(follower, frame, obj, arguments)
    result: Value = _SPECIAL[obj](follower, frame, arguments, named)
    return result


def _print(follower: Follower, frame: Frame, _: list[Value], __: Named) -> Value:
    if not follower.is_own(frame):
        message = "it prints{at}"
        raise NotKnownError(message)
    follower.prints = True
    return NONE


def _texts(value: Value) -> list[str]:
    return [atom.obj for atom in value if isinstance(atom, Concrete) and isinstance(atom.obj, str)]


def _getattr(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    names = _texts(arguments[1]) if arguments[1:] else []
    if len(names) == 1:
        return joined(follower.attribute(frame, arguments[0], names[0]), *arguments[2:])
    if not arguments or not all(map(is_data, arguments[0])):
        _refuse(getattr)
    return ANY_DATA


def _setattr(follower: Follower, _: Frame, arguments: list[Value], __: Named) -> Value:
    owner, name, value = arguments
    names = _texts(name)
    for atom in owner:
        if not isinstance(atom, Allocation) or len(names) != 1:
            message = "it sets an attribute{at}"
            raise NotKnownError(message)
        follower.heap.put((atom, names[0]), value)
    return NONE


def _super(_: Follower, frame: Frame, arguments: list[Value], __: Named) -> Value:
    if arguments:
        of_class, own = arguments
    else:
        of_class = frame.cell("__class__")
        name = frame.code.co_varnames[0] if frame.code.co_varnames else ""
        own = frame.state.variables.get(name, frozenset())
    return singleton(SuperObject(of_class, own))


def _partial(follower: Follower, frame: Frame, arguments: list[Value], named: Named) -> Value:
    function = arguments[0]
    if named:  # follow the function now, with data for the remaining arguments
        follow_callables(follower, frame, [*arguments[1:], *named.values()])
        for atom in function:
            count = getattr(_code_of(atom), "co_argcount", 1) - _already_given(atom) - len(named)
            rest = [ANY_DATA] * max(count - len(arguments) + 1, 0)
            follower.call(frame, singleton(atom), [*arguments[1:], *rest], named)
        return singleton(SAFE)
    for argument in arguments[1:]:
        function = singleton(BoundFunction(function, argument))
    return function


def _reduce(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = follower.elements(frame, arguments[1])
    first = joined(items, *arguments[2:])
    result = follower.call(frame, arguments[0], [first, items], {})
    return joined(first, follower.call(frame, arguments[0], [joined(result, first), items], {}))


def _next(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    if not all(isinstance(atom, IteratorValue) for atom in arguments[0]):
        message = "it advances an iterator{at}"
        raise NotKnownError(message)
    return joined(follower.elements(frame, arguments[0]), *arguments[1:])


def _iter(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    return singleton(IteratorValue(follower.elements(frame, arguments[0])))


def _map(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = [follower.elements(frame, value) for value in arguments[1:]]
    return singleton(IteratorValue(follower.call(frame, arguments[0], items, {})))


def _filter(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = follower.elements(frame, arguments[1])
    if arguments[0] != NONE:
        follower.call(frame, arguments[0], [items], {})
    return singleton(IteratorValue(items))


_SPECIAL: dict[Any, Any] = {
    print: _print, getattr: _getattr, setattr: _setattr, object.__setattr__: _setattr, super: _super,
    functools.partial: _partial, functools.reduce: _reduce, next: _next, iter: _iter, map: _map, filter: _filter,
}  # fmt: skip


def _iterator(follower: Follower, frame: Frame, obj: Any, arguments: list[Value]) -> Value:
    elements = [follower.elements(frame, value) for value in arguments]
    for value in arguments:
        follower.iterates(frame, value)
    if obj is enumerate:
        return singleton(IteratorValue(singleton(TupleValue((ANY_DATA, elements[0])))))
    return singleton(IteratorValue(singleton(TupleValue(tuple(elements))) if obj is zip else joined(*elements)))


def _container(follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named) -> Value:
    content: list[Value] = [value for name, value in named.items() if name not in ("key", "reverse", "strict")]
    if arguments:
        follower.iterates(frame, arguments[0])
        if obj is dict:
            values = [follower.values_of(frame, singleton(atom)) for atom in arguments[0]
                      if isinstance(atom, (Concrete, Allocation)) or atom is DATA]  # fmt: skip
            pairs = [follower.elements(frame, singleton(atom)) for atom in arguments[0]
                     if isinstance(atom, (IteratorValue, TupleValue))]  # fmt: skip
            content += [*values, *(follower.elements(frame, pair) for pair in pairs)]
        elif obj is tuple and all(isinstance(atom, TupleValue) for atom in arguments[0]):
            return arguments[0]
        else:
            content.append(follower.elements(frame, arguments[0]))
    if "key" in named:
        follower.call(frame, named["key"], content[-1:], {})
    return follower.made(frame, list if obj is sorted else obj, *content)


def _call_method(follower: Follower, frame: Frame, atom: Attribute, arguments: list[Value], named: Named) -> Value:
    """A call of a method: of data, of a container, of an object of JAX."""
    results: list[Value] = []
    for owner in atom.owner:
        if isinstance(owner, Allocation) and owner.kind in known_functions.CONTAINER_METHODS:
            results.append(_call_on_container(follower, frame, owner, atom.name, arguments, named))
        elif isinstance(owner, Concrete) and isinstance(owner.obj, (list, dict, set, np.ndarray)):
            if (
                atom.name not in known_functions.CONTAINER_METHODS.get(type(owner.obj), set())
                or atom.name in known_functions.CHANGES
            ):
                message = f"it calls {atom.name}{{at}} on {one_of(type(owner.obj))} from outside"
                raise NotKnownError(message)
            results.append(_read_container(follower, frame, owner, atom.name, arguments))
        elif isinstance(owner, Concrete) and known_functions.is_jax(owner.obj):
            if atom.name.startswith(("bind", "abstract", "__")) or not isinstance(owner.obj, type(jax.config)):
                follow_callables(follower, frame, [*arguments, *named.values()])
                results.append(ANY_DATA)
            else:
                _refuse(getattr(owner.obj, atom.name, owner.obj))
        elif owner is VIEW or is_data(owner) or owner is DATA or isinstance(owner, (TupleValue, IteratorValue)) or (
            isinstance(owner, Concrete) and isinstance(owner.obj, (str, bytes, tuple, range, np.dtype, slice, type))
        ) or (isinstance(owner, Allocation) and owner.kind in (tuple, np.ndarray)):  # fmt: skip
            is_init = atom.name in ("__init__", "__init_subclass__", "__post_init__")
            if atom.name not in known_functions.DATA_METHODS and not is_init:
                message = f"it calls {atom.name}{{at}} on something that is not followed"
                raise NotKnownError(message)
            if any(
                known_functions.may_warn_of(dtype)
                for dtype in constants_in(arguments)
                if isinstance(dtype, (str, type, np.dtype))
            ):
                message = f"it calls {atom.name}{{at}} with a 64-bit type, which JAX may warn about"
                raise NotKnownError(message)
            if "out" in named:
                message = f"it calls {atom.name}{{at}} with out="
                raise NotKnownError(message)
            follow_callables(follower, frame, arguments)
            results.append(singleton(VIEW) if owner is VIEW else ANY_DATA)
        elif isinstance(owner, Allocation) and atom.name in (
            "__init__",
            "__setattr__",
            "__eq__",
            "__hash__",
            "__repr__",
        ):
            if atom.name == "__setattr__":
                return _call_special(follower, frame, setattr, [singleton(owner), *arguments], named)
            results.append(NONE)
        else:
            shown = (
                known_functions.shown(owner.obj) if isinstance(owner, Concrete) else "something that is not followed"
            )
            message = f"it calls {atom.name}{{at}} of {shown}"
            raise NotKnownError(message)
    return joined(*results)


def _call_on_container(
    follower: Follower, frame: Frame, owner: Allocation, name: str, arguments: list[Value], named: Named
) -> Value:
    if name not in known_functions.CONTAINER_METHODS[owner.kind]:
        message = f"it calls {name}{{at}} of {one_of(owner.kind)}, which is not followed"
        raise NotKnownError(message)
    if "key" in named:
        follower.call(frame, named["key"], [follower.heap.get(owner)], {})
    if name in ("append", "add", "insert", "setdefault"):
        for value in arguments:
            follower.heap.put(owner, value)
    elif name in ("extend", "update"):
        for value in [*arguments, *named.values()]:
            is_mapping = owner.kind is dict
            follower.heap.put(owner, (follower.values_of if is_mapping else follower.elements)(frame, value))
    return _read_container(follower, frame, owner, name, arguments)


def _read_container(
    follower: Follower, frame: Frame, owner: Allocation | Concrete, name: str, arguments: list[Value]
) -> Value:
    container = owner.kind if isinstance(owner, Allocation) else type(owner.obj)
    if container is np.ndarray:
        return ANY_DATA
    content = (
        follower.values_of(frame, singleton(owner)) if container is dict else follower.elements(frame, singleton(owner))
    )
    if name == "items":
        return singleton(IteratorValue(singleton(TupleValue((ANY_DATA, content)))))
    if name in ("values", "keys"):
        return singleton(IteratorValue(content if name == "values" else follower.elements(frame, singleton(owner))))
    if name in ("pop", "get", "setdefault", "popitem"):
        return joined(content, *arguments[1:], NONE)
    if name in ("index", "count", "issubset", "issuperset", "isdisjoint"):
        return ANY_DATA
    return follower.made(frame, container, content)


def _call_custom(
    follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """A call of a custom_vjp, custom_jvp or custom_vmap function. JAX chooses which rules run: all must be pure."""
    if known_functions.origin_of(obj):
        follow_callables(follower, frame, [*arguments, *named.values()])
        return ANY_DATA
    for name in ("f" if type(obj) is internals.CustomVjp3 else "fun", *_RULES):
        follower.names.is_in(obj, name)
    result = follower.call(frame, seen_as(internals.primal_of(obj)), arguments, named, starred=starred)
    if id(obj) in follower.with_rules:  # its fwd rule calls it: the rules are being followed already
        return result
    follower.with_rules.add(id(obj))
    try:
        _follow_rules(follower, frame, obj, arguments, named, starred=starred)
    finally:
        follower.with_rules.remove(id(obj))
    return result


def _follow_rules(
    follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named, *, starred: bool
) -> None:
    static = sorted(internals.static_argnums_of(obj)) if isinstance(obj, internals.CUSTOM_VJPS) else ()
    fwd, bwd, *other_rules = (vars(obj).get(name) for name in _RULES)
    primitive, residuals = vars(obj).get("primitive"), ANY_DATA
    if "custom_jvp" in vars(obj):
        call_with_data(follower, frame, seen_as(obj.custom_jvp.jvp))
        return
    if primitive is not None:  # its class's methods are the rules; they add cotangents to what JAX gives them
        methods = [seen_as(getattr(primitive, name)) for name in ("vjp_fwd", bwd_name(type(primitive)))]
        output_and_residuals = follower.call(frame, methods[0], [ANY_DATA, *arguments], named, starred=starred)
        residuals = follower.unpacked(frame, output_and_residuals, 2)[1] or ANY_DATA
        accumulators = (
            [singleton(Concrete(internals.ad.NullAccum(None)))] * len(arguments)
            if bwd_name(type(primitive)) == "vjp_bwd"
            else []
        )
        follower.call(frame, methods[1], [residuals, ANY_DATA, *accumulators], {})
        return
    if fwd is not None:
        output_and_residuals = follower.call(frame, seen_as(fwd), arguments, named, starred=starred)
        residuals = follower.unpacked(frame, output_and_residuals, 2)[1] or ANY_DATA
    if bwd is not None:
        nondiff = [arguments[i] for i in static if i < len(arguments)]
        follower.call(frame, seen_as(bwd), [*nondiff, residuals, ANY_DATA], {})
    for rule in other_rules:
        if rule is not None and callable(rule):
            call_with_data(follower, frame, seen_as(rule))


def _construct(
    follower: Follower, frame: Frame, cls: type, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """A new object of a class of the user's or of a library's."""
    follower.names.are_kept = False
    if type(cls).__call__ is not type.__call__:
        message = f"it creates {one_of(cls)}{{at}}, whose class defines its own construction"
        raise NotKnownError(message)
    new = inspect.getattr_static(cls, "__new__", None)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        named_tuple = Allocation(frame.site(cls), cls)
        for name, value in zip(cls._fields, arguments, strict=False):
            follower.heap.put((named_tuple, name), value)
        for name, value in named.items():
            follower.heap.put((named_tuple, name), value)
        follower.heap.put(named_tuple, joined(*arguments, *named.values()))
        return singleton(named_tuple)
    has_plain_new = new is inspect.getattr_static(object, "__new__")
    if not has_plain_new:
        message = f"it creates {one_of(cls)}{{at}}, which is not followed"
        raise NotKnownError(message)
    allocation = Allocation(frame.site(cls), cls)
    init = inspect.getattr_static(cls, "__init__", None)
    if isinstance(init, types.FunctionType):
        follower.call(frame, seen_as(init), [singleton(allocation), *arguments], named, starred=starred)
    elif init is not inspect.getattr_static(object, "__init__"):
        message = f"it creates {one_of(cls)}{{at}}, which is not followed"
        raise NotKnownError(message)
    return singleton(allocation)


def _bound_to(
    code: types.CodeType, defaults: tuple[Value, ...], keywords: Named, arguments: list[Value], named: Named,
    starred: bool,  # noqa: FBT001 (one of six)
) -> Named:  # fmt: skip
    """The local variables of a function when a call begins: its parameters bound to the arguments."""
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    after_parameters = code.co_varnames[count + code.co_kwonlyargcount :]  # *args and **kwargs first
    variables: Named = dict(zip(names[:count], arguments, strict=False)) if not starred else {}
    spread = arguments[0] if starred and arguments else frozenset()
    keyword_values = named.get(_STARRED, frozenset())
    if starred:
        leading = arguments[:-1]
        variables = dict(zip(names[:count], leading, strict=False))
        spread = arguments[-1] if arguments else frozenset()
    for name in names:
        given = [named[name]] if name in named else []
        given += [variables[name]] if name in variables else []
        if not given or (starred and name not in variables):
            given += [spread] if starred and name in names[:count] else []
            given += [keyword_values] if keyword_values else []
            given += [keywords[name]] if name in keywords else []
            index = names.index(name) - (count - len(defaults))
            given += [defaults[index]] if name in names[:count] and 0 <= index < len(defaults) else []
        variables[name] = joined(*given)
    remaining = list(after_parameters)
    if code.co_flags & inspect.CO_VARARGS:
        extra = tuple(arguments[count:]) if not starred else ()
        variables[remaining.pop(0)] = singleton(IteratorValue(spread)) if starred else singleton(TupleValue(extra))
    if code.co_flags & inspect.CO_VARKEYWORDS:
        others = [value for name, value in named.items() if name not in names]
        variables[remaining.pop(0)] = (
            singleton(IteratorValue(joined(*others))) if others else singleton(IteratorValue(frozenset()))
        )
    return variables


def call_with_data(follower: Follower, frame: Frame, function: Value) -> Value:
    """Call a function as JAX does with arrays: all its arguments are data."""
    results: list[Value] = []
    for atom in function:
        code = _code_of(atom)
        count = 1 if code is None else code.co_argcount
        skipped = _already_given(atom)
        results.append(follower.call(frame, singleton(atom), [ANY_DATA] * max(count - skipped, 0), {}))
    return joined(*results)


def follow_callables(follower: Follower, frame: Frame, values: Any) -> None:
    """Follow the functions among the arguments of a JAX or NumPy function, which may call them."""
    for value in values:
        for atom in value:
            if isinstance(atom, (Closure, BoundFunction)):
                call_with_data(follower, frame, singleton(atom))
            elif isinstance(atom, TupleValue):
                follow_callables(follower, frame, atom.items)
            elif isinstance(atom, Allocation) and atom.kind in (list, dict, tuple, set):
                follow_callables(follower, frame, [follower.heap.get(atom)])
            elif isinstance(atom, Concrete) and callable(atom.obj) and not isinstance(atom.obj, type):
                if not known_functions.kind_of(atom.obj) or known_functions.kind_of(atom.obj) in ("wrapper", "unknown"):
                    call_with_data(follower, frame, singleton(atom))
            elif isinstance(atom, Concrete) and type(atom.obj) in (list, tuple, dict):
                inside = atom.obj.values() if isinstance(atom.obj, dict) else atom.obj
                follow_callables(follower, frame, [seen_as(item) for item in list(inside)[:64] if callable(item)])


def inner_of(jitted: Any) -> Any:
    """The function that was jitted."""
    return jitted.__wrapped__


def _code_of(atom: Atom) -> types.CodeType | None:
    if isinstance(atom, Closure):
        return atom.code
    if isinstance(atom, BoundFunction):
        return next((code for inner in atom.function if (code := _code_of(inner)) is not None), None)
    obj = atom.obj if isinstance(atom, Concrete) else None
    for _ in range(16):
        if isinstance(obj, types.FunctionType):
            return obj.__code__
        if isinstance(obj, types.MethodType):
            obj = obj.__func__
        elif isinstance(obj, (functools.partial, internals.PartialInside)):
            obj = obj.func
        elif isinstance(obj, _CUSTOM):
            obj = internals.primal_of(obj)
        elif isinstance(obj, internals.PjitFunction):
            obj = inner_of(obj)
        else:
            function = inspect.getattr_static(type(obj), "__call__", None)
            return function.__code__ if isinstance(function, types.FunctionType) else None
    return None


def _already_given(atom: Atom) -> int:
    if isinstance(atom, BoundFunction):
        return 1 + max((_already_given(inner) for inner in atom.function), default=0)
    obj, given = (atom.obj if isinstance(atom, Concrete) else None), 0
    for _ in range(16):
        if isinstance(obj, types.MethodType):
            obj, given = obj.__func__, given + 1
        elif isinstance(obj, (functools.partial, internals.PartialInside)):
            partial: Any = obj
            obj, given = partial.func, given + len(partial.args)
        elif isinstance(obj, _CUSTOM):
            obj = internals.primal_of(obj)
        elif isinstance(obj, internals.PjitFunction):
            obj = inner_of(obj)
        else:
            is_object = obj is not None and not isinstance(obj, types.FunctionType)
            return given + is_object
    return given
