"""RES4xx: residuals that cost more than they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks.register import check
from jaxvjp_magic.record.calls import Unused
from jaxvjp_magic.results.formatting import size
from jaxvjp_magic.results.model import Fix, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jaxvjp_magic.checks.view import CallView, Found, RecordView
    from jaxvjp_magic.record.trees import ArrayType, Tree

LARGE = 1_000_000  # bytes: less is not worth a word
MOST_NAMED = 3
MANY = 8  # times the bytes of everything that is differentiated


@check("RES402")
def stacked_residuals(record: RecordView) -> Iterator[Found]:
    """RES402: a pullback keeps a rule's residual once for each step of a loop, far more than the inputs."""
    inside: dict[int, list[CallView]] = {}
    for view in record.calls:
        for around in view.ancestors() if view.fwds else ():
            inside.setdefault(around, []).append(view)
    for outer in record.calls:
        if not outer.forwards or outer.call.primals is None:
            continue
        limit = max(LARGE, MANY * _bytes(outer.call.primals))
        stacks = [kept for _, kept in outer.forwards[0].residuals.leaves if (kept.bytes or 0) >= limit]
        for stack in stacks:
            yield from _first_stacked(outer, inside.get(outer.call.id, ()), stack)


@check("RES401", of_each_call=True)
def unused_residuals(view: CallView) -> Iterator[Found]:
    """RES401: fwd saves arrays of which bwd uses no value."""
    for event in view.call.events:
        if not isinstance(event, Unused) or view.fwd is None:
            continue
        total = sum(leaf.type.bytes or 0 for leaf in event.leaves)
        shown = [str(leaf) for leaf in event.leaves[:MOST_NAMED]]
        more = ", ..." if len(event.leaves) > len(shown) else ""
        first, their = event.leaves[0], "its value" if len(event.leaves) == 1 else "their values"
        yield view.finding(
            "RES401", Severity.NOTE, view.program.returning(view.fwd.code),
            f"{view.fwd_name} saves {', '.join(shown)}{more}, but {view.bwd_name} does not use {their}",
            f"Residuals are kept until bwd has run, here {size(total)} for nothing.",
            fix=Fix("save less: a shape or a dtype is known without the array"),
            phase="fwd", path=first.path, got=str(first.type),
        )  # fmt: skip


@check("RES404", of_each_call=True)
def large_residuals(view: CallView) -> Iterator[Found]:
    """RES404: one residual is many times larger than everything that goes in and comes out."""
    for fwd in view.fwds[:1]:
        around = _bytes(view.call.primals) + _bytes(fwd.output)
        if fwd.residuals is None or view.fwd is None:
            continue
        for path, one in fwd.residuals.leaves:
            if (one.bytes or 0) >= max(LARGE, MANY * around):
                yield view.finding(
                    "RES404", Severity.NOTE, view.program.returning(view.fwd.code),
                    f"the residual {path}".rstrip() + f" of {view.name} is {one.text}: {size(one.bytes or 0)}",
                    f"The arguments and the output of {view.name} have {size(around)}. Residuals are kept until bwd "
                    "has run.",
                    fix=Fix(f"save what it is computed from, and recompute it in {view.bwd_name}"),
                    phase="fwd", path=path, got=one.text,
                )  # fmt: skip


def _first_stacked(outer: CallView, rules: Sequence[CallView], stack: ArrayType) -> Iterator[Found]:
    for view in rules:
        paths = _unstacked(view.fwds[0].residuals, stack)
        if not paths or not stack.shape:
            continue
        name = " or ".join(f"the residual {path}".rstrip() for path in paths)  # the types alone do not tell which
        one = f"{stack.dtype}[{','.join(map(str, stack.shape[1:]))}]"
        yield view.finding(
            "RES402", Severity.NOTE, view.program.returning(view.fwd.code if view.fwd else None),
            f"{name} of {view.name}, {one}, is kept {stack.shape[0]} times: {size(stack.bytes or 0)}",
            f"The pullback of {outer.name} keeps one for each step, {stack.text}; the arguments of {outer.name} have "
            f"{size(_bytes(outer.call.primals))}. Do not save what bwd can recompute.",
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
