"""Functions as facts: the name to show, the code to look at, the arguments' names."""

from __future__ import annotations

import dis
import functools
import inspect
import types
import weakref
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect import unwrap
from jaxvjp_magic.introspect.stack import is_user_code
from jaxvjp_magic.introspect.static_attributes import attribute, code_of, name_of
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.calls import CustomRule, Function, Parameters

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

_LONGEST_CHAIN = 16
_GRADIENTS = ("grad", "value_and_grad", "jacrev", "jacfwd", "hessian")
_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME")


def below_wrappers(function: Any, until: tuple[type, ...] | type = ()) -> Any:
    """The innermost function under partial, `functools.wraps` and bound methods, or the first of a type."""
    for _ in range(_LONGEST_CHAIN):
        inner = None if isinstance(function, until) else next_inside(function)
        if inner is None:
            break
        function = inner
    return function


def owner_of(function: Any) -> Any:
    """The object that a method below partials is bound to, None for a plain function."""
    while isinstance(function, functools.partial):
        function = function.func
    return function.__self__ if type(function) is types.MethodType else None


def filled(args: tuple[Any, ...], static: Container[int], dynamic: Iterable[Any]) -> tuple[Any, ...]:
    """All arguments of a call, with these for the differentiated ones."""
    left = iter(dynamic)
    return tuple(arg if i in static else next(left) for i, arg in enumerate(args))


