"""`--verify`: takes samples, runs each rule once more, and gives what differs from autodiff or finite differences.

A rule may be right where autodiff of the function is not (an infinite
derivative in a branch that is not taken): where the two differ, finite
differences decide, unless the function stops the gradient on purpose. They
decide alone where the function has no reverse mode. What cannot be run outside
of the program (a collective without its axis, a function of tracers) is
skipped.

The comparison is done in float64, where rounding hides and excuses nothing, if
the function and its rule run in it: the arguments are promoted, and x64 is
enabled for this thread and this comparison only. A difference counts if no
intermediate float is narrower; otherwise the program's own precision decides.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import tree_util

from jaxvjp_magic.introspect import purity
from jaxvjp_magic.introspect.callables import setting
from jaxvjp_magic.introspect.stack import UserCode, is_own_fault
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.record.facts import ValueFact
from jaxvjp_magic.record.notes import could_not
from jaxvjp_magic.record.record import NotChecked
from jaxvjp_magic.retracing.retrace import aside
from jaxvjp_magic.verify import linear_maps, observed_values, promotion, tolerance
from jaxvjp_magic.verify.linear_maps import LinearSample
from jaxvjp_magic.verify.samples import Sample, random_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxvjp_magic.record.facts import LinearFact

    Leaves = tuple[Any, ...]

_UNSURE = 0.1  # finite differences of two steps that differ by more say nothing
_BESIDE = 1e-2
_OUTSIDE = "outside the program it raised {}"
_FAR = 5e-2  # how far a rule may differ from finite differences, where these decide alone


def verify_all(
    samples: list[Sample | LinearSample],
) -> tuple[list[ValueFact | LinearFact], list[str], list[NotChecked]]:
    """What differs for any of the rules, faults of the check, and what could not be compared."""
    found: dict[ValueFact | LinearFact, None] = {}
    faults: dict[str, None] = {}
    left_out: list[NotChecked] = []
    with aside(), jax.debug_nans(False), jax.debug_infs(False):  # noqa: FBT003 (JAX's own signature)
        for sample in samples:
            refusal = _may_not_run(sample) if isinstance(sample, Sample) else None
            if refusal is not None:
                left_out.append(refusal)
                continue
            try:
                if isinstance(sample, LinearSample):
                    promises, untried = linear_maps.verify(sample)
                    found.update(dict.fromkeys(promises))
                    left_out += untried
                    continue
                facts, reasons = verify(sample)
                found.update(dict.fromkeys(facts))
                left_out += (NotChecked("values", sample.function, reason) for reason in reasons)
            except KeyboardInterrupt:  # the user's
                raise
            except BaseException as error:  # noqa: BLE001 (it needs what only the program has: an axis, a tracer, a device)
                if is_own_fault(error):
                    faults[could_not("compare values", error)] = None
                else:
                    left_out.append(NotChecked("values", sample.function, _why_not(error)))
    return list(found), list(faults), list(dict.fromkeys(left_out))


def _why_not(error: BaseException) -> str:
    """Why a rule could not be run outside of the program."""
    axis = re.search(r"(?i)unbound axis name:?\s*(\w+)", str(error))
    if axis:
        return f"it needs the axis {axis[1]}, which exists only in the program"
    return _OUTSIDE.format(type(error).__name__)


def _may_not_run(sample: Sample) -> NotChecked | None:
    """Why a rule is not run once more; None where it is known to have no effects."""
    verdict = purity.judged(sample.custom, sample.args)
    why = verdict.why or ("" if verdict.is_silent else "it prints")
    return NotChecked("values", sample.function, why, verdict.place) if why else None


def verify(sample: Sample) -> tuple[list[ValueFact], list[str]]:
    """What differs for one rule, and why something was not compared.

    At a kink (relu at 0) the derivative is a convention: a rule that differs
    only at the program's values, and not beside them, is not reported.
    """
    facts, reasons = _facts(sample)
    if sample.is_random or not any(fact.phase == "bwd" and fact.pattern != "nan" for fact in facts):
        return facts, reasons
    with UserCode():
        if not _facts(_beside(sample))[0]:
            return [], reasons
    return facts, reasons


def _beside(sample: Sample) -> Sample:
    """The sample with its floats moved a little."""
    random = np.random.default_rng(2)

    def moved(leaf: Any) -> Any:
        aval = jax.typeof(leaf)
        if not jnp.issubdtype(aval.dtype, jnp.inexact):
            return leaf
        noise = random.uniform(0.5, 1.0, aval.shape) * random.choice([-1.0, 1.0], aval.shape)
        return (jnp.asarray(leaf) * (1 + _BESIDE * noise) + _BESIDE * noise).astype(aval.dtype)

    dynamic = tuple(tree_util.tree_map(moved, argument) for argument in sample.dynamic)
    return dataclasses.replace(sample, args=sample.filled(dynamic))


def _facts(sample: Sample) -> tuple[list[ValueFact], list[str]]:
    with UserCode(), jax.enable_x64(True):  # noqa: FBT003 (JAX's own signature)
        promoted = promotion.with_arrays(sample, promotion.PROMOTED) if promotion.may_be_promoted(sample) else None
        comparison = promoted and _Comparison.of(promoted)
        if comparison and comparison.is_wide():
            facts, reasons = comparison.facts()
            if not facts or comparison.narrowest() in promotion.WIDE:
                return facts, reasons
    comparison = _Comparison.of(promotion.with_arrays(sample, {}))
    narrowest = comparison.narrowest()
    roughest = tolerance.precision_in(narrowest) if narrowest else None
    return dataclasses.replace(comparison, roughest=roughest).facts()


# Running ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """One run of the function and of fwd, and from these everything that is compared."""

    sample: Sample
    expected: Any  # the function's output
    pullback: Callable[..., Any] | None  # autodiff's, None where the function has no reverse mode
    output: Any  # fwd's
    residuals: Any
    cotangent: Any
    second_cotangent: Any
    roughest: tolerance.Precision | None = None  # of intermediate floats, if narrower than the results

    @classmethod
    def of(cls, sample: Sample) -> _Comparison:
        """Run the function once, with autodiff if it has a reverse mode, and fwd once."""

        def on_dynamic(*dynamic: Any) -> Any:
            return internals.primal_of(sample.custom)(*sample.filled(dynamic))

        expected = pullback = None
        with UserCode():
            expected, pullback = internals.api.vjp(on_dynamic, *sample.dynamic)
        if pullback is None:  # no reverse mode: a callback, a kernel; or it needs concrete values
            expected, pullback = on_dynamic(*sample.dynamic), None
        output, residuals = _fwd(sample)
        random = np.random.default_rng(0)
        cotangent, second_cotangent = (_cotangent(expected, random) for _ in range(2))
        return cls(sample, expected, pullback, output, residuals, cotangent, second_cotangent)

    def is_wide(self) -> bool:
        """Whether all outputs became float64 with the arguments."""
        return all(str(leaf.dtype) in promotion.WIDE for leaf in _floats((self.expected, self.output)))

    def narrowest(self) -> str:
        """The dtype of the narrowest float in the function and its rule; "" if that is unknown.

        Compared in a wider dtype, its rounding would look like an error.
        """
        sample = self.sample

        def everything(*dynamic: Any) -> Any:
            moved = dataclasses.replace(sample, args=sample.filled(dynamic))
            output, residuals = _fwd(moved)
            return internals.primal_of(sample.custom)(*moved.args), output, _bwd(moved, residuals, self.cotangent)

        jaxpr = None
        with UserCode():
            jaxpr = jax.make_jaxpr(everything)(*sample.dynamic)
        if jaxpr is None:
            return ""
        dtypes = {str(aval.dtype) for aval in _float_types(jaxpr.jaxpr)}
        return max(dtypes, key=lambda dtype: tolerance.precision_in(dtype).relative, default="float64")

    def facts(self) -> tuple[list[ValueFact], list[str]]:
        """What differs, and why something was not compared."""
        if str(jax.tree.structure(self.output)) != str(jax.tree.structure(self.expected)):
            return [], []  # the checks of shapes report it
        if not tolerance.same(self.output, self.expected, self.roughest):
            return [self._fact("fwd", "", "")], []
        if tolerance.are_all_nan(self.expected):
            return [], [f"its output is NaN {self._at()}"]
        if setting(self.sample.custom, "with_accums"):
            return [], ["its bwd rule adds to accumulators"]
        got = _bwd(self.sample, self.residuals, self.cotangent)
        return ([], []) if got is None else self._of_gradients(got)  # None: the checks of structure report it

    def _of_gradients(self, got: Leaves) -> tuple[list[ValueFact], list[str]]:
        nan = list(self._nan(got))
        if nan:
            return nan, []
        expected = self._autodiff()
        if expected is None:
            return self._without_autodiff(got)
        reasons: list[str] = []
        wrong = list(self._differences(got, expected, reasons))
        return self._patterns(got, expected, wrong) if wrong else [], reasons

    def _at(self) -> str:
        return "at the random values that were tried" if self.sample.is_random else "at the values of this run"

    def _fact(self, phase: str, path: str, pattern: str, factor: float = 1.0, other: str = "") -> ValueFact:
        return ValueFact(
            self.sample.function, self.sample.primals, phase, path, pattern, factor, other, self.sample.is_random
        )

    def _path(self, index: int) -> str:
        leaves = self.sample.primals.leaves if self.sample.primals else ()
        return leaves[index].path if index < len(leaves) else ""

    def _autodiff(self) -> Leaves | None:
        """The gradient of the function without its rule, None where there is none."""
        if self.pullback is None:
            return None
        with UserCode():
            return tuple(tree_util.tree_leaves(self.pullback(self.cotangent)))
        return None  # no reverse mode: for a while loop JAX raises only now

    def _nan(self, got: Leaves) -> Iterator[ValueFact]:
        """NaN that begins in the rule, at the program's values; random ones may be outside of its domain."""
        if self.sample.is_random or observed_values.has_nan((self.sample.dynamic, self.expected, self.residuals)):
            return
        for index, leaf in enumerate(got):
            if leaf is not None and observed_values.has_nan(leaf):
                yield self._fact("bwd", self._path(index), "nan")

    # Against autodiff -----------------------------------------------------------------------------

    def _differences(self, got: Leaves, expected: Leaves, reasons: list[str]) -> Iterator[int]:
        """The leaves whose gradient is wrong; `reasons` collects why one was not compared.

        Where autodiff is not finite, the rule is meant to do better: only the
        other entries are compared.
        """
        for index, (gradient, autodiff) in enumerate(zip(got, expected, strict=True)):
            if not tolerance.comparable(gradient, autodiff):
                continue
            is_finite = np.isfinite(tolerance.as_wide(autodiff))
            if is_finite.size and not np.any(is_finite):
                reasons.append(f"autodiff gives no finite gradient for {self._argument(index)} {self._at()}")
                continue
            differs = is_finite & ~tolerance.near(gradient, autodiff, roughest=self.roughest)
            if not np.any(differs):
                continue
            if not np.any(np.asarray(autodiff)) and self._is_stopped(index):
                yield index
            elif not self._is_measured(index, gradient, differs):
                if np.any(np.asarray(autodiff)) or self.is_far(got, [index], moves=True):
                    yield index
                else:
                    reasons.append(f"autodiff gives zero for {self._argument(index)}, as in a search or a rounding")

    def _argument(self, index: int) -> str:
        return self._path(index) or "its argument"

    def _is_stopped(self, index: int) -> bool:
        """Whether the function stops this leaf's gradient by `stop_gradient`, and not by a search or a rounding."""
        jaxpr = None
        with UserCode():
            run = lambda *dynamic: internals.primal_of(self.sample.custom)(*self.sample.filled(dynamic))  # noqa: E731 (for make_jaxpr)
            jaxpr = jax.make_jaxpr(run)(*self.sample.dynamic)
        return jaxpr is not None and promotion.reaches_a_stop(jaxpr.jaxpr, {index})

    def _patterns(self, got: Leaves, expected: Leaves, wrong: list[int]) -> list[ValueFact]:
        second_got = _bwd(self.sample, self.residuals, self.second_cotangent)
        if second_got is not None and tolerance.is_unused(got, second_got):
            return [self._fact("bwd", "", "unused")]
        offset, bent = self._nonlinear(got, second_got)
        facts = self._nonlinear_facts([index for index in wrong if index in bent])
        facts += [self._fact("bwd", self._path(index), "offset") for index in wrong if index in offset]
        wrong = [index for index in wrong if index not in bent | offset]
        if tolerance.are_swapped(got, expected, wrong):
            first, second = map(self._path, wrong)
            return [*facts, self._fact("bwd", first, "swapped", other=second)]
        return facts + [self._fact("bwd", self._path(i), *self._pattern(i, got[i], expected[i])) for i in wrong]

    def _pattern(self, index: int, got: Any, expected: Any) -> tuple[str, float]:
        if not np.any(np.asarray(expected)) and not self._is_stopped(index):
            return "measured", 1.0
        return tolerance.pattern(got, expected)

    def _nonlinear(self, got: Leaves, second_got: Leaves | None) -> tuple[set[int], set[int]]:
        """The leaves whose cotangent has a term that ignores the incoming one, and those where it is not linear in it.

        Every pullback is linear: for a cotangent of zeros it gives zeros.
        """
        a, b = 0.5, -1.5  # clipping, squares and norms are not linear with both
        mixed_got = _bwd(self.sample, self.residuals, self._mixed(lambda x, y: a * x + b * y))
        if second_got is None or mixed_got is None:
            return set(), set()

        def agrees(index: int, at_zero: Any) -> bool:
            first, second = tolerance.as_wide(got[index]) - at_zero, tolerance.as_wide(second_got[index]) - at_zero
            scale = max(map(tolerance.largest, (got[index], second_got[index])))  # the sum may be small by chance
            wanted = at_zero + a * first + b * second
            return bool(np.all(tolerance.near(mixed_got[index], wanted, scale, roughest=self.roughest)))

        compared = [
            index
            for index, (first, second, mixed) in enumerate(zip(got, second_got, mixed_got, strict=True))
            if tolerance.comparable(first, second) and tolerance.comparable(mixed, first)
        ]
        bent = {index for index in compared if not agrees(index, 0.0)}
        zeros_got = _bwd(self.sample, self.residuals, self._mixed(lambda x, _: x * 0)) if bent else None
        offset = {index for index in bent if zeros_got and agrees(index, tolerance.as_wide(zeros_got[index]))}
        return offset, bent - offset

    def _mixed(self, mix: Callable[[Any, Any], Any]) -> Any:
        """`mix` of the two cotangents, leaf by leaf."""
        mixed = lambda x, y: x if tolerance.is_float0(x) else mix(x, y)  # noqa: E731 (for tree_map)
        return tree_util.tree_map(mixed, self.cotangent, self.second_cotangent)

    def _nonlinear_facts(self, bent: list[int]) -> list[ValueFact]:
        """One fact for all leaves: a norm of all cotangents is one decision, not one for each."""
        if not bent:
            return []
        return [self._fact("bwd", self._path(bent[0]) if len(bent) == 1 else "", "nonlinear")]

    # Against finite differences -------------------------------------------------------------------

    def _without_autodiff(self, got: Leaves) -> tuple[list[ValueFact], list[str]]:
        """What is not linear; otherwise where finite differences disagree, tried along all leaves at once first."""
        second_got = _bwd(self.sample, self.residuals, self.second_cotangent)
        if second_got is not None and tolerance.is_unused(got, second_got):
            return [self._fact("bwd", "", "unused")], []
        offset, bent = self._nonlinear(got, second_got)
        if bent or offset:
            return [
                *self._nonlinear_facts(sorted(bent)),
                *(self._fact("bwd", self._path(i), "offset") for i in offset),
            ], []
        leaves = tree_util.tree_leaves(self.sample.dynamic)
        moved = [
            i
            for i, (leaf, gradient) in enumerate(zip(leaves, got, strict=True))
            if tolerance.can_be_moved(leaf, gradient)
        ]
        if moved and self._precision_of(moved) is None:
            return [], ["it has no reverse mode to compare with, and finite differences need at least float32"]
        if not self.is_far(got, moved):
            return [], []
        used = dataclasses.replace(self, cotangent=self._used_cotangent())
        return [self._fact("bwd", self._path(index), "measured") for index in moved if used.is_far(got, [index])], []

    def _used_cotangent(self) -> Any:
        """The cotangent, zero for outputs from which the rule passes nothing back: a solver's statistics."""
        leaves, treedef = tree_util.tree_flatten(self.cotangent)
        zeros = [leaf if tolerance.is_float0(leaf) else leaf * 0 for leaf in leaves]
        used = list(zeros)
        for index, leaf in enumerate(leaves):
            alone = tree_util.tree_unflatten(treedef, [*zeros[:index], leaf, *zeros[index + 1 :]])
            result = () if tolerance.is_float0(leaf) else _bwd(self.sample, self.residuals, alone) or ()
            if any(
                gradient is not None and not tolerance.is_float0(gradient) and np.any(np.asarray(gradient))
                for gradient in result
            ):
                used[index] = leaf
        return tree_util.tree_unflatten(treedef, used)

    def is_far(self, got: Leaves, moved: list[int], *, moves: bool = False) -> bool:
        """Whether a gradient clearly differs from finite differences along a random direction of these leaves.

        With `moves`, only if the finite differences are not zero.
        """
        random = np.random.default_rng(1)
        directions = {index: random.normal(size=np.shape(got[index])) for index in moved}
        precision = self._precision_of(moved)
        if precision is None:
            return False
        (coarse, _), (fine, noise) = (self._slope(directions, step) for step in reversed(precision.steps))
        products = [tolerance.as_wide(got[index]) * directions[index] for index in moved]
        claimed = float(sum(np.sum(product) for product in products))
        scale = max(abs(fine), math.sqrt(sum(float(np.sum(product**2)) for product in products)))
        unsure = abs(fine - coarse) + noise
        if moves and abs(fine) <= unsure:
            return False
        return unsure <= _UNSURE * scale and abs(fine - claimed) > _FAR * scale + unsure

    def _is_measured(self, index: int, gradient: Any, where: Any) -> bool:
        """Whether the rule's gradient, in the entries `where` it is not autodiff's, is that of central differences."""
        precision = self._precision_of([index])
        leaf = tree_util.tree_leaves(self.sample.dynamic)[index]
        if precision is None or not tolerance.can_be_moved(leaf, gradient):
            return False
        direction = np.random.default_rng(1).normal(size=np.shape(leaf)) * where
        measured, noise = self._slope({index: direction}, precision.steps[0])
        claimed = tolerance.dot(gradient, direction)
        return abs(measured - claimed) <= precision.roughly * (abs(measured) + abs(claimed)) + noise

    def _precision_of(self, moved: list[int]) -> tolerance.Precision | None:
        """The lowest precision of these leaves; None if finite differences are not possible."""
        leaves = tree_util.tree_leaves(self.sample.dynamic)
        precisions = [tolerance.precision_of(leaves[index]) for index in moved]
        precisions += [self.roughest] if self.roughest else []
        rough = max(precisions, key=lambda precision: precision.relative, default=tolerance.HALF)
        return rough if rough.steps[0] else None

    def _slope(self, directions: dict[int, Any], step: float) -> tuple[float, float]:
        """The function's slope along a direction, and what rounding may have added to it."""
        leaves, treedef = tree_util.tree_flatten(self.sample.dynamic)
        ends, size = [], 0.0
        for distance in (step, -step):
            moved = list(leaves)
            for index, direction in directions.items():
                leaf = jnp.asarray(leaves[index])
                moved[index] = leaf + jnp.asarray(distance * direction, leaf.dtype)
            output = internals.primal_of(self.sample.custom)(
                *self.sample.filled(tree_util.tree_unflatten(treedef, moved))
            )
            pairs = zip(tree_util.tree_leaves(output), tree_util.tree_leaves(self.cotangent), strict=True)
            products = [tolerance.as_wide(o) * tolerance.as_wide(c) for o, c in pairs if tolerance.is_float(o)]
            ends.append(float(sum(np.sum(product) for product in products)))
            size += float(sum(np.sum(np.abs(product)) for product in products))
        epsilon = max(float(np.finfo(jnp.asarray(leaves[index]).dtype).eps) for index in directions)
        return (ends[0] - ends[1]) / (2 * step), 4 * epsilon * size / step


