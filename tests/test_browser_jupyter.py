"""The report in a real JupyterLab 4, a real Notebook 7 and exported pages: run, used, saved, opened again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anywidget
import pytest
from jupyter_page import CELLS_SECONDS, command, opened

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.any_jax]  # one browser, one server
LOAD = "%load_ext jaxvjp_magic"
SLOW = """%%vjpcheck
import time, jax
print("first")
for i in range(40):
    jax.grad(lambda x: x * x * i)(1.0)
    time.sleep(0.05)
print("last")"""
SQUARE = """%%vjpcheck
import jax, jax.numpy as jnp
jax.grad(lambda x: (x * x).sum())(jnp.ones({size}))"""
MANY = """%%vjpcheck
import jax, jax.numpy as jnp
def f(x): return (x * x).sum()
for i in range(1, 131):
    jax.eval_shape(jax.grad(f), jax.ShapeDtypeStruct((i,), "float32"))"""
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def example(name):
    """The code cells of an example."""
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(page, *, wait=True):
    """Run all cells; an exception of a cell is no error of the page."""
    command(page, "notebook:run-all-cells", wait=wait)
    page.locator(".vjpcheck .vc-head").last.wait_for(timeout=CELLS_SECONDS * 1000)


def save(page, path):
    """Save the notebook, and read it."""
    page.wait_for_timeout(300)
    command(page, "docmanager:save")
    return json.loads(path.read_text())


def outputs(notebook, kind="display_data"):
    """The data of the outputs of a kind."""
    found = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return [output["data"] for output in found if output["output_type"] == kind]


@pytest.mark.parametrize("application", ["lab", "notebook"])
def test_the_seed_bug(server, page, application):
    """Rows and findings, a row that opens, the filter, the jump to the line, the fix: in the real thing."""
    name = f"seed-{application}.ipynb"
    server.write(name, *example("seed_bug"))
    opened(page, getattr(server, application)(name))
    page.errors.clear()  # Notebook 7.6 has one of its own while it starts
    run(page)
    report = page.locator(".vjpcheck").last
    assert "NAM201" in report.locator("article").first.inner_text()
    assert report.locator("tr[data-call]").count() == 4
    report.locator(".vc-opener").nth(1).click()
    assert "f32[3]" in report.locator(".vc-leaves .vc-mark").inner_text()
    report.locator(".vc-opener").nth(2).press("Enter")  # which is a command outside of the report
    assert report.locator(".vc-leaves").count() == 2
    report.get_by_role("searchbox").click()
    page.keyboard.type("grad")  # letters that are commands outside of a field
    assert report.locator("tr[data-call]").count() == 1
    report.get_by_role("button", name="copy the fix").first.click()
    page.wait_for_function("document.querySelector('.vc-copy').textContent === 'copied'")
    assert (
        page.evaluate("navigator.clipboard.readText()") == "test_func_mapped = jax.vmap(test_func, in_axes=(None, 0))"
    )
    line = report.locator(".vc-goto").first
    assert line.inner_text() == "line 23"
    line.click()
    place = "[...document.querySelectorAll('.jp-CodeCell .cm-editor.cm-focused .cm-line')].map((e) => e.textContent)"
    page.wait_for_function(f"({place}).length > 22")
    text = page.evaluate(place)[22]
    assert text == "test_func = jax.vmap(test_func, in_axes=(None, 0))"
    assert page.evaluate("document.activeElement.matches('.cm-content')")
    page.locator(".vc-light").first.wait_for(state="attached")


def test_a_saved_report_is_alive_without_its_kernel(server, page):
    """Its state is kept with the notebook, once, although JupyterLab's setting for all widgets is off."""
    path = server.write("saved.ipynb", *example("seed_bug"))
    opened(page, server.lab("saved.ipynb"))
    run(page)
    run(page)
    notebook = save(page, path)
    (data,) = outputs(notebook)
    assert set(data) == {
        "application/vnd.jupyter.widget-view+json", "application/vnd.jaxvjp.report.v1+json", "text/html", "text/plain",
    }  # fmt: skip
    state = notebook["metadata"]["widgets"][WIDGET_STATE]["state"]
    assert [one["model_name"] for one in state.values()].count("AnyModel") == 1
    assert len(json.dumps(notebook)) < 150_000
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.goto("about:blank")
    opened(page, server.lab("saved.ipynb"))
    report = page.locator(".vjpcheck").last
    report.locator(".vc-opener").nth(1).click()
    assert report.locator(".vc-leaves").count() == 1
    assert page.get_by_text("model not found").count() == 0


