"""What the names meant on the line where the program ended in an exception."""

from __future__ import annotations

import sys
from typing import Any

from jaxvjp_magic.tracing.facts import ErrorFact
from jaxvjp_magic.tracing.frames import describe_error, is_user_code


def error_fact(error: BaseException | None) -> ErrorFact | None:
    """The exception with the globals of the innermost user's frame; None where jax was never imported."""
    if error is None or "jax" not in sys.modules:
        return None
    names, entry = {}, error.__traceback__
    while entry is not None:
        if is_user_code(entry.tb_frame.f_code.co_filename):
            names = entry.tb_frame.f_globals
        entry = entry.tb_next
    return ErrorFact(describe_error(error), *_meanings(names))


def _meanings(names: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    from jaxvjp_magic.tracing import functions, jax_internals
    from jaxvjp_magic.tracing.array_types import describe

    not_callable, transformed = {}, {}
    for name, value in list(names.items()):
        if name.startswith("__"):
            continue
        if not callable(value):
            not_callable[name] = f"a {describe(value)}"
        elif not isinstance(value, jax_internals.CustomVjp):
            inner = functions.below_transformations(value)
            if isinstance(inner, jax_internals.CustomVjp):
                transformed[name] = jax_internals.transformation_name(value) or describe(value)
    return not_callable, transformed
