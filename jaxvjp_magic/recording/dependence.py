"""Finds, by abstract traces: residuals that bwd does not use, gradients that it drops, outputs that a batch shares.

Each trace runs once for equal calls.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import jax
from jax import tree_util

from jaxvjp_magic.introspect import avals, stack
from jaxvjp_magic.introspect.callables import below_wrappers, filled
from jaxvjp_magic.introspect.static_attributes import code_of
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.calls import Dropped, Unused
from jaxvjp_magic.retracing.retrace import aside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxvjp_magic.introspect.callables import Functions
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.recording.collector import Collector, Handle, Origin
    from jaxvjp_magic.retracing.rerun import Reruns


class Dependence:
    """The dependences of one check. Of a call it keeps only types, until the check ends."""

    def __init__(self, collector: Collector, functions: Functions, reruns: Reruns) -> None:
        """Functions are traced once more by `reruns`, which decides where they may run."""
        self._collector, self._functions, self._reruns = collector, functions, reruns
        self._specs: dict[Origin, tuple[Any, ...]] = {}
        self._seen: set[Origin] = set()

    def finish(self) -> None:
        """Forget all calls."""
        self._specs.clear()
        self._seen.clear()

    def specs_of(self, origin: Origin) -> tuple[Any, ...] | None:
        """The kept types of a call's arguments."""
        return self._specs.get(origin)

    def keep_types(self, handle: Handle, custom: Any, args: tuple[Any, ...]) -> None:
        """Keep the types of a call's arguments, for when bwd has run."""
        origin = handle.state.origin
        if origin not in self._specs:
            self._specs[origin] = avals.specs(args, set(internals.static_argnums_of(custom)))

    def shared_outputs(self, custom: Any, args: tuple[Any, ...], output: Any) -> tuple[str, ...]:
        """Outputs that depend on an argument, yet are the same for all examples of a vmap, while others are not."""
        if not internals.is_mapped():
            return ()
        with_paths = tree_util.tree_flatten_with_path(output)[0]
        shared = internals.shared_by_the_batch(leaf for _, leaf in with_paths)
        if not any(shared) or all(shared):
            return ()
        specs = avals.specs(args, set(internals.static_argnums_of(custom)))

        def dependent() -> list[int]:
            candidates = (i for i, is_shared in enumerate(shared) if is_shared)
            return [i for i in candidates if any(self._used(internals.primal_of(custom), specs, outputs=[i]))]

        function = self._functions.of(internals.primal_of(custom))
        depends = self._reruns.run("output", function, [(internals.primal_of(custom), specs)], dependent)
        return tuple(tree_util.keystr(with_paths[i][0]) for i in depends or ())

    def dropped(self, handle: Handle, custom: Any, result: Tree) -> None:
        """Record the differentiated leaves that bwd returned None for, though the output depends on them."""
        fact = handle.state.origin.fact
        primals, specs = fact.primals, self._specs.get(handle.state.origin)
        if not fact.differentiated or not result.has_none:
            return
        none_paths = {path for path, leaf_type in result.leaves if leaf_type.note == "None"}
        paths = [path for path in fact.differentiated if any(_is_at_or_below(path, none) for none in none_paths)]
        if not paths or primals is None or specs is None:
            return
        static, indices = (
            set(internals.static_argnums_of(custom)),
            {leaf.path: i for i, leaf in enumerate(primals.leaves)},
        )

        def with_gradient() -> list[str]:
            return [
                path for path in paths if self._has_gradient(internals.primal_of(custom), specs, static, indices[path])
            ]

        needed = self._reruns.run("output", fact.function, [(internals.primal_of(custom), specs)], with_gradient)
        if needed:
            handle.add(Dropped(tuple(needed)))

    def unused(self, handle: Handle, custom: Any, args: tuple[Any, ...]) -> None:
        """Record the residuals that bwd does not use, once for equal calls."""
        if handle.state.origin in self._seen:
            return
        self._seen.add(handle.state.origin)
        at = len(internals.static_argnums_of(custom))
        residuals = self._collector.types.tree(args[at])
        saves_nothing = not [leaf_type for _, leaf_type in residuals.leaves if leaf_type.shape]
        if saves_nothing or not (_is_users(custom.fwd) and _is_users(custom.bwd)):
            return
        specs, bound = avals.specs(args[at:], ()), functools.partial(custom.bwd, *args[:at])
        rule, parts = self._functions.of(custom.bwd), [(custom.bwd, (*args[:at], *specs))]
        used = self._reruns.run("residuals", rule, parts, lambda: self._used(bound, specs))
        if used is None:
            return
        pairs = zip(residuals.leaves, used, strict=False)  # the cotangents' flags follow
        # Python values have no shape.
        leaves = tuple(leaf for leaf, is_used in pairs if not is_used and leaf.type.shape)
        if leaves:
            handle.add(Unused(leaves))

    def _used(self, function: Any, specs: tuple[Any, ...], outputs: list[int] | None = None) -> list[bool]:
        """For each leaf of all arguments, whether it is an array that is used; all True if the trace fails."""
        on_arrays, arrays, positions, count = avals.on_arrays(function, specs)
        with stack.UserCode(), self._aside():
            flags = internals.used_arguments(on_arrays, arrays, outputs)
            used = dict(zip(positions, flags, strict=True))
            return [used.get(i, False) for i in range(count)]
        return [True] * count

    def _has_gradient(self, function: Any, specs: tuple[Any, ...], static: set[int], index: int) -> bool:
        """Whether autodiff's gradient with respect to this leaf is not a constant zero."""
        dynamic = tuple(spec for i, spec in enumerate(specs) if i not in static)
        with stack.UserCode(), self._aside():
            return _has_gradient(lambda *args: function(*filled(specs, static, args)), dynamic, index)
        return False

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with self._collector.paused(), aside():
            yield


def _has_gradient(function: Callable[..., Any], arguments: Any, index: int) -> bool:
    """Whether the gradient of `function(*arguments)` by this leaf, an array or its shape, is not a constant zero."""
    leaves, treedef = tree_util.tree_flatten(arguments)
    positions = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

    def gradient(scale: Any, *arrays: Any) -> Any:
        values = dict(enumerate(leaves)) | dict(zip(positions, arrays, strict=True))

        def by_leaf(leaf: Any) -> list[Any]:
            output = function(*tree_util.tree_unflatten(treedef, (values | {index: leaf}).values()))
            return [out for out in tree_util.tree_leaves(output) if jax.numpy.issubdtype(out.dtype, jax.numpy.inexact)]

        outputs, pullback = internals.api.vjp(by_leaf, values[index])
        return pullback([jax.numpy.full_like(out, scale) for out in outputs])

    return internals.used_arguments(gradient, [0.5, *(leaves[i] for i in positions)], None)[0]


def _is_at_or_below(path: str, ancestor: str) -> bool:
    return path == ancestor or (path.startswith(ancestor) and path[len(ancestor) :][:1] in ("[", "."))


def _code(function: Any) -> Any:
    return code_of(below_wrappers(function))


def _is_users(rule: Any) -> bool:
    code = _code(rule)
    return code is not None and stack.is_user_code(code.co_filename)
