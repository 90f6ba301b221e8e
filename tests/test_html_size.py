"""The static HTML of what is large, and its pictures: few letters, nothing endless, nothing left out in silence."""

from __future__ import annotations

import dataclasses

import pytest
from test_html import MIXED, NOTHING_WRONG, SEED, cells_of, parse

from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.report_view import MOST_ROWS
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, Severity

pytestmark = pytest.mark.any_jax


def test_pictures_of_the_calls_that_findings_are_about():
    """Each folded but the first, with a title and a description; none without findings."""
    root = parse(SEED)
    assert [node.words for node in root.all("summary")][-2:] == [
        "Call 1, vjp(test_func), as a picture",
        "Call 2, test_func, as a picture",
    ]
    assert [node.attributes.get("role") for node in root.all("svg")] == ["img", "img"]
    (described,) = root.all("svg")[1].all("desc")
    assert "".join(described.content) == (
        "primals R f32[3], f function <lambda> (nondiff); output f32[3] (error: does not fit); "
        "residuals f32[3]  12 B; cotangent not run; gradients not run; one of 10 examples"
    )
    assert not parse(NOTHING_WRONG).all("svg")


def test_residuals_have_bars_and_a_total():
    """Longer where more is held, those of all examples together; screen readers are spared them."""
    small = dataclasses.replace(SEED.calls[0], id=4, residuals=(Leaf("", "float32[10]", 40),))
    root = parse(dataclasses.replace(SEED, calls=(*SEED.calls, small)))
    bars = [node for node in root.all("span") if node.attributes.get("aria-hidden")]
    assert ["".join(bar.content) for bar in bars] == ["▂▂▂▂▂▂", "▂▂▂▂▂▂", "▂▂"]
    (caption,) = root.all("caption")
    assert caption.words.endswith("residuals: 160 B in all")


def test_long_names_may_wrap_and_endless_ones_end():
    """A long line is whole, and one without end is cut, visibly."""
    calls = (Call(1, "custom_vjp", "f" * 150), Call(2, "custom_vjp", "g" * 5000))
    long, endless = (row[1] for row in cells_of(parse(Report(calls=calls))))
    assert long == "f" * 150
    assert endless == "g" * 199 + "…"


def test_rows_that_are_left_out_are_counted():
    """The table ends where the text's ends, and says what is missing."""
    calls = tuple(Call(i, "vjp", f"f{i}") for i in range(1, MOST_ROWS + 1235))
    root = parse(Report(calls=calls))
    assert [row[1] for row in cells_of(root)] == [f"vjp(f{i})" for i in range(1, MOST_ROWS + 1)]
    assert "... and 1,234 more calls" in root.words


def test_deep_nesting_does_not_grow_without_end():
    """Fifty calls inside each other are a readable table still."""
    calls = tuple(Call(i, "custom_vjp", "f", parent=i - 1) for i in range(1, 51))
    nested = [node.text for node in parse(Report(calls=calls)).all("th") if node.words.endswith("└ f")]
    assert len(nested) == 49
    assert max(map(len, nested)) < 40


def test_nested_calls_are_indented_without_styles():
    """The indentation is made of spaces that HTML keeps."""
    headers = [node.text.rstrip("\n") for node in parse(SEED).all("th") if node.attributes["scope"] == "row"]
    assert headers == ["vjp(test_func)", "└\u00a0test_func", "\u00a0\u00a0└\u00a0inner (1,200 times)"]


def test_the_leaf_that_is_wrong_is_shown_and_marked():
    """Whatever else is left out; the mark never stands on a leaf that is right."""
    leaves = tuple(Leaf(f"p[{i}]", "float32[2]") for i in range(9))
    finding = Finding("VJP104", Severity.ERROR, "title", "reason", phase="bwd", path="p[7]", calls=(1,))
    report = Report(findings=(finding,), calls=(Call(1, "custom_vjp", "f", cotangents_out=leaves),))
    (row,) = cells_of(parse(report))
    assert row[-1] == "p[0] f32[2] p[1] f32[2] p[2] f32[2] × error p[7] f32[2] and 5 more"  # noqa: RUF001 (the sign of an error)


def test_column_with_nothing_but_a_mark_is_shown():
    """A bwd rule that returned nothing is marked although its cell is empty; columns without both are left out."""
    root = parse(MIXED)
    assert [node.words for node in root.all("thead")[0].all("th")] == ["#", "call", "primals", "gradients"]
    assert cells_of(root) == [["7", "g", "params['w'] bf16[8,8] x i32[8]", "! warning"]]


def test_fifty_rows_are_at_most_30_kb():
    """A notebook with many reports stays small."""
    shapes = SEED.calls[:2]
    calls = [dataclasses.replace(shapes[i % 2], id=i + 1, parent=i if i % 2 else 0) for i in range(50)]
    report = dataclasses.replace(SEED, calls=tuple(calls))
    assert len(cells_of(parse(report))) == 50
    assert len(render_html(report).encode()) <= 30_000
