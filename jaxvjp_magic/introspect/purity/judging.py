"""Judges a function: follows it, or gives the verdict that it kept, as long as the names in it mean the same."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

import jax

from jaxvjp_magic.introspect.purity.abstract_values import Known, NotKnownError, Value, argument_as, seen_as
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
    """As `purity.judged`."""
    root = function if type(function) is types.FunctionType else None
    follower = Follower(call_one, root)
    given = None
    if arguments is not None:
        try:
            given = [argument_as(given, ("argument", i), follower.heap) for i, given in enumerate(arguments)]
        except NotKnownError as error:
            return Verdict(error.why)
    key = as_key(given or [], follower.heap)
    if root is None or key is None:
        return _followed(follower, function, given)
    asked = given is None, jax.config.read("jax_enable_x64"), *key
    verdict: Verdict | None = _VERDICTS.get(root, asked)
    if verdict is None:
        verdict = _followed(follower, function, given)
        _VERDICTS.put(root, asked, follower.names, verdict)
    return verdict


def _followed(follower: Follower, function: Any, given: list[Value] | None) -> Verdict:
    for code in _own_code(function):
        follower.own(code)
    caller = Frame(follower, _nowhere.__code__, "the check", Known(_nowhere).obj)
    try:
        for _ in range(_MOST_ROUNDS):
            if given is None:
                call_with_data(follower, caller, seen_as(function))
            else:
                follower.call(caller, seen_as(function), given, {})
            if not follower.heap.grown:
                return Verdict("", None, follower.is_long, follower.prints, follower.calls_back)
            follower.again()
    except NotKnownError as error:
        return Verdict(error.why, error.place)
    except RecursionError:
        follower.names.are_kept = False  # the stack may be less deep the next time
        return Verdict("its calls nest too deeply to follow{at}")
    return Verdict("it has too many branches to follow{at}")


def _own_code(function: Any) -> list[types.CodeType]:
    """The code that a copy of a function has its own globals for."""
    while True:
        if issubclass(type(function), (functools.partial, internals.PartialInside)):
            function = function.func
        else:
            code = code_of(function)
            return [] if code is None else [code]


def _nowhere() -> None:
    """Stands for the caller."""
