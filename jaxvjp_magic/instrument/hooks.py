"""Replaces functions of JAX during a check: takes their arguments and results, and passes them to a recorder.

Every hook here does the same: it asks for the recorder, records the arguments,
calls the original, and records the result. An exception in the recording never
reaches the user's program: it becomes a note in the report. What the program
raises passes through, without the hooks' frames; so does an interrupt, which may
come between any two lines of a hook.

The hooks are process-wide, and in place only while a check is on. A rule that
JAX caches keeps its wrapper, which then talks to a closed collector: it does
nothing, and holds nothing but facts. The same is true of a hook that the
program has wrapped in a function of its own, and left there.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
from typing import TYPE_CHECKING, Any

from jax import tree_util

from jaxvjp_magic.instrument import wrapped_rules
from jaxvjp_magic.instrument.wrapped_rules import BWD, FWD, PRIMAL, is_wrapped, tell, watch
from jaxvjp_magic.introspect import stack
from jaxvjp_magic.introspect.callables import setting, user_code_of, with_rules
from jaxvjp_magic.introspect.hijax_primitives import bwd_name, collecting
from jaxvjp_magic.introspect.static_attributes import code_of
from jaxvjp_magic.jax_compat import internals, patch_points
from jaxvjp_magic.recording.collector import NOBODY
from jaxvjp_magic.retracing import retrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.jax_compat.patch import PatchPoint
    from jaxvjp_magic.recording.live_calls import CustomCall, PrimitiveCall
    from jaxvjp_magic.recording.recorder import Recorder

    Current = Callable[[], "Recorder | None"]

# The checks that began in this thread or task: by number, since nothing may keep a recorder alive.
_begun_here: contextvars.ContextVar[tuple[int, ...]] = contextvars.ContextVar("vjpcheck", default=())


class Hooks:
    """The patch points of JAX that have hooks while at least one check is on."""

    def __init__(self) -> None:
        """Nothing is patched until `listen`."""
        self._lock = threading.RLock()  # an interrupt may come while it is held, and end the check
        self._recorders: dict[int, Recorder] = {}
        self.only: Recorder | None = None  # if there is exactly one, as nearly always
        self._points: list[PatchPoint] = []
        self._stay = _Stay(self)
        self._missing: tuple[str, ...] = ()
        self._number = 0

    def listen(self, recorder: Recorder) -> tuple[str, ...]:
        """Report calls to this recorder from now on; returns what cannot be seen on this JAX.

        If several checks run at once, a call belongs to the newest one of its
        own thread or task; if that has none, to the newest of all.
        """
        with self._lock:
            if not self._recorders:
                self._restore()
                self._missing = self._install()
            self._number += 1
            self._recorders[self._number] = recorder
            self.only = recorder if len(self._recorders) == 1 else None
            _begun_here.set((*(number for number in _begun_here.get() if number in self._recorders), self._number))
            return self._missing

    def forget(self, recorder: Recorder) -> None:
        """Report nothing more to it; with the last recorder gone, JAX is as it was."""
        with self._lock:
            for number, registered in list(self._recorders.items()):
                if registered is recorder:
                    _begun_here.set(tuple(begun for begun in _begun_here.get() if begun != number))
                    del self._recorders[number]
            self.only = next(iter(self._recorders.values())) if len(self._recorders) == 1 else None
            if not self._recorders:
                self._restore()

    def _restore(self) -> None:
        self._stay.is_over = True
        while self._points:
            self._points[-1].restore()
            self._points.pop()

    def _install(self) -> tuple[str, ...]:
        """Put a hook in each patch point that is found; returns which are not."""
        self._stay = _Stay(self)
        missing: dict[str, str] = {}
        for description, point_name, hook in _PLACES:
            try:
                point = getattr(patch_points, point_name)()
                if point is not None:
                    self._points.append(point)
                    point.put(hook(point.original, self._stay.current))
            except Exception as error:  # noqa: BLE001 (the other hooks work)
                missing[description] = f"{type(error).__name__}: {error}"
        self._install_in_jvp_rules(missing)
        for place in retrace.places(self._stay.retracing, self.fault):
            try:
                for point, retrace_hook in place():
                    self._points.append(point)
                    point.put(retrace_hook)
            except Exception as error:  # noqa: BLE001 (as above)
                missing[_AGAIN] = f"{type(error).__name__}: {error}"
        try:
            for filename in (__file__, retrace.__file__, wrapped_rules.__file__):
                internals.hide_frames_of(filename)
        except Exception as error:  # noqa: BLE001 (tracebacks are longer then)
            missing["tracebacks without our frames"] = f"{type(error).__name__}: {error}"
        return tuple(_said(missing))

    def _install_in_jvp_rules(self, missing: dict[str, str]) -> None:
        try:
            for name, rule in patch_points.jvp_rules(user_code_of):
                self._points.append(rule)
                rule.put(jvp_rule_hook(rule.original, self._stay.current, name))
        except Exception as error:  # noqa: BLE001 (what can be seen is seen)
            missing["jvp rules of primitives"] = f"{type(error).__name__}: {error}"

    def current(self) -> Recorder | None:
        """The recorder for a call that starts now in this thread."""
        recorders = self._recorders
        try:
            recorder = next(reversed(recorders.values()), None)
            if len(recorders) > 1:
                own = [recorders[number] for number in _begun_here.get() if number in recorders]
                recorder = own[-1] if own else recorder
        except (RuntimeError, KeyError):  # another thread began or ended a check at this very moment
            return None
        return recorder if recorder is not None and recorder.collector.listening else None

    def fault(self, error: Exception) -> None:
        """Note an exception of the hooks' own, before it is known whose call it is."""
        for recorder in list(self._recorders.values())[-1:]:
            recorder.collector.could_not("record a call", error)


