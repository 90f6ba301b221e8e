"""Functions as facts: the name to show, the code to look at, the arguments' names."""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
import types
import weakref
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.tracing import jax_internals
from jaxvjp_magic.tracing.facts import CustomRule, Function, Parameters
from jaxvjp_magic.tracing.frames import is_user_code

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

_LONGEST_CHAIN = 16
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
    return getattr(function, "__self__", None) if inspect.ismethod(function) else None


def filled(args: tuple[Any, ...], static: Container[int], dynamic: Iterable[Any]) -> tuple[Any, ...]:
    """All arguments of a call, with these for the differentiated ones."""
    left = iter(dynamic)
    return tuple(arg if i in static else next(left) for i, arg in enumerate(args))


def next_inside(function: Any) -> Any:
    """What one wrapper wraps, None where it wraps nothing that it tells."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, jax_internals.CustomVjp):
        return function.fun
    if inspect.ismethod(function):
        return function.__func__
    if inspect.isfunction(function):
        return function.__dict__.get("__wrapped__")
    return getattr(function, "__wrapped__", None) if isinstance(function, jax_internals.PjitFunction) else None


@functools.lru_cache(maxsize=1024)
def global_names(code: types.CodeType) -> frozenset[str]:
    """The globals that a function looks up, in the functions inside it too; attributes are none."""
    names = {instruction.argval for instruction in dis.get_instructions(code) if instruction.opname in _LOOKUPS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= global_names(constant)
    return frozenset(names)


@functools.lru_cache(maxsize=1024)
def attribute_paths(code: types.CodeType) -> frozenset[tuple[str, ...]]:
    """What a function looks up as attributes of globals: `("Layer", "norm")` for `Layer.norm`."""
    found: set[tuple[str, ...]] = set()
    path: tuple[str, ...] = ()
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOOKUPS:
            path = (instruction.argval,)
        elif path and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            path = (*path, instruction.argval)
            found.add(path)
        else:
            path = ()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= attribute_paths(constant)
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
        inner = below_wrappers(function)
        code = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
        if code is None:
            name = _name(inner)
            return self._by_name.setdefault(name, Function(name))
        known = self._by_code.get(id(code))
        if known is None:
            known = self._by_code[id(code)] = Function(_name(inner), code, _arguments(code))
        return known

    def signature(self, function: Any) -> inspect.Signature | None:
        """`inspect.signature`, read once; None where there is none."""
        try:
            known = self._signatures.get(function)
        except TypeError:  # it cannot be weakly referenced, or has no hash
            return None
        if known is None:
            try:
                known = self._signatures[function] = inspect.signature(function)
            except (TypeError, ValueError):
                return None
        return known

    def custom(self, custom: Any) -> Custom:
        """The facts about a custom_vjp object and its rules."""
        parts = (custom.fun, custom.fwd, custom.bwd, custom.nondiff_argnums, custom.symbolic_zeros)
        known = self._custom.get(custom)
        if known is None or known.parts() != parts:
            user_function = jax_internals.user_function(custom.fun).function
            function = self.of(user_function)
            is_gradient = user_function is not jax_internals.unwrapped(custom.fun)  # made by custom_gradient
            changed = getattr(custom, "with_accums", False) or getattr(custom, "with_logs", False)
            rule = CustomRule(
                self._rule(custom.fwd, function if is_gradient else None, function.name),
                self._rule(custom.bwd, function if is_gradient else None, f"the gradient function of {function.name}"),
                tuple(custom.nondiff_argnums),
                bool(custom.symbolic_zeros),
                parameters(custom.fun),
                parameters(custom.fwd),
                None if changed else parameters(custom.bwd),
            )
            rule = self._rules.setdefault(rule, rule)
            closures = any(getattr(below_wrappers(one), "__closure__", None) for one in parts[:3])
            names = argument_names(user_function)
            known = self._custom[custom] = Custom(function, rule, names, closures, *map(_weak, parts))
        return known

    def _rule(self, rule: Any, inside: Function | None, name: str) -> Function | None:
        """The facts about a rule; of custom_gradient, whose rules are JAX's own, about the user's function."""
        if rule is None:
            return None
        if inside is None:
            return self.of(rule)
        return self._by_name.setdefault(f"{name} {id(inside)}", Function(name, inside.code))


@dataclasses.dataclass(frozen=True, slots=True)
class Custom:
    """A custom_vjp object's function and rules, and what they were made from."""

    function: Function
    rule: CustomRule
    names: tuple[str, ...]  # of the arguments
    has_closures: bool
    fun: Any
    fwd: Any
    bwd: Any
    nondiff: Any
    zeros: Any

    def parts(self) -> tuple[Any, ...]:
        """The objects that this was made from; one that is gone is None."""
        return tuple(part() for part in (self.fun, self.fwd, self.bwd, self.nondiff, self.zeros))


def _weak(part: Any) -> Any:
    """A reference that keeps no user's function alive, where there can be one."""
    try:
        return weakref.ref(part)
    except TypeError:
        return lambda: part


def _name(function: Any) -> str:
    """`layer` for `loss.<locals>.layer`, `Layer.step` for a method."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    short = str(name or type(function).__qualname__).rsplit("<locals>.", 1)[-1]
    return short.rsplit("comp>.", 1)[-1].rsplit("expr>.", 1)[-1]


def _arguments(code: Any) -> tuple[str, ...]:
    return tuple(code.co_varnames[: code.co_argcount])


def argument_names(function: Any) -> tuple[str, ...]:
    """The names of the positional arguments, as far as they can be told."""
    bound = 0
    while isinstance(function, functools.partial):
        if function.keywords:
            return ()
        bound += len(function.args)
        function = function.func
    if inspect.ismethod(function):
        bound, function = bound + 1, function.__func__
    inner = below_wrappers(function)
    if inspect.ismethod(inner) or not hasattr(inner, "__code__"):
        return ()
    return _arguments(inner.__code__)[bound:]


def parameters(function: Any) -> Parameters | None:
    """How a user's function may be called by position; None where that cannot be told, and for a library's."""
    bound = 0
    while isinstance(function, functools.partial):
        if function.keywords:
            return None
        bound, function = bound + len(function.args), function.func
    if isinstance(function, jax_internals.PjitFunction):
        function = below_wrappers(function, until=type(lambda: None))
    if inspect.ismethod(function):
        bound, function = bound + 1, function.__func__
    if not inspect.isfunction(function) or "__wrapped__" in function.__dict__:
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
    code = getattr(function, "__code__", None)
    if not keywords and code is not None and "__wrapped__" not in function.__dict__:
        fixed = len(arguments) == code.co_argcount
        if fixed and not code.co_kwonlyargcount:
            return arguments
    if isinstance(function, functools.partial):
        return arguments
    bound = inspect.signature(function).bind(*arguments, **keywords)
    bound.apply_defaults()
    return bound.args
