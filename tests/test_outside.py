"""What comes from outside, a report or a notebook that somebody else made, is data: bounded, checked, and never run."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from programs import check_program

from jaxvjp_magic import Report
from jaxvjp_magic.rendering.mime import MIME_TYPE, mime_bundle
from jaxvjp_magic.rendering.widget import script
from jaxvjp_magic.rendering.widget_view import WidgetView
from jaxvjp_magic.results import schema
from jaxvjp_magic.runners import notebook

ROOT = Path(__file__).parent.parent
WHOLE = json.loads(
    check_program("""
        f = jax.custom_vjp(lambda x, k: x * k)
        f.defvjp(lambda x, k: (x[None] * k, (x, k)), lambda r, g: (r[1] * g, None))
        out, pull = jax.vjp(lambda x: jax.vmap(f, in_axes=(0, None))(x, 2.0), jnp.ones(3))
        pull(jnp.ones(4))
    """).to_json()
)


def said(text):
    """What reading this raises: one line."""
    with pytest.raises(ValueError, match=r".") as caught:
        Report.from_json(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(path, value):
    """The text of the report with another value at this place."""
    data = copy.deepcopy(WHOLE)
    *above, last = path
    at = data
    for key in above:
        at = at[key]
    at[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("calls", 0, "count"), "3", "calls[0].count is not an integer"),
        (("calls", 0, "count"), True, "calls[0].count is not an integer"),
        (("calls", 0, "line"), 10**30, "calls[0].line is not an integer"),
        (("calls", 0, "line"), float("inf"), "calls[0].line is not an integer"),
        (("calls", 0, "vmap"), 3, "calls[0].vmap is not a list"),
        (("calls", 1, "parent"), 9, "calls[1].parent is not a call above it"),
        (("calls", 1, "id"), 1, "calls[1].id is not a new number"),
        (("calls", 0, "function"), {"a": 1}, "calls[0].function is not a string"),
        (("calls", 0, "function"), "\ud800", "calls[0].function has half of a surrogate pair"),
        (("calls", 0, "primals", 0, "bytes"), "12", "calls[0].primals[0].bytes is not an integer"),
        (("calls", 0, "primals", 0), "x", "calls[0].primals[0] is not an object"),
        (("findings", 0, "severity"), "fatal", "findings[0].severity is not one of error, warning, note"),
        (("findings", 0, "severity"), ["error"], "findings[0].severity is not one of error, warning, note"),
        (("findings", 0, "cause_of"), [99], "findings[0].cause_of names a finding that does not exist"),
        (("findings", 0, "snippet", "line"), None, "findings[0].snippet.line is not an integer"),
        (("findings", 0, "explains_error"), 1, "findings[0].explains_error is neither true nor false"),
        (("error",), "ValueError", "error is not an object"),
        (("notes",), "a note", "notes is not a list"),
        (("jax",), 0.1, "jax is not a string"),
    ],
)
def test_a_field_of_another_type_is_named(path, value, message):
    """Which, and what is wrong with it."""
    assert said(changed(path, value)) == f"a damaged vjpcheck report: {message}"


def test_sizes_are_bounded(monkeypatch):
    """Of the text, of each list and of each string; of numbers and of nesting, too."""
    assert said("[" * 100_000) == "not a vjpcheck report: it is nested too deeply"
    assert said(f'{{"schema": {"1" * 5000}}}').startswith("not a vjpcheck report: Exceeds the limit")
    assert said('{"schema": 1e400}') == "not a vjpcheck report of schema 1"
    assert said(changed(("calls", 0, "line"), 1).replace('"line": 1,', '"line": 1e400,', 1)).endswith("not an integer")
    monkeypatch.setattr(schema, "MOST_ENTRIES", 1)
    assert said(json.dumps(WHOLE)).endswith("entries, more than 1")
    monkeypatch.setattr(schema, "LONGEST_STRING", 5)
    assert said(changed(("jax",), "0.10.22")) == "a damaged vjpcheck report: jax has 7 characters, more than 5"
    monkeypatch.setattr(schema, "MOST_CHARACTERS", 10)
    assert said(json.dumps(WHOLE)).endswith(" characters, more than 10")


def places(value, path=()):
    """Every place in JSON data."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["error", "<b>", "\x1b[1m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([path for path in places(WHOLE) if path]), anything)
