"""RES4xx: residuals that cost more than they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.report import Severity, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.case import Case, Found
    from jaxvjp_magic.tracing.facts import ArrayType, Tree

LARGE = 1_000_000  # bytes: less is not worth a word
MANY = 8  # times the bytes of everything that is differentiated


def stacked_residuals(cases: Sequence[Case]) -> Iterator[Found]:
    """RES402: a pullback keeps a rule's residual once for each step of a loop, far more than the inputs."""
    for outer in cases:
        if not outer.forwards or outer.call.primals is None:
            continue
        limit = max(LARGE, MANY * _bytes(outer.call.primals))
        stacks = [kept for kept in outer.forwards[0].residuals.types if (kept.bytes or 0) >= limit]
        rules = [case for case in cases if outer.call.id in case.ancestors() and case.fwds]
        for stack in stacks:
            yield from _first_stacked(outer, rules, stack)


def _first_stacked(outer: Case, rules: Sequence[Case], stack: ArrayType) -> Iterator[Found]:
    for case in rules:
        paths = _unstacked(case.fwds[0].residuals, stack)
        if not paths or not stack.shape:
            continue
        name = " or ".join(f"the residual {path}".rstrip() for path in paths)  # the types alone do not tell which
        one = f"{stack.dtype}[{','.join(map(str, stack.shape[1:]))}]"
        yield case.finding(
            "RES402", Severity.NOTE, case.program.returning(case.fwd.code if case.fwd else None),
            f"{name} of {case.name}, {one}, is kept {stack.shape[0]} times: {size(stack.bytes or 0)}",
            f"The pullback of {outer.name} keeps one for each step, {stack.text}; what {outer.name} takes has "
            f"{size(_bytes(outer.call.primals))}. What bwd can compute again need not be saved.",
            phase="fwd", path=paths[-1], got=stack.text,
        )  # fmt: skip
        return


def _unstacked(residuals: Tree | None, stack: ArrayType) -> list[str]:
    """The residuals of one step that the stack may be made of."""
    if residuals is None or not stack.shape:
        return []
    pairs = zip(residuals.paths, residuals.types, strict=True)
    return [path for path, one in pairs if one.shape == stack.shape[1:] and one.dtype == stack.dtype]


def _bytes(tree: Tree | None) -> int:
    return sum(one.bytes or 0 for one in tree.types) if tree else 0
