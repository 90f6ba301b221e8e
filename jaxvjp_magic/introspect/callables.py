"""Turns callables into facts: the name to show, the code, the names of the arguments."""

from __future__ import annotations

import dis
import functools
import inspect
import types
import weakref
from typing import TYPE_CHECKING, Any

import jax

from jaxvjp_magic.introspect import unwrap
from jaxvjp_magic.introspect.hijax_primitives import bwd_name
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
    """The innermost function below partial, `functools.wraps` and bound methods, or the first that is an `until`."""
    for _ in range(_LONGEST_CHAIN):
        inner = None if isinstance(function, until) else next_inside(function)
        if inner is None:
            break
        function = inner
    return function


_user_code: weakref.WeakKeyDictionary[Any, types.CodeType | None] = weakref.WeakKeyDictionary()


def user_code_of(rule: Any) -> types.CodeType | None:
    """The code of the first function that the user wrote in a rule of a primitive; None if there is none."""
    is_hashed_by_identity = type(rule) in (types.FunctionType, functools.partial)
    if is_hashed_by_identity and rule in _user_code:
        return _user_code[rule]
    codes = (code_of(below_wrappers(function)) for function in internals.functions_in_rule(rule))
    found = next((code for code in codes if code is not None and is_user_code(code.co_filename)), None)
    if is_hashed_by_identity:
        _user_code[rule] = found
    return found


def owner_of(function: Any) -> Any:
    """The object that a method below partials is bound to, None for a plain function."""
    while isinstance(function, functools.partial):
        function = function.func
    return function.__self__ if type(function) is types.MethodType else None


def filled(args: tuple[Any, ...], static: Container[int], dynamic: Iterable[Any]) -> tuple[Any, ...]:
    """All arguments of a call, with the differentiated ones replaced by `dynamic`."""
    remaining = iter(dynamic)
    return tuple(arg if i in static else next(remaining) for i, arg in enumerate(args))


def with_variables(
    function: types.FunctionType, scope: dict[str, Any], cells: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    """A copy of a function with other globals and another closure."""
    copy = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__, cells)
    copy.__kwdefaults__, copy.__qualname__ = function.__kwdefaults__, function.__qualname__
    copy.__module__, copy.__doc__ = function.__module__, function.__doc__
    copy.__dict__.update(function.__dict__)
    return copy


def with_rules(custom: Any, **parts: Any) -> Any:
    """A copy of a custom_vjp function with other `parts`: `fun`, `fwd`, `bwd`."""
    copy = object.__new__(type(custom))
    copy.__dict__.update(custom.__dict__, **parts)
    return copy


def setting(custom: Any, name: str) -> Any:
    """A setting of a custom_vjp function that not every JAX has, else None.

    `getattr` would go on to the attributes of the user's function.
    """
    return vars(custom).get(name)


def next_inside(function: Any) -> Any:
    """The function inside one wrapper, None where there is none or it cannot be reached."""
    if isinstance(function, (functools.partial, internals.PartialInside)):
        return function.func
    if isinstance(function, internals.CUSTOM_VJPS):
        return internals.primal_of(function)
    if type(function) is types.MethodType:
        return function.__func__
    if type(function) is types.FunctionType:
        return function.__dict__.get("__wrapped__")
    return attribute(function, "__wrapped__") if isinstance(function, internals.WRAPPERS) else None


@functools.lru_cache(maxsize=1024)
def global_names(code: types.CodeType) -> frozenset[str]:
    """The globals that a function and the functions inside it look up; names of attributes are not included."""
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _LOOKUPS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= global_names(constant)
    return frozenset(names)


@functools.lru_cache(maxsize=1024)
def attribute_paths(code: types.CodeType) -> frozenset[tuple[Any, ...]]:
    """The attribute and item lookups of a function that start at a global or a closure variable.

    `("Layer", "norm")` stands for `Layer.norm`, and `("table", ("norm",))` for `table["norm"]`.
    """
    paths: set[tuple[Any, ...]] = set()
    path: tuple[Any, ...] = ()
    key: tuple[Any, ...] = ()
    for instruction in dis.get_instructions(code):
        name, value = instruction.opname, instruction.argval
        if name in _LOOKUPS or (name == "LOAD_DEREF" and value in code.co_freevars):
            path, key = (value,), ()
        elif path and not key and name in ("LOAD_ATTR", "LOAD_METHOD"):
            path = (*path, value)
            paths.add(path)
        elif path and not key and name == "LOAD_CONST" and type(value) in (str, int):
            key = (value,)
        elif key and name == "BINARY_SUBSCR":
            path, key = (*path, key), ()
            paths.add(path)
        else:
            path, key = (), ()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            paths |= {path for path in attribute_paths(constant) if path[0] not in code.co_cellvars}
    return frozenset(paths)


