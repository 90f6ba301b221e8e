"""NAM201, NAM202 and VJP120, from the program's text alone, and so even if the program ended before a rule ran."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jaxvjp_magic import catalogue
from jaxvjp_magic.checks import called_names
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import found
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import bindings, overwrites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import Found, RecordView
    from jaxvjp_magic.source.overwrites import Overwriting
    from jaxvjp_magic.source.program import Program, Spot, Text

_TRANSFORMATIONS = {"vmap", "pmap", "shard_map", "partial"} | called_names.ANOTHER_FUNCTION
TWICE = 2
_SILENCES = re.compile(r"#\s*vjpcheck:\s*ignore\b\s*(?:\[(?P<codes>[^\]]*)\])?")


@check("NAM201")
def overwritten_names(record: RecordView) -> Iterator[Found]:
    """NAM201, for functions whose rules have not run; if one has run, `called_names` knows what its names mean."""
    program = record.program
    checked = program.sources.checked()
    ran = {view.name for view in record.calls if view.fwds or view.bwds or view.failures}
    for overwriting in overwrites.overwritings(checked.text):
        harmless = overwriting.transformation in called_names.SAME_FUNCTION
        if overwriting.name in ran or not (harmless or overwriting.transformation in _TRANSFORMATIONS):
            continue
        history = program.sources.history()
        rule = overwrites.registered([text.text for text in history], overwriting.name)
        if rule is None:
            continue
        spot = _spot(overwriting, checked, program)
        rule_at = program.spot_in(history[rule.rule_text], rule.rule_line)
        effect = "Both compute the same, so this is harmless." if harmless else "The rule has not run here."
        new = called_names.new_name(overwriting.name, overwriting.transformation, checked.text)
        yield found(
            "NAM201", Severity.NOTE if harmless else Severity.WARNING, spot,
            f"{overwriting.name} was overwritten; {rule.rule} calls it",
            f"{rule.rule} ({rule_at}) calls {overwriting.name}, and would get {overwriting.value} instead of the "
            f"custom_vjp function. {effect}",
            fix=called_names.keep_original(new, overwriting.value), function=overwriting.name, phase=rule.phase,
            expected="the custom_vjp function", got=overwriting.value, new_name=new,
        )  # fmt: skip


@check("NAM202")
def repeated_transformations(record: RecordView) -> Iterator[Found]:
    """NAM202: a cell transforms a function that another cell defines, so each run of the cell transforms it again."""
    program = record.program
    checked = program.sources.checked()
    for overwriting in overwrites.overwritings(checked.text):
        if overwriting.transformation not in _TRANSFORMATIONS:
            continue
        if overwriting.in_loop:
            yield _in_a_loop(overwriting, checked, record)
            continue
        if overwrites.is_bound_before(checked.text, overwriting.name, overwriting.line):
            continue
        history = program.sources.history()
        texts = [text.text for text in history]
        last = len(texts) - 1
        def_index = next((i for i in reversed(range(last)) if _defines(texts[i], overwriting.name, texts[last])), None)
        if def_index is None:
            continue
        times = 1 + sum(text == texts[last] for text in texts[def_index + 1 : last])
        is_repeated = times >= TWICE
        if not is_repeated and overwrites.registered(texts, overwriting.name) is not None:
            continue  # NAM201 reports it
        spot = _spot(overwriting, checked, program)
        new = called_names.new_name(overwriting.name, overwriting.transformation, texts[last])
        yield found(
            "NAM202", Severity.WARNING if is_repeated else Severity.NOTE, spot,
            f"{overwriting.transformation} has been applied to {overwriting.name} {times} times" if is_repeated
            else f"running this cell again applies {overwriting.transformation} to {overwriting.name} again",
            f"{overwriting.name} is defined in {history[def_index].source}, and this cell overwrites it with "
            f"{overwriting.value}. Each run of the cell transforms the result of the previous run.",
            fix=called_names.keep_original(new, overwriting.value), function=overwriting.name,
            got=overwriting.value, new_name=new,
        )  # fmt: skip


def _in_a_loop(overwriting: Overwriting, checked: Text, record: RecordView) -> Found:
    spot = _spot(overwriting, checked, record.program)
    new = called_names.new_name(overwriting.name, overwriting.transformation, checked.text)
    return found(
        "NAM202", Severity.ERROR if record.calls and record.uncaught else Severity.WARNING, spot,
        f"each iteration of the loop applies {overwriting.transformation} to {overwriting.name} again",
        f"{overwriting.name} is overwritten with {overwriting.value}, so each iteration transforms the result of the "
        "previous one.",
        fix=Fix("apply it once, before the loop, under another name", f"{new} = {overwriting.value}"),
        function=overwriting.name, got=overwriting.value,
    )  # fmt: skip


@check("NAM201")
def imported_names(record: RecordView) -> Iterator[Found]:
    """NAM201: an import below a custom_vjp function overwrites its name."""
    program = record.program
    checked = program.sources.checked()
    for name, renamed_import, *position in overwrites.imported_over(checked.text):
        spot = program.spot_in(checked, *position)
        yield found(
            "NAM201", Severity.WARNING, spot, f"{name} was overwritten by an import",
            f"{name} is a custom_vjp function that is defined above. Below the import, {name} is what was imported.",
            fix=Fix("import it under another name", renamed_import), function=name,
            expected="the custom_vjp function",
        )  # fmt: skip


@check("VJP120")
def repeated_tuples(record: RecordView) -> Iterator[Found]:
    """VJP120: an integer times the tuple that a pullback returns repeats the tuple, and raises nothing."""
    program = record.program
    checked = program.sources.checked()
    for name, text, *position in overwrites.repeated_pullbacks(checked.text):
        spot = program.spot_in(checked, *position)
        yield found(
            "VJP120", Severity.WARNING, spot, f"{name} returns a tuple, and {text} repeats it",
            "A pullback returns a tuple with one gradient for each primal, even if there is only one. An integer times "
            "a tuple repeats the tuple, and does not scale the gradient.",
            fix=Fix("unpack it first", f"(gradient,) = {name}(cotangent)"), function=name,
            phase="pullback", expected="an array", got="a tuple",
        )  # fmt: skip


def silent_comments(program: Program) -> Iterator[str]:
    """A note for each comment in the checked text that should silence findings, but names no code, or no known one."""
    text = program.sources.checked()
    for line, comment in bindings.comments(text.text) if "vjpcheck:" in text.text else ():
        match = _SILENCES.search(comment)
        if match is None:
            continue
        spot = program.spot_in(text, line)
        codes = [code.strip() for code in (match["codes"] or "").split(",") if code.strip()]
        if not codes:
            yield f"{spot}: the comment names no code, and silences nothing; as in # vjpcheck: ignore[VJP104]"
        for code in codes:
            if code.upper() not in catalogue.CATALOGUE:
                yield f"{spot}: the comment silences nothing: {catalogue.unknown_code_message(code)}"


def _defines(text: str, name: str, checked: str) -> bool:
    """Whether this is not the checked cell, and binds the name."""
    return text != checked and overwrites.is_bound_before(text, name, len(text) + 1)


def _spot(overwriting: Overwriting, checked: Text, program: Program) -> Spot:
    return program.spot_in(checked, overwriting.line, overwriting.start, overwriting.end)
