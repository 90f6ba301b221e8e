"""What a call does: of a function that is followed, of one that is known, of a class, of an object."""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, NoReturn

import jax
import numpy as np

from jaxvjp_magic.introspect.purity import known_functions
from jaxvjp_magic.introspect.purity.abstract_values import (
    ANY_DATA,
    CONTEXT,
    DATA,
    NONE,
    PLAIN,
    SAFE,
    VIEW,
    Atom,
    Attribute,
    Bound,
    Fresh,
    Items,
    Known,
    Made,
    NotKnownError,
    Super,
    Tup,
    Value,
    is_data,
    joined,
    one,
    one_of,
    seen_as,
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
_CUSTOM = (internals.CustomVjp, jax.custom_jvp, jax.custom_batching.custom_vmap)


def call_one(
    follower: Follower, frame: Frame, atom: Atom, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """What calling one of the things that a value may be gives."""
    if isinstance(atom, Made):
        return follower.run(atom, _bound_to(atom.code, atom.defaults, dict(atom.keywords), arguments, named, starred))
    if isinstance(atom, Bound):
        return follower.call(frame, atom.function, [atom.first, *arguments], named, starred=starred)
    if atom is SAFE:
        follow_callables(follower, frame, [*arguments, *named.values()])
        return ANY_DATA
    if isinstance(atom, Attribute):
        return _call_method(follower, frame, atom, arguments, named)
    if isinstance(atom, Fresh):
        function = inspect.getattr_static(atom.kind, "__call__", None)
        if isinstance(function, types.FunctionType):
            return follower.call(frame, seen_as(function), [one(atom), *arguments], named, starred=starred)
    if isinstance(atom, Known) and callable(atom.obj):
        return _call_known(follower, frame, atom.obj, arguments, named, starred=starred)
    message = "it calls a function that is passed to it{at}"
    raise NotKnownError(message)


def _call_known(
    follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    everything = [*arguments, *named.values()]
    if ends_the_program(obj):
        message = f"it raises {obj.__name__}{{at}}"
        raise NotKnownError(message)
    kind = known_functions.kind_of(obj)
    if kind == "unknown":
        _refuse(obj)
    if kind == "special":
        return _call_special(follower, frame, obj, arguments, named)
    if kind:
        if any(
            known_functions.may_warn_of(one)
            for one in constants_in(everything)
            if isinstance(one, (str, type, np.dtype))
        ):
            message = f"it calls {known_functions.shown(obj)}{{at}} with a 64-bit type, which JAX may warn about"
            raise NotKnownError(message)
        if kind in ("new", "view", "long") and "out" in named:
            _refuse(obj, " with out=")
        follow_callables(follower, frame, everything)
        for value in everything:
            follower.iterates(frame, value)
        if kind in ("vjp", "linearize"):
            aux = (ANY_DATA,) * ("has_aux" in named)
            return one(Tup((ANY_DATA, one(SAFE), *aux)))
        return _result(follower, frame, obj, kind, everything)
    if isinstance(obj, types.MethodType):
        return follower.call(
            frame, seen_as(obj.__func__), [one(Known(obj.__self__)), *arguments], named, starred=starred
        )
    if isinstance(obj, (functools.partial, internals.PartialInside)):
        first = [seen_as(value) for value in obj.args]
        more = {name: seen_as(value) for name, value in obj.keywords.items()} | named
        return follower.call(frame, seen_as(obj.func), [*first, *arguments], more, starred=starred)
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
        follow_callables(follower, frame, everything)
        return ANY_DATA
    follower.names.are_kept = False
    function = inspect.getattr_static(type(obj), "__call__", None)
    if isinstance(function, types.FunctionType):
        return follower.call(frame, seen_as(function), [one(Known(obj)), *arguments], named, starred=starred)
    raise _refusal(obj)


def _refuse(obj: Any, how: str = "") -> NoReturn:
    raise _refusal(obj, how)


def _refusal(obj: Any, how: str = "") -> NotKnownError:
    return NotKnownError(f"it calls {known_functions.shown(obj)}{how}{{at}}, which is not known to have no effects")


def _result(follower: Follower, frame: Frame, obj: Any, kind: str, everything: list[Value]) -> Value:
    """What a known function gives."""
    follower.calls_back = follower.calls_back or kind == "callback"
    follower.is_long = follower.is_long or kind == "long"
    if kind == "wrapper":
        for inner in known_functions.functions_inside(obj):
            call_with_data(follower, frame, seen_as(inner))
    elif kind == "iterator":
        found = [follower.elements(frame, value) for value in everything if _iterable(value)]
        return one(Items(joined(ANY_DATA, *found)))
    elif kind == "new":
        fresh = Fresh(frame.site("array"), np.ndarray)
        follower.heap.put(fresh, ANY_DATA)
        return one(fresh)
    elif kind == "view" and any(atom is VIEW for value in everything for atom in value):
        return one(VIEW)
    if kind in _MARKS:
        return one(_MARKS[kind])
    return _OF_BUILTINS[obj](follower, frame, everything) if obj in (range, type, max, min) else ANY_DATA


_MARKS = {"function": SAFE, "context": CONTEXT}
_RANGE = 3  # arguments of range


def _range(follower: Follower, _: Frame, everything: list[Value]) -> Value:
    numbers = [atom.obj for value in everything for atom in value if isinstance(atom, Known)]
    are_known = len(numbers) == len(everything) == sum(map(len, everything)) and all(type(n) is int for n in numbers)
    if not are_known or not 0 < len(numbers) <= _RANGE or 0 in numbers[2:]:
        follower.is_long = True  # nobody knows how many
        return ANY_DATA
    return one(Known(range(*numbers)))


def _type(_: Follower, __: Frame, everything: list[Value]) -> Value:
    kinds: set[Atom] = set()
    for atom in joined(*everything):
        if isinstance(atom, Fresh):
            kinds.add(Known(atom.kind))
        elif isinstance(atom, Known) and not isinstance(atom.obj, PLAIN):
            kinds.add(Known(type(atom.obj)))
    return frozenset(kinds) or ANY_DATA


def _largest(follower: Follower, frame: Frame, everything: list[Value]) -> Value:
    return joined(*everything) if len(everything) > 1 else follower.elements(frame, everything[0])


_OF_BUILTINS: dict[Any, Any] = {range: _range, type: _type, max: _largest, min: _largest}


def _iterable(value: Value) -> bool:
    return not any(
        isinstance(atom, (Made, Bound)) or (isinstance(atom, Known) and callable(atom.obj)) for atom in value
    )


def _call_special(follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named) -> Value:
    """One of Python's functions that are more than pure: they call, make or change what they are given."""
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
    return [atom.obj for atom in value if isinstance(atom, Known) and isinstance(atom.obj, str)]


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
        if not isinstance(atom, Fresh) or len(names) != 1:
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
    return one(Super(of_class, own))


def _partial(follower: Follower, frame: Frame, arguments: list[Value], named: Named) -> Value:
    function = arguments[0]
    if named:  # followed at once, with data for the rest
        follow_callables(follower, frame, [*arguments[1:], *named.values()])
        for atom in function:
            count = getattr(_code_of(atom), "co_argcount", 1) - _already_given(atom) - len(named)
            rest = [ANY_DATA] * max(count - len(arguments) + 1, 0)
            follower.call(frame, one(atom), [*arguments[1:], *rest], named)
        return one(SAFE)
    for argument in arguments[1:]:
        function = one(Bound(function, argument))
    return function


def _reduce(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = follower.elements(frame, arguments[1])
    first = joined(items, *arguments[2:])
    result = follower.call(frame, arguments[0], [first, items], {})
    return joined(first, follower.call(frame, arguments[0], [joined(result, first), items], {}))


def _next(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    if not all(isinstance(atom, Items) for atom in arguments[0]):
        message = "it advances an iterator{at}"
        raise NotKnownError(message)
    return joined(follower.elements(frame, arguments[0]), *arguments[1:])


def _iter(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    return one(Items(follower.elements(frame, arguments[0])))


def _map(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = [follower.elements(frame, value) for value in arguments[1:]]
    return one(Items(follower.call(frame, arguments[0], items, {})))


def _filter(follower: Follower, frame: Frame, arguments: list[Value], _: Named) -> Value:
    items = follower.elements(frame, arguments[1])
    if arguments[0] != NONE:
        follower.call(frame, arguments[0], [items], {})
    return one(Items(items))


_SPECIAL: dict[Any, Any] = {
    print: _print, getattr: _getattr, setattr: _setattr, object.__setattr__: _setattr, super: _super,
    functools.partial: _partial, functools.reduce: _reduce, next: _next, iter: _iter, map: _map, filter: _filter,
}  # fmt: skip


def _iterator(follower: Follower, frame: Frame, obj: Any, arguments: list[Value]) -> Value:
    elements = [follower.elements(frame, value) for value in arguments]
    for value in arguments:
        follower.iterates(frame, value)
    if obj is enumerate:
        return one(Items(one(Tup((ANY_DATA, elements[0])))))
    return one(Items(one(Tup(tuple(elements))) if obj is zip else joined(*elements)))


def _container(follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named) -> Value:
    content: list[Value] = [value for name, value in named.items() if name not in ("key", "reverse", "strict")]
    if arguments:
        follower.iterates(frame, arguments[0])
        if obj is dict:
            values = [follower.values_of(frame, one(a)) for a in arguments[0]
                      if isinstance(a, (Known, Fresh)) or a is DATA]  # fmt: skip
            pairs = [follower.elements(frame, one(a)) for a in arguments[0] if isinstance(a, (Items, Tup))]
            content += [*values, *(follower.elements(frame, pair) for pair in pairs)]
        elif obj is tuple and all(isinstance(atom, Tup) for atom in arguments[0]):
            return arguments[0]
        else:
            content.append(follower.elements(frame, arguments[0]))
    if "key" in named:
        follower.call(frame, named["key"], content[-1:], {})
    return follower.made(frame, list if obj is sorted else obj, *content)


def _call_method(follower: Follower, frame: Frame, atom: Attribute, arguments: list[Value], named: Named) -> Value:
    """A method of data, or of a container that was made here."""
    found: list[Value] = []
    for owner in atom.owner:
        if isinstance(owner, Fresh) and owner.kind in known_functions.CONTAINER_METHODS:
            found.append(_call_on_container(follower, frame, owner, atom.name, arguments, named))
        elif isinstance(owner, Known) and isinstance(owner.obj, (list, dict, set, np.ndarray)):
            if (
                atom.name not in known_functions.CONTAINER_METHODS.get(type(owner.obj), set())
                or atom.name in known_functions.CHANGES
            ):
                message = f"it calls {atom.name}{{at}} on {one_of(type(owner.obj))} from outside"
                raise NotKnownError(message)
            found.append(_read_container(follower, frame, owner, atom.name, arguments))
        elif isinstance(owner, Known) and known_functions.is_jax(owner.obj):
            if atom.name.startswith(("bind", "abstract", "__")) or not isinstance(owner.obj, type(jax.config)):
                follow_callables(follower, frame, [*arguments, *named.values()])
                found.append(ANY_DATA)
            else:
                _refuse(getattr(owner.obj, atom.name, owner.obj))
        elif owner is VIEW or is_data(owner) or owner is DATA or isinstance(owner, (Tup, Items)) or (
            isinstance(owner, Known) and isinstance(owner.obj, (str, bytes, tuple, range, np.dtype, slice, type))
        ) or (isinstance(owner, Fresh) and owner.kind in (tuple, np.ndarray)):  # fmt: skip
            is_init = atom.name in ("__init__", "__init_subclass__", "__post_init__")
            if atom.name not in known_functions.DATA_METHODS and not is_init:
                message = f"it calls {atom.name}{{at}} on something that is not followed"
                raise NotKnownError(message)
            if any(
                known_functions.may_warn_of(x) for x in constants_in(arguments) if isinstance(x, (str, type, np.dtype))
            ):
                message = f"it calls {atom.name}{{at}} with a 64-bit type, which JAX may warn about"
                raise NotKnownError(message)
            if "out" in named:
                message = f"it calls {atom.name}{{at}} with out="
                raise NotKnownError(message)
            follow_callables(follower, frame, arguments)
            found.append(one(VIEW) if owner is VIEW else ANY_DATA)
        elif isinstance(owner, Fresh) and atom.name in ("__init__", "__setattr__", "__eq__", "__hash__", "__repr__"):
            if atom.name == "__setattr__":
                return _call_special(follower, frame, setattr, [one(owner), *arguments], named)
            found.append(NONE)
        else:
            what = known_functions.shown(owner.obj) if isinstance(owner, Known) else "something that is not followed"
            message = f"it calls {atom.name}{{at}} of {what}"
            raise NotKnownError(message)
    return joined(*found)


def _call_on_container(
    follower: Follower, frame: Frame, owner: Fresh, name: str, arguments: list[Value], named: Named
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


def _read_container(follower: Follower, frame: Frame, owner: Fresh | Known, name: str, arguments: list[Value]) -> Value:
    kind = owner.kind if isinstance(owner, Fresh) else type(owner.obj)
    if kind is np.ndarray:
        return ANY_DATA
    content = follower.values_of(frame, one(owner)) if kind is dict else follower.elements(frame, one(owner))
    if name == "items":
        return one(Items(one(Tup((ANY_DATA, content)))))
    if name in ("values", "keys"):
        return one(Items(content if name == "values" else follower.elements(frame, one(owner))))
    if name in ("pop", "get", "setdefault", "popitem"):
        return joined(content, *arguments[1:], NONE)
    if name in ("index", "count", "issubset", "issuperset", "isdisjoint"):
        return ANY_DATA
    return follower.made(frame, kind, content)


def _call_custom(
    follower: Follower, frame: Frame, obj: Any, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """A function with rules: which of them run is JAX's choice, so all have to be pure."""
    if known_functions.origin_of(obj):
        follow_callables(follower, frame, [*arguments, *named.values()])
        return ANY_DATA
    for name in ("fun", *_RULES):
        follower.names.is_in(obj, name)
    result = follower.call(frame, seen_as(obj.fun), arguments, named, starred=starred)
    if id(obj) in follower.with_rules:  # its fwd rule calls it: the rules are being followed
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
    static = sorted(vars(obj).get("nondiff_argnums") or ())
    fwd, bwd, *others = (vars(obj).get(name) for name in _RULES)
    residuals = ANY_DATA
    if fwd is not None:
        pair = follower.call(frame, seen_as(fwd), arguments, named, starred=starred)
        residuals = follower.unpacked(frame, pair, 2)[1] or ANY_DATA
    if bwd is not None:
        given = [arguments[i] for i in static if isinstance(i, int) and i < len(arguments)]
        follower.call(frame, seen_as(bwd), [*given, residuals, ANY_DATA], {})
    for rule in others:
        if rule is not None and callable(rule):
            call_with_data(follower, frame, seen_as(rule))


def _construct(
    follower: Follower, frame: Frame, kind: type, arguments: list[Value], named: Named, *, starred: bool
) -> Value:
    """An object of a class of the user's, or of a library's."""
    follower.names.are_kept = False
    if type(kind).__call__ is not type.__call__:
        message = f"it creates {one_of(kind)}{{at}}, whose class defines its own construction"
        raise NotKnownError(message)
    new = inspect.getattr_static(kind, "__new__", None)
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        fresh = Fresh(frame.site(kind), kind)
        for name, value in zip(kind._fields, arguments, strict=False):
            follower.heap.put((fresh, name), value)
        for name, value in named.items():
            follower.heap.put((fresh, name), value)
        follower.heap.put(fresh, joined(*arguments, *named.values()))
        return one(fresh)
    plain_new = new is inspect.getattr_static(object, "__new__")
    if not plain_new:
        message = f"it creates {one_of(kind)}{{at}}, which is not followed"
        raise NotKnownError(message)
    fresh = Fresh(frame.site(kind), kind)
    start = inspect.getattr_static(kind, "__init__", None)
    if isinstance(start, types.FunctionType):
        follower.call(frame, seen_as(start), [one(fresh), *arguments], named, starred=starred)
    elif start is not inspect.getattr_static(object, "__init__"):
        message = f"it creates {one_of(kind)}{{at}}, which is not followed"
        raise NotKnownError(message)
    return one(fresh)


def _bound_to(
    code: types.CodeType, defaults: tuple[Value, ...], keywords: Named, arguments: list[Value], named: Named,
    starred: bool,  # noqa: FBT001 (one of six)
) -> Named:  # fmt: skip
    """The variables of a function that is called so."""
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    rest = code.co_varnames[count + code.co_kwonlyargcount :]
    variables: Named = dict(zip(names[:count], arguments, strict=False)) if not starred else {}
    spread = arguments[0] if starred and arguments else frozenset()
    anything = named.get(_STARRED, frozenset())
    if starred:
        leading = arguments[:-1]
        variables = dict(zip(names[:count], leading, strict=False))
        spread = arguments[-1] if arguments else frozenset()
    for name in names:
        given = [named[name]] if name in named else []
        given += [variables[name]] if name in variables else []
        if not given or (starred and name not in variables):
            given += [spread] if starred and name in names[:count] else []
            given += [anything] if anything else []
            given += [keywords[name]] if name in keywords else []
            index = names.index(name) - (count - len(defaults))
            given += [defaults[index]] if name in names[:count] and 0 <= index < len(defaults) else []
        variables[name] = joined(*given)
    more = list(rest)
    if code.co_flags & inspect.CO_VARARGS:
        extra = tuple(arguments[count:]) if not starred else ()
        variables[more.pop(0)] = one(Items(spread)) if starred else one(Tup(extra))
    if code.co_flags & inspect.CO_VARKEYWORDS:
        others = [value for name, value in named.items() if name not in names]
        variables[more.pop(0)] = one(Items(joined(*others))) if others else one(Items(frozenset()))
    return variables


def call_with_data(follower: Follower, frame: Frame, function: Value) -> Value:
    """Call a function as JAX does with arrays: all its arguments are data."""
    found: list[Value] = []
    for atom in function:
        code = _code_of(atom)
        count = 1 if code is None else code.co_argcount
        skipped = _already_given(atom)
        found.append(follower.call(frame, one(atom), [ANY_DATA] * max(count - skipped, 0), {}))
    return joined(*found)


def follow_callables(follower: Follower, frame: Frame, values: Any) -> None:
    """Functions that are handed to JAX or NumPy will be called."""
    for value in values:
        for atom in value:
            if isinstance(atom, (Made, Bound)):
                call_with_data(follower, frame, one(atom))
            elif isinstance(atom, Tup):
                follow_callables(follower, frame, atom.items)
            elif isinstance(atom, Fresh) and atom.kind in (list, dict, tuple, set):
                follow_callables(follower, frame, [follower.heap.get(atom)])
            elif isinstance(atom, Known) and callable(atom.obj) and not isinstance(atom.obj, type):
                if not known_functions.kind_of(atom.obj) or known_functions.kind_of(atom.obj) in ("wrapper", "unknown"):
                    call_with_data(follower, frame, one(atom))
            elif isinstance(atom, Known) and type(atom.obj) in (list, tuple, dict):
                inside = atom.obj.values() if isinstance(atom.obj, dict) else atom.obj
                follow_callables(follower, frame, [seen_as(x) for x in list(inside)[:64] if callable(x)])


def inner_of(jitted: Any) -> Any:
    """The function that jit was given."""
    return jitted.__wrapped__


def _code_of(atom: Atom) -> types.CodeType | None:
    if isinstance(atom, Made):
        return atom.code
    if isinstance(atom, Bound):
        return next((code for inner in atom.function if (code := _code_of(inner)) is not None), None)
    obj = atom.obj if isinstance(atom, Known) else None
    for _ in range(16):
        if isinstance(obj, types.FunctionType):
            return obj.__code__
        if isinstance(obj, types.MethodType):
            obj = obj.__func__
        elif isinstance(obj, (functools.partial, internals.PartialInside)):
            obj = obj.func
        elif isinstance(obj, _CUSTOM):
            obj = obj.fun
        elif isinstance(obj, internals.PjitFunction):
            obj = inner_of(obj)
        else:
            function = inspect.getattr_static(type(obj), "__call__", None)
            return function.__code__ if isinstance(function, types.FunctionType) else None
    return None


def _already_given(atom: Atom) -> int:
    if isinstance(atom, Bound):
        return 1 + max((_already_given(inner) for inner in atom.function), default=0)
    obj, given = (atom.obj if isinstance(atom, Known) else None), 0
    for _ in range(16):
        if isinstance(obj, types.MethodType):
            obj, given = obj.__func__, given + 1
        elif isinstance(obj, (functools.partial, internals.PartialInside)):
            part: Any = obj
            obj, given = part.func, given + len(part.args)
        elif isinstance(obj, _CUSTOM):
            obj = obj.fun
        elif isinstance(obj, internals.PjitFunction):
            obj = inner_of(obj)
        else:
            is_object = obj is not None and not isinstance(obj, types.FunctionType)
            return given + is_object
    return given
