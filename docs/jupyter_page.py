"""Start a real Jupyter server and a real browser, for the pictures, the browser tests and the benchmark.

This needs JupyterLab, Playwright and a Chromium: `pip install jupyterlab playwright`,
and the chromium of the operating system.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Playwright

REPOSITORY = Path(__file__).resolve().parent.parent
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
CELLS_SECONDS = 120
IDLE = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"


def missing() -> str:
    """What is needed and not installed, in one line; "" if nothing."""
    for package in ("jupyterlab", "playwright"):
        if importlib.util.find_spec(package) is None:
            return f"no {package} here; pip install {package}"
    return "" if chromium() else f"no Chromium on the PATH (looked for {', '.join(CHROMIUM_NAMES)})"


def chromium() -> str | None:
    """The path of the browser."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def launch(playwright: Playwright) -> Browser:
    """Start the browser."""
    return playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS)


class Server:
    """A running Jupyter server with settings of its own, which serves `folder`."""

    def __init__(self, folder: Path, address: str, token: str) -> None:
        """The server at this address."""
        self.folder, self._address, self._token = folder, address, token

    def lab(self, name: str) -> str:
        """The address of a notebook in JupyterLab."""
        return f"{self._address}/lab/tree/{name}?token={self._token}&reset"

    def notebook(self, name: str) -> str:
        """The address of a notebook in Notebook 7."""
        return f"{self._address}/notebooks/{name}?token={self._token}"

    def write(self, name: str, *cells: str) -> Path:
        """Write a notebook with these code cells; its path."""
        entries = [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "source": text,
                "outputs": [],
                "execution_count": None,
            }
            for i, text in enumerate(cells)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"cells": entries, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        path = self.folder / name
        path.write_text(json.dumps(notebook))
        return path


@contextlib.contextmanager
def jupyter(folder: Path) -> Iterator[Server]:
    """A Jupyter server of this Python, for JupyterLab and, if it is installed, Notebook 7."""
    hidden = folder / ".jupyter"
    for plugin, settings in SETTINGS.items():
        path = hidden / "settings" / "@jupyterlab" / "apputils-extension" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    _link_extension(hidden / "share" / "labextensions" / "jaxvjp-magic")
    port, token = _free_port(), secrets.token_hex()
    shared = (str(hidden / "share"), os.environ.get("JUPYTER_PATH", ""))
    environment = os.environ | {
        "JUPYTER_PATH": os.pathsep.join(filter(None, shared)),
        "JUPYTER_CONFIG_DIR": str(hidden / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(hidden / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(hidden / "workspaces"),
        "IPYTHONDIR": str(hidden / "ipython"),
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
    log = hidden / "jupyter.log"
    with log.open("w") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)  # noqa: S603 (our own command)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/api?token={token}", server, log)
        yield Server(folder, address, token)
    finally:
        server.terminate()
        server.wait()


def _link_extension(place: Path) -> None:
    """Link our JupyterLab extension as it is built now: a development install may have an older copy."""
    place.mkdir(parents=True)
    for file in (*(REPOSITORY / "jaxvjp_magic" / "labextension").iterdir(), REPOSITORY / "install.json"):
        (place / file.name).symlink_to(file)


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
    message = f"JupyterLab did not start:\n{log.read_text()[-2000:]}"
    raise SystemExit(message)


def opened(page: Page, address: str) -> None:
    """Open a notebook, and wait for its kernel."""
    page.set_default_timeout(CELLS_SECONDS * 1000)
    page.goto(address)
    page.wait_for_function(IDLE)


def command(page: Page, name: str, *, wait: bool = True, **arguments: Any) -> None:
    """Run one of JupyterLab's commands; a command that runs cells ends when they have run."""
    run = "([name, options]) => { const done = jupyterapp.commands.execute(name, options);"
    page.evaluate(f"{run} {'return done;' if wait else ''} }}", [name, arguments])