def not_seen() -> list[str]:
    """What cannot be seen on this JAX, in words; nothing is patched."""
    missing = {}
    for description, point_name, _ in _PLACES:
        try:
            getattr(patch_points, point_name)()
        except Exception as error:  # noqa: BLE001 (that is the answer)
            missing[description] = f"{type(error).__name__}: {error}"
    for place in retrace.places(lambda: None, lambda _: None):
        try:
            list(place())
        except Exception as error:  # noqa: BLE001 (as above)
            missing[_AGAIN] = f"{type(error).__name__}: {error}"
    return _said(missing)


def _said(missing: dict[str, str]) -> list[str]:
    """One line for each reason."""
    reasons: dict[str, list[str]] = {}
    for description, reason in missing.items():
        reasons.setdefault(reason, []).append(description)
    return [f"{'; '.join(calls)}: not available in this JAX version: {reason}" for reason, calls in reasons.items()]


class _Stay:
    """One period in which the hooks are in JAX. A hook that the program keeps beyond it does nothing."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.is_over = False

    def current(self) -> Recorder | None:
        """As `Hooks.current`; None after the period, and if that fails."""
        if self.is_over:
            return None
        try:
            only = self._hooks.only
            if only is None:
                return self._hooks.current()
            collector = only.collector  # as `listening`, without its call: this runs for each call
            recorder = only if collector.active and not collector.here.paused else None
        except Exception as error:  # noqa: BLE001 (a fault of the check is a note)
            self._hooks.fault(error)
            return None
        return recorder

    def retracing(self) -> retrace.Retracing | None:
        """The retracing of the check that records a call that starts now."""
        recorder = self.current()
        return None if recorder is None else recorder.retracing


# The hooks ------------------------------------------------------------------------------------
#
# Each is one frame: what is not on the stack need not be hidden. `here` is the collector's state of this
# thread, and `here.calls` its running calls: the `finally` removes those from `depth` on. It calls
# nothing, and so is not interrupted. `here` is set after `depth`: an interrupt in between removes nothing.


def custom_vjp_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `custom_vjp.__call__`: the call runs on a copy whose function and rules are watched.

    Of what is built on hijax only the rules are: JAX keeps the primal's trace by the function, and would
    trace it anew for each copy.
    """
    return _of_a_call(original, current, _start_custom)


