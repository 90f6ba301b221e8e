"""NAM204, VJP109 and others: from the exception that ended the program, and the names on its line, to findings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import found
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.record.calls import Place
    from jaxvjp_magic.record.record import ErrorFact
    from jaxvjp_magic.source.program import Program


_ABOUT_A_TUPLE = re.compile(r"'tuple'|<class 'tuple'>|multiply sequence|got tuple\b")


@check("VJP124", of_each_call=True)
def gradients_of_scalars(view: CallView) -> Iterator[Found]:
    """VJP124: `jax.grad` of a function that returns an array."""
    message = next((message for _, message in view.record.uncaught if "only defined for scalar-output" in message), "")
    output = view.forwards[0].output if view.forwards else None
    if not message or output is None or view.call.kind not in ("grad", "value_and_grad") or view.pullbacks:
        return
    if len(output.leaves) == 1 and output.leaves[0].type.shape == ():
        return
    yield view.finding(
        "VJP124", Severity.ERROR, view.program.spot(view.call.place),
        f"{view.call.kind} of {view.name}, which returns {output}: jax.{view.call.kind} needs a scalar output",
        f"{view.name} was called with {wording.typed(view.call.primals)}.",
        fix=Fix(
            f"reduce the output, as in {view.name}(...).sum(); or use jax.vmap(jax.grad(f)) for one gradient per "
            "example, jax.jacrev(f) for the Jacobian"
        ),
        phase="forward", expected="float32[]", got=str(output),
    )  # fmt: skip


@check("VJP114", of_each_call=True)
def zero_size_gradients(view: CallView) -> Iterator[Found]:
    """VJP114, as an error: the program computes with the float0 gradient of an integer, or a bwd rule with a float0."""
    message = next((message for _, message in view.record.uncaught if "float0" in message), "")
    if message and view.is_custom:
        yield from _zero_size_cotangent(view)
    primals = view.call.primals
    results = [pullback.result for pullback in view.pullbacks if pullback.result is not None]
    if not message or primals is None or not results or view.is_custom:
        return
    for path, array_type in primals.leaves:
        if array_type.is_integer:
            yield view.finding(
                "VJP114", Severity.ERROR, view.program.spot(view.call.place),
                f"the gradient of {view.name} with respect to {path} is float0, because {path} is {array_type.text}",
                "An integer has no derivative, so the pullback returns a float0 for it, which no arithmetic accepts. "
                "That ended the program.",
                fix=Fix("differentiate with respect to the floats only", _vjp_of_floats(view)),
                phase="pullback", path=path, got=array_type.text,
            )  # fmt: skip
            return


def _vjp_of_floats(view: CallView) -> str:
    """`jax.vjp(lambda x: f(x, n), x)`, with the names of the arguments."""
    primals = view.call.primals
    if primals is None or len(primals.names) != len(primals.leaves):  # a container among them
        return ""
    pairs = zip(primals.names, primals.leaves, strict=True)
    floats = ", ".join(name for name, leaf in pairs if not leaf.type.is_integer)
    return f"jax.vjp(lambda {floats}: {view.name}({', '.join(primals.names)}), {floats})" if floats else ""


def _zero_size_cotangent(view: CallView) -> Iterator[Found]:
    """A bwd rule computes with the float0 cotangent of an integer output."""
    failed = next(
        (failure for failure in view.uncaught if failure.phase == "bwd" and "float0" in failure.raised.message), None
    )
    output = view.fwds[-1].output if view.fwds else None
    integers = [leaf for leaf in output.leaves if leaf.type.is_integer] if output else []
    if failed is None or not integers:
        return
    path, got = integers[0]
    output_name = f"the output {path} of {view.name}" if path else f"the output of {view.name}"
    yield view.finding(
        "VJP114", Severity.ERROR, view.program.spot(failed.raised.place),
        f"{view.bwd_name} computes with a float0: {output_name} is {got}",
        f"An integer has no derivative, so {view.bwd_name} gets a float0 as its cotangent, which no arithmetic "
        f"accepts. JAX raised {failed.raised.type}.",
        fix=Fix(f"use only the cotangents of the float outputs in {view.bwd_name}"),
        phase="bwd", path=path, got=str(got),
    )  # fmt: skip


@check("NAM204", "VJP109", "VJP114", "VJP120", only_unexplained=True)
def wrong_use(record: RecordView) -> Iterator[Found]:
    """NAM204, VJP109, VJP114 and VJP120, for the exception that ended the program."""
    error, program = record.error, record.program
    if error is None or error.raised.place is None:
        return
    has_returned = not any(failed.phase == "pullback" for view in record.calls for failed in view.uncaught)
    if has_returned and _ABOUT_A_TUPLE.search(error.raised.message):
        yield from _tuple_as_array(error, error.raised.place, program)
    place = error.raised.place
    text = program.sources.text_of(place.filename).text
    if "requires real- or complex-valued inputs" in error.raised.message:
        yield _gradient_of_an_integer(error, program)
    for name in sorted(bindings.names_on(text, place.line) & error.pullbacks):
        yield from _overwritten_by_its_pullback(name, error, program)
    for name in bindings.called_names(text, place.line):
        if name in error.not_callable:
            yield from _overwritten_by_a_result(name, error, program)
            return
    for name in bindings.names_with_attribute(text, place.line, "defvjp"):
        if name in error.transformed:
            yield _decorated_in_the_wrong_order(name, error, program)
            return


def _overwritten_by_a_result(name: str, error: ErrorFact, program: Program) -> Iterator[Found]:
    """NAM204: `grad = grad(f)(x)` overwrites an import from jax with its result."""
    place = error.raised.place
    if place is None:
        return
    for text in program.sources.searched(place.filename):
        for binding in bindings.bindings(text.text, name):
            if binding.value and bindings.uses(binding.value, name):
                spot = program.spot_in(text, binding.line, binding.start, binding.end)
                message = f"It is now {error.not_callable[name]}, and {program.spot(place)} calls it."
                yield found(
                    "NAM204", Severity.ERROR, spot, f"{name} was overwritten by a result of its own", message,
                    fix=Fix("give the result its own name", f"{name}_result = {binding.value}"), function=name,
                    phase="call", expected="a function", got=error.not_callable[name],
                )  # fmt: skip
                return


def _overwritten_by_its_pullback(name: str, error: ErrorFact, program: Program) -> Iterator[Found]:
    """NAM204: after `y, f = jax.vjp(f, x)`, the next `jax.vjp(f, x)` differentiates the pullback."""
    for text in program.sources.searched(error.raised.place.filename if error.raised.place else ""):
        for binding in bindings.bindings(text.text, name):
            if binding.whole and bindings.uses(binding.whole, name):
                spot = program.spot_in(text, binding.line, binding.start, binding.end)
                yield found(
                    "NAM204", Severity.ERROR, spot, f"{name} was overwritten by its own pullback",
                    f"{name} is what {binding.whole} returned, and {program.spot(error.raised.place)} takes it for "
                    "the function.",
                    fix=Fix("give the pullback its own name", f"pullback = {binding.whole}[1]"), function=name,
                    phase="call", expected="the function", got="a pullback",
                )  # fmt: skip
                return


def _gradient_of_an_integer(error: ErrorFact, program: Program) -> Found:
    spot = program.spot(error.raised.place)
    type_text = error.raised.message.split("but got ", 1)[-1].split(". ", 1)[0]
    text = program.sources.text_of(error.raised.place.filename).text if error.raised.place else ""
    function = bindings.first_argument(text, error.raised.place.line, "grad") if error.raised.place else ""
    return found(
        "VJP114", Severity.ERROR, spot, f"the gradient with respect to an argument of type {type_text}",
        "An integer has no derivative. jax.grad differentiates with respect to the first argument, unless argnums "
        "says otherwise.",
        fix=Fix("pass a float, or choose another argument with argnums"), function=function,
        phase="forward", expected="a float", got=type_text,
    )  # fmt: skip


def _decorated_in_the_wrong_order(name: str, error: ErrorFact, program: Program) -> Found:
    made_by = error.transformed[name]
    spot = program.spot(error.raised.place)
    for text in program.sources.searched(error.raised.place.filename if error.raised.place else ""):
        definition = next((binding for binding in bindings.bindings(text.text, name) if binding.is_definition), None)
        if definition is not None:
            spot = program.spot_in(text, definition.first_line)
            break
    return found(
        "VJP109", Severity.ERROR, spot, f"{name} is not a custom_vjp function: {made_by} wraps it",
        f"defvjp is a method of the custom_vjp object, and {name} is what {made_by} returned.",
        fix=Fix(f"make custom_vjp the outermost, call {name}.defvjp(...), and apply {made_by} where {name} is used"),
        function=name, phase="call", expected="a custom_vjp function", got=made_by,
    )  # fmt: skip


def _tuple_as_array(error: ErrorFact, place: Place, program: Program) -> Iterator[Found]:
    """VJP120: `pullback(cotangent) * 2`, directly or through a name."""
    text = program.sources.text_of(place.filename)
    called_pullbacks = [name for name in bindings.called_names(text.text, place.line) if name in error.pullbacks]
    spot, pullback = program.spot(place), next(iter(called_pullbacks), "")
    for name in () if pullback else bindings.names_on(text.text, place.line) & error.tuples:
        for bound in bindings.bindings(text.text, name, place.line if error.is_in_function else None):
            called = bindings.called_names(bound.value, 1)
            if called and called[0] in error.pullbacks and bound.line <= place.line:
                spot, pullback = program.spot_in(text, bound.line, bound.start, bound.end), called[0]
    if pullback:
        yield found(
            "VJP120", Severity.ERROR, spot, f"{pullback} returns a tuple, with one gradient for each primal",
            f"It is used as an array ({program.spot(place)}), which raised {error.raised.type}. A pullback of one "
            "primal returns a tuple of one.",
            fix=Fix("unpack it", f"(gradient,) = {pullback}(cotangent)"), function=pullback,
            phase="pullback", expected="an array", got="a tuple",
        )  # fmt: skip
