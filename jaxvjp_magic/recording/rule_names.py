"""Takes rules when they run, and records facts about the names that they look up and close over.

Each rule is inspected once for equal calls, and again when its names change.
What is kept for later, a global's value for instance, is released when the
check ends.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import linecache
import types
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect import helper_functions, name_lookup, stack
from jaxvjp_magic.introspect.avals import describe
from jaxvjp_magic.introspect.callables import below_wrappers, owner_of
from jaxvjp_magic.introspect.snapshots import Snapshot
from jaxvjp_magic.introspect.static_attributes import held_by, is_veiled
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.facts import Changed, ClosedOver, Edited, LateBound, Leak, NameUse
from jaxvjp_magic.recording.live_calls import CustomCall
from jaxvjp_magic.retracing.retrace import aside, is_copy
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.introspect.callables import Custom, Functions
    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.recording.collector import Collector, Origin
    from jaxvjp_magic.recording.dependence import Dependence
    from jaxvjp_magic.recording.live_calls import RuleCall
    from jaxvjp_magic.retracing.rerun import Reruns

_PLAIN = (bool, int, float, complex, str, np.generic)
_LONGEST_TEXT = 40
_LARGEST_CONTAINER = 100


class RuleNames:
    """The names in the rules of one check."""

    def __init__(self, collector: Collector, functions: Functions, reruns: Reruns, dependence: Dependence) -> None:
        """Facts go to `collector`; `reruns` traces what is traced once more for them."""
        self._collector, self._functions, self._reruns, self._dependence = collector, functions, reruns, dependence
        self._late: dict[tuple[Any, str], tuple[Any, LateBound]] = {}
        self._read: dict[tuple[Any, str, str], tuple[Any, _Value]] = {}
        self._edited: dict[Edited, tuple[Any, Any]] = {}
        self._tried: set[tuple[Origin, NameUse]] = set()

    def finish(self) -> None:
        """Record what only the end of the program shows, and keep nothing."""
        for (function, name, phase), (rule, value) in self._read.items():
            now = rule.__globals__.get(name)
            if not value.is_of(now):
                fact = Changed(name, function, self._functions.of(rule), phase, value.text, _Value(now).text)
                self._collector.fact(fact)
        for rule, late in self._late.values():
            if any(self._others_like(rule, name) for name in late.names):
                self._collector.fact(late)
        for edited, (now, scope) in self._edited.items():
            customs = [custom for custom in scope.values() if isinstance(custom, internals.CUSTOM_VJPS)]
            if not any(now in (custom.fwd, custom.bwd) for custom in customs):
                self._collector.fact(edited)
        for kept in (self._late, self._read, self._edited, self._tried):
            kept.clear()

    # What rules look up -----------------------------------------------------------------------

    def at_call(self, custom: Any, facts: Custom) -> None:
        """A custom_vjp function is called: record tracers that it and its rules close over."""
        if not facts.has_closures:
            return
        for phase, rule in (("primal", internals.primal_of(custom)), ("fwd", custom.fwd), ("bwd", custom.bwd)):
            function = below_wrappers(rule)
            if type(function) is not types.FunctionType or not function.__closure__:
                continue
            for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
                with contextlib.suppress(ValueError):  # not yet bound
                    tracers = [leaf for leaf in _leaves_of_data(cell.cell_contents) if internals.is_tracer(leaf)]
                    sure = any(map(internals.is_differentiated, tracers))
                    if tracers:
                        rule_fact = self._functions.of(function)
                        self._collector.fact(ClosedOver(name, facts.function, rule_fact, phase, sure))

    def at_rule(self, call: RuleCall, rule: Any, phase: str) -> None:
        """The primal function or a rule has run: inspect its names, once for equal calls, and when they change."""
        if not isinstance(call, CustomCall):
            return
        snapshot = call.facts.snapshots.get(phase)
        if snapshot is None or not snapshot.is_of(rule) or snapshot.is_outdated():
            self._look_at_rule(call, rule, phase)
        elif snapshot.has_data and internals.is_being_traced():
            self._read_globals(call.facts.function, below_wrappers(rule), phase)

    def _look_at_rule(self, call: RuleCall, rule: Any, phase: str) -> None:
        wrapped, owner, rule = rule, owner_of(rule), below_wrappers(rule)
        custom, function = call.custom, call.facts.function
        if type(rule) is not types.FunctionType or not stack.is_user_code(rule.__code__.co_filename):
            call.facts.snapshots[phase] = Snapshot(wrapped, None)
            return
        call.facts.snapshots.pop(phase, None)
        rule_fact = self._functions.of(rule)
        self._read_globals(function, rule, phase)
        is_in_a_loop = self._made_in_a_loop(function, rule, phase)
        if owner is None and not is_in_a_loop:
            call.facts.snapshots[phase] = Snapshot(wrapped, rule)
        if phase == "primal":
            return
        for name in name_lookup.leaked_tracers(rule, owner):
            self._collector.fact(Leak(name, function, rule_fact, phase))
        for lookup, chain in name_lookup.overwritten(rule, custom, owner):
            own_name = lookup.name in name_lookup.own_names_of(custom)
            self._collector.fact(_use(lookup, chain, (function, rule_fact, phase), is_own_name=own_name))
        self._look_at_helpers(call, rule, rule_fact, phase)
        now = name_lookup.defined_again(rule)
        if now is not None:
            fact = Edited(rule.__name__, function, rule_fact, phase, self._functions.of(now))
            self._edited[fact] = now, rule.__globals__

    def _look_at_helpers(self, call: RuleCall, rule: Any, rule_fact: Function, phase: str) -> None:
        specs = self._dependence.specs_of(call.state.origin)
        if specs is None:
            return
        for lookup, chain, original in helper_functions.overwritten(rule, call.custom):
            helper = self._functions.of(below_wrappers(original))
            where = call.facts.function, rule_fact, phase
            use = _use(lookup, chain, where, is_own_name=False, helper=helper)
            if (call.state.origin, use) in self._tried:  # some rules are inspected in each call
                continue
            self._tried.add((call.state.origin, use))
            if self._fits_with(call, specs, lookup.name, original):
                self._collector.fact(use)

    def _fits_with(self, call: RuleCall, specs: tuple[Any, ...], name: str, original: Any) -> bool:
        custom = call.custom
        if not helper_functions.may_be_tried(custom):
            return False
        bwd_args = [*(specs[i] for i in sorted(internals.static_argnums_of(custom)) if i < len(specs)), 0.0, 0.0]
        parts = [(internals.primal_of(custom), specs), (custom.fwd, specs), (custom.bwd, bwd_args), (original, None)]

        def fits() -> bool:
            with stack.UserCode(), self._aside():
                return helper_functions.fits_with(custom, specs, name, original)
            return False

        return bool(self._reruns.run("output", call.facts.function, parts, fits))

    def _read_globals(self, function: Any, rule: Any, phase: str) -> None:
        if internals.is_being_traced():
            for name, value in name_lookup.global_data(rule):
                self._read.setdefault((function, name, phase), (rule, _Value(value)))

    def _made_in_a_loop(self, function: Any, rule: Any, phase: str) -> bool:
        """Keep a rule if a loop made it, it runs after the loop, and reads what this changes. Whether it may be one."""
        code, lookups = rule.__code__, dict(name_lookup.data_lookups(rule))
        if not lookups or (code, phase) in self._late:
            return False
        text = "".join(linecache.getlines(code.co_filename))
        may_be = False
        for changing, first, last in bindings.loops_around(text, code.co_firstlineno):
            read = tuple(sorted(changing & lookups.keys()))
            running = stack.user_lines(stack.caller(1))
            inside = any(place.filename == code.co_filename and first <= place.line <= last for place in running)
            if read and not inside:
                self._late[code, phase] = rule, LateBound(read, function, self._functions.of(rule), phase)
            may_be = may_be or bool(read)
        return may_be

    def _others_like(self, rule: Any, name: str) -> bool:
        """Whether other functions with the same code look up `name` in the same variable."""
        cell = dict(name_lookup.data_lookups(rule)).get(name)
        alike = (
            function
            for function in gc.get_referrers(rule.__code__)
            if type(function) is types.FunctionType and function is not rule and not is_copy(function)
        )
        return any(dict(name_lookup.data_lookups(other)).get(name) is cell for other in alike)

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with self._collector.paused(), aside():
            yield


def _use(
    lookup: name_lookup.Lookup, chain: tuple[str, ...], where: tuple[Function, Function, str], **more: Any
) -> NameUse:
    """A name in a rule; `where` has the custom_vjp function, the rule and its phase."""
    return NameUse(lookup.name, *where, lookup.scope, chain, describe(lookup.value), lookup.helper, **more)


class _Value:
    """A global's value at one moment: of a dictionary or a list its plain values, of an array only its identity."""

    def __init__(self, value: Any) -> None:
        self._plain, self._reference = _plain(value), None
        if self._plain is None:
            with contextlib.suppress(TypeError):
                self._reference = weakref.ref(value)
        shown = describe(value) if self._plain is None else repr(self._plain)
        self.text = shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"

    def is_of(self, value: Any) -> bool:
        """Whether `value` is still this one."""
        if self._reference is not None:
            return self._reference() is value
        now = _plain(value)
        return self._plain is None or (type(now) is type(self._plain) and repr(now) == repr(self._plain))


def _plain(value: Any) -> Any:
    if is_veiled(value):
        return None
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, dict) and len(value) <= _LARGEST_CONTAINER:
        return {key: item for key, item in value.items() if issubclass(type(item), _PLAIN)}
    if isinstance(value, (list, tuple)) and len(value) <= _LARGEST_CONTAINER:
        return [item for item in value if issubclass(type(item), _PLAIN)]
    return None


def _leaves_of_data(value: Any) -> list[Any]:
    if is_veiled(value):
        return []
    if isinstance(value, (tuple, list, dict)):
        return tree_util.tree_leaves(value)
    # An object, `self` for instance, that holds parameters.
    return [value] if _is_function(value) else [value, *held_by(value).values()]


def _is_function(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, (type, types.ModuleType, *internals.CUSTOM_VJPS))