def custom_jvp_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `custom_jvp.__call__`, of the user's functions: as `custom_vjp_hook`."""
    return _of_a_call(original, current, _start_jvp)


def custom_vmap_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `custom_vmap.__call__`, of the user's functions: its rule is watched."""
    return _of_a_call(original, current, _start_vmap_rule)


def hi_primitive_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For the call of a hijax primitive, whose rules are watched when JAX asks for them."""
    if not internals.has_hijax_rules():
        return untraced_hook(original, current)
    return _of_a_call(original, current, _start_primitive)


def _of_a_call(original: Callable[..., Any], current: Current, start: Callable[..., Any]) -> Callable[..., Any]:  # noqa: C901 (one frame: see above)
    """`start` gives the recorded call, what is called in place of the object, and what `here.traced` has to be."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        if recorder is None:
            return original(retrace.traced_once(self), *args, **kwargs)
        here, depth, traced, around = NOBODY, 0, None, None
        try:
            started = tell(recorder, start, self, args, kwargs, sys._getframe(1), recorder)  # noqa: SLF001 (the caller)
            if started is None:
                return original(self, *args, **kwargs)
            handle, copy, traced = started
            depth = len(recorder.collector.here.calls)
            here = recorder.collector.here
            here.calls.append(handle.state.origin)
            if traced is not None:
                here.traced, around = traced, here.traced
            try:
                output = original(copy, *args, **kwargs)
            except Exception as error:
                tell(recorder, recorder.custom_failed, handle, error)
                raise
            if traced is not None and here.traced is not None:
                tell(recorder, recorder.primal_traced, output)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        else:
            return output
        finally:
            del here.calls[depth:]
            if traced is not None:
                here.traced = around
            if not depth:
                here.in_flight = None

    return call


def _start_custom(
    custom: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any, recorder: Recorder
) -> tuple[CustomCall, Any, Any] | None:
    """The recorded call, the copy of `custom` whose rules are watched, and what `here.traced` has to be."""
    remat_rules = setting(custom, "remat_rules")  # JAX 0.12: defremat
    is_watched = is_wrapped(custom.fwd) or (remat_rules is not None and any(map(is_wrapped, remat_rules)))
    if is_watched or not callable(internals.primal_of(custom)):
        return None  # since JAX 0.12 a custom_vjp function makes its custom_vjp3 of watched rules
    handle = recorder.start_custom(custom, args, kwargs, frame)
    if handle is None:
        return None
    # A rule that is missing stays missing: JAX's own message about it is best.
    is_traced = internals.is_built_on_hijax(custom)
    copy = with_rules(
        custom,
        **({} if is_traced else {"fun": watch(custom.fun, PRIMAL, recorder, handle)}),
        fwd=None if custom.fwd is None else watch(custom.fwd, FWD, recorder, handle),
        bwd=None if custom.bwd is None else watch(custom.bwd, BWD, recorder, handle),
    )
    if remat_rules:
        fwd, rem, bwd, *logs = remat_rules
        fwd, bwd = (watch(rule, phase, recorder, handle) for rule, phase in ((fwd, FWD), (bwd, BWD)))
        copy.remat_rules = (fwd, rem, bwd, *logs)
    return handle, copy, (handle, args) if is_traced else None


def _start_jvp(
    custom: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any, recorder: Recorder
) -> tuple[CustomCall, Any, None] | None:
    code = code_of(custom.fun)
    if code is None or not stack.is_user_code(code.co_filename) or custom.jvp is None:
        return None
    if internals.traces_custom_jvps():
        recorder.untraced(custom)
        return None
    handle = recorder.start_custom(custom, args, kwargs, frame)
    if handle is None:
        return None
    fun, jvp = watch(custom.fun, PRIMAL, recorder, handle), watch(custom.jvp, "jvp", recorder, handle)
    return handle, with_rules(custom, fun=fun, jvp=jvp), None


