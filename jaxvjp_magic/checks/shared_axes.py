"""VJP121 and VJP122: findings about cotangents that are summed wrongly over a vmap or over a mesh axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.results.model import Fix, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found


@check("VJP121", of_each_call=True)
def shared_outputs(view: CallView) -> Iterator[Found]:
    """VJP121: inside a vmap, one output does not depend on the example, and another does."""
    paths = next((fwd.shared for fwd in view.fwds if fwd.shared), ())
    if not paths:
        return
    has_raised = any("shared across the batch" in message for _, message in view.record.uncaught)
    outputs = wording.listed(f"output {path}" for path in paths)
    is_single = len(paths) == 1
    times = f"{view.call.vmap[-1]} times" if view.call.vmap else "once for each"
    yield view.finding(
        "VJP121", Severity.ERROR if has_raised else Severity.WARNING,
        view.program.definition(view.call.function.code),
        f"{outputs} of {view.name} {'is' if is_single else 'are'} shared by all examples of the vmap",
        f"The bwd rule gets {'its cotangent' if is_single else 'their cotangents'} with every example, so the sum over "
        f"the examples counts {'it' if is_single else 'them'} {times}. Since 0.12 JAX raises here.",
        fix=Fix(f"compute {'it' if is_single else 'them'} outside of {view.name}, or where the function is not mapped"),
        phase="bwd", path=paths[0],
    )  # fmt: skip


@check("VJP122", of_each_call=True)
def cotangents_are_summed(view: CallView) -> Iterator[Found]:
    """VJP122: inside a shard_map, a cotangent varies over a mesh axis, but its argument does not."""
    primals = view.call.primals
    for bwd in view.bwds:
        if bwd.result is None or primals is None or view.bwd is None:
            continue
        results = dict(bwd.result.leaves)
        for path, argument in primals.leaves:
            got = results.get(path)
            axes = [] if got is None else [axis for axis in got.varying if axis not in argument.varying]
            if got is None or got.shape != argument.shape or not axes:
                continue
            listed_axes = wording.listed(f'"{axis}"' for axis in axes)
            axis_names = f'"{axes[0]}"' if len(axes) == 1 else repr(tuple(axes)).replace("'", '"')
            yield view.finding(
                "VJP122", Severity.ERROR if view.record.uncaught else Severity.WARNING,
                view.returned(path),
                f"{view.bwd_name} returns for {path} a cotangent that varies over the mesh axis {listed_axes}",
                f"{path} is {argument.text}, the same on all devices, and its cotangent is {got.text}: the sum over "
                "the devices is missing.",
                fix=Fix("sum it", f"jax.lax.psum({view.made(path)}, {axis_names})"), phase="bwd", path=path,
                expected=argument.text, got=got.text,
            )  # fmt: skip
