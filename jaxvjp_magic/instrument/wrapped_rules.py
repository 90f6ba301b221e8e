"""Takes the user's rules, and wraps them so that a recorder gets their arguments and results.

The wrappers replace the rules in one call of a custom_vjp function, and may stay
in what JAX has cached of it: long after the check they call the rule, and do no
more.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect import stack
from jaxvjp_magic.recording.collector import NOBODY
from jaxvjp_magic.retracing.jaxpr_equality import Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.recording.live_calls import RuleCall
    from jaxvjp_magic.recording.recorder import Recorder

PHASES = PRIMAL, FWD, BWD = ("primal", "fwd", "bwd")


def tell(recorder: Recorder, method: Callable[..., Any], *values: Any) -> Any:
    """The result of `method(*values)`, of this recorder; None if it raises."""
    try:
        return method(*values)
    except RecursionError:  # the program's recursion is too deep: its own next call raises
        return None
    except Exception as error:  # noqa: BLE001 (a fault of the check is a note)
        recorder.collector.could_not("record a call", error)
        return None


def watch(rule: Any, phase: str, recorder: Recorder, call: RuleCall, *, skipped: int = 0) -> Any:
    """The same rule, which reports its arguments and result to the recorder.

    A partial stays a partial, since JAX reads no signature from one.
    """
    if not isinstance(rule, functools.partial):
        return _WrappedRule(rule, phase, skipped, recorder, call)
    skipped += len(_partial_arguments(rule))
    inner: Any = rule
    while isinstance(inner, functools.partial):
        inner = inner.func
    return _as_partial(rule, _WrappedRule(inner, phase, skipped, recorder, call))


def is_wrapped(function: Any) -> bool:
    """Whether this wraps a function of the user's."""
    inner = function.func if type(function) is functools.partial else function
    return type(inner) is _WrappedRule


class _WrappedRule(Watched):
    # A rule that reports its arguments and result; everything else about it, its docstring too, is the rule's.
    # Three are made in each call: an object costs less than a function in `functools.wraps`.

    __doc__ = property(lambda self: self.__wrapped__.__doc__)
    __slots__ = (
        "__fun_debug_info__",
        "__name__",
        "__signature__",
        "__weakref__",
        "__wrapped__",
        "_call",
        "_phase",
        "_recorder",
        "_skipped",
    )  # fmt: skip

    def __init__(self, rule: Any, phase: str, skipped: int, recorder: Recorder, call: RuleCall) -> None:
        self.__wrapped__, self._phase, self._skipped, self._recorder, self._call = rule, phase, skipped, recorder, call
        # JAX asks for these several times in each call; finding a signature takes longer than all else here.
        described = call.facts.described.get(id(rule))
        if described is None:
            described = recorder.functions.described(rule)
        for name, value in described.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)

    def __bool__(self) -> bool:
        return bool(self.__wrapped__)  # JAX asks it to know whether there is a rule

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        recorder, rule, call = self._recorder, self.__wrapped__, self._call
        here, depth = NOBODY, 0
        try:
            thread = tell(recorder, recorder.collector.listening_here)
            if thread is None:  # a cached jaxpr may call this long after the check
                return rule(*args, **kwargs)
            depth = len(thread.calls)
            here = thread
            here.calls.append(call.state.origin)
            try:
                result = rule(*args, **kwargs)
            except Exception as error:
                tell(recorder, recorder.rule_failed, call, self._phase, error, args[self._skipped :])
                raise
            tell(recorder, recorder.rule_ran[self._phase], call, args[self._skipped :], result)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        else:
            return result
        finally:
            del here.calls[depth:]
            if not depth:
                here.in_flight = None


def _as_partial(partials: Any, inner: Any) -> Any:
    """The same chain of partials, around another function."""
    if not isinstance(partials, functools.partial):
        return inner
    return functools.partial(_as_partial(partials.func, inner), *partials.args, **partials.keywords)


def _partial_arguments(rule: Any) -> tuple[Any, ...]:
    """The arguments that a chain of partials adds in front."""
    added: tuple[Any, ...] = ()
    while isinstance(rule, functools.partial):
        added, rule = (*rule.args, *added), rule.func
    return added
