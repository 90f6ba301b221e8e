"""From a report to JSON, schema 1, and back. The JSON may come from anyone, so all of it is checked."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, NoReturn, TypeVar

from jaxvjp_magic.results.model import (
    Call,
    Finding,
    Leaf,
    NotChecked,
    Omitted,
    ProgramError,
    ReportData,
    Severity,
    Snippet,
)

SCHEMA = 1
MOST_CHARACTERS = 200_000_000
MOST_ENTRIES = 500_000  # of any list
LONGEST_STRING = 1_000_000
LARGEST_NUMBER = 2**63
_LEAVES = "Leaves | None"

R = TypeVar("R", bound=ReportData)

_PHASES = ("primals", "nondiff", "outputs", "fwd_outputs", "residuals", "cotangents_in", "cotangents_out")
_ALWAYS_WRITTEN = {"id", "parent", "count", "path", "type"}


def write(report: ReportData) -> str:
    """The report as one line of JSON; absent and empty keys are left out."""
    data = {"schema": SCHEMA, "jax": report.jax, "ok": report.ok}
    if report.error is not None:
        data["error"] = _compact(report.error)
    if report.not_checked:
        data["not_checked"] = [_compact(entry) for entry in report.not_checked]
    data["findings"] = [_compact(finding) for finding in report.findings]
    data["calls"] = [_compact(call) for call in report.calls]
    if report.silenced:
        data["silenced"] = [_compact(finding) for finding in report.silenced]
    if report.notes:
        data["notes"] = list(report.notes)
    if report.omitted is not None:
        data["omitted"] = _compact(report.omitted)
    if not report.complete:
        data["complete"] = False
    return json.dumps(data, ensure_ascii=False)


def _compact(item: Any) -> dict[str, Any]:
    """A dataclass as a dict without what does not apply.

    Values equal to their field's default are left out. Fields without a default
    are always written, and so are those in which 0 or "" has a meaning. A phase
    that did not run has no key; one that ran without leaves is null.
    """
    data: dict[str, Any] = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if field.name in _PHASES and value is not None:
            data[field.name] = [_compact(leaf) for leaf in value] or None
        elif dataclasses.is_dataclass(value):
            data[field.name] = _compact(value)
        elif field.name in _ALWAYS_WRITTEN or value != field.default:
            data[field.name] = value
    return data


def read(text: str, make: type[R]) -> R:
    """The report, as a `make`; raises ValueError, in one line, if the text is not a report."""
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
        return _report(data, make)
    except _DamagedError as error:
        message = f"a damaged vjpcheck report: {error}"
        raise ValueError(message) from None


class _DamagedError(Exception):
    """What is wrong, in one line."""


def _reject(where: str, problem: str) -> NoReturn:
    message = f"{where} {problem}"
    raise _DamagedError(message)


def _report(data: dict[str, Any], make: type[R]) -> R:
    for key in ("findings", "calls"):
        if key not in data:
            _reject(key, "is missing")
    report = make(
        jax=_string("jax", data.get("jax", "")),
        findings=tuple(
            _finding(f"findings[{i}]", entry) for i, entry in enumerate(_list("findings", data["findings"]))
        ),
        calls=tuple(_load(Call, f"calls[{i}]", entry) for i, entry in enumerate(_list("calls", data["calls"]))),
        error=_load(ProgramError, "error", data["error"]) if data.get("error") is not None else None,
        notes=tuple(_string("notes", note) for note in _list("notes", data.get("notes", []))),
        omitted=_load(Omitted, "omitted", data["omitted"]) if data.get("omitted") is not None else None,
        not_checked=tuple(
            _load(NotChecked, f"not_checked[{i}]", entry)
            for i, entry in enumerate(_list("not_checked", data.get("not_checked", [])))
        ),
        complete=_value("complete", data.get("complete", True), "bool"),
        silenced=tuple(
            _finding(f"silenced[{i}]", entry) for i, entry in enumerate(_list("silenced", data.get("silenced", [])))
        ),
    )
    seen: set[int] = set()
    for i, call in enumerate(report.calls):
        if call.id < 1 or call.id in seen:
            _reject(f"calls[{i}].id", "is not a new number")
        if not 0 <= call.parent < call.id:  # a call comes after its caller
            _reject(f"calls[{i}].parent", "is not a call above it")
        seen.add(call.id)
    for i, finding in enumerate(report.findings):
        if any(effect == i or not 0 <= effect < len(report.findings) for effect in finding.cause_of):
            _reject(f"findings[{i}].cause_of", "names a finding that does not exist")
    return report


def _finding(where: str, data: Any) -> Finding:
    if isinstance(data, dict):
        if data.get("severity") not in list(Severity):
            _reject(f"{where}.severity", f"is not one of {', '.join(Severity)}")
        data = {"title": "", "message": "", **data}
    finding: Finding = _load(Finding, where, data)
    return dataclasses.replace(finding, severity=Severity(finding.severity))


def _load(cls: Any, where: str, data: Any) -> Any:
    """A dataclass from a dict; each field is checked against its type."""
    if not isinstance(data, dict):
        _reject(where, "is not an object")
    values = {}
    for field in dataclasses.fields(cls):
        if field.name in data:
            values[field.name] = _value(f"{where}.{field.name}", data[field.name], str(field.type))
        elif field.default is dataclasses.MISSING:
            _reject(f"{where}.{field.name}", "is missing")
    return cls(**values)


def _value(where: str, value: Any, type_name: str) -> Any:
    if type_name == _LEAVES:  # a phase that ran without leaves is null
        return tuple(
            _load(Leaf, f"{where}[{i}]", item) for i, item in enumerate(_list(where, [] if value is None else value))
        )
    if value is None and type_name.endswith("| None"):
        return None
    type_name = type_name.removesuffix(" | None")
    if type_name == "Snippet":
        return _load(Snippet, where, value)
    if type_name == "tuple[int, ...]":
        return tuple(_number(where, item) for item in _list(where, value))
    if type_name == "bool":
        return value if isinstance(value, bool) else _reject(where, "is neither true nor false")
    return _number(where, value) if type_name == "int" else _string(where, value)


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        _reject(where, "is not a list")
    if len(value) > MOST_ENTRIES:
        _reject(where, f"has {len(value):,} entries, more than {MOST_ENTRIES:,}")
    return value


def _number(where: str, value: Any) -> int:
    if type(value) is not int or abs(value) > LARGEST_NUMBER:
        _reject(where, "is not an integer")
    return value


def _string(where: str, value: Any) -> str:
    if not isinstance(value, str):
        _reject(where, "is not a string")
    if len(value) > LONGEST_STRING:
        _reject(where, f"has {len(value):,} characters, more than {LONGEST_STRING:,}")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        _reject(where, "has half of a surrogate pair")
    return value
