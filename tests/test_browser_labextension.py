"""The JupyterLab part in a real JupyterLab and Notebook 7: checks by a click, of a cell or of all, and settings."""

from __future__ import annotations

import json
import sys

import pytest
from browser_notebook import (
    FINE,
    GUTTER,
    MARK,
    OVERWRITTEN,
    REPORT,
    RULES,
    SEED,
    USE,
    WAIT,
    activate,
    cell,
    check,
    marked,
    opened,
    source,
    tag,
    told,
    wait_for_cursor,
    wait_for_marks,
)
from jupyter_page import IDLE, command
from test_browser_jupyter import outputs, save

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.any_jax]  # one browser, one server
ECHO = """from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
class Echo(Kernel):
    implementation, implementation_version, banner = "echo", "1", "echo"
    language_info = {"name": "echo", "mimetype": "text/plain", "file_extension": ".txt"}
    async def do_execute(self, code, silent, *_, **__):
        if not silent:
            content = {"name": "stdout", "text": f"heard: {code}"}
            self.send_response(self.iopub_socket, "stream", content)
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}
IPKernelApp.launch_instance(kernel_class=Echo)"""
GONE = """import sys
class Gone:
    def find_spec(self, name, *_):
        if name == "jaxvjp_magic":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())"""


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
    check(page, 0)
    page.wait_for_timeout(1000)
    (text,) = [text for text in told(page) if "vjpcheck" in text]  # once
    assert "vjpcheck: Options in the settings: unrecognized arguments: --nonsense" in text


def test_what_an_exception_takes_along_is_no_error(server, page):
    """A check that waits is dropped as cells are, without a word, and the cell is not checked some other time."""
    server.write("aborted.ipynb", "import time; time.sleep(2); 1 / 0", FINE)
    opened(page, server.lab("aborted.ipynb"))
    check(page, 1)
    page.locator(REPORT).wait_for()
    for first in (False, True):  # whether the kernel has never been asked before
        if first:
            page.reload()
            page.wait_for_function(IDLE)
            command(page, "editmenu:clear-all")
        activate(page, 0)
        command(page, "notebook:run-cell", wait=False)
        check(page, 1)
        page.locator(".jp-OutputArea-output", has_text="ZeroDivisionError").wait_for()
        page.wait_for_function(IDLE)
        cell(page, 1).locator(".jp-InputPrompt", has_text="[ ]:").wait_for()  # a moment after
        activate(page, 1)
        command(page, "notebook:run-cell")
        page.locator(".jp-OutputArea-output", has_text="Array(6.").wait_for()
        assert page.locator(REPORT).count() == 0
    command(page, "apputils:display-notifications")
    page.wait_for_timeout(300)
    assert not [text for text in page.locator(".jp-Notification-List-Item").all_inner_texts() if "vjpcheck" in text]
    page.errors.clear()  # the exceptions of the cell


def test_cells_that_are_not_to_be_edited(server, page):
    """Are checked; nothing offers to change them."""
    path = server.write("fixed.ipynb", SEED)
    tag(path, 0, editable=False)
    opened(page, server.lab(path.name))
    check(page, 0)
    wait_for_marks(page, 3)
    assert not page.evaluate("jupyterapp.commands.isEnabled('jaxvjp:toggle-line')")
    cell(page, 0).locator(".cm-line", has_text=OVERWRITTEN).locator(MARK).hover()
    page.locator(".cm-tooltip-lint").wait_for()
    assert page.get_by_role("button", name="Fix it").count() == 0
    page.errors.clear()  # the exception of the cell