def _fwd(sample: Sample) -> tuple[Any, Any]:
    args = sample.args
    if internals.has_symbolic_zeros(sample.custom):
        mark = lambda leaf: internals.CustomVJPPrimal(leaf, True)  # noqa: E731, FBT003 (JAX's own signature)
        args = sample.filled(tuple(tree_util.tree_map(mark, arg) for arg in sample.dynamic))
    output, residuals = sample.custom.fwd(*args)
    return output, residuals


def _bwd(sample: Sample, residuals: Any, cotangent: Any) -> Leaves | None:
    """One cotangent for each leaf of the arguments, None where there is none; None if there is nothing to compare."""
    residuals = tree_util.tree_map(lambda leaf: leaf, residuals)  # new containers, since a rule may modify them
    result = sample.custom.bwd(*sample.nondiff, residuals, cotangent)
    if setting(sample.custom, "with_logs"):
        result = result[0]
    if not isinstance(result, (tuple, list)) or len(result) != len(sample.dynamic):
        return None  # the checks of structure report it
    leaves: list[Any] = []
    for argument, entry in zip(sample.dynamic, result, strict=True):
        count = len(tree_util.tree_leaves(argument))
        flat = tree_util.tree_leaves(entry, is_leaf=lambda leaf: leaf is None)
        leaves += flat if len(flat) == count else [None] * count
    return tuple(leaves)


def _cotangent(output: Any, random: np.random.Generator) -> Any:
    def like(leaf: Any) -> Any:
        aval = jax.typeof(leaf)
        if not jnp.issubdtype(aval.dtype, jnp.inexact):
            return np.zeros(aval.shape, jax.dtypes.float0)
        return random_array(aval.shape, aval.dtype, draw, random)

    def draw(shape: Any) -> Any:  # none between -1 and 1, where most clipping does nothing
        return random.uniform(1.5, 3.0, shape) * random.choice((-1.0, 1.0), shape)

    return tree_util.tree_map(like, output)


def _floats(tree: Any) -> list[Any]:
    return [aval for aval in map(jax.typeof, tree_util.tree_leaves(tree)) if jnp.issubdtype(aval.dtype, jnp.inexact)]


def _float_types(jaxpr: Any) -> Iterator[Any]:
    """The avals of all floats in a jaxpr and in those inside it: constants and results."""
    results = [variable for equation in jaxpr.eqns for variable in equation.outvars]
    for variable in (*jaxpr.constvars, *results):
        dtype = getattr(variable.aval, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jnp.inexact):
            yield variable.aval
    for equation in jaxpr.eqns:
        for inner in promotion.inner_jaxprs(equation):
            yield from _float_types(inner)