def with_variables(
    function: types.FunctionType, scope: dict[str, Any], cells: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    """Another function that does the same, with these for its globals and its closure."""
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    copy.__dict__.update(function.__dict__)
    return copy


def with_rules(custom: Any, **parts: Any) -> Any:
    """Another custom_vjp function like this one, with these for its parts: `fun`, `fwd`, `bwd`."""
    copy = object.__new__(type(custom))
    copy.__dict__.update(custom.__dict__, **parts)
    return copy


def setting(custom: Any, name: str) -> Any:
    """A setting of a custom_vjp function that not every JAX has; asked for, it would be the user's function's."""
    return vars(custom).get(name)


def next_inside(function: Any) -> Any:
    """What one wrapper wraps, None where it wraps nothing that it tells."""
    if isinstance(function, (functools.partial, internals.PartialInside)):
        return function.func
    if isinstance(function, internals.CustomVjp):
        return function.fun
    if type(function) is types.MethodType:
        return function.__func__
    if type(function) is types.FunctionType:
        return function.__dict__.get("__wrapped__")
    return attribute(function, "__wrapped__") if isinstance(function, internals.WRAPPERS) else None


@functools.lru_cache(maxsize=1024)
def global_names(code: types.CodeType) -> frozenset[str]:
    """The globals that a function looks up, in the functions inside it too; attributes are none."""
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _LOOKUPS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= global_names(constant)
    return frozenset(names)


@functools.lru_cache(maxsize=1024)
def attribute_paths(code: types.CodeType) -> frozenset[tuple[Any, ...]]:
    """What a function looks up in globals, or in its closure's variables.

    `("Layer", "norm")` stands for `Layer.norm`, and `("table", ("norm",))` for `table["norm"]`.
    """
    found: set[tuple[Any, ...]] = set()
    path: tuple[Any, ...] = ()
    key: tuple[Any, ...] = ()
    for instruction in dis.get_instructions(code):
        name, value = instruction.opname, instruction.argval
        if name in _LOOKUPS or (name == "LOAD_DEREF" and value in code.co_freevars):
            path, key = (value,), ()
        elif path and not key and name in ("LOAD_ATTR", "LOAD_METHOD"):
            path = (*path, value)
            found.add(path)
        elif path and not key and name == "LOAD_CONST" and type(value) in (str, int):
            key = (value,)
        elif key and name == "BINARY_SUBSCR":
            path, key = (*path, key), ()
            found.add(path)
        else:
            path, key = (), ()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= {path for path in attribute_paths(constant) if path[0] not in code.co_cellvars}
    return frozenset(found)


class Functions:
    """Makes one `Function` for each code object; for one check."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self._by_code: dict[int, Function] = {}
        self._by_name: dict[str, Function] = {}
        self._signatures: weakref.WeakKeyDictionary[Any, inspect.Signature] = weakref.WeakKeyDictionary()
        self._rules: dict[CustomRule, CustomRule] = {}
        self._custom: weakref.WeakKeyDictionary[Any, Custom] = weakref.WeakKeyDictionary()

    def of(self, function: Any) -> Function:
        """The facts about a callable of any sort."""
        if type(function) is types.FunctionType and "__wrapped__" not in function.__dict__:
            known = self._by_code.get(id(function.__code__))
            if known is not None:
                return known
        inner = below_wrappers(function)
        code = code_of(inner)
        if code is None:
            code = code_of(attribute(type(inner), "__call__"))
            if code is None or not is_user_code(code.co_filename):  # a library's way to call it, not its text
                name = _name(inner)
                return self._by_name.setdefault(f"{name} {id(code)}", Function(name))
        known = self._by_code.get(id(code))
        if known is None:
            known = self._by_code[id(code)] = Function(_name(inner), code, _arguments(code))
        return known

    def differentiated(self, function: Any) -> Function:
        """The same, but of what `jax.grad` and the like made of a function: `grad(f)`."""
        known, kind = self.of(function), ""
        if type(function) is types.FunctionType and "__wrapped__" in function.__dict__:
            kind = unwrap.transformation_name(function)
        if kind not in _GRADIENTS:
            return known
        name = f"{kind}({self.differentiated(function.__wrapped__).name})"
        return self._by_name.setdefault(f"{name} {id(known)}", Function(name, known.code, known.arguments))

    def signature(self, function: Any) -> inspect.Signature | None:
        """`inspect.signature`, read once; None where there is none, and for objects: these may say what they like."""
        if code_of(function) is None and not isinstance(function, internals.WRAPPERS):
            return None
        known = self._signatures.get(function)
        if known is None:
            try:
                known = self._signatures[function] = inspect.signature(function)
            except (TypeError, ValueError):
                return None
        return known

    def described(self, rule: Any) -> dict[str, Any]:
        """What JAX asks of a rule in each call, and takes long to find; nothing of an object, which JAX has to ask."""
        signature = self.signature(rule)
        if signature is None:
            return {}
        return {"__signature__": signature, "__fun_debug_info__": getattr(rule, "__fun_debug_info__", None)}

    def custom(self, custom: Any) -> Custom:
        """The facts about a custom_vjp object and its rules."""
        known = self._custom.get(custom)
        if known is None or not known.are_of(custom):
            known = self._custom[custom] = Custom(self, custom)
        return known

    def rule(self, custom: Any, user_function: Any) -> CustomRule:
        """The rules of a custom_vjp object as a fact; the identical one for equal rules."""
        function = self.of(user_function)
        is_gradient = user_function is not unwrap.unwrapped(custom.fun)  # made by custom_gradient
        changed = setting(custom, "with_accums") or setting(custom, "with_logs")
        rule = CustomRule(
            self._rule(custom.fwd, function if is_gradient else None, function.name),
            self._rule(custom.bwd, function if is_gradient else None, f"the gradient function of {function.name}"),
            tuple(custom.nondiff_argnums),
            bool(custom.symbolic_zeros),
            parameters(custom.fun),
            parameters(custom.fwd),
            None if changed else parameters(custom.bwd),
        )
        return self._rules.setdefault(rule, rule)

    def _rule(self, rule: Any, inside: Function | None, name: str) -> Function | None:
        """The facts about a rule; of custom_gradient, whose rules are JAX's own, about the user's function."""
        if rule is None:
            return None
        if inside is None:
            return self.of(rule)
        return self._by_name.setdefault(f"{name} {id(inside)}", Function(name, inside.code))


class Custom:
    """A custom_vjp object's function and rules, and what they were made from."""

    __slots__ = (
        "_rules", "_settings", "arity", "described", "function", "has_closures", "names", "rule", "snapshots", "static",
    )  # fmt: skip

    def __init__(self, functions: Functions, custom: Any) -> None:
        """Read everything that a call needs to know, once."""
        rules = (custom.fun, custom.fwd, custom.bwd)
        user_function = unwrap.user_function(custom.fun).function
        self.function, self.rule = functions.of(user_function), functions.rule(custom, user_function)
        self.names = argument_names(user_function)
        self.has_closures = any(attribute(below_wrappers(one), "__closure__") for one in rules)
        self.described = {id(one): functions.described(one) for one in map(_below_partials, rules)}
        self.static = frozenset(custom.nondiff_argnums)
        self.arity = _arity(custom.fun)
        self.snapshots: dict[str, Any] = {}  # of what the rules' names mean, by phase
        self._rules = tuple(map(_weak, rules))
        self._settings = custom.nondiff_argnums, custom.symbolic_zeros

    def are_of(self, custom: Any) -> bool:
        """Whether these facts are still those of the object: its rules may be registered anew."""
        fun, fwd, bwd = self._rules
        return (
            fun() is custom.fun and fwd() is custom.fwd and bwd() is custom.bwd
            and self._settings == (custom.nondiff_argnums, custom.symbolic_zeros)
        )  # fmt: skip


def _below_partials(rule: Any) -> Any:
    while isinstance(rule, functools.partial):
        rule = rule.func
    return rule


def _arity(function: Any) -> int:
    """How many arguments a function takes, where it takes just so many and all by position; else -1."""
    code = code_of(function)
    if code is None or "__wrapped__" in function.__dict__ or code.co_kwonlyargcount:
        return -1
    return int(code.co_argcount)


def _weak(part: Any) -> Any:
    """A reference that keeps no user's function alive, where there can be one."""
    try:
        return weakref.ref(part)
    except TypeError:
        return lambda: part


def _name(function: Any) -> str:
    """`layer` for `loss.<locals>.layer`, `Layer.step` for a method."""
    name = attribute(function, "__qualname__")
    if type(name) is not str:
        name = name_of(function) or type(function).__qualname__
    short = name.rsplit("<locals>.", 1)[-1]
    return short.rsplit("comp>.", 1)[-1].rsplit("expr>.", 1)[-1]


def _arguments(code: Any) -> tuple[str, ...]:
    return tuple(code.co_varnames[: code.co_argcount])


def argument_names(function: Any) -> tuple[str, ...]:
    """The names of the positional arguments, as far as they are known."""
    if type(function) is types.FunctionType and "__wrapped__" not in function.__dict__:
        return _arguments(function.__code__)
    bound = 0
    while isinstance(function, (functools.partial, internals.PartialInside)):
        if function.keywords:
            return ()
        bound += len(function.args)
        function = function.func
    if type(function) is types.MethodType:
        bound, function = bound + 1, function.__func__
    inner = below_wrappers(function)
    code = code_of(inner)
    if code is None:  # an object: its class says how it is called
        bound, code = bound + 1, code_of(attribute(type(inner), "__call__"))
    return () if code is None else _arguments(code)[bound:]


def parameters(function: Any) -> Parameters | None:
    """How a user's function may be called by position; None if that is not known, and for a library's."""
    bound = 0
    while isinstance(function, functools.partial):
        if function.keywords:
            return None
        bound, function = bound + len(function.args), function.func
    if isinstance(function, internals.PjitFunction):
        function = below_wrappers(function, until=type(lambda: None))
    if type(function) is types.MethodType:
        bound, function = bound + 1, function.__func__
    if type(function) is not types.FunctionType or "__wrapped__" in function.__dict__:
        return None
    code = function.__code__
    if not is_user_code(code.co_filename):
        return None
    count = code.co_argcount - bound
    most = None if code.co_flags & inspect.CO_VARARGS else count
    return Parameters(_arguments(code)[bound:], max(0, count - len(function.__defaults__ or ())), most)


def resolved(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments by position, defaults filled in, as JAX hands them to a rule.

    Raises TypeError where they do not fit the signature; JAX then raises too.
    """
    if not keywords and len(arguments) == _arity(function):
        return arguments
    if isinstance(function, functools.partial):
        return arguments
    bound = inspect.signature(function).bind(*arguments, **keywords)
    bound.apply_defaults()
    return bound.args
