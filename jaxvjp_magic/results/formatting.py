"""From JAX's types and byte counts to the short forms that people write."""

from __future__ import annotations

import re

_SHORT = (("bfloat", "bf"), ("float", "f"), ("uint", "u"), ("int", "i"), ("complex", "c"))


def short_type(text: str) -> str:
    """JAX's short form of a type: `float32[10,3]` is `f32[10,3]`; other text stays."""
    match = re.match(r"(Ref\{)?(bfloat|float|uint|int|complex)(\d+\w*\[)", text)
    if not match or text.startswith("float0"):
        return text
    short = dict(_SHORT)[match[2]]
    return f"{match[1] or ''}{short}{text[match.start(3) :]}"


def size(count: int) -> str:
    """A byte count in words: `120 B`, `1.5 kB`, `36.0 GB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB", "PB"]
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004 (a kilobyte)
        value, units = value / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