def _start_vmap_rule(
    custom: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any, recorder: Recorder
) -> tuple[CustomCall, Any, Any] | None:
    codes = [code_of(function) for function in (custom.fun, custom.vmap_rule)]  # sequential_vmap has a rule of JAX's
    if not all(code is not None and stack.is_user_code(code.co_filename) for code in codes):
        return None
    handle = recorder.start_custom(custom, args, kwargs, frame)
    if handle is None:
        return None
    return handle, with_rules(custom, vmap_rule=watch(custom.vmap_rule, "vmap", recorder, handle)), (handle, args)


def _start_primitive(
    primitive: Any, args: tuple[Any, ...], _: dict[str, Any], frame: Any, recorder: Recorder
) -> tuple[PrimitiveCall, Any, None] | None:
    handle = recorder.start_primitive(primitive, args, frame)
    return None if handle is None else (handle, primitive, None)


def linear_hook(kind: str) -> Callable[..., Any]:
    """For the functions of JAX that take a promise about a linear map: the user's own uses of them have rows."""

    def hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            recorder = current()
            if recorder is None:
                return original(*args, **kwargs)
            here, depth = NOBODY, 0
            try:
                handle = tell(recorder, recorder.start_linear, kind, args, kwargs, sys._getframe(1))  # noqa: SLF001 (the caller)
                if handle is None:
                    return original(*args, **kwargs)
                depth = len(recorder.collector.here.calls)
                here = recorder.collector.here
                here.calls.append(handle.state.origin)
                try:
                    result = original(*args, **kwargs)
                except Exception as error:
                    tell(recorder, recorder.call_failed, handle, "call", error)
                    raise
                tell(recorder, recorder.linear_ran, handle, kind, args, kwargs, result)
            except BaseException as error:
                stack.drop_own_frames(error)
                raise
            else:
                return result
            finally:
                del here.calls[depth:]
                if not depth:
                    here.in_flight = None

        return call

    return hook


def jvp_rule_hook(original: Callable[..., Any], current: Current, name: str) -> Callable[..., Any]:
    """For the user's jvp rules of primitives, which are not traced: the report says that they ran."""

    @functools.wraps(original)
    def jvp(*args: Any, **params: Any) -> Any:
        try:
            recorder = current()
            if recorder is not None:
                tell(recorder, recorder.untraced_jvp, name, original)
            return original(*args, **params)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return jvp


def remat_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For the calls of functions below jax.checkpoint: the names that their policy asks for are compared."""

    def bind(*args: Any, **params: Any) -> Any:
        try:
            recorder = current()
            if recorder is not None and params.get("policy") is not None:
                tell(recorder, recorder.checkpointed, params["policy"], params["jaxpr"])
            return original(*args, **params)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return bind


def primitive_transpose_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For the transpose rules of primitives: the user's own are watched, each time that JAX asks for one."""
    is_not_users: dict[Any, Any] = {}

    @functools.wraps(original)
    def rule_of(primitive: Any) -> Any:
        rule = original(primitive)
        if is_not_users.get(primitive) is rule:  # it is asked for each equation of a backward pass
            return rule
        recorder = current()
        if recorder is None:
            return rule
        if tell(recorder, user_code_of, rule) is None:
            is_not_users[primitive] = rule
            return rule

        def transpose(cotangent: Any, *args: Any, **params: Any) -> Any:
            try:
                result = rule(cotangent, *args, **params)
            except BaseException as error:
                stack.drop_own_frames(error)
                raise
            tell(recorder, recorder.transposed, primitive, rule, (cotangent, args, params), result)
            return result

        return transpose

    return rule_of


