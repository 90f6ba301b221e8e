"""Takes a function, and gives its `Verdict`: the cached one while its names mean the same, or a new one."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

import jax

from jaxvjp_magic.introspect.purity.abstract_values import Concrete, NotKnownError, Value, argument_as, seen_as
from jaxvjp_magic.introspect.purity.bytecode import Frame
from jaxvjp_magic.introspect.purity.calls import call_one, call_with_data
from jaxvjp_magic.introspect.purity.dependencies import Verdicts, as_key
from jaxvjp_magic.introspect.purity.operations import Follower
from jaxvjp_magic.introspect.purity.verdict import Verdict
from jaxvjp_magic.introspect.static_attributes import code_of
from jaxvjp_magic.jax_compat import internals

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_ROUNDS = 6
_VERDICTS = Verdicts()


def judge(function: Any, arguments: Sequence[Any] | None = None) -> Verdict:
    """Does what `purity.judged` says."""
    root = function if type(function) is types.FunctionType else None
    follower = Follower(call_one, root)
    values = None
    if arguments is not None:
        try:
            values = [argument_as(arg, ("argument", i), follower.heap) for i, arg in enumerate(arguments)]
        except NotKnownError as error:
            return Verdict(error.why)
    arguments_key = as_key(values or [], follower.heap)
    if root is None or arguments_key is None:
        return _followed(follower, function, values)
    key = values is None, jax.config.read("jax_enable_x64"), *arguments_key
    verdict: Verdict | None = _VERDICTS.get(root, key)
    if verdict is None:
        verdict = _followed(follower, function, values)
        _VERDICTS.put(root, key, follower.names, verdict)
    return verdict


def _followed(follower: Follower, function: Any, arguments: list[Value] | None) -> Verdict:
    for code in _own_code(function):
        follower.own(code)
    caller = Frame(follower, _nowhere.__code__, "the check", Concrete(_nowhere).obj)
    try:
        for _ in range(_MOST_ROUNDS):
            if arguments is None:
                call_with_data(follower, caller, seen_as(function))
            else:
                follower.call(caller, seen_as(function), arguments, {})
            if not follower.heap.grown:
                return Verdict("", None, follower.is_long, follower.prints, follower.calls_back)
            follower.again()
    except NotKnownError as error:
        return Verdict(error.why, error.place)
    except RecursionError:
        follower.names.are_kept = False  # the next time, the stack may be less deep
        return Verdict("its calls nest too deeply to follow{at}")
    return Verdict("it has too many branches to follow{at}")


def _own_code(function: Any) -> list[types.CodeType]:
    """The code that runs with globals of its own when a copy of the function is made."""
    while True:
        if issubclass(type(function), (functools.partial, internals.PartialInside)):
            function = function.func
        else:
            code = code_of(function)
            return [] if code is None else [code]


def _nowhere() -> None:
    """Stands for the caller."""
