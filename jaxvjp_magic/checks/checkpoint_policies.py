"""RES405: from the names that policies of jax.checkpoint ask for to findings about those that nothing has."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import found
from jaxvjp_magic.record.facts import PolicyNames
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import Found, RecordView
    from jaxvjp_magic.record.calls import Place
    from jaxvjp_magic.source.program import Program, Spot


@check("RES405")
def names_that_nothing_has(record: RecordView) -> Iterator[Found]:
    """RES405: a policy asks for a name that no value has, in any function that it is used for."""
    facts = [fact for fact in record.facts if isinstance(fact, PolicyNames)]
    for asked in dict.fromkeys(fact.asked for fact in facts):
        of_policy = [fact for fact in facts if fact.asked == asked]
        present = sorted({name for fact in of_policy for name in fact.present})
        for name in sorted({*asked} - {*present}):
            alike = difflib.get_close_matches(name, present, 1)
            named = wording.listed(map(repr, present))
            there = f"The names in the function are {named}." if present else "The function has no checkpoint_name."
            if len(present) == 1:
                there = f"The only name in the function is {named}."
            yield found(
                "RES405", Severity.WARNING if alike else Severity.NOTE, _spot(name, of_policy[0].place, record.program),
                f"a policy of jax.checkpoint asks for {name!r}, but no value has this name",
                f"{there} JAX does not check names. It recomputes in the backward pass whatever it does not save.",
                fix=Fix("write", repr(alike[0])) if alike else Fix("name a value", f"checkpoint_name(value, {name!r})"),
                expected=wording.listed(present), got=name,
            )  # fmt: skip


def _spot(name: str, place: Place | None, program: Program) -> Spot:
    """Where the policy is written; where it is used, if that is not found."""
    for text in program.sources.searched(place.filename) if place is not None else ():
        for line, start, end in bindings.strings(text.text, name):
            return program.spot_in(text, line, start, end)
    return program.spot(place)
