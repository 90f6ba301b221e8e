"""What the tests of the JupyterLab part do with a notebook in a browser."""

from __future__ import annotations

import json

from jupyter_page import command
from jupyter_page import opened as opened_slowly
from test_browser_jupyter import example

SEED = example("seed_bug")[-1].split("\n", 1)[1]  # without %%vjpcheck
OVERWRITTEN = "test_func = jax.vmap(test_func, in_axes=(None, 0))"
RULES, USE = SEED.split("\nprimal, ")
USE = f"primal, {USE}"
FINE = "import jax\njax.grad(lambda x: x * x)(3.0)"
REPORT = ".jp-OutputArea .vjpcheck"
MARK, GUTTER = ".cm-lintRange", ".cm-lint-marker"
WAIT = 40_000  # milliseconds


def opened(page, address):
    """Open a notebook, and wait for its kernel."""
    opened_slowly(page, address)
    page.set_default_timeout(WAIT)


def cell(page, index):
    """The widget of a cell."""
    return page.locator(".jp-Notebook .jp-Cell").nth(index)


def tag(path, index, **metadata):
    """Give a cell of a notebook metadata."""
    notebook = json.loads(path.read_text())
    notebook["cells"][index]["metadata"] |= metadata
    path.write_text(json.dumps(notebook))


def source(page, index):
    """The text of a cell."""
    return page.evaluate(
        "(index) => jupyterapp.shell.currentWidget.content.widgets[index].model.sharedModel.getSource()", index
    )


def edit(page, index, start, end, text):
    """Change a part of a cell's text, as typing would."""
    change = "([index, start, end, text]) => jupyterapp.shell.currentWidget.content.widgets[index]"
    page.evaluate(f"{change}.model.sharedModel.updateSource(start, end, text)", [index, start, end, text])


def activate(page, index):
    """Make a cell the active one."""
    page.evaluate("(index) => { jupyterapp.shell.currentWidget.content.activeCellIndex = index; }", index)


def check(page, index):
    """Check a cell by its button."""
    activate(page, index)
    cell(page, index).locator(".jp-cell-toolbar [data-command='jaxvjp:check-cell']").first.click()


def marked(page, index=0):
    """What is underlined in a cell."""
    return cell(page, index).locator(MARK).all_inner_texts()


def wait_for_marks(page, count, index=0):
    """Wait until so many parts of a cell are underlined."""
    found = f"document.querySelectorAll('.jp-Notebook .jp-Cell')[{index}].querySelectorAll('{MARK}').length"
    page.wait_for_function(f"{found} === {count}", timeout=WAIT)


def wait_for_cursor(page, index, line):
    """Wait until a cell is edited at a line, from 1."""
    notebook = "jupyterapp.shell.currentWidget.content"
    at = f"[{notebook}.activeCellIndex, {notebook}.activeCell.editor?.getCursorPosition().line + 1, {notebook}.mode]"
    page.wait_for_function(f"String({at}) === '{index},{line},edit'", timeout=WAIT)


def told(page):
    """The notifications, as their list shows them."""
    command(page, "apputils:display-notifications")
    page.locator(".jp-Notification-List-Item").first.wait_for()
    return page.locator(".jp-Notification-List-Item").all_inner_texts()
