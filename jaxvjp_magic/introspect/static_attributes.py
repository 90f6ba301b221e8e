"""Takes an object of the program, and gives its attributes without running any of its code.

A lazy proxy loads its target as soon as anything is read of it, even its
`__class__`, so `isinstance` loads it too. A mock has every attribute.
"""

from __future__ import annotations

import inspect
import types
import weakref
from typing import Any

# Reading an attribute of these runs no code of the program's.
_PLAIN_TYPES = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
)  # fmt: skip
_FROM_C = (types.GetSetDescriptorType, types.MemberDescriptorType)
_classes_of: Any = type.__dict__["__mro__"].__get__  # whatever a metaclass says


def is_veiled(value: Any) -> bool:
    """Whether a class overrides attribute access or `__class__`: a proxy, a mock, a lazily loaded module."""
    value_type = type(value)
    if value_type in _PLAIN_TYPES:
        return False
    if value_type in weakref.ProxyTypes:
        return True
    for cls in _classes_of(value_type):
        if cls in (object, type, types.ModuleType):
            return False
        held = vars(cls)
        if "__class__" in held or isinstance(held.get("__getattribute__"), types.FunctionType):
            return True
    return False


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """An attribute, where reading it runs no code of the program's; else `default`."""
    if type(value) in _PLAIN_TYPES:
        return getattr(value, name, default)
    return _read(inspect.getattr_static(value, name, default), value, default)


def held_by(value: Any) -> dict[str, Any]:
    """The object's own `__dict__`, without the attributes of its class; empty where it has none."""
    for cls in _classes_of(type(value)):
        if "__dict__" in vars(cls):
            held = _read(vars(cls)["__dict__"], value, None)
            return held if type(held) is dict else {}
    return {}


def _read(member: Any, value: Any, default: Any) -> Any:
    """What a descriptor written in C gives for `value`; any other class member as it is."""
    if type(member) not in _FROM_C:
        return member
    try:
        return member.__get__(value, type(value))
    except (AttributeError, TypeError):  # an empty slot, or a slot read on the class
        return default


def code_of(function: Any) -> types.CodeType | None:
    """The code of a function or of a bound method; None for any other object, even with a `__code__`."""
    while type(function) is types.MethodType:
        function = function.__func__
    return function.__code__ if type(function) is types.FunctionType else None


def name_of(value: Any) -> str:
    """The name of a function, a class or a JAX transformation of a function; "" for other objects."""
    name = attribute(value.__func__ if type(value) is types.MethodType else value, "__name__")
    return name if type(name) is str else ""
