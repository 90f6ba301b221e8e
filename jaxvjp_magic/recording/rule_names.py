"""What is looked at beyond types: the names that rules look up, what they close over, what bwd makes no use of.

Each look is taken once for equal calls. What is kept from one moment of the
program to a later one (a global's value, a type of argument) is let go when
the check ends.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import linecache
import types
import weakref
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect import avals, helper_functions, name_lookup, stack
from jaxvjp_magic.introspect.avals import describe
from jaxvjp_magic.introspect.callables import below_wrappers, filled, owner_of
from jaxvjp_magic.introspect.snapshots import Snapshot
from jaxvjp_magic.introspect.static_attributes import code_of, held_by, is_veiled
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.calls import Dropped, Unused
from jaxvjp_magic.record.facts import Changed, ClosedOver, Edited, LateBound, Leak, NameUse
from jaxvjp_magic.retracing.retrace import aside, is_copy
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxvjp_magic.introspect.callables import Custom, Functions
    from jaxvjp_magic.record.calls import Function
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.recording.collector import Handle, Origin, Recorder
    from jaxvjp_magic.recording.live_calls import CustomCall
    from jaxvjp_magic.retracing.rerun import Again

_PLAIN = (bool, int, float, complex, str, np.generic)
_LONGEST_TEXT = 40
_LARGEST_CONTAINER = 100


class Looks:
    """Takes the looks of one check."""

    def __init__(self, recorder: Recorder, functions: Functions, again: Again) -> None:
        """Facts go to `recorder`; what is run for them is run by `again`."""
        self._recorder, self._functions, self._again = recorder, functions, again
        self._late: dict[tuple[Any, str], tuple[Any, LateBound]] = {}
        self._read: dict[tuple[Any, str, str], tuple[Any, _Value]] = {}
        self._edited: dict[Edited, tuple[Any, Any]] = {}
        self._specs: dict[Origin, tuple[Any, ...]] = {}
        self._seen: set[Origin] = set()
        self._tried: set[tuple[Origin, NameUse]] = set()

    def finish(self) -> None:
        """What only the end of the program can tell; nothing is kept after it."""
        for (function, name, phase), (rule, value) in self._read.items():
            now = rule.__globals__.get(name)
            if not value.is_of(now):
                fact = Changed(name, function, self._functions.of(rule), phase, value.text, _Value(now).text)
                self._recorder.fact(fact)
        for rule, late in self._late.values():
            if any(self._others_like(rule, name) for name in late.names):
                self._recorder.fact(late)
        for edited, (now, scope) in self._edited.items():
            known = [one for one in scope.values() if isinstance(one, internals.CustomVjp)]
            if not any(now in (one.fwd, one.bwd) for one in known):
                self._recorder.fact(edited)
        for kept in (self._late, self._read, self._edited, self._specs, self._seen, self._tried):
            kept.clear()

    # What rules look up -----------------------------------------------------------------------

    def at_call(self, custom: Any, facts: Custom) -> None:
        """A custom_vjp function is called: what it and its rules close over."""
        if not facts.has_closures:
            return
        for phase, rule in (("primal", custom.fun), ("fwd", custom.fwd), ("bwd", custom.bwd)):
            function = below_wrappers(rule)
            if type(function) is not types.FunctionType or not function.__closure__:
                continue
            for name, cell in zip(function.__code__.co_freevars, function.__closure__, strict=True):
                with contextlib.suppress(ValueError):  # not yet bound
                    tracers = [one for one in _leaves_of_data(cell.cell_contents) if internals.is_tracer(one)]
                    sure = any(map(internals.is_differentiated, tracers))
                    if tracers:
                        rule_fact = self._functions.of(function)
                        self._recorder.fact(ClosedOver(name, facts.function, rule_fact, phase, sure))

    def at_rule(self, call: CustomCall, rule: Any, phase: str) -> None:
        """The primal function or a rule has run: what its names mean. For equal calls once, and when they change."""
        snapshot = call.facts.snapshots.get(phase)
        if snapshot is None or not snapshot.is_of(rule) or snapshot.is_outdated():
            self._look_at_rule(call, rule, phase)
        elif snapshot.has_data and internals.is_being_traced():
            self._read_globals(call.facts.function, below_wrappers(rule), phase)

    def _look_at_rule(self, call: CustomCall, rule: Any, phase: str) -> None:
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
            self._recorder.fact(Leak(name, function, rule_fact, phase))
        for lookup, chain in name_lookup.overwritten(rule, custom, owner):
            own_name = lookup.name in name_lookup.own_names_of(custom)
            self._recorder.fact(_use(lookup, chain, (function, rule_fact, phase), is_own_name=own_name))
        self._look_at_helpers(call, rule, rule_fact, phase)
        now = name_lookup.defined_again(rule)
        if now is not None:
            fact = Edited(rule.__name__, function, rule_fact, phase, self._functions.of(now))
            self._edited[fact] = now, rule.__globals__

    def _look_at_helpers(self, call: CustomCall, rule: Any, rule_fact: Function, phase: str) -> None:
        specs = self._specs.get(call.state.origin)
        if specs is None:
            return
        for lookup, chain, original in helper_functions.overwritten(rule, call.custom):
            helper = self._functions.of(below_wrappers(original))
            where = call.facts.function, rule_fact, phase
            use = _use(lookup, chain, where, is_own_name=False, helper=helper)
            if (call.state.origin, use) in self._tried:  # some rules are looked at in each call
                continue
            self._tried.add((call.state.origin, use))
            if self._fits_with(call, specs, lookup.name, original):
                self._recorder.fact(use)

    def _fits_with(self, call: CustomCall, specs: tuple[Any, ...], name: str, original: Any) -> bool:
        custom = call.custom
        if not helper_functions.may_be_tried(custom):
            return False
        back = [*(specs[i] for i in sorted(custom.nondiff_argnums) if i < len(specs)), 0.0, 0.0]
        parts = [(custom.fun, specs), (custom.fwd, specs), (custom.bwd, back), (original, None)]

        def look() -> bool:
            with stack.Elsewhere(), self._aside():
                return helper_functions.fits_with(custom, specs, name, original)
            return False

        return bool(self._again.run("output", call.facts.function, parts, look))

    def _read_globals(self, function: Any, rule: Any, phase: str) -> None:
        if internals.is_being_traced():
            for name, value in name_lookup.global_data(rule):
                self._read.setdefault((function, name, phase), (rule, _Value(value)))

    def _made_in_a_loop(self, function: Any, rule: Any, phase: str) -> bool:
        """A rule that was made in a loop, runs after it, and reads what the loop changes. Whether it may be one."""
        code, known = rule.__code__, dict(name_lookup.data_lookups(rule))
        if not known or (code, phase) in self._late:
            return False
        text = "".join(linecache.getlines(code.co_filename))
        may_be = False
        for changing, first, last in bindings.loops_around(text, code.co_firstlineno):
            read = tuple(sorted(changing & known.keys()))
            running = stack.user_lines(stack.caller(1))
            inside = any(one.filename == code.co_filename and first <= one.line <= last for one in running)
            if read and not inside:
                self._late[code, phase] = rule, LateBound(read, function, self._functions.of(rule), phase)
            may_be = may_be or bool(read)
        return may_be

    def _others_like(self, rule: Any, name: str) -> bool:
        """Whether there are other functions of the same code, for which a name means the same variable."""
        cell = dict(name_lookup.data_lookups(rule)).get(name)
        alike = (
            one
            for one in gc.get_referrers(rule.__code__)
            if type(one) is types.FunctionType and one is not rule and not is_copy(one)
        )
        return any(dict(name_lookup.data_lookups(one)).get(name) is cell for one in alike)

    # What bwd makes no use of -----------------------------------------------------------------

    def keep_types(self, handle: Handle, custom: Any, args: tuple[Any, ...]) -> None:
        """Keep the types of a call's arguments, for a look when bwd has run."""
        origin = handle.state.origin
        if origin not in self._specs:
            self._specs[origin] = avals.specs(args, set(custom.nondiff_argnums))

    def shared_outputs(self, custom: Any, args: tuple[Any, ...], output: Any) -> tuple[str, ...]:
        """The outputs that are the same for all examples of a vmap and depend on an argument, where others are not."""
        if not internals.is_mapped():
            return ()
        with_paths = tree_util.tree_flatten_with_path(output)[0]
        shared = internals.shared_by_the_batch(leaf for _, leaf in with_paths)
        if not any(shared) or all(shared):
            return ()
        specs = avals.specs(args, set(custom.nondiff_argnums))

        def look() -> list[int]:
            return [i for i, one in enumerate(shared) if one and any(self._used(custom.fun, specs, outputs=[i]))]

        function = self._functions.of(custom.fun)
        depends = self._again.run("output", function, [(custom.fun, specs)], look)
        return tuple(tree_util.keystr(with_paths[i][0]) for i in depends or ())

    def dropped(self, handle: Handle, custom: Any, result: Tree) -> None:
        """The differentiated leaves that bwd returned None for, though the output depends on them."""
        fact = handle.state.origin.fact
        primals, specs = fact.primals, self._specs.get(handle.state.origin)
        if not fact.differentiated or not result.has_none:
            return
        nothing = {path for path, one in result.leaves if one.note == "None"}
        paths = [path for path in fact.differentiated if any(_is_at_or_below(path, none) for none in nothing)]
        if not paths or primals is None or specs is None:
            return
        static, indices = set(custom.nondiff_argnums), {leaf.path: i for i, leaf in enumerate(primals.leaves)}

        def look() -> list[str]:
            return [path for path in paths if self._has_gradient(custom.fun, specs, static, indices[path])]

        needed = self._again.run("output", fact.function, [(custom.fun, specs)], look)
        if needed:
            handle.add(Dropped(tuple(needed)))

    def unused(self, handle: Handle, custom: Any, args: tuple[Any, ...]) -> None:
        """The residuals that bwd does not use; looked at once for equal calls."""
        if handle.state.origin in self._seen:
            return
        self._seen.add(handle.state.origin)
        at = len(custom.nondiff_argnums)
        residuals = self._recorder.types.tree(args[at])
        saves_nothing = not [one for _, one in residuals.leaves if one.shape]
        if saves_nothing or not (_is_users(custom.fwd) and _is_users(custom.bwd)):
            return
        specs, bound = avals.specs(args[at:], ()), functools.partial(custom.bwd, *args[:at])
        rule, parts = self._functions.of(custom.bwd), [(custom.bwd, (*args[:at], *specs))]
        used = self._again.run("residuals", rule, parts, lambda: self._used(bound, specs))
        if used is None:
            return
        pairs = zip(residuals.leaves, used, strict=False)  # those of the cotangents follow
        left = tuple(leaf for leaf, is_used in pairs if not is_used and leaf.type.shape)  # no Python values
        if left:
            handle.add(Unused(left))

    def _used(self, function: Any, specs: tuple[Any, ...], outputs: list[int] | None = None) -> list[bool]:
        """For each leaf of all arguments whether it is an array that is used; all are, where that cannot be told."""
        on_arrays, arrays, positions, count = avals.on_arrays(function, specs)
        with stack.Elsewhere(), self._aside():
            flags = internals.used_arguments(on_arrays, arrays, outputs)
            known = dict(zip(positions, flags, strict=True))
            return [known.get(i, False) for i in range(count)]
        return [True] * count

    def _has_gradient(self, function: Any, specs: tuple[Any, ...], static: set[int], index: int) -> bool:
        """Whether the function's own gradient with respect to this leaf is more than zero by construction."""
        dynamic = tuple(spec for i, spec in enumerate(specs) if i not in static)
        with stack.Elsewhere(), self._aside():
            return _has_gradient(lambda *args: function(*filled(specs, static, args)), dynamic, index)
        return False

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with self._recorder.paused(), aside():
            yield


