"""Turns what the hooks see into facts.

Everything here is work of ours beside the user's program: whatever goes wrong
in it becomes a note in the report, and nothing else.
"""

from __future__ import annotations

import contextlib
import io
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import jax
from jax import tree_util

from jaxvjp_magic.tracing import frames, jax_internals, purity, retrace, values
from jaxvjp_magic.tracing.array_types import describe, shapes_of
from jaxvjp_magic.tracing.facts import Bwd, CallFact, Forward, Fwd, Primal, Pullback, ValueFact
from jaxvjp_magic.tracing.functions import Functions, argument_names, filled, resolved
from jaxvjp_magic.tracing.looks import Looks
from jaxvjp_magic.tracing.probes import Probes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.tracing.facts import Tree
    from jaxvjp_magic.tracing.recorder import Handle, Recorder

PAIR = 2


class Listener:
    """Turns what the hooks see into facts in one recorder."""

    def __init__(self, recorder: Recorder, *, verify: bool = False) -> None:
        """Facts go to `recorder`; with `verify`, values are looked at too."""
        self.recorder = recorder
        self.probes = Probes() if verify else None
        self.functions = Functions()
        self.looks = Looks(recorder, self.functions)
        self._pullbacks: dict[int, tuple[Handle, tuple[str, ...], Any, Any]] = {}
        self._outputs: weakref.WeakKeyDictionary[Any, dict[Any, Tree]] = weakref.WeakKeyDictionary()

    def noting(self, what: str, about: Any = None) -> _Noting:
        """Work of ours on `about`: what goes wrong in it becomes a note, and only that."""
        return _Noting(self.recorder, what, about)

    # A call of a custom_vjp function ---------------------------------------------------------

    def start_custom(self, custom: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any) -> Handle | None:
        """A custom_vjp function is called."""
        with self.noting("record a call of {}", custom):
            facts = self.functions.custom(custom)
            try:
                args = resolved(custom.fun, args, kwargs)
            except TypeError:  # JAX will say so; show what was given
                args = (*args, *kwargs.values())
            self.looks.at_call(custom, facts)
            static = set(custom.nondiff_argnums)
            named = (*facts.names[: len(args)], *(f"[{i}]" for i in range(len(facts.names), len(args))))
            dynamic = tuple(arg for i, arg in enumerate(args) if i not in static)
            primals = self.recorder.types.tree(dynamic, tuple(one for i, one in enumerate(named) if i not in static))
            others = [(named[i], args[i]) for i in sorted(static) if i < len(args)]
            leaves = tree_util.tree_leaves(dynamic)
            pairs = zip(primals.paths, leaves, strict=True)
            return self.recorder.start(
                CallFact(
                    "custom_vjp",
                    facts.function,
                    primals,
                    frames.place_of(frames.user_frame(frame)),
                    facts.rule,
                    tuple((name, _nondiff_text(self.recorder, value)) for name, value in others),
                    tuple(name for name, value in others if _has_array(value)),
                    tuple(path for path, leaf in pairs if jax_internals.is_differentiated(leaf)),
                    jax_internals.mapped_sizes(leaves),
                )
            )
        return None

    def primal_ran(self, handle: Handle, custom: Any, args: tuple[Any, ...], output: Any) -> None:
        """The primal function returned `output`."""
        with self.noting("record what {} returned", custom):
            tree = self.recorder.types.tree(output)
            self._known_outputs(custom.fun)[_output_key(handle, custom, args)] = tree
            handle.add(Primal(tree))
            self.looks.at_rule(custom, custom.fun, "primal")

    def fwd_ran(self, handle: Handle, custom: Any, args: tuple[Any, ...], pair: Any) -> None:
        """The fwd rule returned `pair`."""
        with self.noting("record what the fwd rule of {} returned", custom):
            if not isinstance(pair, (tuple, list)) or len(pair) != PAIR:
                handle.add(Fwd(None, None, self.recorder.types.tree(pair).structure.described))
            else:
                self._fwd_returned(handle, custom, tuple(map(_without_marks, args)), pair)
            self.looks.at_rule(custom, custom.fwd, "fwd")

    def _fwd_returned(self, handle: Handle, custom: Any, args: tuple[Any, ...], pair: Any) -> None:
        output, residuals = map(self.recorder.types.tree, pair)
        handle.add(Fwd(output, residuals, shared=self.looks.shared_outputs(custom, args, pair[0])))
        expected = self._primal_output(handle, custom, args, output)
        if expected is not None:
            handle.add(Primal(expected))
        self.looks.keep_types(handle, custom, args)
        if self.probes is not None:
            fact, key = handle.state.origin.fact, (id(custom), *_output_key(handle, custom, args))
            self.probes.add(key, custom, fact.function, fact.primals, args)

    def bwd_ran(self, handle: Handle, custom: Any, args: tuple[Any, ...], result: Any) -> None:
        """The bwd rule returned `result`."""
        with self.noting("record what the bwd rule of {} returned", custom):
            cotangents = args[len(custom.nondiff_argnums) + 1]
            compared = not getattr(custom, "with_accums", False)
            if getattr(custom, "with_logs", False) and isinstance(result, (tuple, list)) and len(result) == PAIR:
                result = result[0]
            primals = handle.state.origin.fact.primals
            arguments = primals.names if primals else ()
            tree = self.recorder.types.tree(result, arguments, keep_none=True) if compared else None
            handle.add(Bwd(self.recorder.types.tree(cotangents), tree))
            self.looks.at_rule(custom, custom.bwd, "bwd")
            if tree is not None:
                self.looks.dropped(handle, custom, tree)
                self.looks.unused(handle, custom, args)
            if self.probes is not None and values.has_large_zeros(cotangents):
                self.recorder.fact(ValueFact(handle.state.origin.fact.function, primals, "bwd", "", "zeros"))

    def call_failed(self, handle: Handle, phase: str, error: Exception) -> None:
        """A call raised, and it was no rule of it that did."""
        with self.noting("record the exception of a call"):
            handle.failed(phase, error)

    def rule_failed(self, handle: Handle, custom: Any, phase: str, error: Exception) -> None:
        """The primal function or a rule raised."""
        with self.noting("record the exception of {}", custom):
            if phase != "primal":
                self.looks.at_rule(custom, custom.fwd if phase == "fwd" else custom.bwd, phase)
            handle.failed(phase, error)

    # What the primal function returns, where it did not run ------------------------------------

    def _known_outputs(self, function: Any) -> dict[Any, Tree]:
        return self._outputs.setdefault(function, {})

    def _primal_output(self, handle: Handle, custom: Any, args: tuple[Any, ...], got: Tree) -> Tree | None:
        """The primal function's output types for these arguments, by `jax.eval_shape` if need be.

        None where they cannot be had: the function depends on values, or may
        have effects that must not happen twice.
        """
        key = _output_key(handle, custom, args)
        known = self._known_outputs(custom.fun)
        expected = known.get(key)
        if expected is None or not same_types(expected, got):  # a second look before anything is said
            if not purity.may_run_again(custom.fun):
                return None
            static = set(custom.nondiff_argnums)
            dynamic = [_without_marks(arg) for i, arg in enumerate(args) if i not in static]

            def on_dynamic(*dynamic: Any) -> Any:
                return custom.fun(*filled(args, static, dynamic))

            try:
                with self.recorder.paused(), retrace.fresh(), quiet():
                    expected = self.recorder.types.tree(shapes_of(on_dynamic, tuple(dynamic)))
            except Exception:  # noqa: BLE001 (it runs on values only, or raises on shapes: nothing to compare)
                return None
            known[key] = expected
        return expected

    # A use of jax.vjp -----------------------------------------------------------------------

    def start_vjp(self, fun: Any, primals: tuple[Any, ...], frame: Any) -> tuple[Handle, tuple[str, ...]] | None:
        """`jax.vjp` is called, by the user or by grad and others."""
        with self.noting("record a use of jax.vjp"):
            function, selected, others = jax_internals.user_function(fun)
            all_names = argument_names(function)
            positions = range(len(primals)) if selected is None else selected
            named = tuple(all_names[i] if i < len(all_names) else f"[{i}]" for i in positions)
            kind, asking = jax_internals.way_in(frame)
            user_frame = frames.user_frame(asking)
            place = frames.place_of(user_frame)
            types_of = self.recorder.types.tree(primals, named)
            vmap = jax_internals.mapped_sizes(tree_util.tree_leaves((primals, others)))
            direct = user_frame is not None and user_frame is asking
            fact = CallFact(kind, self.functions.of(function), types_of, place, vmap=vmap, is_direct=direct)
            return self.recorder.start(fact), named
        return None

    def vjp_ran(self, handle: Handle, named: tuple[str, ...], result: tuple[Any, ...], asked: Any) -> None:
        """`jax.vjp` returned its output and a pullback; `asked` is what it was given: function, primals, options."""
        with self.noting("record what jax.vjp returned"):
            output, pullback = result[0], result[1]
            primals, others = jax_internals.kept_residuals(pullback)
            types_of = self.recorder.types
            numbered = tuple(f"[{i}]" for i in range(len(others)))
            residuals = types_of.tree((*primals, *others), (*named[: len(primals)], *numbered))
            handle.add(Forward(types_of.tree(output), residuals))
            owner, key = jax_internals.pullback_owner(pullback)
            forget = weakref.ref(owner, lambda _: self._pullbacks.pop(key, None))
            self._pullbacks[key] = handle, named, forget, asked if self.probes is not None else None

    def pullback_of(self, key: int) -> tuple[Handle, tuple[str, ...], Any] | None:
        """The call that made a pullback, the names of its primals, and with `--verify` what jax.vjp was given."""
        known = self._pullbacks.get(key)
        return known and (known[0], known[1], known[3])

    def pullback_ran(self, handle: Handle, named: tuple[str, ...], cotangent: Any, result: Any, asked: Any) -> None:
        """A pullback returned `result`."""
        with self.noting("record the call of a pullback"):
            types_of = self.recorder.types
            gradients = types_of.tree(result, named)
            handle.add(Pullback(types_of.tree(cotangent), gradients))
            if self.probes is not None:
                self._look_for_nan(handle, cotangent, result, gradients, asked)

    def _look_for_nan(self, handle: Handle, cotangent: Any, result: Any, gradients: Tree, asked: Any) -> None:
        if values.has_nan(cotangent) or not values.has_nan(result):
            return
        from jaxvjp_magic.tracing import nan

        with self.recorder.paused():
            place = nan.began(asked[0], asked[1], cotangent, asked[2]) if asked else None
        fact = handle.state.origin.fact
        for path, leaf in zip(gradients.paths, tree_util.tree_leaves(result), strict=True):
            if values.has_nan(leaf):
                self.recorder.fact(ValueFact(fact.function, fact.primals, "pullback", path, "nan", place=place))

    def pullback_failed(self, handle: Handle, cotangent: Any, error: Exception) -> None:
        """A pullback raised."""
        with self.noting("record the call of a pullback"):
            handle.add(Pullback(self.recorder.types.tree(cotangent)))
            handle.failed("pullback", error)


