"""Exceptions that end the program outside of any call: what the line that raised says about the names in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic import syntax
from jaxvjp_magic.checks.case import Found
from jaxvjp_magic.report import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.sources import Program
    from jaxvjp_magic.tracing.facts import ErrorFact


def wrong_use(error: ErrorFact | None, program: Program) -> Iterator[Found]:
    """NAM204 and VJP109, for the exception that ended the program."""
    if error is None or error.raised.place is None:
        return
    place = error.raised.place
    text = program.sources.text_of(place.filename).text
    for name in syntax.called_names(text, place.line):
        if name in error.not_callable:
            yield from _overwritten_by_a_result(name, error, program)
            return
    for name in syntax.names_with_attribute(text, place.line, "defvjp"):
        if name in error.transformed:
            yield _decorated_in_the_wrong_order(name, error, program)
            return


def _overwritten_by_a_result(name: str, error: ErrorFact, program: Program) -> Iterator[Found]:
    """`grad = grad(f)(x)`: an import from jax, and an assignment that reads the name it writes."""
    place = error.raised.place
    if place is None:
        return
    for text in program.sources.searched(place.filename):
        for binding in syntax.bindings(text.text, name):
            if binding.value and syntax.uses(binding.value, name):
                spot = program.spot_in(text, binding.line, binding.start, binding.end)
                message = f"{name} is {error.not_callable[name]} since then, and {program.spot(place)} calls it."
                yield Found(
                    Finding(
                        "NAM204", Severity.ERROR, f"{name} was overwritten by a result of its own", message,
                        f"keep the original name:  {name}_result = {binding.value}", name, spot.line, spot.source,
                        "call", "", "a function", error.not_callable[name], spot.snippet,
                    ),
                    None,
                )  # fmt: skip
                return


def _decorated_in_the_wrong_order(name: str, error: ErrorFact, program: Program) -> Found:
    made_by = error.transformed[name]
    spot = program.spot(error.raised.place)
    for text in program.sources.searched(error.raised.place.filename if error.raised.place else ""):
        definition = next((one for one in syntax.bindings(text.text, name) if one.is_definition), None)
        if definition is not None:
            spot = program.spot_in(text, definition.first_line)
            break
    return Found(
        Finding(
            "VJP109", Severity.ERROR, f"{name} is no custom_vjp function: {made_by} is around it",
            f"defvjp belongs to the custom_vjp object, and {name} is what {made_by} made of it.",
            f"let custom_vjp be the outermost, call {name}.defvjp(...), and apply {made_by} where {name} is used",
            name, spot.line, spot.source, "call", "", "a custom_vjp function", made_by, spot.snippet,
        ),
        None,
    )  # fmt: skip
