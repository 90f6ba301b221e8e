"""The JupyterLab part in a real JupyterLab and Notebook 7: checks by a click, marks, fixes, jumps, settings."""

from __future__ import annotations

import json

import pytest
from jupyter_page import IDLE, command
from jupyter_page import opened as opened_slowly
from test_browser_jupyter import example, outputs, save

pytestmark = pytest.mark.xdist_group("browser")  # one browser, one server
SEED = example("seed_bug")[-1].split("\n", 1)[1]  # without %%vjpcheck
OVERWRITTEN = "test_func = jax.vmap(test_func, in_axes=(None, 0))"
RULES, USE = SEED.split("\nprimal, ")
USE = f"primal, {USE}"
FINE = "import jax\njax.grad(lambda x: x * x)(3.0)"
REPORT = ".jp-OutputArea .vjpcheck"
MARK, GUTTER = ".cm-lintRange", ".cm-lint-marker"
WAIT = 40_000  # milliseconds
GONE = """import sys
class Gone:
    def find_spec(self, name, *_):
        if name == "jaxvjp_magic":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())"""


def opened(page, address):
    """Open a notebook, and wait for its kernel."""
    opened_slowly(page, address)
    page.set_default_timeout(WAIT)


def cell(page, index):
    """The widget of a cell."""
    return page.locator(".jp-Notebook .jp-Cell").nth(index)


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


def cursor(page):
    """The active cell, and the line of its cursor, from 1."""
    notebook = "jupyterapp.shell.currentWidget.content"
    return page.evaluate(
        f"[{notebook}.activeCellIndex, {notebook}.activeCell.editor.getCursorPosition().line + 1, {notebook}.mode]"
    )


@pytest.fixture
def settings(server):
    """Set what a person has set, before a page is opened."""
    path = server.folder / ".jupyter" / "settings" / "jaxvjp-magic" / "plugin.jupyterlab-settings"
    path.parent.mkdir(exist_ok=True)
    yield lambda **values: path.write_text(json.dumps(values))
    path.unlink()


def told(page):
    """The notifications, as their list shows them."""
    command(page, "apputils:display-notifications")
    page.locator(".jp-Notification-List-Item").first.wait_for()
    return page.locator(".jp-Notification-List-Item").all_inner_texts()


@pytest.mark.parametrize("application", ["lab", "notebook"])
def test_the_button_checks_a_cell_as_it_is(server, page, application):
    """In a kernel that has never heard of it; the text stays, the next run is one without a check."""
    path = server.write(f"button-{application}.ipynb", SEED, FINE)
    opened(page, getattr(server, application)(path.name))
    page.errors.clear()  # Notebook 7.6 has one of its own while it starts
    check(page, 0)
    page.locator(REPORT).wait_for(timeout=WAIT)
    wait_for_marks(page, 3)
    assert "test_func" in marked(page)
    assert cell(page, 0).locator(GUTTER).count() == 3
    assert source(page, 0) == SEED
    check(page, 1)
    page.locator(REPORT).nth(1).wait_for()
    assert cell(page, 1).locator(".cm-gutter-lint").count() == 0  # no room is taken where nothing is found
    notebook = save(page, path)
    assert [entry["execution_count"] for entry in notebook["cells"]] == [1, 2]
    assert [len(outputs({"cells": [entry]})) for entry in notebook["cells"]] == [1, 1]
    activate(page, 0)
    command(page, "notebook:run-cell")
    wait_for_marks(page, 0)
    assert page.locator(REPORT).count() == 1
    page.errors.clear()  # the exception of the cell


def test_every_way_to_check_a_cell(server, page):
    """The shortcut, the context menu and the palette; cells with text have none of them."""
    server.write("ways.ipynb", FINE)
    opened(page, server.lab("ways.ipynb"))
    cell(page, 0).locator(".cm-content").click()
    page.keyboard.press("Control+Alt+v")
    page.locator(REPORT).wait_for()
    cell(page, 0).locator(".cm-content").click(button="right")
    entries = page.locator(".lm-Menu-item[data-command^='jaxvjp:']")
    assert entries.count() == 2
    entries.first.click()
    page.wait_for_function("document.querySelector('.jp-InputPrompt').textContent === '[2]:'")
    command(page, "apputils:activate-command-palette")
    palette = page.locator(".lm-CommandPalette-input, .jp-ModalCommandPalette input").last
    palette.fill("vjpcheck")
    labels = page.locator(".lm-CommandPalette-itemLabel").all_inner_texts()
    assert "Check Cell with vjpcheck" in labels
    assert "Run All Cells with vjpcheck" in labels
    page.keyboard.press("Escape")
    command(page, "notebook:change-cell-to-markdown")
    assert not page.evaluate("jupyterapp.commands.isEnabled('jaxvjp:check-cell')")


