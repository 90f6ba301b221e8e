"""Takes functions that JAX has traced before, and traces copies of them, so that the calls inside are seen.

JAX caches traces by function: a function that jit compiled in an earlier cell,
or a loop's body, does not run again, and neither do the rules inside it. During
a check a copy of such a function is traced beside it. Nobody else has the copy:
JAX finds nothing for it in its caches, and drops all that it made for it when
the copy is gone. The program itself goes on with its own trace, so it computes
what it computes without the check, and is not compiled again.

Where the program differentiates or maps a function that was traced before, JAX
caches the result by the jaxpr. There the copy's jaxpr replaces the old one, so
that the rules run again; what is compiled for the old one serves the new one
too, if the two are equal (`jaxpr_equality`).
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
    Ask = Callable[[Callable[["Retracing"], Any], Any], Any]

_copies: weakref.WeakSet[Any] = weakref.WeakSet()
_loop_jaxprs = jaxpr_equality.Known()  # of loops that ran outside of jit; none is kept alive
_CHANGED = (
    "{} was compiled before this check, and a value that it reads has changed since. "
    "JAX keeps using the compiled version; the calls inside are not shown"
)


class Retracing:
    """The copies of one check. With `only_copies`, what is traced leaves nothing in JAX's caches."""

    def __init__(
        self, collector: Collector | None = None, *, only_copies: bool = False, reruns: Reruns | None = None
    ) -> None:
        """Nothing is copied yet; `collector` records what cannot be shown.

        With `reruns`, what is not known to be pure is traced in a forked child; without, in this process.
        """
        self._collector, self._reruns = collector, reruns
        self._note: Callable[[str], None] = collector.note if collector else lambda _: None
        self._only_copies = only_copies
        self._copies: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self._seen: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._compiled: jaxpr_equality.Known | None = None

    def close(self) -> None:
        """Drop the copies, so that JAX drops all that it made for them: what is cached may refer to this object."""
        self._copies.clear()
        self._seen.clear()
        self._compiled = None

    def begun(self, cache: TraceCache, function: Any) -> tuple[Any, Any]:
        """The function that JAX is to trace, and the count of cache misses before."""
        return (self._copy(function), None) if self._only_copies else (function, cache.misses(function))

    def traced(self, cache: TraceCache, function: Any, before: Any, result: Any, trace: Any) -> Any:
        """The result to use for a function; if JAX had it from before the check, a copy goes through `trace`, too."""
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
        """Whether a child traces it: it is impure, slow or logged, or prints where a silent copy would replace it."""
        if self._reruns is None:
            return False
        is_heard = rerun.is_logged() or (verdict.prints and not internals.is_top_level())
        return not verdict.is_pure or verdict.is_long or is_heard

    def _observed_in_child(
        self, cache: TraceCache, trace: Callable[[Any], Any], function: Any, verdict: Verdict
    ) -> None:
        """Trace a copy in a forked child, and add what it records; the rules in it run if they would run here."""
        collector, reruns = self._collector, self._reruns
        if collector is None or reruns is None:
            return

        def work() -> Any:
            collector.begin_anew()
            observed = self._observed(trace, function)
            if observed is not None and internals.is_differentiating():
                with stack.UserCode():
                    internals.run_rules_in(cache.jaxpr_of(observed))
            return collector.found()

        begun = time.perf_counter()
        outcome = rerun.in_child(work, reruns.traces.left())
        reruns.traces.took(None, time.perf_counter() - begun)
        if outcome.data is not None:
            collector.take_in(rerun.unpacked(outcome.data))
            return
        why = f"{verdict.why}, and in a child process {outcome.why}" if verdict.why else outcome.why
        reruns.left_alone("calls", self._function(function), why, verdict.place)

    @staticmethod
    def _function(function: Any) -> Function | None:
        code = code_of(below_wrappers(function))
        is_users = code is not None and stack.is_user_code(code.co_filename)
        return Functions().of(function) if is_users else None

    def _observed(self, trace: Callable[[Any], Any], function: Any, *, silent: bool = False) -> Any:
        """The result of tracing a copy; None if it raises: what the function depends on has changed since."""
        copy = self._copy(function, silent=silent)
        with stack.UserCode(), in_silence(), internals.whole_tracebacks():
            return trace(copy)
        return None

    def _chosen(self, result: Any, jaxpr: Any, observed: Any, copy_jaxpr: Any, function: Any) -> Any:
        """The result to differentiate or map from here on: the copy's, unless the program would see a difference."""
        if jaxpr_equality.same(jaxpr, copy_jaxpr):
            return observed
        code = code_of(function)
        if code is not None and stack.is_user_code(code.co_filename):
            self._note(_CHANGED.format(name_of(function)))
        return result  # a library may put something new into each trace, as equinox's error_if does

    def ran(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters of a loop that runs now, with twins of its jaxprs that JAX has run before."""
        if not self._copies:
            return parameters
        return {name: _loop_jaxprs.canonical(value) for name, value in parameters.items()}

    def lowered(self, alone: Callable[..., Any], original: Any, jaxpr: Any, lowering_args: tuple[Any, ...]) -> Any:
        """The jaxpr, or its twin that JAX has compiled before; `alone` is `_Inside.alone`."""
        if not self._copies:
            return jaxpr
        if self._compiled is None:
            jaxprs = alone(lambda: list(internals.lowered_jaxprs(original)))
            if jaxprs is None:
                return jaxpr
            self._compiled = jaxpr_equality.Known(jaxprs)
        return self._compiled.twin_of(jaxpr, lowering_args)

    def _copy(self, function: Any, *, silent: bool = False) -> Any:
        copy = self._copies.get(function)
        if copy is None:
            copy = self._copies[function] = silent_copy_of(function) if silent else copy_of(function)
            _copies.add(copy)
        return copy


class Shared(Retracing):
    """The copies that all evaluations on shapes in one check share: nested functions are not traced each time.

    Evaluating a function traces those inside it as well, and each of them is evaluated itself, too.
    """

    def __init__(self) -> None:
        """Nothing is copied yet."""
        super().__init__(only_copies=True)
        self._jitted: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def close(self) -> None:
        """As `Retracing.close`."""
        super().close()
        self._jitted.clear()

    def traced_once(self, custom: Any) -> Any:
        """The function with its primal jitted, so that JAX traces it once for equal types, if it takes only arrays."""
        if (
            type(custom) is not internals.CustomVjp
            or custom.nondiff_argnums
            or type(custom.fun) is not types.FunctionType
        ):
            return custom
        jitted = self._jitted.get(custom.fun)
        if jitted is None:
            jitted = self._jitted[custom.fun] = jax.jit(copy_of(custom.fun))
        return with_rules(custom, fun=jitted)


def is_copy(function: Any) -> bool:
    """Whether this function is a copy that a check made."""
    return function in _copies


def copy_of(function: Any, scope: dict[str, Any] | None = None) -> Any:
    """A new function object that does the same, with the same closure, and the same globals or `scope`."""
    if isinstance(function, types.FunctionType):
        return with_variables(function, function.__globals__ if scope is None else scope, function.__closure__)
    if isinstance(function, functools.partial):
        return functools.partial(copy_of(function.func, scope), *function.args, **function.keywords)
    if isinstance(function, types.MethodType):
        return types.MethodType(copy_of(function.__func__, scope), function.__self__)
    try:
        return _calling(weakref.ref(function))
    except TypeError:  # an object inside a partial may not support weak references
        return _calling(lambda: function)


def silent_copy_of(function: Any) -> Any:
    """A copy that prints nothing. It is traced at once, so a snapshot of the globals is enough."""
    scope = getattr(below_wrappers(function), "__globals__", {})
    return copy_of(function, {**scope, "print": _say_nothing})


def _say_nothing(*_: Any, **__: Any) -> None:
    """Replaces print."""


def _calling(reference: Callable[[], Any]) -> Callable[..., Any]:
    """A function that calls the referenced object, as long as that exists."""

    @functools.wraps(reference())
    def copy(*args: Any, **kwargs: Any) -> Any:
        return reference()(*args, **kwargs)

    del copy.__wrapped__  # it would keep the object alive
    return copy


class _ThreadState(threading.local):
    """State of one thread: the `aside` blocks that it is in, outermost first."""

    def __init__(self) -> None:
        self.asides: list[Retracing] = []


_here = _ThreadState()


@contextlib.contextmanager
def in_silence() -> Iterator[None]:
    """NumPy does not warn about values, and JAX logs no trace; both settings are for this thread only."""
    with np.errstate(all="ignore"), jax.log_compiles(False):  # noqa: FBT003 (JAX's own signature)
        yield


@contextlib.contextmanager
def aside(shared: Shared | None = None) -> Iterator[None]:
    """For the check's own traces in this thread: they leave nothing in JAX's caches once their copies are gone.

    The copies go at the end, or when `shared` is closed.
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
    """The custom_vjp function to call instead of `custom`: another one only inside `aside(shared)`."""
    retracing = _here.asides[-1] if _here.asides else None
    return retracing.traced_once(custom) if isinstance(retracing, Shared) else custom


# Hooks in JAX --------------------------------------------------------------------------------


def places(
    current: Current, fault: Callable[[Exception], None]
) -> Iterator[Callable[[], Iterator[tuple[PatchPoint, Callable[..., Any]]]]]:
    """Functions that yield patch points and their hooks: where JAX traces a function, lowers a jaxpr, runs a loop.

    Calling them patches nothing. `fault` gets an exception of the hooks' own, and the program does not notice.
    """

    def ask(question: Callable[[Retracing], Any], default: Any) -> Any:
        """The answer of this thread's `aside` block or check; `default` if there is none, or if it fails."""
        try:
            retracing = _here.asides[-1] if _here.asides else current()
            return default if retracing is None else question(retracing)
        except RecursionError:  # the program's recursion is too deep: its own next call raises
            return default
        except Exception as error:  # noqa: BLE001 (a fault of the check is a note)
            fault(error)
            return default

    yield lambda: ((cache.point, _trace_hook(cache, ask)) for cache in patch_points.trace_caches())
    yield lambda: ((point, _lowering_hook(point.original, ask)) for point in patch_points.lowerings())
    yield lambda: ((point, _loop_hook(point.original, ask)) for point in patch_points.loops())


def _trace_hook(cache: TraceCache, ask: Ask) -> Callable[..., Any]:
    original = cache.point.original
    plumbing: dict[int, Any] = {}  # JAX's own code, by id: most of what is traced, one operation each time

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
            started = ask(lambda retracing: begun(retracing, function), None)
            if started is None:
                return original(function, *rest, **options)
            retracing, target, before = started
            result = original(target, *rest, **options)

            def trace_copy(copy: Any) -> Any:
                return original(copy, *rest, **options)

            return ask(lambda _: retracing.traced(cache, function, before, result, trace_copy), result)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return _like(original, trace)


class _Inside:
    """Counts the threads that are inside one of JAX's caches.

    Listing a cache's keys takes the cache's lock, in JAX 0.8 while holding the
    GIL; a thread inside may hold the one and wait for the other.
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
        """The answer, while no thread can enter; None if one is inside."""
        with self._lock:
            return None if self._count else ask()


def _lowering_hook(original: Any, ask: Ask) -> Callable[..., Any]:
    inside = _Inside()

    def lower(jaxpr: Any, *rest: Any, **options: Any) -> Any:
        try:
            twin = ask(lambda retracing: retracing.lowered(inside.alone, original, jaxpr, rest), jaxpr)
            with inside:
                return original(twin, *rest, **options)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return _like(original, lower)


def _loop_hook(original: Any, ask: Ask) -> Callable[..., Any]:
    def run(*arguments: Any, **parameters: Any) -> Any:
        try:
            canonical = ask(lambda retracing: retracing.ran(parameters), parameters)
            return original(*arguments, **canonical)
        except BaseException as error:
            stack.drop_own_frames(error)
            raise

    return run


def _like(original: Any, hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook with the attributes that JAX uses of the original: `cache_clear`, `evict_weakref`."""
    for name in dir(original):
        if not name.startswith("__"):
            setattr(hook, name, getattr(original, name))
    return functools.wraps(original)(hook)