class Functions:
    """Makes one `Function` for each code object, during one check."""

    def __init__(self) -> None:
        """Start with empty caches."""
        self._by_code: dict[int, Function] = {}
        self._by_name: dict[str, Function] = {}
        self._signatures: weakref.WeakKeyDictionary[Any, inspect.Signature] = weakref.WeakKeyDictionary()
        self._rules: dict[CustomRule, CustomRule] = {}
        self._custom: weakref.WeakKeyDictionary[Any, Custom] = weakref.WeakKeyDictionary()
        self._primitives: weakref.WeakKeyDictionary[type, Custom] = weakref.WeakKeyDictionary()

    def of(self, function: Any) -> Function:
        """The facts about any callable."""
        if type(function) is types.FunctionType and "__wrapped__" not in function.__dict__:
            fact = self._by_code.get(id(function.__code__))
            if fact is not None:
                return fact
        inner = below_wrappers(function)
        code = code_of(inner)
        if code is None:
            code = code_of(attribute(type(inner), "__call__"))
            if code is None or not is_user_code(code.co_filename):  # the `__call__` of a library's class
                return self.named(_name(inner), code)
        fact = self._by_code.get(id(code))
        if fact is None:
            fact = self._by_code[id(code)] = Function(_name(inner), code, _arguments(code))
        return fact

    def differentiated(self, function: Any) -> Function:
        """The same, with `jax.grad` and the like in the name: `grad(f)`."""
        fact, transformation = self.of(function), ""
        if type(function) is types.FunctionType and "__wrapped__" in function.__dict__:
            transformation = unwrap.transformation_name(function)
        if transformation not in _GRADIENTS:
            return fact
        name = f"{transformation}({self.differentiated(function.__wrapped__).name})"
        return self.named(name, fact, fact.code, fact.arguments)

    def named(
        self, name: str, about: object, code: types.CodeType | None = None, arguments: tuple[str, ...] = ()
    ) -> Function:
        """The fact about something with a name of its own: the identical one for the same name and object."""
        return self._by_name.setdefault(f"{name} {id(about)}", Function(name, code, arguments))

    def signature(self, function: Any) -> inspect.Signature | None:
        """`inspect.signature`, cached; None where there is none, and for callable objects, which may say anything."""
        if code_of(function) is None and not isinstance(function, internals.WRAPPERS):
            return None
        signature = self._signatures.get(function)
        if signature is None:
            try:
                signature = self._signatures[function] = inspect.signature(function)
            except (TypeError, ValueError):
                return None
        return signature

    def described(self, rule: Any) -> dict[str, Any]:
        """Attributes of a rule that JAX reads in each call and that are slow to compute; {} for callable objects."""
        signature = self.signature(rule)
        if signature is None:
            return {}
        return {"__signature__": signature, "__fun_debug_info__": getattr(rule, "__fun_debug_info__", None)}

    def custom(self, custom: Any) -> Custom:
        """The facts about a custom_vjp object and its rules."""
        facts = self._custom.get(custom)
        if facts is None or not facts.are_of(custom):
            facts = self._custom[custom] = Custom(self, custom)
        return facts

    def primitive(self, primitive_type: type) -> Custom:
        """The facts about a class of hijax primitives, its rules as those of a custom_vjp function."""
        facts = self._primitives.get(primitive_type)
        if facts is None:
            facts = self._primitives[primitive_type] = Custom.of_primitive(self, primitive_type)
        return facts

    def rule(self, custom: Any, user_function: Any) -> CustomRule:
        """The rules of a custom_vjp object as a fact; equal rules give the identical `CustomRule`.

        The rule of a custom_jvp or custom_vmap object is both.
        """
        function = self.of(user_function)
        if isinstance(custom, (jax.custom_jvp, internals.CustomVmap)):
            own, _ = internals.rules_of(custom)
            name = f"the {'jvp' if isinstance(custom, jax.custom_jvp) else 'vmap'} rule of {function.name}"
            fact = self._rule(own, function if name_of(own) == "<lambda>" else None, name)
            rule = CustomRule(fact, fact, internals.static_argnums_of(custom), internals.has_symbolic_zeros(custom))
            return self._rules.setdefault(rule, rule)
        is_gradient = user_function is not unwrap.unwrapped(internals.primal_of(custom))  # made by custom_gradient
        bwd_has_other_signature = setting(custom, "with_accums") or setting(custom, "with_logs")
        rule = CustomRule(
            self._rule(custom.fwd, function if is_gradient else None, function.name),
            self._rule(custom.bwd, function if is_gradient else None, f"the gradient function of {function.name}"),
            internals.static_argnums_of(custom),
            internals.has_symbolic_zeros(custom),
            parameters(internals.primal_of(custom)),
            parameters(custom.fwd),
            None if bwd_has_other_signature else parameters(custom.bwd),
        )
        return self._rules.setdefault(rule, rule)

    def _rule(self, rule: Any, inside: Function | None, name: str) -> Function | None:
        """The facts about a rule. Those of custom_gradient are JAX's own: there, about the user's function."""
        if rule is None:
            return None
        if inside is None:
            return self.of(rule)
        return self.named(name, inside, inside.code)


