"""VJP115 to VJP118: findings about values that JAX should differentiate, or should not trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import role
from jaxvjp_magic.record.calls import Dropped
from jaxvjp_magic.record.facts import ClosedOver
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.record.calls import Failed
    from jaxvjp_magic.record.trees import Tree

_NEEDS_A_VALUE = {
    "TracerBoolConversionError", "TracerIntegerConversionError", "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
}  # fmt: skip
_ABOUT_SHAPES = "Shapes must be 1D sequences"
_NO_TYPES = ("is not a valid JAX type", "as an abstract array")  # of a classic custom_vjp, and of custom_vjp3


@check("VJP115", of_each_call=True)
def needed_gradients_are_returned(view: CallView) -> Iterator[Found]:
    """VJP115: bwd returns None for a differentiated argument, whose gradient is then silently zero."""
    for event in view.call.events:
        if not isinstance(event, Dropped) or view.bwd is None:
            continue
        for path in event.paths:
            yield view.finding(
                "VJP115", Severity.WARNING, view.returned(path),
                f"{view.bwd_name} returns None for {path}, which is being differentiated",
                f"The output of {view.name} depends on {path}. JAX treats None as zeros, and says nothing.",
                fix=Fix("return its cotangent; if zeros are intended, return them", f"jnp.zeros_like({path})"),
                phase="bwd", path=path, got="None",
            )  # fmt: skip


@check("VJP116")
def closed_over_values(record: RecordView) -> Iterator[Found]:
    """VJP116: a rule closes over a differentiated value. Reported if an exception ended the program."""
    for fact in record.facts:
        if not isinstance(fact, ClosedOver):
            continue
        views = record.of_function(fact.function)
        view = next((view for view in views if view.is_part_of_an_error), next(iter(views), None))
        if view is None or not (view.is_part_of_an_error or (record.has_leaked and fact.is_differentiated)):
            continue
        rule = role(fact.rule, fact.phase, fact.function)
        arguments = ", ".join((fact.name, *view.call.function.arguments))
        why = (
            f"A rule returns cotangents only for the arguments of {fact.function.name}. {fact.name} is not one of "
            "them, so its gradient is lost. JAX raises UnexpectedTracerError without naming the variable."
        )
        is_forbidden = any("can't close over" in failure.raised.message for failure in view.failures)
        if is_forbidden:
            why = (
                f"{fact.name} is a tracer: it belongs to the trace that {fact.function.name} is called in. With "
                "JAX_CUSTOM_VJP3, JAX raises where a custom_vjp function closes over a tracer."
            )
        yield view.finding(
            "VJP116", Severity.ERROR, record.program.use_of(fact.rule.code, fact.name),
            f"{rule} closes over {fact.name}, which is {'a tracer' if is_forbidden else 'being differentiated'}",
            why,
            fix=Fix("make it an argument, and return its cotangent too", f"def {fact.function.name}({arguments}): ..."),
            phase=fact.phase, path=fact.name,
        )  # fmt: skip
        return


@check("VJP117", of_each_call=True)
def static_arguments_are_static(view: CallView) -> Iterator[Found]:
    """VJP117: an array of JAX, or a tracer, in nondiff_argnums."""
    if not view.call.arrays:
        return
    names = wording.listed(view.call.arrays)
    verb = "is an array, but is" if len(view.call.arrays) == 1 else "are arrays, but are"
    raised = next((failure.raised for failure in view.uncaught if "nondiff_argnums" in failure.raised.message), None)
    effect = f"JAX raised {raised.type}" if raised else "In eager mode that works; under jit, vmap or grad JAX raises"
    yield view.finding(
        "VJP117", Severity.ERROR if raised else Severity.NOTE, view.program.definition(view.call.function.code),
        f"{names} of {view.name} {verb} in nondiff_argnums",
        f"JAX neither traces nor differentiates the arguments in nondiff_argnums. {effect}.",
        fix=Fix(
            f"remove {names} from nondiff_argnums, and return its cotangent from the bwd rule, or None"
        ),
        phase="call", path=view.call.arrays[0],
    )  # fmt: skip


@check("VJP118", of_each_call=True)
def python_values_stay_python(view: CallView) -> Iterator[Found]:
    """VJP118: a Python value is passed as an argument or a residual, where JAX traces it or rejects it."""
    error_type = next((kind for kind, message in view.record.uncaught if any(map(message.__contains__, _NO_TYPES))), "")
    if error_type:
        yield from _no_array(view, error_type)
    for failed in view.uncaught:
        raised = failed.raised
        if raised.type in _NEEDS_A_VALUE or _ABOUT_SHAPES in raised.message:
            yield from _tracer_for_value(view, failed)


def _no_array(view: CallView, error_type: str) -> Iterator[Found]:
    """For `Argument 'sin' of type <class 'str'> is not a valid JAX type`, which does not name the argument."""
    for tree, is_residual in ((view.call.primals, False), *((fwd.residuals, True) for fwd in view.fwds)):
        for path, type_name in _leaves(tree, "static"):
            spot = view.program.definition(view.call.function.code)
            where = f"the argument {path} of {view.name}"
            fix = _static(view, [path])
            defined = view.program.class_definition(type_name)
            if defined is not None:  # arrays in an object that JAX does not know
                spot, fix = defined, Fix("register it with JAX", f"jax.tree_util.register_dataclass({type_name})")
            if is_residual and defined is None:
                spot = view.program.returning(view.fwd.code if view.fwd else None)
                where = f"the residual {path} that {view.fwd_name} returns".replace("  ", " ")
                fix = Fix("keep it out of the residuals: make it an argument in nondiff_argnums, or a global")
            yield view.finding(
                "VJP118", Severity.ERROR, spot, f"{where} is a {type_name}, which JAX cannot trace",
                f"Arguments and residuals must be pytrees of arrays and numbers. JAX raised {error_type}.",
                fix=fix, phase="fwd" if is_residual else "call", path=path, got=type_name,
            )  # fmt: skip
            return


def _tracer_for_value(view: CallView, failed: Failed) -> Iterator[Found]:
    """A Python number was passed, and is a tracer where the program needs its value."""
    residuals = view.fwds[-1].residuals if view.fwds and failed.phase == "bwd" else None
    python_paths = [path for path, _ in _leaves(residuals or view.call.primals, "Python")]
    place = failed.raised.place
    text = view.program.sources.text_of(place.filename).text if place else ""
    names_on_line = bindings.names_on(text, place.line) if place else set()
    paths = [path for path in python_paths if wording.argument(path) in names_on_line] or python_paths
    if not paths:
        return
    where = f"residual {wording.listed(paths)}" if residuals else wording.listed(paths)
    is_single = len(paths) == 1
    predicate = (
        "was given as a Python value, and is a tracer" if is_single else "were given as Python values, and are tracers"
    )
    yield view.finding(
        "VJP118", Severity.ERROR, view.program.spot(place),
        f"{where} of {view.name} {predicate} here",
        f"JAX traces every argument and every residual of a custom_vjp function, numbers too. It raised "
        f"{failed.raised.type}.",
        fix=Fix("make it an argument in nondiff_argnums, which bwd then takes first") if residuals
        else _static(view, paths),
        phase=failed.phase, path=paths[0],
    )  # fmt: skip


def _static(view: CallView, paths: Sequence[str]) -> Fix:
    """The fix that adds these arguments to nondiff_argnums."""
    names = list(dict.fromkeys(wording.argument(path) for path in paths))
    arguments = view.call.function.arguments
    static = {*(view.call.rule.nondiff_argnums if view.call.rule else ())}
    if not set(names) <= set(arguments):
        return Fix(f"add the position of {wording.listed(names)} to nondiff_argnums")
    static |= {arguments.index(name) for name in names}
    positions = f"({min(static)},)" if len(static) == 1 else str(tuple(sorted(static)))
    first = wording.listed(arguments[index] for index in sorted(static))
    return Fix(f"use @partial(jax.custom_vjp, nondiff_argnums={positions}), and take {first} first in bwd")


def _leaves(tree: Tree | None, note: str) -> Iterator[tuple[str, str]]:
    """Key path and type of the leaves whose note begins with this one."""
    if tree is not None:
        for path, array_type in tree.leaves:
            if array_type.note.startswith(note):
                yield path, array_type.text