def test_commands_mean_the_notebook_in_front(server, page):
    """Not one behind the settings; a button belongs to the notebook that it is in."""
    page.set_viewport_size({"width": 2300, "height": 900})
    server.write("left.ipynb", FINE)
    server.write("right.ipynb", FINE)
    opened(page, server.lab("left.ipynb"))
    page.evaluate("""async () => {
        const left = jupyterapp.shell.currentWidget;
        const right = await jupyterapp.commands.execute('docmanager:open', {path: 'right.ipynb'});
        await right.context.ready;
        await right.sessionContext.ready;
        right.parent = null;
        jupyterapp.shell.add(right, 'main', {mode: 'split-right', ref: left.id});
        jupyterapp.shell.activateById(right.id);
    }""")
    page.wait_for_function(IDLE)
    panels = page.locator(".jp-NotebookPanel")
    panels.nth(0).locator("[data-command='jaxvjp:check-cell']").click()
    panels.nth(0).locator(REPORT).wait_for()
    assert panels.nth(1).locator(".jp-InputPrompt").inner_text().strip() == "[ ]:"
    assert page.evaluate("jupyterapp.commands.isEnabled('jaxvjp:check-notebook')")
    command(page, "settingeditor:open", wait=False)
    page.locator(".jp-SettingsForm").first.wait_for()
    for name in ("check-cell", "check-notebook", "toggle-line", "apply-fix"):
        assert not page.evaluate(f"jupyterapp.commands.isEnabled('jaxvjp:{name}')")


def test_notebooks_of_other_languages_have_no_button(server, page, settings):
    """Their cells run as ever, with the setting on too."""
    settings(automatic=True)
    folder = server.folder / ".jupyter" / "share" / "kernels" / "echo"
    folder.mkdir(parents=True)
    (folder / "echo.py").write_text(ECHO)
    kernel = {"argv": [sys.executable, str(folder / "echo.py"), "-f", "{connection_file}"], "display_name": "Echo"}
    (folder / "kernel.json").write_text(json.dumps(kernel | {"language": "echo"}))
    path = server.write("echo.ipynb", "hello")
    notebook = json.loads(path.read_text())
    notebook["metadata"] = {"kernelspec": {"name": "echo", "display_name": "Echo", "language": "echo"}}
    path.write_text(json.dumps(notebook))
    opened(page, server.lab(path.name))
    page.locator(".jp-cell-toolbar [data-command='notebook:move-cell-up']").wait_for()
    command(page, "notebook:run-cell")
    page.locator(".jp-OutputArea-output", has_text="heard: hello").wait_for()
    assert page.locator("[data-command='jaxvjp:check-cell']:visible").count() == 0
    for name in ("check-cell", "check-notebook"):
        assert not page.evaluate(f"jupyterapp.commands.isEnabled('jaxvjp:{name}')")


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
    wait_for_cursor(page, 1, 22)
    assert dialog.count() == 0
    page.errors.clear()  # the exception of the cell


def test_an_exception_that_is_expected_does_not_end_the_run(server, page):
    """Nor the summary: cells that run after it are in it."""
    path = server.write("expected.ipynb", RULES, USE, FINE, USE, "1 + 1")
    tag(path, 1, tags=["raises-exception"])
    opened(page, server.lab(path.name))
    command(page, "jaxvjp:check-notebook", wait=False)
    dialog = page.locator(".jp-Dialog")
    dialog.locator(".jp-vjp-summary").wait_for()
    assert "3 cells with findings; an exception ended the run at In [4]" in dialog.inner_text()
    assert dialog.locator("b").all_inner_texts() == ["In [1]", "In [2]", "In [4]"]
    dialog.get_by_role("listitem").nth(1).get_by_role("button").press("Enter")
    wait_for_cursor(page, 0, 22)
    page.errors.clear()  # the exceptions of the cells


def test_a_run_that_a_restart_cuts_off(server, page):
    """Has no summary, and nothing is told."""
    server.write("cut.ipynb", "import time; time.sleep(60)", FINE)
    opened(page, server.lab("cut.ipynb"))
    command(page, "jaxvjp:check-notebook", wait=False)
    page.wait_for_function("jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'")
    page.wait_for_timeout(1000)
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.wait_for_timeout(2000)
    assert page.locator(".jp-Dialog").count() == 0
    page.errors.clear()  # what JupyterLab's debugger says of a restart


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