def test_a_report_that_is_gone_leaves_no_state(server, page):
    """Clearing the outputs clears what was kept for them."""
    path = server.write("cleared.ipynb", LOAD, SQUARE.format(size=3))
    opened(page, server.lab("cleared.ipynb"))
    run(page)
    assert "widgets" in save(page, path)["metadata"]
    command(page, "editmenu:clear-all")
    assert "widgets" not in save(page, path)["metadata"]


def test_what_changed_since_the_last_run(server, page):
    """The same cell, edited and run again."""
    server.write("again.ipynb", LOAD, SQUARE.format(size=3))
    opened(page, server.lab("again.ipynb"))
    run(page)
    assert page.locator(".vc-since").count() == 0
    edit = "(text) => jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.setSource(text)"
    page.evaluate(edit, SQUARE.format(size=7))
    run(page)
    page.locator(".vc-since summary", has_text="since the last run: 1 call changed").wait_for()
    assert "x f32[3] → x f32[7]" in page.locator(".vc-since").inner_text()


def test_a_slow_cell_tells_how_far_it_is(server, page):
    """A line while it runs, below what it prints; gone with the report, and nothing of it in the notebook."""
    path = server.write("slow.ipynb", LOAD, SLOW)
    opened(page, server.lab("slow.ipynb"))
    command(page, "notebook:run-all-cells", wait=False)
    line = page.locator(".jp-CodeCell .vc-progress")
    line.wait_for()
    assert "so far, " in line.inner_text()
    page.locator(".vjpcheck .vc-calls").wait_for()
    assert line.count() == 0
    notebook = save(page, path)
    assert [output["output_type"] for output in notebook["cells"][1]["outputs"]] == ["stream", "display_data"]
    assert notebook["cells"][1]["outputs"][0]["text"] in ("first\nlast\n", ["first\n", "last\n"])
    assert "so far" not in path.read_text()


def test_many_calls_come_from_the_session(server, page):
    """More than is saved: the kernel gives the rest."""
    server.write("many.ipynb", LOAD, MANY)
    opened(page, server.lab("many.ipynb"))
    run(page)
    page.wait_for_function("document.querySelector('.vc-told').textContent === '130 rows'")
    page.evaluate("const area = document.querySelector('.vc-scroll'); area.scrollTop = area.scrollHeight")
    page.locator("tr[data-call='130'] .vc-opener").click()
    page.locator("caption", has_text="leaves of call 130").wait_for()


def test_without_the_widget(server, page):
    """`--no-widget` is the static page alone; nothing of a widget is made."""
    path = server.write("static.ipynb", LOAD, SQUARE.format(size=3).replace("%%vjpcheck", "%%vjpcheck --no-widget"))
    opened(page, server.lab("static.ipynb"))
    command(page, "notebook:run-all-cells")
    page.locator(".jp-OutputArea-output table").wait_for()
    (data,) = outputs(save(page, path))
    assert set(data) == {"application/vnd.jaxvjp.report.v1+json", "text/html", "text/plain"}
    assert page.locator(".vjpcheck").count() == 0


# Exported pages --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """The seed example, run without a front end."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "seed_bug.ipynb", 4)
    NotebookClient(notebook, allow_errors=True, timeout=CELLS_SECONDS, kernel_name="python3").execute()
    return notebook


