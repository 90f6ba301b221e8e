"""The types of the public API, as mypy sees them; what is wrong is said to be, and unused ignores are errors.

Nothing here runs: `mypy` checks it.
"""

from __future__ import annotations

from typing import assert_type

from jaxvjp_magic import Call, Finding, Leaf, Report, Severity, vjpcheck

with vjpcheck(verify=True, ignore=("VJP104",), retrace="none", fail_on="error", libraries=True) as report:
    assert_type(report, Report)

assert_type(report.ok, bool)
assert_type(report.findings, tuple[Finding, ...])
assert_type(report.calls, tuple[Call, ...])
assert_type(report.to_json(), str)
assert_type(Report.from_json("{}"), Report)
report.raise_if("warning")

for finding in report.findings:
    assert_type(finding.severity, Severity)
    assert_type(finding.code, str)
    assert_type(finding.line, int | None)
    assert_type(finding.fix, str)
    assert_type(finding.cause_of, tuple[int, ...])

for call in report.calls:
    assert_type(call.primals, tuple[Leaf, ...] | None)
    assert_type(call.residual_bytes, int)


@vjpcheck
def step(x: float) -> float:
    """A checked function keeps its type."""
    return x


@vjpcheck(fail_on="error")
def another(x: float) -> str:
    """As above."""
    return str(x)


assert_type(step(1.0), float)
assert_type(another(1.0), str)

step("x")  # type: ignore[arg-type]
vjpcheck(verify="yes")  # type: ignore[call-overload]
vjpcheck(unknown=True)  # type: ignore[call-overload]
report.ok = True  # type: ignore[misc]
finding.title = ""  # type: ignore[misc]
