"""A browser, a page that holds one widget, and a Jupyter server: started once, by the first test that needs them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "docs"))

import jupyter_page

THEMES = {
    "light": "--jp-layout-color1:#fff;--jp-content-font-color1:rgba(0,0,0,.87)",
    "dark": "--jp-layout-color1:#111;--jp-content-font-color1:rgba(255,255,255,.87)",
    "black": "--vscode-editor-background:#000;--vscode-editor-foreground:#fff",
    "none": "",
}


@pytest.fixture(scope="session")
def browser():
    """The browser of this machine; without one the tests are skipped here, and fail where everything must run."""
    reason = jupyter_page.missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = jupyter_page.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """An empty page; a test fails when the browser's console or an exception tells of an error."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.errors = errors
    yield page
    context.close()
    assert errors == []


@pytest.fixture(scope="session")
def server(browser, tmp_path_factory):
    """A Jupyter server, on a folder of its own."""
    with jupyter_page.jupyter(tmp_path_factory.mktemp("notebooks")) as server:
        yield server


@pytest.fixture
def settings(server):
    """Set what a person has set, before a page is opened."""
    path = server.folder / ".jupyter" / "settings" / "jaxvjp-magic" / "plugin.jupyterlab-settings"
    path.parent.mkdir(exist_ok=True)
    yield lambda **values: path.write_text(json.dumps(values))
    path.unlink()


PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>a report</title></head>
<body style="margin:20px"><main id="place"></main></body></html>"""
START = """async ([text, css, report, theme, session]) => {
  document.head.append(Object.assign(document.createElement("style"), {textContent: css}));
  document.body.style.cssText += theme;
  const url = URL.createObjectURL(new Blob([text], {type: "text/javascript"}));
  const widget = (await import(url)).default;
  let tell = () => {};
  const model = {
    get: () => report,
    on: (_, callback) => { tell = callback; },
    off: () => {},
    send: async (message) => { if (session) for (const answer of await askPython(message)) tell(answer); },
  };
  const began = performance.now();
  const end = widget.render({model, el: document.getElementById("place")});
  document.body.offsetHeight;  // laid out
  window.painted = performance.now() - began;
}"""


@pytest.fixture
def show(page):
    """Show a report's widget alone on a page; `session` is whether the kernel still answers."""
    from jaxvjp_magic.rendering.widget import script, style
    from jaxvjp_magic.rendering.widget_view import WidgetView
    from jaxvjp_magic.results.diff import compare

    def show(report, before=None, *, theme="light", session=True):
        view = WidgetView(report, compare(before, report) if before is not None else None)
        page.goto("about:blank")
        page.set_content(PAGE)
        page.expose_function("askPython", lambda message: _answers(view, message))
        saved = json.loads(json.dumps(view.saved() | {"id": "report"}))
        page.evaluate(START, [script(), style(), saved, THEMES[theme], session])
        return page

    return show


def _answers(view, message):
    """What the widget's Python half would send."""
    if message["kind"] == "rows":
        return [{"kind": "rows", "from": 0, "rows": [view.row(row) for row in view.rows]}]
    row = next(row for row in view.rows if row.call.id == message["id"])
    return [{"kind": "detail", "id": message["id"], "detail": view.detail(row)}]
