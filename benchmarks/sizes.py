"""Measure memory, the size of a saved report, and loading, each in a process of its own."""

from __future__ import annotations

import functools
import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from measuring import Figure, duration, of_another_process

MILLION = 1_000_000
DIFFERENT = 10_000
CALLS_QUICKLY = 20_000


@functools.cache
def _of_different_calls() -> dict[str, float]:
    return of_another_process(__file__, "report")


def equal_calls(rounds: int) -> Figure:
    """One million equal eager calls: how much memory grows."""
    calls = MILLION if rounds > 1 else CALLS_QUICKLY
    figures = of_another_process(__file__, "memory", str(calls))
    return Figure(
        figures["grown"], 5, "MB", f"{calls:,} calls in {duration(figures['seconds'])}; {figures['rows']:.0f} rows"
    )


def different_calls(rounds: int) -> Figure:
    """10,000 different calls: the report, text and HTML together."""
    del rounds
    figures = _of_different_calls()
    parts = ", ".join(f"{name} {duration(figures[name])}" for name in ("report", "text", "html"))
    return Figure(
        sum(figures[name] for name in ("report", "text", "html")), 1, "s", f"{parts}; {figures['rows']:.0f} rows"
    )


def saved_size(rounds: int) -> Figure:
    """10,000 different calls: the JSON."""
    del rounds
    figures = _of_different_calls()
    return Figure(figures["json"] / 1e6, 10, "MB", f"written in {duration(figures['to_json'])}")


def loading(rounds: int) -> Figure:
    """`%load_ext jaxvjp_magic` beside jax and ipywidgets already imported."""
    seconds = sorted(of_another_process(__file__, "load")["seconds"] for _ in range(max(rounds, 3)))
    return Figure(
        seconds[len(seconds) // 2] * 1e3, 100, "ms", f"from {seconds[0] * 1e3:.0f} to {seconds[-1] * 1e3:.0f} ms"
    )


# What runs in the other process ------------------------------------------------------------------


def _resident() -> int:
    """Bytes of resident memory."""
    text = Path("/proc/self/statm").read_text(encoding="utf-8")
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(calls: str) -> dict[str, float]:
    """Eager calls of a custom_vjp function in one check; the first two thousand are a warm-up."""
    import eager
    import jax
    import jax.numpy as jnp

    from jaxvjp_magic import vjpcheck

    x = jnp.float32(0.5)

    def run(count: int) -> None:
        for _ in range(count // 2):
            jax.grad(eager.wave)(x)  # two calls: of grad, and of wave

    began = time.perf_counter()
    with vjpcheck() as report:
        run(2000)
        gc.collect()
        before = _resident()
        run(int(calls))
        gc.collect()
        grown = _resident() - before
    return {"grown": grown / 1e6, "seconds": time.perf_counter() - began, "rows": len(report.calls)}


def report() -> dict[str, float]:
    """A check of calls that are all different, as of a program that traces for many shapes."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from eager import wave

    from jaxvjp_magic.rendering.html import render_html
    from jaxvjp_magic.rendering.text import render_text
    from jaxvjp_magic.session import Check, Options
    from jaxvjp_magic.source.program import FileSources

    check = Check(Options())
    check.start()
    for size in range(1, DIFFERENT // 4 + 1):
        shape = jax.ShapeDtypeStruct((size,), np.float32)
        jax.eval_shape(jax.grad(lambda x: jnp.sum(wave(wave(x)))), shape)
    seconds: dict[str, float] = {}
    gc.collect()
    gc.disable()  # as in `timed`: it would traverse all that JAX keeps of ten thousand traces

    def part(name: str, work: Any) -> Any:
        began = time.process_time()  # processor time: other work on the machine does not count
        result = work()
        seconds[name] = time.process_time() - began
        return result

    finished = part("report", lambda: check.finish(FileSources(__file__)))
    part("text", lambda: render_text(finished))
    part("html", lambda: render_html(finished))
    saved = part("to_json", finished.to_json)
    return seconds | {"json": len(saved.encode()), "rows": len(finished.calls)}


def load() -> dict[str, float]:
    """What `%load_ext` adds to a session that has jax and the widgets."""
    import ipywidgets
    import jax
    from IPython.core.interactiveshell import InteractiveShell

    del ipywidgets, jax
    shell = InteractiveShell.instance()
    began = time.process_time()
    shell.run_line_magic("load_ext", "jaxvjp_magic")
    return {"seconds": time.process_time() - began}


if __name__ == "__main__":
    print(json.dumps({"memory": memory, "report": report, "load": load}[sys.argv[1]](*sys.argv[2:])))
