"""RES4xx: residuals that cost more than they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.record.calls import Unused
from jaxvjp_magic.results.formatting import size
from jaxvjp_magic.results.model import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.call_view import Case, Found
    from jaxvjp_magic.record.trees import ArrayType, Tree

LARGE = 1_000_000  # bytes: less is not worth a word
MOST_NAMED = 3
MANY = 8  # times the bytes of everything that is differentiated


def stacked_residuals(cases: Sequence[Case]) -> Iterator[Found]:
    """RES402: a pullback keeps a rule's residual once for each step of a loop, far more than the inputs."""
    inside: dict[int, list[Case]] = {}
    for case in cases:
        for around in case.ancestors() if case.fwds else ():
            inside.setdefault(around, []).append(case)
    for outer in cases:
        if not outer.forwards or outer.call.primals is None:
            continue
        limit = max(LARGE, MANY * _bytes(outer.call.primals))
        stacks = [kept for _, kept in outer.forwards[0].residuals.leaves if (kept.bytes or 0) >= limit]
        for stack in stacks:
            yield from _first_stacked(outer, inside.get(outer.call.id, ()), stack)


def unused_residuals(case: Case) -> Iterator[Found]:
    """RES401: fwd saves arrays of which bwd uses no value."""
    for event in case.call.events:
        if not isinstance(event, Unused) or case.fwd is None:
            continue
        total = sum(leaf.type.bytes or 0 for leaf in event.leaves)
        shown = [str(leaf) for leaf in event.leaves[:MOST_NAMED]]
        more = ", ..." if len(event.leaves) > len(shown) else ""
        first = event.leaves[0]
        yield case.finding(
            "RES401", Severity.NOTE, case.program.returning(case.fwd.code),
            f"{case.fwd_name} saves {', '.join(shown)}{more}, and {case.bwd_name} uses no value of it",
            f"What fwd saves is kept until bwd has run, here {size(total)} for nothing.",
            fix="leave it out of the residuals; a shape or a dtype is known without the array",
            phase="fwd", path=first.path, got=str(first.type),
        )  # fmt: skip


def large_residuals(case: Case) -> Iterator[Found]:
    """RES404: one residual is many times larger than everything that goes in and comes out."""
    for fwd in case.fwds[:1]:
        around = _bytes(case.call.primals) + _bytes(fwd.output)
        if fwd.residuals is None or case.fwd is None:
            continue
        for path, one in fwd.residuals.leaves:
            if (one.bytes or 0) >= max(LARGE, MANY * around):
                yield case.finding(
                    "RES404", Severity.NOTE, case.program.returning(case.fwd.code),
                    f"the residual {path}".rstrip() + f" of {case.name} is {one.text}: {size(one.bytes or 0)}",
                    f"What {case.name} takes and returns has {size(around)}. The residual is kept until bwd has run.",
                    fix=f"save what it is made of, and let {case.bwd_name} compute it again",
                    phase="fwd", path=path, got=one.text,
                )  # fmt: skip


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
    if residuals is None or not stack.shape or any(one == stack for _, one in residuals.leaves):
        return []
    return [path for path, one in residuals.leaves if one.shape == stack.shape[1:] and one.dtype == stack.dtype]


def _bytes(tree: Tree | None) -> int:
    return tree.bytes if tree else 0