def exported(notebook, path):
    """The notebook as a page."""
    from nbconvert import HTMLExporter

    path.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    return path.as_uri()


def test_an_exported_page_without_widget_state(page, executed, tmp_path):
    """The static page is shown, whole, and nothing has to be fetched for it."""
    notebook = executed.copy()
    notebook["metadata"] = {key: value for key, value in executed.metadata.items() if key != "widgets"}
    page.route(re.compile("^https?://"), lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto(exported(notebook, tmp_path / "static.html"))
    report = page.locator("article").locator("..")
    assert "NAM201" in report.inner_text()
    assert report.locator("tbody tr").count() == 4
    assert report.locator("svg").count() == 2


def test_an_exported_page_without_network(server, page, tmp_path):
    """After a normal save, which keeps the widget: the static page is there, for nothing comes to replace it."""
    import nbformat

    path = server.write("offline.ipynb", *example("seed_bug"))
    opened(page, server.lab("offline.ipynb"))
    run(page)
    assert "widgets" in save(page, path)["metadata"]
    page.goto("about:blank")
    page.route(re.compile("^https?://"), lambda route: route.abort())
    page.errors.clear()
    page.goto(exported(nbformat.read(path, 4), tmp_path / "offline.html"))
    report = page.locator("[data-vjpcheck-static]")
    assert "NAM201" in report.inner_text()
    assert report.locator("tbody tr").count() == 4
    assert report.is_visible()
    page.errors.clear()  # what could not be fetched
    page.unroute_all()


def test_an_exported_page_with_widget_state(page, executed, tmp_path, widget_manager):
    """The widget is alive on the page: it opens, it filters, and a line number lights up the line."""
    served = {
        "require": (widget_manager / "requirejs" / "require.js").read_text(),
        "embed-amd": (widget_manager / "@jupyter-widgets" / "html-manager" / "dist" / "embed-amd.js").read_text(),
        "anywidget": (Path(anywidget.__file__).parent / "nbextension" / "index.js").read_text(),
    }

    def serve(route):
        part = next((part for part in ("embed-amd", "anywidget", "require") if part in route.request.url), None)
        route.fulfill(body=served.get(part, ""), content_type="text/javascript")

    page.route(re.compile("^https?://"), serve)
    page.goto(exported(executed, tmp_path / "alive.html"))
    report = page.locator(".vjpcheck")
    report.locator(".vc-opener").nth(1).click()
    assert page.locator("[data-vjpcheck-static]").count() == 0
    assert report.locator(".vc-leaves").count() == 1
    report.get_by_role("searchbox").fill("grad(")
    assert report.locator("tr[data-call]").count() == 1
    report.locator(".vc-goto").first.click()
    page.locator(".vc-light").wait_for(state="attached")
    report.get_by_role("searchbox").fill("")
    assert report.locator("tr[data-call]").count() == 4
    # Such pages look for anywidget beside themselves first, and the browser says that it is not there.
    page.errors[:] = [error for error in page.errors if "ERR_FILE_NOT_FOUND" not in error]


@pytest.fixture(scope="session")
def widget_manager(tmp_path_factory):
    """What exported pages fetch to bring widgets to life; from npm, for it is in no Python package."""
    npm = shutil.which("npm")
    folder = tmp_path_factory.mktemp("npm")
    packages = ["@jupyter-widgets/html-manager@1", "requirejs@2.3.6"]
    command = [
        npm,
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
        str(folder),
        *packages,
    ]
    failed = npm is None or subprocess.run(command, check=False, timeout=240, stdout=sys.stderr).returncode
    if failed and os.environ.get("CI") == "true":
        pytest.fail("npm cannot install what an exported page fetches")
    if failed:
        pytest.skip("needs npm, for what an exported page fetches")
    return folder / "node_modules"