def test_a_report_with_anything_anywhere_is_told_or_shown(path, value):
    """Either a line says what is wrong, or every form of it can be made."""
    try:
        report = Report.from_json(changed(path, value))
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 (most examples do not raise)
        return
    bundle = mime_bundle(report)
    assert set(bundle) == {"text/plain", "text/html", MIME_TYPE}
    assert "could not show" not in bundle["text/plain"]
    view = WidgetView(report, None)
    assert len([view.detail(row) for row in view.rows]) == len(report.calls)
    assert Report.from_json(report.to_json()) == report


EVIL = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e'\"><b>"


class Elements(HTMLParser):
    """The names of all elements, and of their attributes."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def handle_starttag(self, tag, attrs):
        self.seen |= {tag, *(name for name, _ in attrs)}


def test_text_of_a_report_is_nothing_but_text():
    """Whatever stands in it: no element, no attribute and no terminal's control sequence comes of it."""

    def evil(value):
        if isinstance(value, dict):
            return {key: one if key in ("severity", "kind") else evil(one) for key, one in value.items()}
        if isinstance(value, list):
            return list(map(evil, value))
        return EVIL + value if isinstance(value, str) else value

    report = Report.from_json(json.dumps({**evil(WHOLE), "notes": [EVIL]}))
    bundle = mime_bundle(report)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", bundle["text/plain"] + bundle["text/html"])
    elements, plain = Elements(), Elements()
    elements.feed(bundle["text/html"])
    plain.feed(mime_bundle(Report.from_json(json.dumps(WHOLE)))["text/html"])
    assert elements.seen <= plain.seen | {"span"}
    assert not {"script", "img", "onerror", "src"} & elements.seen


def test_the_scripts_make_text_and_never_markup_of_what_they_are_given():
    """The widget, and JupyterLab's part: no HTML from strings, no code from strings."""
    sources = script() + "".join(one.read_text() for one in (ROOT / "labextension" / "src").glob("*.ts"))
    assert "textContent" in sources
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", sources)


def run_cli(folder, name):
    return subprocess.run(
        [sys.executable, "-m", "jaxvjp_magic", name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "content", ["", "PK\x03\x04", "[" * 100_000, '{"cells": 3, "nbformat": 4}', '{"nbformat": 99}']
)
def test_a_file_that_is_no_notebook_is_told_in_one_line(tmp_path, content):
    """Exit status 2; nothing is run."""
    (tmp_path / "other.ipynb").write_text(content)
    done = run_cli(tmp_path, "other.ipynb")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("python -m jaxvjp_magic: other.ipynb is not a readable notebook: ")


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    """Nor is what is no file."""
    (tmp_path / "large.ipynb").write_text("[]")
    monkeypatch.setattr(notebook, "MOST_BYTES", 1)
    with pytest.raises(notebook.CannotRunError, match=r"large.ipynb is not a file of at most 1 bytes"):
        notebook.run_notebook(tmp_path / "large.ipynb", None)
    monkeypatch.setattr(notebook, "MOST_BYTES", 10)
    with pytest.raises(notebook.CannotRunError, match=r"is not a file of at most 10 bytes"):
        notebook.run_notebook(tmp_path, None)


@pytest.mark.any_jax
def test_what_a_cell_shows_as_a_report_is_looked_at_like_any_other(tmp_path):
    """A notebook that shows a damaged one is checked all the same, with a note."""
    cell = f"from IPython.display import display\ndisplay({{'{MIME_TYPE}': {{'schema': 1, 'calls': 'x'}}}}, raw=True)"
    cells = [nbformat.v4.new_code_cell(one) for one in (cell, "import jax\njax.grad(jax.numpy.sin)(1.0)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "forged.ipynb")
    done = run_cli(tmp_path, "forged.ipynb")
    assert done.returncode == 0
    assert "note: a damaged vjpcheck report: findings is missing" in done.stdout
    assert "grad" in done.stdout
