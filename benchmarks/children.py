"""Measure what forked children cost, one for each trace or one for all of them, and how many a check needs.

    python benchmarks/children.py [PROGRAM_OR_FOLDER]...

The first table is measured in this process: an impure primal function is traced,
each time in a child of its own, and all times in one. The second counts the children of
each program that is given, in a process of its own, as a check starts them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
from measuring import duration, of_another_process

from jaxvjp_magic import cli
from jaxvjp_magic.retracing import child_process, rerun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOOKS = 1, 10, 50
ROUNDS = 7
MEMORY = 0, 2_000_000_000  # bytes held by the program
_seen: list[int] = []


def ways() -> None:
    """The first table."""
    functions = [_impure(number) for number in range(max(LOOKS))]
    print("| looks | memory held | a child for each | one child for all | the looks alone |")
    print("|---:|---:|---:|---:|---:|")
    for size in MEMORY:
        held = np.ones(size // 8)
        for count in LOOKS:
            traced = functions[:count]
            each = _median(lambda traced=traced: [_in_child([function]) for function in traced])
            once = _median(lambda traced=traced: _in_child(traced))
            alone = _median(lambda traced=traced: [_trace(function) for function in traced])
            print(f"| {count} | {held.nbytes / 1e9:.0f} GB | {duration(each)} | {duration(once)} | {duration(alone)} |")


def children(programs: list[Path]) -> None:
    """The second table."""
    print("\n| program | children | time in them |\n|---|---:|---:|")
    for program in programs:
        figures = of_another_process(__file__, "--inside", str(program))
        if figures["children"]:
            print(f"| {program.name} | {figures['children']:.0f} | {duration(figures['seconds'])} |", flush=True)


def _impure(number: int) -> Callable[[Any], Any]:
    def primal(x: jax.Array) -> jax.Array:
        _seen.append(number)
        return jnp.sin(x) * number

    return primal


def _trace(function: Callable[[Any], Any]) -> str:
    jax.clear_caches()
    return str(jax.eval_shape(function, jax.ShapeDtypeStruct((3,), jnp.float32)))


def _in_child(functions: Sequence[Callable[[Any], Any]]) -> None:
    outcome = rerun.in_child(lambda: [_trace(function) for function in functions], 60)
    if outcome.data is None:
        raise RuntimeError(outcome.why)


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _inside(program: str) -> None:
    """Check one program, and print how many children that took."""
    times: list[float] = []
    fork = child_process.in_child

    def counted(work: Callable[[], bytes], budget: float) -> child_process.Outcome:
        began = time.perf_counter()
        try:
            return fork(work, budget)
        finally:
            times.append(time.perf_counter() - began)

    child_process.in_child = counted
    try:
        cli.main([program])
    finally:
        print("\n" + json.dumps({"children": len(times), "seconds": sum(times)}))


def main() -> None:
    """Both tables; the second, of the programs that are given."""
    if sys.argv[1:2] == ["--inside"]:
        _inside(sys.argv[2])
        return
    ways()
    paths = [Path(argument) for argument in sys.argv[1:]]
    children([program for path in paths for program in (sorted(path.rglob("*.py")) if path.is_dir() else [path])])


if __name__ == "__main__":
    main()
