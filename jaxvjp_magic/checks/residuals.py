"""RES401, RES402 and RES404: from the residuals of calls to findings about memory that they waste."""

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

LARGE = 1_000_000  # bytes: smaller residuals are not reported
MOST_NAMED = 3
MANY = 8  # times the bytes of the call's primals


@check("RES402")
def stacked_residuals(record: RecordView) -> Iterator[Found]:
    """RES402: a pullback stacks a rule's residual over a loop, and the stack is far larger than the primals."""
    nested: dict[int, list[CallView]] = {}
    for view in record.calls:
        for ancestor in view.ancestors() if view.fwds else ():
            nested.setdefault(ancestor, []).append(view)
    for outer in record.calls:
        if not outer.forwards or outer.call.primals is None:
            continue
        limit = max(LARGE, MANY * _bytes(outer.call.primals))
        stacks = [residual for _, residual in outer.forwards[0].residuals.leaves if (residual.bytes or 0) >= limit]
        for stack in stacks:
            yield from _first_stacked(outer, nested.get(outer.call.id, ()), stack)


@check("RES401", of_each_call=True)
def unused_residuals(view: CallView) -> Iterator[Found]:
    """RES401: fwd saves arrays whose values bwd does not use."""
    for event in view.call.events:
        if not isinstance(event, Unused) or view.fwd is None:
            continue
        total = sum(leaf.type.bytes or 0 for leaf in event.leaves)
        shown = [str(leaf) for leaf in event.leaves[:MOST_NAMED]]
        more = ", ..." if len(event.leaves) > len(shown) else ""
        first, values = event.leaves[0], "its value" if len(event.leaves) == 1 else "their values"
        yield view.finding(
            "RES401", Severity.NOTE, view.program.returning(view.fwd.code),
            f"{view.fwd_name} saves {', '.join(shown)}{more}, but {view.bwd_name} does not use {values}",
            f"Residuals are kept until bwd has run, here {size(total)} for nothing.",
            fix=Fix("save less: a shape or a dtype is known without the array"),
            phase="fwd", path=first.path, got=str(first.type),
        )  # fmt: skip


@check("RES404", of_each_call=True)
def large_residuals(view: CallView) -> Iterator[Found]:
    """RES404: one residual is many times larger than the arguments and the output together."""
    for fwd in view.fwds[:1]:
        call_bytes = _bytes(view.call.primals) + _bytes(fwd.output)
        if fwd.residuals is None or view.fwd is None:
            continue
        for path, array_type in fwd.residuals.leaves:
            if (array_type.bytes or 0) >= max(LARGE, MANY * call_bytes):
                yield view.finding(
                    "RES404", Severity.NOTE, view.program.returning(view.fwd.code),
                    f"the residual {path}".rstrip()
                    + f" of {view.name} is {array_type.text}: {size(array_type.bytes or 0)}",
                    f"The arguments and the output of {view.name} have {size(call_bytes)}. Residuals are kept until "
                    "bwd has run.",
                    fix=Fix(f"save what it is computed from, and recompute it in {view.bwd_name}"),
                    phase="fwd", path=path, got=array_type.text,
                )  # fmt: skip


def _first_stacked(outer: CallView, calls: Sequence[CallView], stack: ArrayType) -> Iterator[Found]:
    for view in calls:
        paths = _unstacked(view.fwds[0].residuals, stack)
        if not paths or not stack.shape:
            continue
        name = " or ".join(f"the residual {path}".rstrip() for path in paths)  # by their types it may be any of these
        step_type = f"{stack.dtype}[{','.join(map(str, stack.shape[1:]))}]"
        yield view.finding(
            "RES402", Severity.NOTE, view.program.returning(view.fwd.code if view.fwd else None),
            f"{name} of {view.name}, {step_type}, is kept {stack.shape[0]} times: {size(stack.bytes or 0)}",
            f"The pullback of {outer.name} keeps one for each step, {stack.text}; the arguments of {outer.name} have "
            f"{size(_bytes(outer.call.primals))}. Do not save what bwd can recompute.",
            phase="fwd", path=paths[-1], got=stack.text,
        )  # fmt: skip
        return


def _unstacked(residuals: Tree | None, stack: ArrayType) -> list[str]:
    """The key paths of the residuals of one step that the stack may consist of, by shape and dtype."""
    if residuals is None or not stack.shape or any(array_type == stack for _, array_type in residuals.leaves):
        return []
    return [
        path
        for path, array_type in residuals.leaves
        if array_type.shape == stack.shape[1:] and array_type.dtype == stack.dtype
    ]


def _bytes(tree: Tree | None) -> int:
    return tree.bytes if tree else 0
