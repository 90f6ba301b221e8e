"""The catalogue: from a code that a finding can have to its title, rank and documentation."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One code, which never changes, and its title.

    Of related findings, the one with the smallest rank is nearest to the cause.
    With `is_of_an_exception`, a finding of this code is an error only if an
    exception ended the program.
    """

    code: str
    title: str
    rank: int = 50
    is_of_an_exception: bool = False


_ALL = (
    Entry("NAM201", "a rule calls a name that has been overwritten", 0),
    Entry("NAM202", "a cell transforms a function of another cell, each time it is run", 4),
    Entry("NAM203", "a rule was defined again without defvjp", 3),
    Entry("NAM204", "a JAX name was overwritten by a result", 0, is_of_an_exception=True),
    Entry("NAM205", "a rule leaves a tracer in a global", 2),
    Entry("NAM206", "a rule reads a loop's variable after the loop", 3),
    Entry("NAM207", "a global was changed after a rule was traced with it", 61),
    Entry("NAM208", "a rule keeps state beside its residuals", 3),
    Entry("VJP101", "fwd's output is not the function's output", 10),
    Entry("VJP102", "fwd does not return a pair", 10),
    Entry("VJP103", "bwd's result does not have the structure of the arguments", 20),
    Entry("VJP104", "a cotangent from bwd does not have the shape of its argument", 20),
    Entry("VJP105", "a cotangent from bwd does not have the dtype of its argument", 21),
    Entry("VJP106", "the cotangent given to a pullback does not fit the output", 40, is_of_an_exception=True),
    Entry("VJP107", "a custom_vjp function has no rule", 5, is_of_an_exception=True),
    Entry("VJP108", "the arguments of a custom_vjp function do not fit its signature", 30, is_of_an_exception=True),
    Entry("VJP109", "defvjp on a transformed custom_vjp function", 5, is_of_an_exception=True),
    Entry("VJP110", "a rule raises", 30, is_of_an_exception=True),
    Entry("VJP111", "a differentiated function raises", 45, is_of_an_exception=True),
    Entry("VJP112", "a call of a custom_vjp function raises", 31, is_of_an_exception=True),
    Entry("VJP113", "a pullback raises", 46, is_of_an_exception=True),
    Entry("VJP114", "the gradient of an integer is float0", 28, is_of_an_exception=True),
    Entry("VJP115", "bwd returns None for what is differentiated", 23),
    Entry("VJP116", "a value that is differentiated is closed over", 4, is_of_an_exception=True),
    Entry("VJP117", "an array in nondiff_argnums", 6, is_of_an_exception=True),
    Entry("VJP118", "a Python value is traced", 7, is_of_an_exception=True),
    Entry("VJP119", "a rule does not take the arguments that JAX passes", 6),
    Entry("VJP120", "the tuple that a pullback returns is used as an array", 6, is_of_an_exception=True),
    Entry("VJP121", "an output is shared by all examples of a vmap", 12),
    Entry("VJP122", "a cotangent is not summed over the devices", 20, is_of_an_exception=True),
    Entry("VJP123", "residuals are unpacked in another order than packed", 8),
    Entry("VJP124", "the gradient of a function that is not scalar", 42, is_of_an_exception=True),
    Entry("VAL301", "fwd's value is not the function's", 12),
    Entry("VAL302", "bwd's gradient is not the derivative", 22),
    Entry("VAL303", "bwd does not use the incoming cotangent", 22),
    Entry("VAL304", "a gradient is NaN", 47),
    Entry("VAL305", "bwd is not linear in the incoming cotangent", 22),
    Entry("VAL306", "a linear map is not what JAX was told", 22),
    Entry("RES401", "a residual that bwd does not use", 60),
    Entry("RES402", "a residual is stacked over a loop", 60),
    Entry("RES403", "a large cotangent that is all zeros", 60),
    Entry("RES404", "a residual is far larger than what goes in and out", 60),
    Entry("RES405", "a checkpoint policy asks for a name that nothing has", 60),
)
CATALOGUE = {entry.code: entry for entry in _ALL}


@functools.cache
def _sections() -> dict[str, str]:
    """The sections of docs/rules.md by code. A wheel has that file beside this one."""
    folder = Path(__file__).parent
    text = next(
        (path.read_text() for path in (folder / "rules.md", folder.parent / "docs" / "rules.md") if path.exists()), ""
    )
    sections = re.split(r"^## (?=[A-Z]+\d+$)", text, flags=re.MULTILINE)[1:]
    # After the last code of a range comes a section about the whole range, under a heading of its own.
    return {
        part.split("\n", 1)[0]: re.split(r"^## ", part.split("\n", 1)[1], flags=re.MULTILINE)[0] for part in sections
    }


def section(code: str) -> str:
    """What docs/rules.md says about a code, as Markdown. Raises ValueError, in one line, for an unknown code."""
    (parsed,) = parse_codes(code) or (code,)
    if parsed not in CATALOGUE:
        raise ValueError(unknown_code_message(code))
    body = re.sub(r"```python (wrong|right)", r"*\1:*\n\n```python", _sections().get(parsed, ""))
    return f"## {parsed}\n\n{body.strip() or CATALOGUE[parsed].title}\n"


def summary(code: str) -> str:
    """The first paragraph of a code's section, as plain text; "" if the documentation is not installed."""
    paragraph = _sections().get(code, "").strip().split("\n\n", 1)[0]
    return re.sub(r"[*`]", "", paragraph)


def unknown_code_message(code: str) -> str:
    """One line about an unknown code, with the nearest known one."""
    digits = code.upper()[:3] + code.upper()[3:].translate(str.maketrans("OIL", "011"))
    suggestions = [digits] if digits in CATALOGUE else difflib.get_close_matches(code.upper(), CATALOGUE, n=1, cutoff=0)
    return f"unknown code {code}; did you mean {suggestions[0]}?" if suggestions else f"unknown code {code}"


def parse_codes(text: str) -> tuple[str, ...]:
    """`"VJP104,NAM201"` as codes; raises ValueError, in one line, for an unknown one."""
    codes = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    for code in codes:
        if code not in CATALOGUE:
            raise ValueError(unknown_code_message(code))
    return codes
