"""Takes the exception that ended the program, and gives what the names on its line meant, as an `ErrorFact`."""

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
    """The exception with the names in the innermost frame of the user's; None where jax was never imported."""
    if error is None or "jax" not in sys.modules:
        return None
    entry, raised = innermost(error), describe_error(error)
    if entry is None:
        return ErrorFact(raised)
    # Only what the line names: a session has many other objects, and some react when they are inspected.
    frame = entry.tb_frame
    named = _names_on(frame.f_code, entry.tb_lineno)
    not_callable, transformed = _meanings({name: frame.f_globals[name] for name in named if name in frame.f_globals})
    variables = {**frame.f_globals, **frame.f_locals}
    pullbacks = {name for name in (*frame.f_code.co_names, *frame.f_locals) if _is_pullback(variables.get(name))}
    tuples = {name for name in named if issubclass(type(variables.get(name)), tuple)}
    in_function = frame.f_code.co_name != "<module>"
    return ErrorFact(raised, not_callable, transformed, frozenset(pullbacks), frozenset(tuples), in_function)


def _is_pullback(value: Any) -> bool:
    from jaxvjp_magic.jax_compat import internals

    return not is_veiled(value) and internals.is_pullback(value)


def _names_on(code: types.CodeType, line: int) -> set[str]:
    """The names that are looked up on one line."""
    on_line = (op for op in dis.get_instructions(code) if op.positions and op.positions.lineno == line)
    return {op.argval for op in on_line if op.opname.startswith("LOAD_") and isinstance(op.argval, str)}


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
        elif not isinstance(value, internals.CUSTOM_VJPS):
            inner = callables.below_wrappers(value, until=internals.CUSTOM_VJPS)
            if isinstance(inner, internals.CUSTOM_VJPS):
                transformed[name] = unwrap.transformation_name(value) or describe(value)
    return not_callable, transformed