def hi_linearization_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For the rule by which JAX differentiates hijax primitives: `vjp_fwd` is watched while it runs."""

    @functools.wraps(original)
    def linearize(is_vjp: bool, nonzeros: Any, *args: Any, _prim: Any, **params: Any) -> Any:  # noqa: FBT001 (JAX's)
        recorder, watched = current(), None
        try:
            if recorder is not None and is_vjp:
                watched = tell(recorder, _watch_fwd, recorder, _prim, args)
            return original(is_vjp, nonzeros, *args, _prim=_prim, **params)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        finally:
            if watched is not None:
                watched.pop("vjp_fwd", None)

    return linearize


def hi_transpose_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For the rule by which JAX runs the bwd rules of hijax primitives: that is watched while it runs."""

    @functools.wraps(original)
    def transpose(cotangents: Any, *args: Any, _prim: Any, **params: Any) -> Any:
        recorder, watched = current(), None
        try:
            if recorder is not None:
                watched = tell(recorder, _watch_bwd, recorder, _prim)
            return original(cotangents, *args, _prim=_prim, **params)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        finally:
            if watched is not None:
                watched.pop("vjp_bwd", None)
                watched.pop("vjp_bwd_retval", None)

    return transpose


def _watch_fwd(recorder: Recorder, primitive: Any, args: tuple[Any, ...]) -> Any:
    inner = internals.unmapped(primitive)
    is_mapped = inner is not primitive
    given = lambda: inner.in_avals if is_mapped else tree_util.tree_unflatten(inner.in_tree, args)  # noqa: E731 (one use)
    call = recorder.call_of_primitive(inner, given)
    if call is None:
        return None
    inner.__dict__["vjp_fwd"] = watch(inner.vjp_fwd, FWD, recorder, call, skipped=1)
    return inner.__dict__


def _watch_bwd(recorder: Recorder, primitive: Any) -> Any:
    inner = internals.unmapped(primitive)
    call = recorder.call_of_primitive(inner, lambda: inner.in_avals)
    if call is None:
        return None
    if bwd_name(type(inner)) == "vjp_bwd_retval":
        inner.__dict__["vjp_bwd_retval"] = watch(inner.vjp_bwd_retval, BWD, recorder, call)
        return inner.__dict__
    into_accumulators, collected = collecting(inner.vjp_bwd)
    logs: list[Any] = []

    def cotangents(*args: Any) -> Any:
        try:
            logs[:] = [into_accumulators(*args)]
        except Exception:
            tell(recorder, lambda: recorder.bwd_ran(call, args, collected()))
            raise
        return collected()

    rule = watch(cotangents, BWD, recorder, call)

    def vjp_bwd(*args: Any) -> Any:
        rule(*args)
        return logs[0]

    inner.__dict__["vjp_bwd"] = vjp_bwd
    return inner.__dict__


def untraced_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For functions whose rules are not traced: the report says that they were called."""

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        recorder = current()
        try:
            if recorder is not None:
                tell(recorder, recorder.untraced, self)
            return original(self, *args, **kwargs)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return call


def traced_primal_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `CustomVJPTraced.__init__`: JAX has traced the primal function of the custom_vjp3 call that is running."""

    @functools.wraps(original)
    def init(self: Any, traced: Any, *args: Any, **kwargs: Any) -> None:
        recorder = current()
        try:
            if recorder is not None:
                tell(recorder, recorder.primal_traced, traced.out_avals)
            original(self, traced, *args, **kwargs)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return init


def vjp_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `jax.vjp`, which grad, value_and_grad, jacrev and hessian call."""

    def vjp(fun: Any, *primals: Any, **options: Any) -> Any:
        recorder = current()
        if recorder is None:
            return original(fun, *primals, **options)
        here, depth = NOBODY, 0
        try:
            handle = tell(recorder, recorder.start_vjp, fun, primals, sys._getframe(1))  # noqa: SLF001 (the caller)
            if handle is None:
                return original(fun, *primals, **options)
            depth = len(recorder.collector.here.calls)
            here = recorder.collector.here
            here.calls.append(handle.state.origin)
            try:
                result = original(fun, *primals, **options)
            except Exception as error:
                tell(recorder, recorder.call_failed, handle, "forward", error)
                raise
            tell(recorder, recorder.vjp_ran, handle, result, (fun, primals, options))
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        else:
            return result
        finally:
            del here.calls[depth:]
            if not depth:
                here.in_flight = None

    return vjp


def pullback_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `VJP.__call__`: the pullback stays the object that JAX made."""
    return functools.wraps(original)(_pullback(original, current, lambda pullback, *_: id(pullback.fun), 1))


