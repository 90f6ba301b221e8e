"""Takes live values from the hooks, and records facts about them in a collector.

All of it is the check's own work beside the user's program: an exception in it
becomes a note in the report, and goes no further.
"""

from __future__ import annotations

import functools
import itertools
import traceback
import types
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import tree_util

from jaxvjp_magic.introspect import purity, stack, unwrap
from jaxvjp_magic.introspect.avals import describe, shapes_of
from jaxvjp_magic.introspect.callables import (
    Functions,
    argument_names,
    below_wrappers,
    filled,
    resolved,
    setting,
    user_code_of,
)
from jaxvjp_magic.introspect.concrete_values import concrete
from jaxvjp_magic.introspect.custom_jvp_rules import as_custom_vjp
from jaxvjp_magic.introspect.purity import judging  # noqa: F401 (loaded when a check begins, not amid the program)
from jaxvjp_magic.introspect.static_attributes import code_of, name_of
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.calls import Bwd, CallFact, Forward, Function, Fwd, Primal, Pullback
from jaxvjp_magic.record.facts import PolicyNames, ValueFact
from jaxvjp_magic.record.record import NotChecked
from jaxvjp_magic.recording.dependence import Dependence
from jaxvjp_magic.recording.linear_calls import use_of
from jaxvjp_magic.recording.live_calls import (
    CustomCall,
    Pending,
    PrimitiveCall,
    RuleCall,
    VjpCall,
    forget,
    nondiff_ids,
    output_key,
    same_types,
)
from jaxvjp_magic.recording.rule_names import RuleNames
from jaxvjp_magic.retracing.rerun import Reruns
from jaxvjp_magic.retracing.retrace import Retracing, Shared, aside
from jaxvjp_magic.verify import observed_values
from jaxvjp_magic.verify.linear_maps import LinearSample
from jaxvjp_magic.verify.samples import Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxvjp_magic.introspect.callables import Custom
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.recording.collector import Collector, Handle, Origin

PAIR = 2
_KINDS = {jax.custom_jvp: "custom_jvp", internals.CustomVmap: "custom_vmap"}
MANY = 256  # pullbacks, before dead ones are searched for


