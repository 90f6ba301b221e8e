"""What stands in JAX's places during a check.

Every hook here does the same: it asks the recorder whether it listens, notes
what it is given, calls what stood there before, and notes what comes back.
Nothing that goes wrong in the noting reaches the user's program: it becomes a
note in the report. What the program raises passes through, without our frames.

The hooks are process-wide and stand only while a check is on; they talk to the
innermost check. A rule that JAX caches keeps its wrapper, which then listens
to a closed recorder: it does nothing, and holds nothing but facts.
"""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.tracing import frames, jax_internals

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.tracing.listener import Listener
    from jaxvjp_magic.tracing.recorder import Handle

    Current = Callable[[], "Listener | None"]


class Hooks:
    """The places in JAX that are ours while at least one check is on."""

    def __init__(self) -> None:
        """Nothing is touched until `listen`."""
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._slots: list[jax_internals.Slot] = []

    def listen(self, listener: Listener) -> None:
        """Tell this listener everything from now on; the last one that came is told."""
        with self._lock:
            if not self._listeners:
                try:
                    self._install()
                except BaseException:
                    self._restore()
                    raise
            self._listeners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Tell it nothing more; with the last listener gone, JAX is as it was."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
            if not self._listeners:
                self._restore()

    def _restore(self) -> None:
        while self._slots:
            self._slots.pop().restore()

    def _install(self) -> None:
        for make, hook in (
            (jax_internals.custom_vjp_slot, custom_vjp_hook),
            (jax_internals.vjp_slot, vjp_hook),
            (jax_internals.pullback_slot, pullback_hook),
            (jax_internals.partial_pullback_slot, partial_pullback_hook),
        ):
            slot = make()
            if slot is not None:
                self._slots.append(slot)
                slot.put(hook(slot.original, self.current))
        jax_internals.hide_frames_of(__file__)

    def current(self) -> Listener | None:
        """The listener that is to be told about a call that starts now in this thread."""
        listener = self._listeners[-1] if self._listeners else None
        return listener if listener is not None and listener.recorder.listening else None


def custom_vjp_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `custom_vjp.__call__`: the call runs on a copy whose function and rules are watched."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        listener = current()
        if listener is None or not callable(self.fun):
            return original(self, *args, **kwargs)
        try:
            handle = listener.start_custom(self, args, kwargs, frames.caller(1))
            if handle is None:
                return original(self, *args, **kwargs)
            watched = object.__new__(type(self))
            watched.__dict__.update(self.__dict__)
            watched.fun = _watch(self.fun, "primal", self, listener, handle)
            # A rule that is missing stays missing: JAX's message about it is the best there is.
            watched.fwd = self.fwd and _watch(self.fwd, "fwd", self, listener, handle)
            watched.bwd = self.bwd and _watch(self.bwd, "bwd", self, listener, handle)
            listener.recorder.enter(handle)
            try:
                return original(watched, *args, **kwargs)
            except Exception as error:
                listener.call_failed(handle, "call", error)
                raise
            finally:
                listener.recorder.leave()
        except BaseException as error:
            frames.drop_own_frames(error)
            raise

    return call


def _watch(rule: Any, phase: str, custom: Any, listener: Listener, handle: Handle) -> Any:
    """The same rule, which tells the listener what it takes and returns.

    A partial stays a partial, for JAX reads no signature from one.
    """
    if isinstance(rule, functools.partial):
        inner = _watch(rule.func, phase, custom, listener, handle)
        return functools.partial(inner, *rule.args, **rule.keywords)
    skipped = len(_partial_arguments(getattr(custom, {"primal": "fun"}.get(phase, phase))))
    told = {"primal": listener.primal_ran, "fwd": listener.fwd_ran, "bwd": listener.bwd_ran}[phase]

    @functools.wraps(rule)
    def watched(*args: Any, **kwargs: Any) -> Any:
        recorder = listener.recorder
        if not recorder.listening:  # a cached jaxpr may call this long after the check
            return rule(*args, **kwargs)
        try:
            recorder.enter(handle)
            try:
                result = rule(*args, **kwargs)
            except Exception as error:
                listener.rule_failed(handle, custom, phase, error)
                raise
            finally:
                recorder.leave()
            told(handle, custom, args[skipped:], result)
        except BaseException as error:
            frames.drop_own_frames(error)
            raise
        return result

    # JAX reads the signature of a rule in each call; through two wrappers that takes longer than all else here.
    watched.__signature__ = listener.functions.signature(rule)  # type: ignore[attr-defined]
    return watched


def _partial_arguments(rule: Any) -> tuple[Any, ...]:
    """The arguments that a chain of partials adds in front."""
    added: tuple[Any, ...] = ()
    while isinstance(rule, functools.partial):
        added, rule = (*rule.args, *added), rule.func
    return added


def vjp_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `jax.vjp`, which grad, value_and_grad, jacrev and hessian call."""

    def vjp(fun: Any, *primals: Any, **options: Any) -> Any:
        listener = current()
        if listener is None:
            return original(fun, *primals, **options)
        try:
            started = listener.start_vjp(fun, primals, frames.caller(1))
            if started is None:
                return original(fun, *primals, **options)
            handle, named = started
            listener.recorder.enter(handle)
            try:
                result = original(fun, *primals, **options)
            except Exception as error:
                listener.call_failed(handle, "forward", error)
                raise
            finally:
                listener.recorder.leave()
            listener.vjp_ran(handle, named, result, (fun, primals, options))
        except BaseException as error:
            frames.drop_own_frames(error)
            raise
        return result

    return vjp


def pullback_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `VJP.__call__`: the pullback stays the object that JAX made."""
    return functools.wraps(original)(_pullback(original, current, lambda pullback, *_: id(pullback.fun), 1))


def partial_pullback_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For JAX 0.8, whose pullbacks are partials of one function (name, avals, trees, fun, cotangent)."""
    return _pullback(original, current, lambda _, avals, *__: id(avals), 4)


def _pullback(
    original: Callable[..., Any], current: Current, key_of: Callable[..., int], cotangent_at: int
) -> Callable[..., Any]:
    """One frame only, whichever JAX it is: what is not on the stack need not be hidden."""

    def pullback(*arguments: Any) -> Any:
        listener = current()
        known = listener.pullback_of(key_of(*arguments)) if listener is not None else None
        if listener is None or known is None:
            return original(*arguments)
        handle, named, asked = known
        cotangent = arguments[cotangent_at] if len(arguments) > cotangent_at else None
        try:
            listener.recorder.enter(handle)
            try:
                result = original(*arguments)
            except Exception as error:
                listener.pullback_failed(handle, cotangent, error)
                raise
            finally:
                listener.recorder.leave()
            listener.pullback_ran(handle, named, cotangent, result, asked)
        except BaseException as error:
            frames.drop_own_frames(error)
            raise
        return result

    return pullback
