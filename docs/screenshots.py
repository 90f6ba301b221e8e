"""Take the pictures of the documentation: reports in a real JupyterLab, light and dark.

    python docs/screenshots.py [--only NAME] [--folder FOLDER]

This needs JupyterLab, Playwright and a Chromium: `pip install jupyterlab playwright`,
and the chromium of the operating system.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_page import command, jupyter, launch, missing, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_page import Server
    from playwright.sync_api import Browser, FloatRect, Locator, Page

REPOSITORY = Path(__file__).resolve().parent.parent
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}
MOST_BYTES = 300_000
SET_SOURCE = """([index, text]) =>
  jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.setSource(text)"""
LAST_ROWS = "document.querySelector('.vjpcheck:last-of-type .vc-told')?.textContent === '{} rows'"
MANY = """%%vjpcheck
import jax, jax.numpy as jnp

def loss(w, x):
    return jnp.tanh(x @ w).sum()

for width in range(1250, 0, -1):
    for batch in (1, 2, 4, 8):
        x = jax.ShapeDtypeStruct((batch, width), "float32")
        jax.eval_shape(jax.grad(loss), jax.ShapeDtypeStruct((width, 3), "float32"), x)"""


@dataclasses.dataclass(frozen=True)
class Shot:
    """One picture: which cells run, what is done afterwards, and in which themes it is taken."""

    name: str
    cells: tuple[str, ...]
    edited: str = ""  # the last cell's new text, with which it is run once more
    opens: int | None = None  # the index of the row that is opened
    waits_for_rows: str = ""
    themes: tuple[str, ...] = ("light", "dark")
    width: int = 1180
    marks: bool = False  # the checked cell with its marks, the button and a hover, in place of the report


def shots() -> tuple[Shot, ...]:
    """All pictures."""
    bug, fixed = (_cells(name) for name in ("seed_bug", "seed_fixed"))
    return (
        Shot("seed", bug, opens=1),
        Shot("contrast", bug, opens=1, themes=("contrast",)),
        Shot("changed", bug, edited=fixed[-1], opens=1, width=1260),
        Shot("many", (bug[0], MANY), waits_for_rows="5,000"),
        Shot("marks", (bug[-1].partition("\n")[2],), marks=True, width=900),
    )


def _cells(name: str) -> tuple[str, ...]:
    notebook = json.loads((REPOSITORY / "examples" / f"{name}.ipynb").read_text())
    return tuple("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")


def main() -> int:
    """Take the pictures; returns 2 if something that they need is missing."""
    arguments = _arguments()
    reason = missing()
    if reason:
        print(f"screenshots: {reason}", file=sys.stderr)
        return 2
    from playwright.sync_api import sync_playwright

    arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, jupyter(Path(folder)) as server, sync_playwright() as playwright:
        browser = launch(playwright)
        for shot in shots():
            if arguments.only in ("", shot.name):
                for path in take(browser, server, shot, arguments.folder):
                    size = path.stat().st_size
                    print(f"{path}  {size / 1000:.0f} kB" + ("  (too large)" if size > MOST_BYTES else ""))
        browser.close()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take pictures of vjpcheck's reports in JupyterLab.")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "docs" / "images")
    parser.add_argument("--only", default="", help="one picture: seed, contrast, changed, many, marks")
    return parser.parse_args()


def take(browser: Browser, server: Server, shot: Shot, folder: Path) -> Iterator[Path]:
    """Run the cells in JupyterLab; the paths of the pictures of the last report."""
    server.write(f"{shot.name}.ipynb", *shot.cells)
    page = browser.new_page(viewport={"width": shot.width, "height": 2400}, device_scale_factor=2)
    opened(page, server.lab(f"{shot.name}.ipynb"))
    command(page, "application:toggle-left-area")
    command(page, "jaxvjp:check-cell" if shot.marks else "notebook:run-all-cells")
    _report(page).wait_for()
    if shot.edited:
        page.evaluate(SET_SOURCE, [len(shot.cells) - 1, shot.edited])
        command(page, "notebook:run-all-cells")
        page.locator(".vc-since").wait_for()
    _use(page, shot)
    for theme in shot.themes:
        command(page, "apputils:change-theme", theme=THEMES[theme])
        page.wait_for_selector(f"body[data-jp-theme-name='{THEMES[theme]}']", state="attached")
        page.wait_for_timeout(1000)  # style sheets are loaded, but not yet laid out
        if shot.marks:
            _hover(page)
        path = folder / (f"{shot.name}-{theme}.png" if len(shot.themes) > 1 else f"{shot.name}.png")
        page.screenshot(
            path=path, clip=_frame(page.locator(".jp-Cell-inputArea").first if shot.marks else _report(page))
        )
        yield path
    page.close()


def _use(page: Page, shot: Shot) -> None:
    if shot.waits_for_rows:
        page.wait_for_function(LAST_ROWS.format(shot.waits_for_rows))
    if shot.opens is not None:
        _report(page).locator(".vc-opener").nth(shot.opens).click()
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)


def _report(page: Page) -> Locator:
    return page.locator(".jp-OutputArea-output .vjpcheck").last


def _hover(page: Page) -> None:
    """Hover over the overwritten name."""
    page.mouse.move(0, 0)
    page.locator(".cm-tooltip-lint").wait_for(state="detached")
    page.locator(".cm-lintRange", has_text=re.compile("^test_func$")).hover()
    page.locator(".cm-tooltip-lint").wait_for()
    page.wait_for_timeout(300)


def _frame(shown: Locator) -> FloatRect:
    """The box of an element, in whole pixels."""
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    if box is None:
        message = "screenshots: there is nothing to be seen"
        raise SystemExit(message)
    top, bottom = math.ceil(box["y"]), math.floor(box["y"] + box["height"])  # no edge of what is around it
    return {"x": box["x"], "y": top, "width": box["width"], "height": bottom - top}


if __name__ == "__main__":
    sys.exit(main())
