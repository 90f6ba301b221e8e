"""What the names meant on the line where the program ended in an exception."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect.stack import describe_error, innermost
from jaxvjp_magic.introspect.static_attributes import attribute, is_veiled
from jaxvjp_magic.record.record import ErrorFact

if TYPE_CHECKING:
    import types


def error_fact(error: BaseException | None) -> ErrorFact | None:
    """The exception with the globals of the innermost user's frame; None where jax was never imported."""
    if error is None or "jax" not in sys.modules:
        return None
    entry, raised = innermost(error), describe_error(error)
    if entry is None:
        return ErrorFact(raised)
    # Only what the line names: a session has many other objects, some of which do not like to be looked at.
    frame = entry.tb_frame
    named = _names_on(frame.f_code, entry.tb_lineno)
    not_callable, transformed = _meanings({name: frame.f_globals[name] for name in named if name in frame.f_globals})
    known = {**frame.f_globals, **frame.f_locals}
    pullbacks = {name for name in (*frame.f_code.co_names, *frame.f_locals) if _is_pullback(known.get(name))}
    tuples = {name for name in named if issubclass(type(known.get(name)), tuple)}
    in_function = frame.f_code.co_name != "<module>"
    return ErrorFact(raised, not_callable, transformed, frozenset(pullbacks), frozenset(tuples), in_function)


def _is_pullback(value: Any) -> bool:
    from jaxvjp_magic.jax_compat import internals

    return not is_veiled(value) and internals.is_pullback(value)


def _names_on(code: types.CodeType, line: int) -> set[str]:
    """The names that are looked up on one line."""
    found = (one for one in dis.get_instructions(code) if one.positions and one.positions.lineno == line)
    return {one.argval for one in found if one.opname.startswith("LOAD_") and isinstance(one.argval, str)}


def _meanings(names: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    from jaxvjp_magic.introspect import callables, unwrap
    from jaxvjp_magic.introspect.avals import describe
    from jaxvjp_magic.jax_compat import internals

    not_callable, transformed = {}, {}
    for name, value in names.items():
        if is_veiled(value):
            continue
        if not callable(value):
            not_callable[name] = "an array" if attribute(value, "dtype") is not None else f"of type {describe(value)}"
        elif not isinstance(value, internals.CustomVjp):
            inner = callables.below_wrappers(value, until=internals.CustomVjp)
            if isinstance(inner, internals.CustomVjp):
                transformed[name] = unwrap.transformation_name(value) or describe(value)
    return not_callable, transformed
