"""Take the pictures of the documentation: a notebook, run in a real JupyterLab, light and dark.

    python docs/screenshots.py [NOTEBOOK] [FOLDER]

This needs JupyterLab, Playwright and a Chromium: `pip install jupyterlab playwright`,
and the chromium of the operating system.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import FloatRect, Locator, Page

REPOSITORY = Path(__file__).resolve().parent.parent
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SETTINGS = {"notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}}
START_SECONDS = 60
CELLS_SECONDS = 180
MOST_BYTES = 300_000


def main() -> int:
    """Take the pictures; 0 where they were taken, 2 where they could not be."""
    arguments = _arguments()
    missing = _missing(arguments.notebook)
    if missing:
        print(missing, file=sys.stderr)
        return 2
    arguments.folder.mkdir(parents=True, exist_ok=True)
    name = arguments.name or arguments.notebook.stem.partition("_")[0]
    with tempfile.TemporaryDirectory() as folder, _lab(arguments.notebook, Path(folder)) as address:
        for path in take(address, arguments.folder / name, arguments.width):
            size = path.stat().st_size
            print(f"{path}  {size / 1000:.0f} kB" + ("  (too large)" if size > MOST_BYTES else ""))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Take pictures of a notebook's vjpcheck report in JupyterLab.")
    parser.add_argument("notebook", nargs="?", type=Path, default=REPOSITORY / "examples" / "seed_bug.ipynb")
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY / "docs" / "images")
    parser.add_argument("--name", help="NAME-light.png, NAME-dark.png; the first word of the notebook's name")
    parser.add_argument("--width", type=int, default=1180, help="of the window, in CSS pixels")
    return parser.parse_args()


def _missing(notebook: Path) -> str:
    """What cannot be done without, in one line."""
    for package in ("jupyterlab", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"screenshots: no {package} here; pip install {package}"
    if not _chromium():
        return f"screenshots: no Chromium on the PATH (looked for {', '.join(CHROMIUM_NAMES)})"
    return "" if notebook.is_file() else f"screenshots: no such notebook: {notebook}"


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@contextlib.contextmanager
def _lab(notebook: Path, folder: Path) -> Iterator[str]:
    """A JupyterLab with nobody's settings, on a copy of the notebook; its address."""
    shutil.copy(notebook, folder / "notebook.ipynb")
    for plugin, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    port, token = _free_port(), secrets.token_hex()
    environment = os.environ | {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    log = folder / "jupyterlab.log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)  # noqa: S603 (our own command)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api?token={token}", server, log)
        yield f"http://127.0.0.1:{port}/lab/tree/notebook.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not know this machine
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), opener.open(address, timeout=5):
            return
        time.sleep(0.3)
    message = f"screenshots: JupyterLab did not start:\n{log.read_text()[-2000:]}"
    raise SystemExit(message)


def take(address: str, stem: Path, width: int) -> Iterator[Path]:
    """Run all cells of the notebook at the address; the paths of the pictures of its last report."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium(), args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": width, "height": 2400}, device_scale_factor=2)
        page.goto(address)
        _run_all_cells(page)
        for theme, full_name in THEMES.items():
            _command(page, "apputils:change-theme", theme=full_name)
            page.wait_for_selector(f"body[data-jp-theme-name='{full_name}']", state="attached")
            page.wait_for_timeout(1000)  # style sheets are loaded, but not yet laid out
            path = stem.with_name(f"{stem.name}-{theme}.png")
            page.screenshot(path=path, clip=_frame(page))
            yield path
        browser.close()


def _command(page: Page, command: str, **arguments: str) -> None:
    page.evaluate("([name, options]) => jupyterapp.commands.execute(name, options)", [command, arguments])


def _run_all_cells(page: Page) -> None:
    page.set_default_timeout(CELLS_SECONDS * 1000)
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    _command(page, "application:toggle-left-area")
    _command(page, "notebook:run-all-cells")
    _report(page).wait_for()


def _report(page: Page) -> Locator:
    return page.locator(".jp-OutputArea-output > div", has_text="vjpcheck: ").last


def _frame(page: Page) -> FloatRect:
    """Where the report is."""
    report = _report(page)
    report.scroll_into_view_if_needed()
    box = report.bounding_box()
    if box is None:
        message = "screenshots: the report is not to be seen"
        raise SystemExit(message)
    top, bottom = math.ceil(box["y"]), math.floor(box["y"] + box["height"])  # no line of what is around it
    return {"x": box["x"], "y": top, "width": box["width"], "height": bottom - top}


if __name__ == "__main__":
    sys.exit(main())