def test_the_line_on_top_is_put_in_and_taken_out(server, page, settings):
    """With the options of the settings, and the extension is loaded for it."""
    settings(options="--no-widget")
    server.write("line.ipynb", FINE)
    opened(page, server.lab("line.ipynb"))
    command(page, "jaxvjp:toggle-line")
    assert source(page, 0) == f"%%vjpcheck --no-widget\n{FINE}"
    command(page, "notebook:run-cell")
    page.locator(".jp-OutputArea-output table").wait_for()
    command(page, "jaxvjp:toggle-line")
    assert source(page, 0) == FINE


def test_a_kernel_without_jaxvjp_magic(server, page):
    """The cell is not run, and what to install is said."""
    server.write("gone.ipynb", GONE, "1 + 1")
    opened(page, server.lab("gone.ipynb"))
    command(page, "notebook:run-cell")
    check(page, 1)
    page.wait_for_timeout(500)
    (text,) = [text for text in told(page) if "vjpcheck" in text]
    assert "has no jaxvjp_magic" in text
    assert "%pip install jaxvjp_magic" in text
    assert cell(page, 1).locator(".jp-InputPrompt").inner_text().strip() == "[ ]:"


def test_wrong_options_are_told_of(server, page, settings):
    """In the words of the kernel's part; the cell is not run."""
    settings(options="--nonsense")
    server.write("wrong.ipynb", FINE)
    opened(page, server.lab("wrong.ipynb"))
    check(page, 0)
    page.wait_for_timeout(2000)
    assert any("unrecognized arguments: --nonsense" in text for text in told(page))


def test_marks_are_in_the_cell_that_a_finding_is_about(server, page):
    """An earlier one; they go when that cell runs again, for it has another number then."""
    server.write("earlier.ipynb", RULES, USE)
    opened(page, server.lab("earlier.ipynb"))
    activate(page, 0)
    command(page, "notebook:run-cell")
    check(page, 1)
    wait_for_marks(page, 2)
    assert "test_func" in marked(page)
    assert marked(page, 1) == ["f_vjp(jnp.ones(10))"]
    go_to = page.locator(f"{REPORT} .vc-goto", has_text="In[1], line 22").first
    go_to.click()
    page.wait_for_function("jupyterapp.shell.currentWidget.content.activeCellIndex === 0")
    assert cursor(page) == [0, 22, "edit"]
    activate(page, 0)
    command(page, "notebook:run-cell")
    wait_for_marks(page, 0)
    assert len(marked(page, 1)) == 1
    go_to.click()
    assert any("In[1] is not here any more" in text for text in told(page))
    page.errors.clear()  # the exception of the cell


