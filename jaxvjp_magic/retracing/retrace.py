"""What JAX has traced before is traced once more for the check alone, so that it is seen.

JAX keeps what it has traced by the function: a function that jit has compiled
in an earlier cell, or a loop's body, does not run again, and neither do the
rules inside it. During a check a copy of such a function is traced beside it.
The copy is known to nobody else: JAX finds nothing for it in its caches, and
lets go of all that it made for it when the copy is gone. The program itself
goes on with what it had, so it computes what it computes without the check,
and is not compiled again.

Where the program differentiates or maps a function that it has traced before,
what JAX derives from it is kept by the jaxpr. There the copy's jaxpr takes the
place of the old one, so that the rules run again; what is compiled for the old
one serves the new one too, where the two say the same (`twins`).
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import types
import weakref
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxvjp_magic.introspect import stack, unwrap
from jaxvjp_magic.introspect.callables import Functions, below_wrappers, with_rules, with_variables
from jaxvjp_magic.introspect.purity import Verdict, judged
from jaxvjp_magic.introspect.static_attributes import code_of, name_of
from jaxvjp_magic.jax_compat import internals, patch_points
from jaxvjp_magic.retracing import jaxpr_equality, rerun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxvjp_magic.jax_compat.patch import PatchPoint
    from jaxvjp_magic.jax_compat.patch_points import TraceCache
    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.retracing.rerun import Collector, Reruns

    Current = Callable[[], "Retracing | None"]
    Asked = Callable[[Callable[["Retracing"], Any], Any], Any]

_copies: weakref.WeakSet[Any] = weakref.WeakSet()
_known = jaxpr_equality.Known()  # of loops that ran outside of jit; it keeps none of them alive
_CHANGED = (
    "{} was compiled before this check, and a value that it reads has changed since. "
    "JAX keeps using the compiled version; the calls inside are not shown"
)


class Retracing:
    """The copies of one check. With `only_copies`, what is traced leaves nothing in JAX's caches."""

    def __init__(
        self, collector: Collector | None = None, *, only_copies: bool = False, reruns: Reruns | None = None
    ) -> None:
        """Nothing is copied yet; `collector` notes what cannot be shown.

        With `reruns`, what is not known to be pure is traced in a forked child; without, it is traced here.
        """
        self._collector, self._reruns = collector, reruns
        self._note: Callable[[str], None] = collector.note if collector else lambda _: None
        self._only_copies = only_copies
        self._copies: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._compiled: jaxpr_equality.Known | None = None

    def close(self) -> None:
        """Let go of the copies, and JAX of all that it made for them: what is cached may lead back here."""
        self._copies.clear()
        self._seen.clear()
        self._compiled = None

    def begun(self, cache: TraceCache, function: Any) -> tuple[Any, Any]:
        """What JAX is to trace in a function's place, and what tells whether it has traced it before."""
        return (self._copy(function), None) if self._only_copies else (function, cache.misses(function))

    def traced(self, cache: TraceCache, function: Any, before: Any, result: Any, trace: Any) -> Any:
        """What JAX has for a function, which has run in this check once by then; `trace` is for a copy."""
        if self._only_copies:
            return result
        jaxpr = cache.jaxpr_of(result)
        if cache.misses(function) != before:
            self._seen[id(jaxpr)] = jaxpr
        elif self._seen.get(id(jaxpr)) is not jaxpr:
            verdict = Verdict() if self._reruns is None else judged(function)
            if self._is_left_to_a_child(verdict):
                self._seen[id(jaxpr)] = jaxpr
                self._observed_in_child(cache, trace, function, verdict)
                return result
            observed = self._observed(trace, function, silent=verdict.prints)
            if observed is not None and not internals.is_top_level():
                return self._chosen(result, jaxpr, observed, cache.jaxpr_of(observed), function)
        return result

    def _is_left_to_a_child(self, verdict: Verdict) -> bool:
        """Not what is pure and short; of what prints, a silent copy will do where it takes the place of nothing."""
        if self._reruns is None:
            return False
        is_heard = rerun.is_logged() or (verdict.prints and not internals.is_top_level())
        return not verdict.is_pure or verdict.is_long or is_heard

    def _observed_in_child(
        self, cache: TraceCache, trace: Callable[[Any], Any], function: Any, verdict: Verdict
    ) -> None:
        """Trace a copy in a forked child, and take in what it records; the rules in it run where they would here."""
        collector, asked = self._collector, self._reruns
        if collector is None or asked is None:
            return

        def work() -> Any:
            collector.begin_anew()
            observed = self._observed(trace, function)
            if observed is not None and internals.is_differentiating():
                with stack.UserCode():
                    internals.run_rules_in(cache.jaxpr_of(observed))
            return collector.found()

        begun = time.perf_counter()
        outcome = rerun.in_child(work, asked.traces.left())
        asked.traces.took(None, time.perf_counter() - begun)
        if outcome.data is not None:
            collector.take_in(rerun.unpacked(outcome.data))
            return
        why = f"{verdict.why}, and in a child process {outcome.why}" if verdict.why else outcome.why
        asked.left_alone("calls", self._function(function), why, verdict.place)

    @staticmethod
    def _function(function: Any) -> Function | None:
        code = code_of(below_wrappers(function))
        is_users = code is not None and stack.is_user_code(code.co_filename)
        return Functions().of(function) if is_users else None

    def _observed(self, trace: Callable[[Any], Any], function: Any, *, silent: bool = False) -> Any:
        """What the copy gives, None where it raises: it worked once, and what it depends on has changed since."""
        copy = self._copy(function, silent=silent)
        with stack.UserCode(), in_silence(), internals.whole_tracebacks():
            return trace(copy)
        return None

    def _chosen(self, result: Any, jaxpr: Any, observed: Any, new: Any, function: Any) -> Any:
        """What is differentiated or mapped from here on: the copy, unless the program would see a difference."""
        if jaxpr_equality.same(jaxpr, new):
            return observed
        code = code_of(function)
        if code is not None and stack.is_user_code(code.co_filename):
            self._note(_CHANGED.format(name_of(function)))
        return result  # a library may put something new into each trace, equinox a token into each error_if

    def ran(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a loop that is run now, with jaxprs that JAX has run before where they say the same."""
        if not self._copies:
            return parameters
        return {name: _known.canonical(value) for name, value in parameters.items()}

    def lowered(self, alone: Callable[..., Any], original: Any, jaxpr: Any, how: tuple[Any, ...]) -> Any:
        """The jaxpr, or one that JAX has compiled before and that says the same; `alone` as in `_Inside`."""
        if not self._copies:
            return jaxpr
        if self._compiled is None:
            known = alone(lambda: list(internals.lowered_jaxprs(original)))
            if known is None:
                return jaxpr
            self._compiled = jaxpr_equality.Known(known)
        return self._compiled.twin_of(jaxpr, how)

    def _copy(self, function: Any, *, silent: bool = False) -> Any:
        known = self._copies.get(function)
        if known is None:
            known = self._copies[function] = silent_copy_of(function) if silent else copy_of(function)
            _copies.add(known)
        return known


class Shared(Retracing):
    """The copies of all looks at types in one check, so that nested functions are not traced again in each look.

    A look at a function traces those inside it as well, and each of them has a look of its own.
    """

    def __init__(self) -> None:
        """Nothing is copied yet."""
        super().__init__(only_copies=True)
        self._once: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def close(self) -> None:
        """As for all copies."""
        super().close()
        self._once.clear()

    def traced_once(self, custom: Any) -> Any:
        """A custom_vjp function whose primal function JAX traces once for equal types, where it takes arrays alone."""
        if custom.nondiff_argnums or type(custom.fun) is not types.FunctionType:
            return custom
        known = self._once.get(custom.fun)
        if known is None:
            known = self._once[custom.fun] = jax.jit(copy_of(custom.fun))
        return with_rules(custom, fun=known)


def is_copy(function: Any) -> bool:
    """Whether this function is a copy of ours."""
    return function in _copies


def copy_of(function: Any, scope: dict[str, Any] | None = None) -> Any:
    """A function that does the same in the same variables, or with these for its globals, and is another object."""
    if isinstance(function, types.FunctionType):
        return with_variables(function, function.__globals__ if scope is None else scope, function.__closure__)
    if isinstance(function, functools.partial):
        return functools.partial(copy_of(function.func, scope), *function.args, **function.keywords)
    if isinstance(function, types.MethodType):
        return types.MethodType(copy_of(function.__func__, scope), function.__self__)
    try:
        return _calling(weakref.ref(function))
    except TypeError:  # inside a partial there may be an object that has no weak references
        return _calling(lambda: function)


def silent_copy_of(function: Any) -> Any:
    """A copy that is traced at once, and prints nothing: what its globals mean now is what it needs."""
    scope = getattr(below_wrappers(function), "__globals__", {})
    return copy_of(function, {**scope, "print": _say_nothing})


def _say_nothing(*_: Any, **__: Any) -> None:
    """Stands for print."""


def _calling(reference: Callable[[], Any]) -> Callable[..., Any]:
    """A function that calls the object, for as long as that is there."""

    @functools.wraps(reference())
    def copy(*args: Any, **kwargs: Any) -> Any:
        return reference()(*args, **kwargs)

    del copy.__wrapped__  # it would keep the object alive
    return copy


class _ThreadState(threading.local):
    """What one thread has: work of our own that is going on."""

    def __init__(self) -> None:
        self.asides: list[Retracing] = []


_here = _ThreadState()


@contextlib.contextmanager
def in_silence() -> Iterator[None]:
    """NumPy warns of no value here, and JAX logs no trace: both are settings of this thread alone."""
    with np.errstate(all="ignore"), jax.log_compiles(False):  # noqa: FBT003 (JAX's own signature)
        yield


@contextlib.contextmanager
def aside(shared: Shared | None = None) -> Iterator[None]:
    """Work of our own: what is traced in it, in this thread, leaves nothing in JAX's caches once its copies are gone.

    These go at the end, or when `shared` is closed.
    """
    _here.asides.append(shared or Retracing(only_copies=True))
    try:
        with in_silence(), internals.whole_tracebacks():
            yield
    finally:
        last = _here.asides.pop()
        if last is not shared:
            last.close()


def traced_once(custom: Any) -> Any:
    """A custom_vjp function that is called in work of our own, as it is to be called there."""
    here = _here.asides[-1] if _here.asides else None
    return here.traced_once(custom) if isinstance(here, Shared) else custom


# In JAX's places -----------------------------------------------------------------------------


def places(
    current: Current, fault: Callable[[Exception], None]
) -> Iterator[Callable[[], Iterator[tuple[PatchPoint, Callable[..., Any]]]]]:
    """Where a function is traced, a jaxpr lowered, a loop run: functions that give the points, and the hooks for them.

    Nothing is touched by asking. `fault` gets what fails here, and the program does not notice.
    """

    def asked(ask: Callable[[Retracing], Any], instead: Any) -> Any:
        """The answer of this thread's check, or of work of ours aside; `instead` where there is none."""
        try:
            retracing = _here.asides[-1] if _here.asides else current()
            return instead if retracing is None else ask(retracing)
        except RecursionError:  # the program is too deep, and told so by what it calls next
            return instead
        except Exception as error:  # noqa: BLE001 (a fault of ours is a note)
            fault(error)
            return instead

    yield lambda: ((cache.point, _trace_hook(cache, asked)) for cache in patch_points.trace_caches())
    yield lambda: ((point, _lowering_hook(point.original, asked)) for point in patch_points.lowerings())
    yield lambda: ((point, _loop_hook(point.original, asked)) for point in patch_points.loops())


def _trace_hook(cache: TraceCache, asked: Asked) -> Callable[..., Any]:
    original = cache.point.original
    plumbing: dict[int, Any] = {}  # code of JAX's own, by identity: most of what is traced, an operation each time

    def begun(retracing: Retracing, function: Any) -> Any:
        if not unwrap.is_plumbing(function):
            return retracing, *retracing.begun(cache, function)
        code = code_of(function)
        if code is not None and not function.__closure__:
            plumbing[id(code)] = code
        return None

    def trace(function: Any, *rest: Any, **options: Any) -> Any:
        try:
            is_plain = type(function) is types.FunctionType
            if is_plain and id(function.__code__) in plumbing and not function.__closure__:
                return original(function, *rest, **options)
            known = asked(lambda retracing: begun(retracing, function), None)
            if known is None:
                return original(function, *rest, **options)
            retracing, first, before = known
            result = original(first, *rest, **options)

            def once_more(copy: Any) -> Any:
                return original(copy, *rest, **options)

            return asked(lambda _: retracing.traced(cache, function, before, result, once_more), result)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return _like(original, trace)


class _Inside:
    """The threads that are inside a cache of JAX's.

    To list a cache's keys takes the cache's lock, in JAX 0.8 with the
    interpreter's in hand; who is inside may have the one and wait for the other.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def alone(self, ask: Callable[[], Any]) -> Any:
        """The answer, while nobody comes in; None where somebody is inside."""
        with self._lock:
            return None if self._count else ask()


def _lowering_hook(original: Any, asked: Asked) -> Callable[..., Any]:
    inside = _Inside()

    def lower(jaxpr: Any, *rest: Any, **options: Any) -> Any:
        try:
            known = asked(lambda retracing: retracing.lowered(inside.alone, original, jaxpr, rest), jaxpr)
            with inside:
                return original(known, *rest, **options)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return _like(original, lower)


def _loop_hook(original: Any, asked: Asked) -> Callable[..., Any]:
    def run(*arguments: Any, **parameters: Any) -> Any:
        try:
            known = asked(lambda retracing: retracing.ran(parameters), parameters)
            return original(*arguments, **known)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return run


def _like(original: Any, hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook with all that JAX asks the original for beside calling it: `cache_clear`, `evict_weakref`."""
    for name in dir(original):
        if not name.startswith("__"):
            setattr(hook, name, getattr(original, name))
    return functools.wraps(original)(hook)
