"""Attributes of the program's objects, read without running anything of theirs.

A lazy proxy loads what it stands for as soon as anything is read of it, its
`__class__` included, so even `isinstance` loads it; a mock answers any name.
"""

from __future__ import annotations

import inspect
import types
import weakref
from typing import Any

# To read an attribute of these runs nothing of the program's.
_PLAIN_KINDS = (
    types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType,
)  # fmt: skip
_FROM_C = (types.GetSetDescriptorType, types.MemberDescriptorType)
_classes_of: Any = type.__dict__["__mro__"].__get__  # whatever a metaclass says


def is_veiled(value: Any) -> bool:
    """Whether an object says itself what it is: a proxy, a mock, a module that is loaded when it is used."""
    kind = type(value)
    if kind in _PLAIN_KINDS:
        return False
    if kind in weakref.ProxyTypes:
        return True
    for one in _classes_of(kind):
        if one in (object, type, types.ModuleType):
            return False
        held = vars(one)
        if "__class__" in held or isinstance(held.get("__getattribute__"), types.FunctionType):
            return True
    return False


def attribute(value: Any, name: str, default: Any = None) -> Any:
    """An attribute, where reading it runs nothing of the program's; else `default`."""
    if type(value) in _PLAIN_KINDS:
        return getattr(value, name, default)
    return _read(inspect.getattr_static(value, name, default), value, default)


def held_by(value: Any) -> dict[str, Any]:
    """The attributes of an object's own; of an instance, not those of its class."""
    for kind in _classes_of(type(value)):
        if "__dict__" in vars(kind):
            held = _read(vars(kind)["__dict__"], value, None)
            return held if type(held) is dict else {}
    return {}


def _read(found: Any, value: Any, default: Any) -> Any:
    """What a descriptor in C gives; anything else is what it is."""
    if type(found) not in _FROM_C:
        return found
    try:
        return found.__get__(value, type(value))
    except (AttributeError, TypeError):  # a slot that is empty, or one of a class
        return default


def code_of(function: Any) -> types.CodeType | None:
    """The code of a function or of a bound method; None for any other object, whatever it says."""
    while type(function) is types.MethodType:
        function = function.__func__
    return function.__code__ if type(function) is types.FunctionType else None


def name_of(value: Any) -> str:
    """The name of a function, of a class, of what JAX made of a function; "" for other objects."""
    name = attribute(value.__func__ if type(value) is types.MethodType else value, "__name__")
    return name if type(name) is str else ""