def test_marks_follow_edits(server, page):
    """They move with their lines, go when a line is changed, and are back when that is undone."""
    server.write("edits.ipynb", SEED)
    opened(page, server.lab("edits.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    command(page, "jaxvjp:toggle-line")
    at = source(page, 0).index(OVERWRITTEN)
    wait_for_marks(page, 3)
    assert "test_func" in marked(page)
    edit(page, 0, at + len(OVERWRITTEN) - 2, at + len(OVERWRITTEN) - 2, "+ 0")
    wait_for_marks(page, 2)
    cell(page, 0).locator(".cm-content").click()
    page.keyboard.press("Control+z")
    wait_for_marks(page, 3)
    at = source(page, 0).index(OVERWRITTEN)
    edit(page, 0, at, at, "  # a comment of its own\n")
    wait_for_marks(page, 3)
    page.errors.clear()  # the exception of the cell


def test_marks_are_back_in_a_saved_notebook(server, page):
    """Without a run, at the lines that still read as they did."""
    path = server.write("back.ipynb", SEED)
    opened(page, server.lab("back.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    save(page, path)
    page.errors.clear()  # the exception of the cell
    notebook = json.loads(path.read_text())
    text = "".join(notebook["cells"][0]["source"])
    notebook["cells"][0]["source"] = "# edited elsewhere\n" + text.replace("f_vjp(jnp.ones(10))", "f_vjp(primal)")
    path.write_text(json.dumps(notebook))
    page.goto("about:blank")
    opened(page, server.lab("back.ipynb"))
    wait_for_marks(page, 2)
    assert "test_func" in marked(page)


def test_the_message_and_the_fix_are_in_the_hover(server, page):
    """The fix is one change, which one undo takes back; with it the cell has no findings."""
    server.write("fix.ipynb", SEED, "test_func(lambda x: x, jnp.ones((10, 3)))")
    opened(page, server.lab("fix.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    cell(page, 0).locator(MARK, has_text="test_func").last.scroll_into_view_if_needed()
    cell(page, 0).locator(".cm-line", has_text=OVERWRITTEN).locator(MARK).hover()
    hover = page.locator(".cm-tooltip-lint")
    hover.wait_for()
    assert "error NAM201: test_func was overwritten; test_func_fwd calls it" in hover.inner_text()
    assert f"keep the original name: {OVERWRITTEN.replace('test_func', 'test_func_mapped', 1)}" in hover.inner_text()
    hover.get_by_role("button", name="Fix it").click()
    fixed = SEED.replace("test_func = ", "test_func_mapped = ").replace(
        "partial(test_func,", "partial(test_func_mapped,"
    )
    assert source(page, 0) == fixed
    assert any("1 cell below still says test_func" in text for text in told(page))
    page.keyboard.press("Escape")
    page.errors.clear()  # the exception of the cell
    check(page, 0)
    wait_for_marks(page, 0)
    page.locator(REPORT, has_text="nothing wrong").wait_for()
    cell(page, 0).locator(".cm-content").click()
    page.keyboard.press("Control+z")
    assert source(page, 0) == SEED


def test_the_fix_by_keyboard(server, page):
    """A command applies the fix of the line that the cursor is on."""
    server.write("keyboard.ipynb", SEED)
    opened(page, server.lab("keyboard.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    page.errors.clear()  # the exception of the cell
    command(page, "jaxvjp:go-to-line", line=22)
    assert cursor(page) == [0, 22, "edit"]
    page.keyboard.press("Control+Alt+f")
    assert "\ntest_func_mapped = jax.vmap(test_func" in source(page, 0)


def test_a_line_number_in_the_static_page(server, page):
    """A button that JupyterLab answers, without a script in the page."""
    server.write("static-lines.ipynb", f"%load_ext jaxvjp_magic\n{RULES}", f"%%vjpcheck --no-widget\n{USE}")
    opened(page, server.lab("static-lines.ipynb"))
    command(page, "notebook:run-all-cells")
    button = page.locator("button[data-commandlinker-command]").first
    assert button.inner_text() == "In[1], line 23:"
    button.click()
    page.wait_for_function("jupyterapp.shell.currentWidget.content.activeCellIndex === 0")
    assert cursor(page) == [0, 23, "edit"]
    page.errors.clear()  # the exception of the cell


def test_the_whole_notebook(server, page):
    """Run, checked, and the cells with findings are listed; one without findings shows no report."""
    server.write("whole.ipynb", FINE, RULES, USE, "1 + 1")
    opened(page, server.lab("whole.ipynb"))
    command(page, "jaxvjp:check-notebook", wait=False)
    dialog = page.locator(".jp-Dialog")
    dialog.locator(".jp-vjp-summary").wait_for()
    assert "2 cells with findings; an exception ended the run at In [3]" in dialog.inner_text()
    entries = dialog.get_by_role("listitem")
    assert entries.count() == 2
    assert "In [2]1 warning" in entries.first.inner_text()
    entry = entries.last
    assert "In [3]3 errors" in entry.inner_text()
    assert "NAM201 In[2], line 22: test_func was overwritten" in entry.inner_text()
    assert page.locator(REPORT).count() == 2
    entry.get_by_role("button").click()
    page.wait_for_function("jupyterapp.shell.currentWidget.content.activeCellIndex === 1")
    assert cursor(page) == [1, 22, "edit"]
    assert dialog.count() == 0
    page.errors.clear()  # the exception of the cell


def test_a_whole_notebook_without_findings(server, page):
    """Which is said; the cells that were asked for are forgotten after the run."""
    server.write("clean.ipynb", FINE, "1 + 1")
    opened(page, server.lab("clean.ipynb"))
    command(page, "jaxvjp:check-notebook", wait=False)
    page.locator(".jp-Dialog", has_text="Nothing found in 2 cells").get_by_role("button", name="Close").click()
    assert page.locator(REPORT).count() == 0
    assert page.locator(".jp-OutputArea-output").count() == 2


def test_every_cell_is_checked_by_a_setting(server, page, settings):
    """From the first, after a restart too, and a report is shown where something is found."""
    settings(automatic=True)
    server.write("automatic.ipynb", FINE, RULES, USE)
    opened(page, server.lab("automatic.ipynb"))
    for run in range(2):
        command(page, "notebook:run-all-cells")
        wait_for_marks(page, 1, 2)
        assert page.locator(REPORT).count() == 2
        if run == 0:
            page.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
            page.wait_for_function(IDLE)
            command(page, "editmenu:clear-all")
            wait_for_marks(page, 0, 2)
    page.errors.clear()  # the exceptions of the cell


def test_the_settings_editor(server, page, settings):
    """Marks are put out and on again, at once."""
    settings()
    server.write("settings.ipynb", SEED)
    opened(page, server.lab("settings.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    page.errors.clear()  # the exception of the cell
    command(page, "settingeditor:open", query="vjpcheck", wait=False)
    box = page.get_by_role("checkbox", name="Marks in the editor")
    box.wait_for()
    page.locator(".jp-SettingsForm", has_text="Check automatically").first.wait_for()
    box.uncheck()
    wait_for_marks(page, 0)
    box.check()
    wait_for_marks(page, 3)
