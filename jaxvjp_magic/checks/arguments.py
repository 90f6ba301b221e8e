"""VJP115 to VJP118: which values JAX differentiates or traces, and which it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.call_view import Found, role
from jaxvjp_magic.record.calls import Dropped
from jaxvjp_magic.record.facts import ClosedOver
from jaxvjp_magic.results.model import Finding, Severity
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.call_view import Case
    from jaxvjp_magic.record.calls import Failed
    from jaxvjp_magic.record.facts import Fact
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.source.program import Program

_NEEDS_A_VALUE = {
    "TracerBoolConversionError", "TracerIntegerConversionError", "ConcretizationTypeError",
    "NonConcreteBooleanIndexError",
}  # fmt: skip
_ABOUT_SHAPES = "Shapes must be 1D sequences"
_NO_TYPE = "is not a valid JAX type"


def needed_gradients_are_returned(case: Case) -> Iterator[Found]:
    """VJP115: bwd returns None for what is differentiated, and the gradient is zero without a word."""
    for event in case.call.events:
        if not isinstance(event, Dropped) or case.bwd is None:
            continue
        for path in event.paths:
            yield case.finding(
                "VJP115", Severity.WARNING, case.returned(path),
                f"{case.bwd_name} returns None for {path}, which is being differentiated",
                f"The output of {case.name} depends on {path}. JAX takes None for zeros, and says nothing.",
                fix=f"return its cotangent; where zeros are meant, say so:  jnp.zeros_like({path})",
                phase="bwd", path=path, got="None",
            )  # fmt: skip


def closed_over_values(facts: Sequence[Fact], cases: Sequence[Case], program: Program) -> Iterator[Found]:
    """VJP116: where an exception ended the program, the differentiated value that a rule closes over."""
    for fact in facts:
        case = next((one for one in cases if one.call.function is getattr(fact, "function", None)), None)
        if not isinstance(fact, ClosedOver) or case is None:
            continue
        if not (case.is_part_of_an_error or (case.context.has_leaked and fact.is_differentiated)):
            continue
        rule, spot = role(fact.rule, fact.phase, fact.function), program.use_of(fact.rule.code, fact.name)
        arguments = ", ".join((fact.name, *case.call.function.arguments))
        yield Found(
            Finding(
                "VJP116", Severity.ERROR, f"{rule} closes over {fact.name}, which is being differentiated",
                f"A rule returns cotangents for the arguments of {fact.function.name}. {fact.name} is none of them, so "
                "its gradient has no way back; JAX raises UnexpectedTracerError and names no variable.",
                fix=f"make it an argument, and return its cotangent too:  def {fact.function.name}({arguments}): ...",
                function=fact.function.name, line=spot.line, source=spot.source, snippet=spot.snippet,
                phase=fact.phase, path=fact.name, calls=(case.call.id,),
            ),
            case,
        )  # fmt: skip
        return


def static_arguments_are_static(case: Case) -> Iterator[Found]:
    """VJP117: an array of JAX, or a tracer, in nondiff_argnums."""
    if not case.call.arrays:
        return
    names = wording.listed(case.call.arrays)
    are = "is an array" if len(case.call.arrays) == 1 else "are arrays"
    raised = next((one.raised for one in case.uncaught if "nondiff_argnums" in one.raised.message), None)
    effect = f"JAX raised {raised.type}" if raised else "In eager mode that works; below jit, vmap or grad JAX raises"
    yield case.finding(
        "VJP117", Severity.ERROR if raised else Severity.NOTE, case.program.definition(case.call.function.code),
        f"{names} of {case.name} {are}, and in nondiff_argnums",
        f"What stands in nondiff_argnums is no part of what JAX traces and differentiates. {effect}.",
        fix=f"leave {names} out of nondiff_argnums; the bwd rule returns its cotangent, or None where it needs none",
        phase="call", path=case.call.arrays[0],
    )  # fmt: skip


def python_values_stay_python(case: Case) -> Iterator[Found]:
    """VJP118: a Python value that the program needs as one is an argument or a residual, and so a tracer."""
    kind = next((kind for kind, message in case.context.uncaught if _NO_TYPE in message), "")
    if kind:
        yield from _no_array(case, kind)
    for failed in case.uncaught:
        raised = failed.raised
        if raised.type in _NEEDS_A_VALUE or _ABOUT_SHAPES in raised.message:
            yield from _tracer_for_value(case, failed)


def _no_array(case: Case, raised: str) -> Iterator[Found]:
    """`Argument 'sin' of type <class 'str'> is not a valid JAX type`, without a word of which argument."""
    for tree, fwd in ((case.call.primals, False), *((fwd.residuals, True) for fwd in case.fwds)):
        for path, kind in _leaves(tree, "static"):
            spot = case.program.definition(case.call.function.code)
            where, fix = f"the argument {path} of {case.name}", f"name its position in nondiff_argnums of {case.name}"
            defined = case.program.class_definition(kind)
            if defined is not None:  # arrays in an object that JAX does not know
                spot, fix = defined, f"let JAX know it:  jax.tree_util.register_dataclass({kind})"
            if fwd and defined is None:
                spot = case.program.returning(case.fwd.code if case.fwd else None)
                where = f"the residual {path} that {case.fwd_name} returns".replace("  ", " ")
                fix = "keep it out of the residuals: let it be an argument in nondiff_argnums, or a global"
            yield case.finding(
                "VJP118", Severity.ERROR, spot, f"{where} is a {kind}, which is nothing that JAX can trace",
                f"Arguments and residuals are pytrees of arrays and numbers; JAX raised {raised}.",
                fix=fix, phase="fwd" if fwd else "call", path=path, got=kind,
            )  # fmt: skip
            return


def _tracer_for_value(case: Case, failed: Failed) -> Iterator[Found]:
    """A number, given as Python's, that is a tracer where the program asks for its value."""
    residuals = case.fwds[-1].residuals if case.fwds and failed.phase == "bwd" else None
    found = list(_leaves(residuals or case.call.primals, "Python"))
    place = failed.raised.place
    text = case.program.sources.text_of(place.filename).text if place else ""
    on_line = bindings.names_on(text, place.line) if place else set()
    named = [path for path, _ in found if path.split("[")[0].split(".")[0] in on_line] or [path for path, _ in found]
    if not named:
        return
    where = f"residual {wording.listed(named)}" if residuals else wording.listed(named)
    yield case.finding(
        "VJP118", Severity.ERROR, case.program.spot(place),
        f"{where} of {case.name} was given as a Python value, and is a tracer here",
        f"Every argument of a custom_vjp function and every residual is traced, numbers too; "
        f"JAX raised {failed.raised.type}.",
        fix="let it be an argument in nondiff_argnums, which the bwd rule then takes first" if residuals
        else f"name the position of {wording.listed(named)} in nondiff_argnums",
        phase=failed.phase, path=named[0],
    )  # fmt: skip


def _leaves(tree: Tree | None, note: str) -> Iterator[tuple[str, str]]:
    """Path and type of the leaves with such a note."""
    if tree is not None:
        for path, one in tree.leaves:
            if one.note.startswith(note):
                yield path, one.text