def _use(
    lookup: name_lookup.Lookup, chain: tuple[str, ...], where: tuple[Function, Function, str], **more: Any
) -> NameUse:
    """A name in a rule; `where` has the custom_vjp function, the rule and its phase."""
    return NameUse(lookup.name, *where, lookup.scope, chain, describe(lookup.value), lookup.helper, **more)


def _has_gradient(function: Callable[..., Any], arguments: Any, index: int) -> bool:
    """Whether the gradient of `function(*arguments)` by this leaf, an array or its shape, is no constant zero."""
    leaves, treedef = tree_util.tree_flatten(arguments)
    positions = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

    def gradient(scale: Any, *arrays: Any) -> Any:
        filled = dict(enumerate(leaves)) | dict(zip(positions, arrays, strict=True))

        def by_leaf(leaf: Any) -> list[Any]:
            output = function(*tree_util.tree_unflatten(treedef, (filled | {index: leaf}).values()))
            return [one for one in tree_util.tree_leaves(output) if jax.numpy.issubdtype(one.dtype, jax.numpy.inexact)]

        outputs, pullback = internals.api.vjp(by_leaf, filled[index])
        return pullback([jax.numpy.full_like(one, scale) for one in outputs])

    return internals.used_arguments(gradient, [0.5, *(leaves[i] for i in positions)], None)[0]