class _Noting:
    __slots__ = ("_about", "_recorder", "_what")

    def __init__(self, recorder: Recorder, what: str, about: Any) -> None:
        self._recorder, self._what, self._about = recorder, what, about

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, Exception):  # not KeyboardInterrupt: that is the user's
            self._recorder.could_not(self._what.format(getattr(self._about, "__name__", "a function")), error)
            return True
        return False


def same_types(first: Tree, second: Tree) -> bool:
    """Whether two pytrees have the same containers, shapes and dtypes."""
    if first is second:
        return True
    pairs = zip(first.types, second.types, strict=False)
    return first.structure == second.structure and all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


def _output_key(handle: Handle, custom: Any, args: tuple[Any, ...]) -> Any:
    """What the types of the output depend on: those of the arguments, and which are in nondiff_argnums."""
    return handle.state.origin.fact.primals, tuple([id(args[i]) for i in custom.nondiff_argnums if i < len(args)])


def _nondiff_text(recorder: Recorder, value: Any) -> str:
    leaves = tree_util.tree_leaves(value)
    if len(leaves) == 1 and leaves[0] is value and not callable(value):
        return recorder.types.of(value).text
    return describe(value)


def _has_array(value: Any) -> bool:
    """Whether there is an array of JAX in this, or a tracer; NumPy's arrays may well be static."""
    return any(isinstance(leaf, jax.Array) for leaf in tree_util.tree_leaves(value))


def _without_marks(argument: Any) -> Any:
    """An argument of fwd without what symbolic_zeros wraps around its leaves."""
    marked = jax_internals.CustomVJPPrimal
    return tree_util.tree_map(
        lambda leaf: leaf.value if isinstance(leaf, marked) else leaf,
        argument,
        is_leaf=lambda leaf: isinstance(leaf, marked),
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the function prints or warns of was said, or will be, when the program runs it."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