class Recorder:
    """Turns what the hooks see into facts in one collector."""

    def __init__(self, collector: Collector, *, retrace: str = "pure", verify: bool = False) -> None:
        """Facts go to `collector`; with `verify`, values are inspected, too.

        `retrace` is "pure", "all" or "none", as in `Options`.
        """
        self.collector = collector
        self.reruns = Reruns(collector)
        self.retracing = None
        if retrace != "none":
            self.retracing = Retracing(collector, reruns=self.reruns if retrace == "pure" else None)
        self.samples = Samples() if verify else None
        self.functions = Functions()
        self.dependence = Dependence(collector, self.functions, self.reruns)
        self.names = RuleNames(collector, self.functions, self.reruns, self.dependence)
        self._shared = Shared()
        self._pullbacks: dict[int, Pending] = {}
        self._primitives_before = set(internals.ad.primitive_jvps)
        self._primitives: dict[int, tuple[Callable[[], Any], PrimitiveCall]] = {}
        self._many = MANY
        self.rule_ran = {
            "primal": self.primal_ran,
            "fwd": self.fwd_ran,
            "bwd": self.bwd_ran,
            "jvp": self.jvp_ran,
            "vmap": self.vmap_rule_ran,
        }
        self._outputs: weakref.WeakKeyDictionary[Any, dict[Any, Tree]] = weakref.WeakKeyDictionary()

    def let_go(self) -> None:
        """Release the program's objects: an exception may keep this recorder, which is in the hooks' frames."""
        self._pullbacks.clear()
        self._primitives.clear()
        self._shared.close()
        if self.samples is not None:
            self.samples.take()

    def _could_not(self, action: str, about: Any, error: Exception) -> None:
        """As `Collector.noting`, without a context: for the hooks that run most."""
        self.collector.could_not(action.format(name_of(about) or "a function"), error)

    def _unseen(self, detail: str, error: Exception, default: Any) -> Any:
        """`default`, and a note: JAX has moved what was looked for, and the call is recorded without it."""
        self.collector.could_not(f"see {detail}", error)
        return default

    # A call of a custom_vjp function ---------------------------------------------------------

    def start_custom(self, custom: Any, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any) -> CustomCall | None:
        """A custom_vjp, custom_jvp or custom_vmap function is called."""
        try:
            facts = self.functions.custom(custom)
            if kwargs or len(args) != facts.arity:
                args = _by_position(internals.primal_of(custom), args, kwargs)
            kind = _KINDS.get(type(custom), "custom_vjp")
            if facts.has_closures and kind == "custom_vjp":
                self.names.at_call(custom, facts)
            dynamic, names = args, facts.names
            nondiff: tuple[tuple[str, str], ...] = ()
            arrays: tuple[str, ...] = ()
            if len(args) != len(names):
                names = (*names[: len(args)], *(f"[{i}]" for i in range(len(names), len(args))))
            if facts.static:
                static = [(names[i], args[i]) for i in sorted(facts.static) if i < len(args)]
                dynamic = tuple(arg for i, arg in enumerate(args) if i not in facts.static)
                names = tuple(name for i, name in enumerate(names) if i not in facts.static)
                nondiff = tuple([(name, _nondiff_text(self.collector, value)) for name, value in static])
                arrays = tuple([name for name, value in static if _has_array(value)])
            origin = self._begin(kind, facts, (dynamic, names), (nondiff, arrays), frame)
            return CustomCall(self.collector, origin.root, custom, facts)
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record a call of {}", custom, error)
        return None

    def start_primitive(self, primitive: Any, args: tuple[Any, ...], frame: Any) -> PrimitiveCall | None:
        """A hijax primitive is called; None for JAX's own."""
        try:
            if internals.is_of_jax(type(primitive)):
                return None
            facts = self.functions.primitive(type(primitive))
            names = facts.names
            if len(names) != len(args):
                names = (*names[: len(args)], *(f"[{i}]" for i in range(len(names), len(args))))
            origin = self._begin("hijax", facts, (args, names), ((), ()), frame)
            call = PrimitiveCall(self.collector, origin.root, primitive, facts)
            before = self._primitives.get(id(primitive))
            if before is None or before[1].state.origin not in self.collector.here.calls:  # else its fwd rule calls it
                key, known_calls = id(primitive), self._primitives
                known_calls[key] = weakref.ref(primitive, lambda _: known_calls.pop(key, None)), call
            declared = self.collector.types.tree(primitive.out_aval)
            step = Primal, id(declared)
            if not call.repeats(step):
                call.add(Primal(declared), step, declared)
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record a call of {}", type(primitive), error)
            return None
        return call

    def call_of_primitive(self, primitive: Any, args: Callable[[], tuple[Any, ...]]) -> PrimitiveCall | None:
        """The newest call of a hijax primitive; it begins now if JAX traced the call before the check."""
        reference, call = self._primitives.get(id(primitive), (lambda: None, None))
        if call is not None and reference() is primitive:
            return call
        return self.start_primitive(primitive, args(), stack.caller(1))

    def _begin(
        self, kind: str, facts: Custom | _OfLinear, primals: tuple[tuple[Any, ...], tuple[str, ...]],
        static: tuple[tuple[tuple[str, str], ...], tuple[str, ...]], frame: Any,
    ) -> Origin:  # fmt: skip
        """Where a call begins, of which the primals and their names are known, and what is in nondiff_argnums."""
        known_by, leaves, avals = self.collector.types.known_by(*primals)
        user_frame = stack.user_frame(frame)
        try:
            differentiated = internals.are_differentiated(leaves)
        except Exception as error:  # noqa: BLE001 (the call is recorded without it)
            differentiated = self._unseen("what is differentiated", error, (False,) * len(leaves))
        try:
            vmap = internals.mapped_sizes(leaves)
        except Exception as error:  # noqa: BLE001 (as above)
            vmap = self._unseen("the axes of vmap", error, ())
        code, offset = (user_frame.f_code, user_frame.f_lasti) if user_frame else (None, 0)
        step = id(facts.rule), facts.function, known_by, id(code), offset, static, differentiated, vmap
        origin = self.collector.begun(step)
        if origin is None:
            tree = self.collector.types.tree(*primals)
            paths = tuple(leaf.path for leaf in itertools.compress(tree.leaves, differentiated))
            place = stack.place_of(user_frame)
            fact = CallFact(kind, facts.function, tree, place, facts.rule, *static, paths, vmap)
            origin = self.collector.begin(fact, step, (code, avals))
        return origin

    def primal_ran(self, call: RuleCall, args: tuple[Any, ...], output: Any) -> None:
        """The primal function returned `output`."""
        try:
            known_by, _, avals = self.collector.types.known_by((output,))
            step = Primal, known_by
            if not call.repeats(step):
                tree = self.collector.types.tree(output)
                self._outputs_of(call.custom)[output_key(call, args)] = tree
                call.add(Primal(tree), step, avals)
            self.names.at_rule(call, internals.primal_of(call.custom), "primal")
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record what {} returned", call.custom, error)

    def fwd_ran(self, call: RuleCall, args: tuple[Any, ...], pair: Any) -> None:
        """The fwd rule returned `pair`."""
        try:
            if isinstance(call, PrimitiveCall) and isinstance(pair, tuple):
                pair = pair[:PAIR]  # without what it says of zeros
            if not isinstance(pair, (tuple, list)) or len(pair) != PAIR:
                call.add(Fwd(None, None, self.collector.types.tree(pair).structure.described))
            else:
                known_by, _, avals = self.collector.types.known_by(tuple(pair))
                before, step = call.state, (Fwd, known_by, nondiff_ids(call, args))
                # With `--verify`, and below a vmap, equal types are not enough.
                if self.samples is not None or internals.is_mapped() or not call.repeats(step):
                    self._fwd_returned(call, args, pair)
                    call.leads(before, step, avals)
            if not isinstance(call, PrimitiveCall):
                self.names.at_rule(call, call.custom.fwd, "fwd")
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record what the fwd rule of {} returned", call.custom, error)

    def _fwd_returned(self, call: RuleCall, args: tuple[Any, ...], pair: Any) -> None:
        output, residuals = self.collector.types.tree(pair[0]), self.collector.types.tree(pair[1])
        custom, args = call.custom, tuple(map(_without_marks, args))
        call.add(Fwd(output, residuals, shared=self.dependence.shared_outputs(custom, args, pair[0])))
        expected = self._primal_output(call, custom, args, output)
        if expected is not None:
            call.add(Primal(expected))
        self.dependence.keep_types(call, custom, args)
        if self.samples is not None:
            fact, key = call.state.origin.fact, (*call.key, *output_key(call, args))
            self.samples.add(key, custom, fact.function, fact.primals, args)

    def jvp_ran(self, call: RuleCall, args: tuple[Any, ...], pair: Any) -> None:
        """The rule of a custom_jvp function returned `pair`: output, recorded like a fwd rule's, and tangent."""
        try:
            custom, types_of = call.custom, self.collector.types
            if isinstance(pair, (tuple, list)) and len(pair) == PAIR:
                known_by, _, avals = types_of.known_by(tuple(pair))
                before, step = call.state, (Fwd, known_by, nondiff_ids(call, args))
                if self.samples is not None or not call.repeats(step):
                    primals = _primals_of_jvp(args, call.facts.static)
                    output = types_of.tree(pair[0])
                    call.add(Fwd(output, types_of.tree(())))
                    expected = self._primal_output(call, custom, primals, output)
                    if expected is not None:
                        call.add(Primal(expected))
                    if self.samples is not None:
                        fact, key = call.state.origin.fact, (*call.key, *output_key(call, primals))
                        self.samples.add(key, as_custom_vjp(custom), fact.function, fact.primals, primals)
                    call.leads(before, step, avals)
            self.names.at_rule(call, custom.jvp, "fwd")
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record what the rule of {} returned", call.custom, error)

    def vmap_rule_ran(self, call: RuleCall, args: tuple[Any, ...], pair: Any) -> None:
        """The rule of a custom_vmap function returned `pair`: the output, and which of it is batched."""
        with self.collector.noting("record what the rule of {} returned", call.custom):
            custom, (axis_size, batched, *values) = call.custom, args
            if isinstance(pair, (tuple, list)) and len(pair) == PAIR:
                output = self.collector.types.tree(_of_one_example(*pair))
                call.add(Fwd(output, self.collector.types.tree(())))
                self.collector.here.traced = None  # what the call returns is the rule's output
                expected = self._primal_output(call, custom, _of_one_example(tuple(values), tuple(batched)), output)
                if expected is not None:
                    call.add(Primal(expected))
                if self.samples is not None:
                    fact, rule = call.state.origin.fact, call.facts.rule.fwd
                    vectors = axis_size, tuple(batched), self.samples.without_tracers(tuple(values))
                    functions = custom.fun, custom.vmap_rule
                    sample = LinearSample("custom_vmap", fact.function, rule, fact.place, functions, vectors)
                    self.samples.add_linear((*call.key, fact.primals, str(batched)), sample)
            self.names.at_rule(call, custom.vmap_rule, "fwd")

    def bwd_ran(self, call: RuleCall, args: tuple[Any, ...], result: Any) -> None:
        """The bwd rule returned `result`."""
        try:
            custom, types_of = None if isinstance(call, PrimitiveCall) else call.custom, self.collector.types
            cotangents = args[len(call.facts.static) + 1]
            compared = custom is None or not setting(custom, "with_accums")
            has_logs = custom is not None and setting(custom, "with_logs")
            if has_logs and isinstance(result, (tuple, list)) and len(result) == PAIR:
                result = result[0]
            primals = call.state.origin.fact.primals
            arguments = primals.names if primals else ()
            known_by, _, avals = types_of.known_by((cotangents, result if compared else None), keep_none=True)
            before, step = call.state, (Bwd, known_by)
            repeats = call.repeats(step)
            if not repeats:
                tree = types_of.tree(result, arguments, keep_none=True) if compared else None
                call.add(Bwd(types_of.tree(cotangents), tree))
            if custom is not None:
                self.names.at_rule(call, custom.bwd, "bwd")
            if not repeats:
                if tree is not None:
                    custom = call.custom
                    self.dependence.dropped(call, custom, tree)
                    self.dependence.unused(call, custom, args)
                call.leads(before, step, avals)
            if self.samples is not None and observed_values.has_large_zeros(cotangents):
                self.collector.fact(ValueFact(call.state.origin.fact.function, primals, "bwd", "", "zeros"))
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record what the bwd rule of {} returned", call.custom, error)

    def primal_traced(self, output: Any) -> None:
        """JAX has traced the primal function of the custom_vjp3 call that is running in this thread.

        Its rules are not watched yet: what runs in them comes later.
        """
        running, self.collector.here.traced = self.collector.here.traced, None
        if running is not None:
            call, args = running
            self.primal_ran(call, args, output)

    def custom_failed(self, call: RuleCall, error: Exception) -> None:
        """A call of a custom_vjp function raised, and no watched rule of it did."""
        with self.collector.noting("record the exception of {}", call.custom):
            code = code_of(below_wrappers(internals.primal_of(call.custom)))
            is_of_primal = code is not None and any(
                frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__)
            )
            call.failed("primal" if is_of_primal else "call", error)

    def call_failed(self, handle: Handle, phase: str, error: Exception) -> None:
        """A call raised, outside of its rules."""
        with self.collector.noting("record the exception of a call"):
            handle.failed(phase, error)

    def rule_failed(self, call: RuleCall, phase: str, error: Exception, args: tuple[Any, ...]) -> None:
        """The primal function or a rule raised, when it was called with `args`."""
        with self.collector.noting("record the exception of {}", call.custom):
            if phase == "fwd":
                self.dependence.keep_types(call, call.custom, tuple(map(_without_marks, args)))
            phase = "fwd" if phase in ("jvp", "vmap") else phase
            if phase != "primal":
                fwd, bwd = internals.rules_of(call.custom)
                self.names.at_rule(call, fwd if phase == "fwd" else bwd, phase)
            call.failed(phase, error)

    def untraced(self, called: Any) -> None:
        """A custom_jvp function is called, or a hijax primitive before JAX 0.10, whose rules are not traced.

        Those of JAX and of libraries are not reported, nor those that nobody
        differentiates.
        """
        if isinstance(called, internals.HiPrimitive):
            if not internals.is_of_jax(type(called)):
                function = self.functions.named(type(called).__name__, type(called))
                self.collector.not_checked(NotChecked("rules", function, "hijax primitives are not traced"))
            return
        code = code_of(called.fun)
        if self.collector.here.calls and code is not None and stack.is_user_code(code.co_filename):
            why = "custom_jvp rules are not traced"
            self.collector.not_checked(NotChecked("rules", self.functions.of(called.fun), why))

    def finish(self) -> None:
        """Name the jvp rules of primitives that the user wrote during the check: they are not traced."""
        for primitive, rule in list(internals.ad.primitive_jvps.items()):
            if primitive not in self._primitives_before and user_code_of(rule) is not None:
                self.untraced_jvp(str(primitive), rule)

    def untraced_jvp(self, primitive: str, rule: Any) -> None:
        """The jvp rule of a primitive runs."""
        code = user_code_of(rule)
        function = self.functions.named(primitive, code, code)
        self.collector.not_checked(NotChecked("rules", function, "jvp rules of primitives are not traced"))

    # A promise about a linear map -----------------------------------------------------------------

    def start_linear(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], frame: Any) -> VjpCall | None:
        """`jax.linear_transpose`, custom_linear_solve or custom_root is called; None unless it is the user who does."""
        try:
            caller = frame
            while caller is not None and caller.f_code.co_filename == internals.BOUNDARY:
                caller = caller.f_back
            use = use_of(kind, args, kwargs)
            if use is None or caller is None or not stack.is_user_code(caller.f_code.co_filename):
                return None
            facts = _OfLinear(self.functions.of(use.functions[0]))
            names = facts.function.arguments if kind == "linear_transpose" else ()
            names = (*names[: len(use.vectors)], *(f"[{i}]" for i in range(len(names), len(use.vectors))))
            return VjpCall(self.collector, self._begin(kind, facts, (use.vectors, names), ((), ()), caller).root)
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record a use of {}", None, error)
        return None

    def linear_ran(self, call: Handle, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """It returned `result`."""
        with self.collector.noting("record a use of a linear function"):
            fact, use = call.state.origin.fact, use_of(kind, args, kwargs)
            if kind != "linear_transpose":
                call.add(Primal(self.collector.types.tree(result)))
            if self.samples is None or use is None:
                return
            vectors = use.vectors
            if kind == "custom_root":
                vectors = (result[0] if use.has_aux else result,)
            rule = self.functions.of(use.functions[1]) if use.functions[1:] and use.functions[1] is not None else None
            key = kind, fact.function, rule, fact.place, fact.primals
            if self.samples.has(key):
                return
            try:
                functions, vectors = tuple(map(concrete, use.functions)), tuple(map(concrete, vectors))
            except LookupError:
                self.collector.not_checked(NotChecked("values", fact.function, "its values are not known below jit"))
                return
            sample = LinearSample(kind, fact.function, rule, fact.place, functions, vectors, use.is_symmetric)
            self.samples.add_linear(key, sample)

    def checkpointed(self, policy: Any, jaxpr: Any) -> None:
        """A function below jax.checkpoint runs, with a policy that may ask for names."""
        with self.collector.noting("record a policy of jax.checkpoint"):
            asked = internals.names_asked_by(policy)
            if asked:
                place = stack.place_of(stack.user_frame(stack.caller(2)))
                present = tuple(sorted(set(internals.names_in(jaxpr))))
                self.collector.fact(PolicyNames(tuple(sorted(asked)), present, place))

    # A primitive's own transpose rule -------------------------------------------------------------

    def transposed(
        self, primitive: Any, rule: Any, given: tuple[Any, tuple[Any, ...], dict[str, Any]], result: Any
    ) -> None:
        """The transpose rule of a primitive, `given` cotangent, arguments and parameters, returned `result`."""
        with self.collector.noting("record a transpose rule"):
            cotangent, args, params = given
            types_of, fact_of = self.collector.types, self.functions.of(internals.functions_in_rule(rule)[0])
            function = self.functions.named(str(primitive), primitive, fact_of.code)
            linear = [i for i, arg in enumerate(args) if internals.is_linear_argument(arg)]
            avals = tuple(args[i].aval for i in linear)
            names = tuple(f"[{i}]" for i in linear)
            origin = self._begin("transpose", _OfLinear(function), (avals, names), ((), ()), stack.caller(2))
            call = VjpCall(self.collector, origin.root)
            call.add(Bwd(types_of.tree(cotangent), types_of.tree(tuple(result[i] for i in linear), names)))
            if self.samples is None:
                return
            try:
                values = tuple(arg if i in linear else concrete(arg) for i, arg in enumerate(args))
            except LookupError:
                self.collector.not_checked(NotChecked("values", function, "its values are not known below jit"))
                return
            place = origin.fact.place
            functions = functools.partial(primitive.bind, **params), functools.partial(rule, **params)
            sample = LinearSample("transpose", function, fact_of, place, functions, (values, primitive))
            self.samples.add_linear(("transpose", str(primitive), origin.fact.primals), sample)

    # What the primal function returns, where it did not run ------------------------------------

    def _outputs_of(self, custom: Any) -> dict[Any, Tree]:
        """Output types of its primal; kept by the custom_vjp function if the primal is an object, maybe unhashable."""
        is_plain = type(internals.primal_of(custom)) is types.FunctionType
        return self._outputs.setdefault(internals.primal_of(custom) if is_plain else custom, {})

    def _primal_output(self, handle: RuleCall, custom: Any, args: tuple[Any, ...], got: Tree) -> Tree | None:
        """The primal function's output types for these arguments, by `jax.eval_shape` if need be.

        None if they are unknown: the function depends on values, or may have
        effects that must not happen twice.
        """
        key = output_key(handle, args)
        outputs = self._outputs_of(custom)
        expected = outputs.get(key)
        if expected is None or not same_types(expected, got):  # evaluated again before anything is reported
            expected = self.reruns.run(
                "output",
                handle.facts.function,
                [(internals.primal_of(custom), args)],
                lambda: self._evaluated(custom, args, got),
            )
            if expected is None:  # it runs on values only, or may not run: nothing to compare
                return None
            outputs[key] = expected
        return expected

    def _evaluated(self, custom: Any, args: tuple[Any, ...], got: Tree) -> Tree | None:
        """The types of the primal function's output, evaluated on shapes; None where it raises."""
        static = set(internals.static_argnums_of(custom))
        dynamic = tuple(arg for i, arg in enumerate(args) if i not in static)

        def on_dynamic(*dynamic: Any) -> Any:
            return internals.primal_of(custom)(*filled(args, static, dynamic))

        expected = None
        for shared in (self._shared, None):  # what was traced before may be outdated
            expected = None
            with stack.UserCode(), self.collector.paused(), aside(shared):
                expected = self.collector.types.tree(shapes_of(on_dynamic, dynamic))
            if expected is not None and same_types(expected, got):
                break
        return expected

    # A use of jax.vjp -----------------------------------------------------------------------

    def start_vjp(self, fun: Any, primals: tuple[Any, ...], frame: Any) -> VjpCall | None:
        """`jax.vjp` is called, by the user or by grad and others."""
        try:
            try:
                target = unwrap.user_function(fun)
            except Exception as error:  # noqa: BLE001 (the call is recorded without it)
                target = self._unseen("the function of grad", error, unwrap.UserFunction(fun))
            try:
                entry_point, entry_frame = unwrap.way_in(frame)
            except Exception as error:  # noqa: BLE001 (as above)
                entry_point, entry_frame = self._unseen("what calls jax.vjp", error, ("vjp", frame))
            user_frame = stack.user_frame(entry_frame)
            function, names = self._function_and_names(target.function)
            known_by, leaves, avals = self.collector.types.known_by(primals)
            try:
                vmap = internals.mapped_sizes(leaves, target.others)
            except Exception as error:  # noqa: BLE001 (as above)
                vmap = self._unseen("the axes of vmap", error, ())
            code, offset = (user_frame.f_code, user_frame.f_lasti) if user_frame else (None, 0)
            is_direct = user_frame is not None and user_frame is entry_frame
            step = entry_point, function, names, target.positions, known_by, id(code), offset, vmap
            origin = self.collector.begun(step)
            if origin is None:
                positions = range(len(primals)) if target.positions is None else target.positions
                tree = self.collector.types.tree(primals, tuple(_name_of(names, i) for i in positions))
                fact = CallFact(entry_point, function, tree, stack.place_of(user_frame), vmap=vmap, is_direct=is_direct)
                origin = self.collector.begin(fact, step, (code, avals))
            return VjpCall(self.collector, origin.root)
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record a use of jax.vjp", None, error)
        return None

    def _function_and_names(self, function: Any) -> tuple[Function, tuple[str, ...]]:
        """The function that is differentiated, and the names of its arguments."""
        if isinstance(function, internals.CUSTOM_VJPS):
            facts = self.functions.custom(function)
            return facts.function, facts.names
        fact = self.functions.differentiated(function)
        return fact, fact.arguments if type(function) is types.FunctionType else argument_names(function)

    def vjp_ran(self, call: VjpCall, result: tuple[Any, ...], vjp_args: Any) -> None:
        """`jax.vjp` returned its output and a pullback; `vjp_args` are its function, primals, options."""
        try:
            output, pullback = result[0], result[1]
            try:
                primals, others = internals.kept_residuals(pullback)
            except Exception as error:  # noqa: BLE001 (the call is recorded without them)
                primals, others = self._unseen("what a pullback keeps", error, ((), ()))
            types_of = self.collector.types
            known_by, _, avals = types_of.known_by((output, *primals, tuple(others)))
            step = Forward, known_by
            if not call.repeats(step):
                names = (*call.names[: len(primals)], *(f"[{i}]" for i in range(len(others))))
                residuals = types_of.tree((*primals, *others), names)
                call.add(Forward(types_of.tree(output), residuals), step, avals)
            owner, call.key = internals.pullback_owner(pullback)
            if len(self._pullbacks) >= self._many:
                self._forget_the_dead()
            pending = self._pullbacks[call.key] = Pending(owner, None if self.samples is None else forget)
            pending.call = call
            if self.samples is not None:  # these are released with the pullback: they are the program's
                pending.asked, pending.pullbacks = vjp_args, self._pullbacks
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record what jax.vjp returned", None, error)

    def pullback_of(self, key_of: Callable[..., int], arguments: tuple[Any, ...]) -> VjpCall | None:
        """The call that made a pullback, found by the key that `key_of` takes from the pullback's arguments."""
        pending = self._pullbacks.get(key_of(*arguments))
        return None if pending is None or pending() is None else pending.call

    def _forget_the_dead(self) -> None:
        for key, pending in list(self._pullbacks.items()):
            if pending() is None:
                del self._pullbacks[key]
        self._many = max(MANY, 2 * len(self._pullbacks))

    def pullback_ran(
        self, call: VjpCall, cotangent: Any, result: Any, arguments: tuple[Any, ...], find: Callable[..., Any] | None
    ) -> None:
        """A pullback, called with `arguments`, returned `result`; `find`, if given, takes the gradients out of it."""
        try:
            if getattr(arguments[0], "want_logs", False):  # JAX 0.11: a pair of gradients and logs
                result = result[0]
            if find is not None:
                result = find(result)
            types_of = self.collector.types
            known_by, _, avals = types_of.known_by((cotangent, result))
            step = Pullback, known_by
            if not call.repeats(step):
                call.add(Pullback(types_of.tree(cotangent), types_of.tree(result, call.names)), step, avals)
            if self.samples is not None:
                pending = self._pullbacks.get(call.key)  # has jax.vjp's arguments, as long as the pullback exists
                self._look_for_nan(call, cotangent, result, pending and pending.asked)
        except Exception as error:  # noqa: BLE001 (as in `Collector.noting`)
            self._could_not("record the call of a pullback", None, error)

    def into_refs(self, refs: Any, *, logs: bool) -> Callable[..., Any]:
        """A function of what a pullback with refs returns: its gradients, with a ref's aval for one that went there."""
        # The function may be cached, so it must hold no refs.
        types_of = internals.map_refs(lambda ref: internals.aval_of(ref) or ref, refs)

        def gradients(result: Any) -> Any:
            with self.collector.noting("record where gradients went"):
                return internals.map_refs(_value_or_ref, types_of, result[0] if logs else result)
            return result

        return gradients

    def _look_for_nan(self, handle: VjpCall, cotangent: Any, result: Any, vjp_args: Any) -> None:
        if observed_values.has_nan(cotangent) or not observed_values.has_nan(result):
            return
        from jaxvjp_magic.verify import nan_origin

        with self.collector.paused():
            may_run = vjp_args and purity.judged(unwrap.unwrapped(vjp_args[0])).is_silent
            place = nan_origin.began(vjp_args[0], vjp_args[1], cotangent, vjp_args[2]) if may_run else None
        fact = handle.state.origin.fact
        gradients = self.collector.types.tree(result, handle.names)
        for (path, _), leaf in zip(gradients.leaves, tree_util.tree_leaves(result), strict=True):
            if observed_values.has_nan(leaf):
                self.collector.fact(ValueFact(fact.function, fact.primals, "pullback", path, "nan", place=place))

    def pullback_failed(self, handle: Handle, cotangent: Any, error: Exception) -> None:
        """A pullback raised."""
        with self.collector.noting("record the call of a pullback"):
            handle.add(Pullback(self.collector.types.tree(cotangent)))
            handle.failed("pullback", error)


class _OfLinear(NamedTuple):
    """What `Recorder._begin` has to know of a function that is no custom_vjp function."""

    function: Function
    rule: None = None


def _by_position(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments as `resolved` orders them; as they are, if that raises: then JAX raises, too."""
    with stack.UserCode():
        return resolved(function, args, kwargs)
    return (*args, *kwargs.values())


def _of_one_example(output: Any, batched: Any) -> Any:
    """The types of one example's output, of what a vmap rule returned."""

    def of_leaf(leaf: Any, is_batched: Any) -> Any:
        shape = jax.numpy.shape(leaf)
        return jax.ShapeDtypeStruct(shape[1:] if is_batched else shape, jax.numpy.result_type(leaf))

    return tree_util.tree_map(of_leaf, output, batched)


def _primals_of_jvp(args: tuple[Any, ...], static: frozenset[int]) -> tuple[Any, ...]:
    """The arguments of a custom_jvp function, of those that its rule gets: the static ones, primals, tangents."""
    *static_args, primals, _ = args
    static_left, primals_left = iter(static_args), iter(primals)
    return tuple(next(static_left if i in static else primals_left) for i in range(len(static_args) + len(primals)))


def _name_of(names: tuple[str, ...], position: int) -> str:
    return names[position] if position < len(names) else f"[{position}]"


def _value_or_ref(ref: Any, gradient: Any) -> Any:
    return ref if gradient is None or isinstance(gradient, internals.REF_MARKS) else gradient


def _nondiff_text(collector: Collector, value: Any) -> str:
    leaves = tree_util.tree_leaves(value)
    if len(leaves) == 1 and leaves[0] is value and not callable(value):
        return collector.types.of(value).text
    return describe(value)


def _has_array(value: Any) -> bool:
    """Whether there is a jax.Array or a tracer in this; NumPy arrays may well be static."""
    return any(isinstance(leaf, jax.Array) for leaf in tree_util.tree_leaves(value))


def _without_marks(argument: Any) -> Any:
    """An argument of fwd without the CustomVJPPrimal that symbolic_zeros puts around its leaves."""
    marked = internals.CustomVJPPrimal
    return tree_util.tree_map(
        lambda leaf: leaf.value if isinstance(leaf, marked) else leaf,
        argument,
        is_leaf=lambda leaf: isinstance(leaf, marked),
    )
