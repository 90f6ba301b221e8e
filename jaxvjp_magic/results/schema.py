"""A report from its JSON, which may be anybody's: it is data, and is looked at before it is believed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NoReturn

from jaxvjp_magic.report import (
    SCHEMA,
    Call,
    Finding,
    Leaf,
    NotChecked,
    Omitted,
    ProgramError,
    Report,
    Severity,
    Snippet,
)

MOST_CHARACTERS = 200_000_000
MOST_ENTRIES = 500_000  # of any list
LONGEST_STRING = 1_000_000
LARGEST_NUMBER = 2**63
_LEAVES = "Leaves | None"


def read(text: str) -> Report:
    """The report; raises ValueError, in one line, for what is none."""
    if len(text) > MOST_CHARACTERS:
        message = f"not a vjpcheck report: {len(text):,} characters, more than {MOST_CHARACTERS:,}"
        raise ValueError(message)
    try:
        data = json.loads(text)
    except ValueError as error:
        message = f"not a vjpcheck report: {error}"
        raise ValueError(message) from None
    except RecursionError:
        message = "not a vjpcheck report: it is nested too deeply"
        raise ValueError(message) from None
    if not isinstance(data, dict) or type(data.get("schema")) is not int or data["schema"] != SCHEMA:
        message = f"not a vjpcheck report of schema {SCHEMA}"
        raise ValueError(message)
    try:
        return _report(data)
    except _DamagedError as error:
        message = f"a damaged vjpcheck report: {error}"
        raise ValueError(message) from None


class _DamagedError(Exception):
    """What is wrong, in one line."""


def _wrong(where: str, what: str) -> NoReturn:
    message = f"{where} {what}"
    raise _DamagedError(message)


def _report(data: dict[str, Any]) -> Report:
    for key in ("findings", "calls"):
        if key not in data:
            _wrong(key, "is missing")
    report = Report(
        jax=_string("jax", data.get("jax", "")),
        findings=tuple(_finding(f"findings[{i}]", one) for i, one in enumerate(_list("findings", data["findings"]))),
        calls=tuple(_load(Call, f"calls[{i}]", one) for i, one in enumerate(_list("calls", data["calls"]))),
        error=_load(ProgramError, "error", data["error"]) if data.get("error") is not None else None,
        notes=tuple(_string("notes", one) for one in _list("notes", data.get("notes", []))),
        omitted=_load(Omitted, "omitted", data["omitted"]) if data.get("omitted") is not None else None,
        not_checked=tuple(
            _load(NotChecked, f"not_checked[{i}]", one)
            for i, one in enumerate(_list("not_checked", data.get("not_checked", [])))
        ),
        complete=_value("complete", data.get("complete", True), "bool"),
        silenced=tuple(
            _finding(f"silenced[{i}]", one) for i, one in enumerate(_list("silenced", data.get("silenced", [])))
        ),
    )
    known: set[int] = set()
    for i, call in enumerate(report.calls):
        if call.id < 1 or call.id in known:
            _wrong(f"calls[{i}].id", "is no new number")
        if not 0 <= call.parent < call.id:  # a call stands below the one that it is part of
            _wrong(f"calls[{i}].parent", "is no call above it")
        known.add(call.id)
    for i, finding in enumerate(report.findings):
        if any(other == i or not 0 <= other < len(report.findings) for other in finding.cause_of):
            _wrong(f"findings[{i}].cause_of", "names a finding that is not there")
    return report


def _finding(where: str, data: Any) -> Finding:
    if isinstance(data, dict):
        if data.get("severity") not in list(Severity):
            _wrong(f"{where}.severity", f"is none of {', '.join(Severity)}")
        data = {"title": "", "message": "", **data}
    finding: Finding = _load(Finding, where, data)
    return dataclasses.replace(finding, severity=Severity(finding.severity))


def _load(cls: Any, where: str, data: Any) -> Any:
    """A dataclass from a dict, each field by its type."""
    if not isinstance(data, dict):
        _wrong(where, "is no object")
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _value(f"{where}.{field.name}", data[field.name], str(field.type))
        elif field.default is dataclasses.MISSING:
            _wrong(f"{where}.{field.name}", "is missing")
    return cls(**values)


def _value(where: str, value: Any, kind: str) -> Any:
    if kind == _LEAVES:  # a phase that ran without leaves is null
        return tuple(
            _load(Leaf, f"{where}[{i}]", one) for i, one in enumerate(_list(where, [] if value is None else value))
        )
    if value is None and kind.endswith("| None"):
        return None
    kind = kind.removesuffix(" | None")
    if kind == "Snippet":
        return _load(Snippet, where, value)
    if kind == "tuple[int, ...]":
        return tuple(_number(where, one) for one in _list(where, value))
    if kind == "bool":
        return value if isinstance(value, bool) else _wrong(where, "is neither true nor false")
    return _number(where, value) if kind == "int" else _string(where, value)


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        _wrong(where, "is no list")
    if len(value) > MOST_ENTRIES:
        _wrong(where, f"has {len(value):,} entries, more than {MOST_ENTRIES:,}")
    return value


def _number(where: str, value: Any) -> int:
    if type(value) is not int or abs(value) > LARGEST_NUMBER:
        _wrong(where, "is no whole number")
    return value


def _string(where: str, value: Any) -> str:
    if not isinstance(value, str):
        _wrong(where, "is no text")
    if len(value) > LONGEST_STRING:
        _wrong(where, f"has {len(value):,} characters, more than {LONGEST_STRING:,}")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        _wrong(where, "has half a character")
    return value
