"""The JupyterLab part in a real JupyterLab: marks in the editor, fixes, and the ways to a line."""

from __future__ import annotations

import json

import pytest
from browser_notebook import (
    MARK,
    OVERWRITTEN,
    REPORT,
    RULES,
    SEED,
    USE,
    activate,
    cell,
    check,
    edit,
    marked,
    opened,
    source,
    told,
    wait_for_cursor,
    wait_for_marks,
)
from jupyter_page import IDLE, command
from test_browser_jupyter import save

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.any_jax]  # one browser, one server


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
    wait_for_cursor(page, 0, 22)
    activate(page, 0)
    command(page, "notebook:run-cell")
    wait_for_marks(page, 0)
    assert len(marked(page, 1)) == 1
    go_to.click()
    assert any("In[1] is not here any more" in text for text in told(page))
    page.errors.clear()  # the exception of the cell


def test_numbers_that_a_restart_has_given_twice(server, page):
    """The mark, and the jump to the line, are for the cell that has it, where it stands now."""
    server.write("twice.ipynb", "1 + 1", RULES, USE)
    opened(page, server.lab("twice.ipynb"))
    activate(page, 0)
    command(page, "notebook:run-cell")
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    page.wait_for_function("document.querySelector('.jp-StatusBar-Widget') && " + IDLE)
    activate(page, 1)
    command(page, "notebook:run-cell")
    check(page, 2)
    wait_for_marks(page, 2, 1)
    assert marked(page, 0) == []
    edit(page, 1, 0, 0, "# a line more\n")
    page.locator(f"{REPORT} .vc-goto", has_text="In[1], line 22").first.click()
    wait_for_cursor(page, 1, 23)
    page.errors.clear()  # the exception of the cell, and what JupyterLab's debugger says of a restart


@pytest.mark.parametrize("mode", ["full", "contentVisibility"])
def test_a_long_notebook(server, page, mode):
    """Of which most cells are not drawn, and which is not trusted, for most of it has not run: no question is asked."""
    path = server.folder / ".jupyter" / "settings" / "@jupyterlab" / "notebook-extension"
    path.mkdir(parents=True, exist_ok=True)
    (path / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": mode}))
    name = f"long-{mode}.ipynb"
    server.write(name, RULES, *(["# a line\n" * 20] * 60), USE)
    opened(page, server.lab(name))
    activate(page, 0)
    command(page, "notebook:run-cell")
    activate(page, 61)
    page.evaluate("jupyterapp.shell.currentWidget.content.scrollToItem(61)")
    command(page, "jaxvjp:check-cell")
    page.locator(f"{REPORT} .vc-goto", has_text="In[1], line 22").first.click()
    wait_for_cursor(page, 0, 22)
    wait_for_marks(page, 2)
    assert page.locator(".jp-Dialog").count() == 0
    page.errors.clear()  # the exception of the cell
    (path / "tracker.jupyterlab-settings").unlink()


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
    assert (
        f"give the new function its own name: {OVERWRITTEN.replace('test_func', 'test_func_mapped', 1)}"
        in hover.inner_text()
    )
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
    page.locator(REPORT, has_text="no problems found").wait_for()
    cell(page, 0).locator(".cm-content").click()
    page.keyboard.press("Control+z")
    assert source(page, 0) == SEED


BELOW = (
    "primal, f_vjp = jax.vjp(partial(test_func, lambda x: x), jnp.ones((10, 3)))\nf_vjp(primal)",
    "print('nothing of it here')",
    "def loss(R):\n    return test_func(lambda x: x, R).mean()\njax.grad(loss)(jnp.ones((10, 3)))",
    "def other(test_func):\n    return test_func(1)",
)


def test_the_fix_covers_the_cells_below(server, page):
    """It says what remains, shows line by line what it would change, and changes that, each cell to be undone."""
    head, _, _ = SEED.partition("primal, f_vjp")
    server.write("below.ipynb", head, *BELOW)
    opened(page, server.lab("below.ipynb"))
    check(page, 0)
    wait_for_marks(page, 1)
    command(page, "jaxvjp:go-to-line", line=head.splitlines().index(OVERWRITTEN) + 1)
    page.keyboard.press("Control+Alt+f")
    assert f"\n{OVERWRITTEN.replace('test_func', 'test_func_mapped', 1)}" in source(page, 0)
    assert any("3 cells below still say test_func" in text for text in told(page))
    page.get_by_role("button", name="Rename there…").click()
    dialog = page.locator(".jp-Dialog")
    lines = dialog.locator("pre").all_inner_texts()
    assert [[part.strip() for part in line.splitlines() if part.strip()] for line in lines] == [
        ["line 1", BELOW[0].splitlines()[0], BELOW[0].splitlines()[0].replace("test_func", "test_func_mapped")],
        ["line 2", BELOW[2].splitlines()[1].strip(), "return test_func_mapped(lambda x: x, R).mean()"],
    ]
    assert "1 cell more says test_func, and may mean something else" in dialog.inner_text()
    dialog.get_by_role("button", name="Rename").click()
    renamed = [text.replace("test_func", "test_func_mapped") for text in BELOW[:3]] + [BELOW[3]]
    assert [source(page, number) for number in range(1, 5)] == renamed
    command(page, "notebook:run-all-cells")
    check(page, 3)
    wait_for_marks(page, 0)
    cell(page, 3).locator(".cm-content").click()
    page.keyboard.press("Control+z")
    assert [source(page, number) for number in (1, 3)] == [renamed[0], BELOW[2]]
    page.errors.clear()


def test_labels_have_their_percent_signs(server, page):
    """A translation takes one of two away."""
    server.write("labels.ipynb", SEED)
    opened(page, server.lab("labels.ipynb"))
    label = page.evaluate("jupyterapp.commands.label('jaxvjp:toggle-line')")
    assert label == "Put %%vjpcheck on Top of the Cell, or Take It Away"


def test_the_fix_by_keyboard(server, page):
    """A command applies the fix of the line that the cursor is on."""
    server.write("keyboard.ipynb", SEED)
    opened(page, server.lab("keyboard.ipynb"))
    check(page, 0)
    wait_for_marks(page, 3)
    page.errors.clear()  # the exception of the cell
    command(page, "jaxvjp:go-to-line", line=22)
    wait_for_cursor(page, 0, 22)
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
    wait_for_cursor(page, 0, 23)
    page.errors.clear()  # the exception of the cell
