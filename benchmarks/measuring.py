"""Measure work, plain and checked in turns in one process; the median pair counts."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGES = ("jax", "jaxlib", "numpy", "ipython", "ipywidgets", "diffrax", "beartype", "jaxtyping", "jax-shape-tracker")
_PAIR = 2


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds on the clock and seconds of the processor, for one piece of work."""

    wall: float
    cpu: float


@dataclasses.dataclass(frozen=True)
class Figure:
    """A row of the table: the figure with its unit, the bound, a remark, and the ratios of other tools."""

    value: float
    bound: float | None
    unit: str = ""
    beside: str = ""
    peers: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def is_within(self) -> bool:
        """Whether the figure is within its bound; true without one."""
        return self.bound is None or self.value <= self.bound

    def text(self, value: float) -> str:
        """A figure as it is printed."""
        return f"{value:.2f}" if not self.unit else f"{value:.3g} {self.unit}"


def timed(work: Callable[[], object]) -> Times:
    """How long a piece of work takes. Garbage is collected before and not during it, as in `timeit`."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        return Times(time.perf_counter() - wall, time.process_time() - cpu)
    finally:
        if was_on:
            gc.enable()


def compared(plain: Callable[[], Times], checked: Callable[[], Times], rounds: int) -> tuple[Times, Times, Times]:
    """The median times of both, and the median of the pairs' ratios; every second round the checked one goes first."""
    pairs = []
    for number in range(rounds):
        if number % _PAIR:
            after = checked()
            pairs.append((plain(), after))
        else:
            pairs.append((plain(), checked()))
    plains, checks = zip(*pairs, strict=True)
    ratios = [Times(after.wall / before.wall, after.cpu / before.cpu) for before, after in pairs]
    return median(plains), median(checks), median(ratios)


def of_another_process(file: str, *arguments: str, **environment: str) -> dict[str, float]:
    """The figures that a file prints as JSON, in its last line, when it runs by itself."""
    done = subprocess.run(  # noqa: S603 (a file of ours)
        [sys.executable, file, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"} | environment,
    )
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def median(times: tuple[Times, ...] | list[Times]) -> Times:
    """The median of each clock by itself."""
    return Times(statistics.median(sample.wall for sample in times), statistics.median(sample.cpu for sample in times))


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 1e-3:  # noqa: PLR2004 (a millisecond)
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def machine() -> str:
    """The machine and the versions, in two lines."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    except OSError:  # another system than Linux
        pass
    versions = [f"{name} {installed}" for name in PACKAGES if (installed := _version(name))]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{platform.system()} {platform.machine()}, {model}, {os.cpu_count()} cores{load}\n"
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