class _Value:
    """A global's value at one moment: of a dictionary or a list its plain values, of an array no more than which."""

    def __init__(self, value: Any) -> None:
        self._plain, self._reference = _plain(value), None
        if self._plain is None:
            with contextlib.suppress(TypeError):
                self._reference = weakref.ref(value)
        shown = describe(value) if self._plain is None else repr(self._plain)
        self.text = shown if len(shown) <= _LONGEST_TEXT else shown[: _LONGEST_TEXT - 1] + "…"

    def is_of(self, value: Any) -> bool:
        """Whether a value is this one."""
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
        return {key: one for key, one in value.items() if issubclass(type(one), _PLAIN)}
    if isinstance(value, (list, tuple)) and len(value) <= _LARGEST_CONTAINER:
        return [one for one in value if issubclass(type(one), _PLAIN)]
    return None


def _leaves_of_data(value: Any) -> list[Any]:
    if is_veiled(value):
        return []
    if isinstance(value, (tuple, list, dict)):
        return tree_util.tree_leaves(value)
    # An object, `self` for instance, that holds parameters.
    return [value] if _is_function(value) else [value, *held_by(value).values()]


def _is_function(value: Any) -> bool:
    return inspect.isroutine(value) or isinstance(value, (type, types.ModuleType, internals.CustomVjp))


def _is_at_or_below(path: str, around: str) -> bool:
    return path == around or (path.startswith(around) and path[len(around) :][:1] in ("[", "."))


def _code(function: Any) -> Any:
    return code_of(below_wrappers(function))


def _is_users(rule: Any) -> bool:
    code = _code(rule)
    return code is not None and stack.is_user_code(code.co_filename)