def with_refs_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For `VJP.with_refs`: what it returns is the object that JAX made, whose function is watched."""

    @functools.wraps(original)
    def with_refs(pullback: Any, *refs: Any) -> Any:
        try:
            bound = original(pullback, *refs)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        recorder = current()
        if recorder is not None:
            tell(recorder, _watch_bound, (pullback, refs), bound, recorder, current)
        return bound

    return with_refs


def _watch_bound(call: tuple[Any, tuple[Any, ...]], bound: Any, recorder: Recorder, current: Current) -> None:
    pullback, refs = call
    owner = pullback.fun  # it lives as long as `bound`: the pullback itself need not
    if recorder.pullback_of(id, (owner,)) is not None:
        into = recorder.into_refs(refs, logs=getattr(pullback, "want_logs", False))
        internals.watch_bound(bound, lambda run: _pullback(run, current, lambda *_: id(owner), -1, into))


def partial_pullback_hook(original: Callable[..., Any], current: Current) -> Callable[..., Any]:
    """For JAX 0.8, whose pullbacks are partials of one function (name, avals, trees, fun, cotangent)."""
    return _pullback(original, current, lambda _, avals, *__: id(avals), 4)


def _pullback(
    original: Callable[..., Any],
    current: Current,
    key_of: Callable[..., int],
    cotangent_at: int,
    gradients_in: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    def pullback(*arguments: Any) -> Any:
        recorder = current()
        if recorder is None:
            return original(*arguments)
        here, depth = NOBODY, 0
        try:
            handle = tell(recorder, recorder.pullback_of, key_of, arguments)
            # An exception keeps this frame: `handle` has no arguments of jax.vjp, as a `Pending` would.
            if handle is None:
                return original(*arguments)
            cotangent = arguments[cotangent_at] if len(arguments) > cotangent_at else None
            depth = len(recorder.collector.here.calls)
            here = recorder.collector.here
            here.calls.append(handle.state.origin)
            try:
                result = original(*arguments)
            except Exception as error:
                tell(recorder, recorder.pullback_failed, handle, cotangent, error)
                raise
            tell(recorder, recorder.pullback_ran, handle, cotangent, result, arguments, gradients_in)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise
        else:
            return result
        finally:
            del here.calls[depth:]
            if not depth:
                here.in_flight = None

    return pullback


_AGAIN = "what JAX has traced before"
_PLACES = (
    ("calls of custom_vjp functions", "custom_vjp", custom_vjp_hook),
    ("calls of custom_vjp functions made with JAX_CUSTOM_VJP3", "custom_vjp3", custom_vjp_hook),
    ("what custom_vjp functions made with JAX_CUSTOM_VJP3 return", "traced_primal", traced_primal_hook),
    ("calls of hijax primitives", "hi_primitive", hi_primitive_hook),
    ("rules of hijax primitives", "hi_linearization", hi_linearization_hook),
    ("rules of hijax primitives", "hi_transpose", hi_transpose_hook),
    ("calls of custom_jvp functions", "custom_jvp", custom_jvp_hook),
    ("policies of jax.checkpoint", "remat", remat_hook),
    ("transpose rules of primitives", "primitive_transpose", primitive_transpose_hook),
    ("uses of jax.linear_transpose", "linear_transpose", linear_hook("linear_transpose")),
    ("uses of custom_linear_solve", "custom_linear_solve", linear_hook("custom_linear_solve")),
    ("uses of custom_root", "custom_root", linear_hook("custom_root")),
    ("calls of custom_vmap functions", "custom_vmap", custom_vmap_hook),
    ("uses of jax.vjp, grad and the like", "vjp", vjp_hook),
    ("calls of pullbacks", "pullback", pullback_hook),
    ("calls of pullbacks with refs", "with_refs", with_refs_hook),
    ("calls of pullbacks", "partial_pullback", partial_pullback_hook),
)