class Custom:
    """The facts about a custom_vjp object: its function, its rules, its settings."""

    __slots__ = (
        "_rules", "_settings", "arity", "described", "function", "has_closures", "names", "rule", "snapshots", "static",
    )  # fmt: skip

    def __init__(self, functions: Functions, custom: Any) -> None:
        """Read everything that a call needs to know, once."""
        rules = (internals.primal_of(custom), *internals.rules_of(custom))
        user_function = unwrap.user_function(internals.primal_of(custom)).function
        self.function, self.rule = functions.of(user_function), functions.rule(custom, user_function)
        self.names = argument_names(user_function)
        self.has_closures = any(attribute(below_wrappers(rule), "__closure__") for rule in rules)
        self.described = {id(rule): functions.described(rule) for rule in map(_below_partials, rules)}
        self.static = frozenset(internals.static_argnums_of(custom))
        self.arity = _arity(internals.primal_of(custom))
        self.snapshots: dict[str, Any] = {}  # of the names in the rules, by phase
        self._rules = tuple(map(_weak, rules))
        self._settings = internals.static_argnums_of(custom), internals.has_symbolic_zeros(custom)

    @classmethod
    def of_primitive(cls, functions: Functions, primitive_type: Any) -> Custom:
        """The same about a class of hijax primitives."""
        facts = object.__new__(cls)
        code = code_of(primitive_type.expand)
        facts.names = argument_names(primitive_type.expand)[1:]
        facts.function = Function(primitive_type.__name__, code, facts.names)
        fwd, bwd = (getattr(primitive_type, name) for name in ("vjp_fwd", bwd_name(primitive_type)))
        facts.rule = CustomRule(functions.of(fwd), functions.of(bwd))
        facts.has_closures, facts.static, facts.arity = False, frozenset(), -1
        facts.described, facts.snapshots = _Undescribed(), {}
        return facts

    def are_of(self, custom: Any) -> bool:
        """Whether these facts still hold for the object: `defvjp` may have been called again."""
        rules = (internals.primal_of(custom), *internals.rules_of(custom))
        return (
            all(rule() is now for rule, now in zip(self._rules, rules, strict=True))
            and self._settings == (internals.static_argnums_of(custom), internals.has_symbolic_zeros(custom))
        )  # fmt: skip


class _Undescribed(dict[int, dict[str, Any]]):
    """What JAX reads of the methods of a hijax primitive: nothing, for it calls them as they are."""

    def get(self, *_: Any) -> dict[str, Any]:
        """The same for each."""
        return {}


def _below_partials(rule: Any) -> Any:
    while isinstance(rule, functools.partial):
        rule = rule.func
    return rule


def _arity(function: Any) -> int:
    """The number of positional parameters; -1 with keyword-only ones, and for what is not a plain function."""
    code = code_of(function)
    if code is None or "__wrapped__" in function.__dict__ or code.co_kwonlyargcount:
        return -1
    return int(code.co_argcount)


def _weak(function: Any) -> Any:
    """A weak reference, which does not keep the user's function alive; a strong one where there can be no weak one."""
    try:
        return weakref.ref(function)
    except TypeError:
        return lambda: function


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
    if code is None:  # a callable object: the code is in its class
        bound, code = bound + 1, code_of(attribute(type(inner), "__call__"))
    return () if code is None else _arguments(code)[bound:]


def parameters(function: Any) -> Parameters | None:
    """The positional parameters of a user's function; None where they are not known, and for a library's function."""
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
    """The arguments by position, with defaults, as JAX passes them to a rule.

    Raises TypeError where they do not fit the signature; JAX then raises too.
    """
    if not keywords and len(arguments) == _arity(function):
        return arguments
    if isinstance(function, functools.partial):
        return arguments
    bound = inspect.signature(function).bind(*arguments, **keywords)
    bound.apply_defaults()
    return bound.args
