"""Measure how long the widget of 5,000 calls takes to be painted, and how large its saved state is.

    python benchmarks/first_paint.py [CALLS]

Needs Playwright and the chromium of the operating system. Exit status 1 where
the first paint takes a second or longer.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))

from jupyter_page import launch, missing

from jaxvjp_magic.rendering.mime import mime_bundle
from jaxvjp_magic.rendering.widget import script, style
from jaxvjp_magic.rendering.widget_view import WidgetView
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity

RUNS = 5
LIMIT_MS = 1000
# The state and the rows are text, as they come over a socket; the clock stops when the frame is on the screen.
PAINT = """async ([text, css, saved, rows]) => {
  document.body.replaceChildren(Object.assign(document.createElement("style"), {textContent: css}));
  const place = document.body.appendChild(document.createElement("div"));
  const url = URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame();
  const began = performance.now();
  const widget = (await import(url)).default;
  const report = JSON.parse(saved);
  let tell;
  const model = {get: () => report, on: (_, callback) => { tell = callback; }, off() {}, send() {}};
  widget.render({model, el: place});
  await frame();
  const first = performance.now() - began;
  tell({kind: "rows", from: 0, rows: JSON.parse(rows)});
  await frame();
  return [first, performance.now() - began];
}"""


def report_of(calls: int) -> Report:
    """A report with the calls of a training loop with a custom rule, and a finding."""
    made = []
    for number in range(1, calls + 1, 2):
        size = number % 97 + 1
        values = (Leaf("params['w']", f"float32[{size},64]", 256 * size), Leaf("x", "float32[32,64]", 8192))
        outputs = (Leaf("", "float32[]"),)
        cotangents = tuple(Leaf(leaf.path, leaf.type) for leaf in values)
        made.append(Call(number, "grad", "loss", 12, primals=values, outputs=outputs, cotangents_in=outputs))
        made.append(
            Call(
                *(number + 1, "custom_vjp", "layer", 7, "", 1, number, (32,)),
                primals=values,
                outputs=outputs,
                fwd_outputs=outputs,
                residuals=values,
                cotangents_in=outputs,
                cotangents_out=cotangents,
            )
        )
    finding = Finding("VJP104", Severity.ERROR, "bwd returns float32[3] for x", "It has another shape.", calls=(2,))
    return Report("0.10.2", (finding,), tuple(made[:calls]))


def main() -> int:
    """Print the figures."""
    reason = missing()
    if reason:
        print(f"first_paint: {reason}", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    report = report_of(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    began = time.perf_counter()
    view = WidgetView(report)
    saved = json.dumps(view.saved() | {"id": "report"})
    bundle = mime_bundle(report)
    in_python = time.perf_counter() - began
    rows = json.dumps([view.row(row) for row in view.rows])
    with sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_content("<!doctype html><body></body>")
        times = [page.evaluate(PAINT, [script(), style(), saved, rows]) for _ in range(RUNS)]
        browser.close()
    first, whole = (statistics.median(part) for part in zip(*times, strict=True))
    size = len(json.dumps(bundle)) + len(saved) + len(script()) + len(style())
    print(f"{len(report.calls):,} calls: first paint {first:.0f} ms, all rows {whole:.0f} ms (median of {RUNS})")
    print(f"in the kernel {1000 * in_python:.0f} ms; saved with the notebook {size / 1000:.0f} kB, of it HTML "
          f"{len(bundle['text/html'].encode()) / 1000:.1f} kB; sent live {len(rows) / 1000:.0f} kB")  # fmt: skip
    return int(first >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
