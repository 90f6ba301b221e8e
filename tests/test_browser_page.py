"""The widget in a browser, on a page of its own: what it shows, and what happens when it is used."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import axe_core_python
import pytest
from browser_reports import MANY, NESTED, REPAIRED, SOME, large_model
from test_html import HOSTILE, LEFT_OUT, MIXED, SEED, _report_of
from test_not_checked import EMPTY

from jaxvjp_magic.rendering import diagram
from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.report_view import ReportView
from jaxvjp_magic.rendering.text import render_text

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.any_jax]  # one browser, one server
COLUMNS = ["#", "call", "line", "vmap", "primals", "output", "residuals", "memory", "cotangent", "gradients", "count"]


def cells(page):
    """The text of the cells of each row in sight."""
    rows = page.locator("tr[data-call]").all()
    return [[" ".join(cell.inner_text().split()) for cell in row.locator("> td, > th").all()] for row in rows]


def names(page):
    """What is called, row by row."""
    return [row[1].lstrip("▸▾ └") for row in cells(page)]


def test_a_row_for_each_call(show):
    """Each call, nested below the one that it is part of, with everything that is known of it."""
    page = show(SEED)
    assert page.locator(".vc-calls thead th").all_inner_texts() == COLUMNS
    assert cells(page) == [
        [
            *("1", "▸vjp(test_func)", "18", "", "R f32[10,3]", "f32[10,3]", "[0] f32[10,3]", "120 B"),
            *("× error f32[10]", "", ""),  # noqa: RUF001 (the sign of an error)
        ],
        [
            *("2", "▸└ test_func", "18", "10", "R f32[3] f function <lambda> (nondiff)", "× error f32[3]", "f32[3]"),  # noqa: RUF001 (the sign of an error)
            *("10 × 12 B", "", "(bwd not run)", ""),  # noqa: RUF001 (a sign of multiplication)
        ],
        ["3", "▸ └ inner", "In[3]:4", "10 3", "", "", "", "", "", "", "1,200"],
    ]


def test_findings_are_cards(show):
    """The cause with its line, a caret under each letter that is meant, the reason and the fix; in it, what follows."""
    page = show(SEED)
    card = page.locator("article")
    assert card.count() == 1
    assert card.locator(".vc-snippet").first.inner_text() == (
        "17 │ test_func = vmap(test_func, in_axes=(None, 0))\n   │ ^^^^^^^^^"
    )
    assert "× error NAM201" in card.inner_text()  # noqa: RUF001 (the sign of an error)
    assert "test_func_fwd (line 9) calls test_func" in card.inner_text()
    followers = card.locator("summary:not(.vc-grey)").all()
    assert [summary.inner_text().split()[2] for summary in followers] == ["VJP101", "VJP106"]
    about = card.locator("details.vc-about").first
    about.locator("summary").click()
    assert about.inner_text().startswith("what NAM201 is about\n\nA rule calls a name that has been overwritten.")
    assert about.locator("code").inner_text() == "%vjpcheck explain NAM201"


def test_the_fix_is_copied(show):
    """The code of the fix, without the words before it."""
    page = show(SEED)
    button = page.get_by_role("button", name="copy the fix").first
    button.click()
    page.wait_for_function("document.querySelector('.vc-copy').textContent === 'copied'")
    page.evaluate("document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    page.keyboard.press("Control+v")
    assert page.locator("textarea").input_value() == "test_func_mapped = vmap(test_func, in_axes=(None, 0))"


def test_a_row_opens_to_its_leaves(show):
    """Every leaf, expected beside got, and the differing one marked by a word too; and it closes."""
    page = show(SEED)
    opener = page.get_by_role("button", name="test_func", exact=False).and_(page.locator(".vc-opener")).nth(1)
    opener.click()
    assert opener.get_attribute("aria-expanded") == "true"
    leaves = [
        [" ".join(cell.inner_text().split()) for cell in row.locator("th, td").all()]
        for row in page.locator(".vc-leaves tr").all()
    ]
    assert leaves == [
        ["part", "leaf", "expected", "got", "size"],
        ["primals", "R", "", "f32[3]", "12 B"],
        ["primals", "f", "", "function <lambda>", ""],
        ["output", "", "f32[]", "× error f32[3]", ""],  # noqa: RUF001 (the sign of an error)
        ["residuals", "", "", "f32[3]", "12 B"],
    ]
    opener.click()
    assert page.locator(".vc-leaves").count() == 0


def test_the_wrong_leaf_of_two_hundred_is_marked(show):
    """In the row and in the table of leaves; no other leaf is, and no count of the rest."""
    page = show(large_model())
    page.locator(".vc-opener", has_text="model").nth(1).click()
    marked = [[" ".join(one.split()) for one in row.inner_text().split("\t")] for row in _marked_rows(page)]
    assert marked == [
        ["gradients", "params['layer_073']['w']", "f32[4,3]", "× error f32[3,4]", ""],  # noqa: RUF001 (the sign of an error)
        ["gradients", "params['layer_091']['b']", "f32[3]", "× error bf16[3]", ""],  # noqa: RUF001 (as above)
    ]
    assert "layer_073" in page.locator("tr[data-call] .vc-mark").first.inner_text()


def _marked_rows(page):
    return page.locator(".vc-leaves tr", has=page.locator(".vc-mark")).all()


def test_a_finding_opens_its_call(show):
    """The card leads to the row, even if a filter hides the row."""
    page = show(SEED)
    page.get_by_role("searchbox").fill("inner")
    assert names(page) == ["inner"]
    page.evaluate(
        "document.querySelectorAll('article, article details').forEach((e) => { e.hidden = false; e.open = true; })"
    )
    page.get_by_role("button", name="show call 2").click()
    assert page.locator("caption", has_text="leaves of call 2").count() == 1
    assert names(page) == ["vjp(test_func)", "test_func", "inner"]


def test_rows_are_filtered_by_text_and_by_severity(show):
    """Both filters together; what is hidden is counted."""
    page = show(SEED)
    page.get_by_role("searchbox").fill("F32[10,3]")
    assert names(page) == ["vjp(test_func)"]
    assert page.get_by_role("status").inner_text() == "1 of 3 rows"
    assert page.locator("article:visible").count() == 0
    page.get_by_role("searchbox").fill("overwritten")
    assert page.locator("article:visible").count() == 1
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="errors").click()
    assert names(page) == ["vjp(test_func)", "test_func"]
    assert page.get_by_role("button", name="errors").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="all", exact=True).click()
    assert len(names(page)) == 3


def test_cards_are_filtered_too(show):
    """A severity shows its cards only."""
    page = show(MIXED)
    page.get_by_role("button", name="notes").click()
    assert ["RES401" in card.inner_text() for card in page.locator("article:visible").all()] == [True]


def test_rows_are_sorted(show):
    """A heading sorts, sorts the other way, and gives the order of the calls back; what has no value comes last."""
    page = show(SEED)
    head = page.locator("thead th", has_text="call")
    head.get_by_role("button").click()
    assert names(page) == ["inner", "test_func", "vjp(test_func)"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert names(page) == ["vjp(test_func)", "test_func", "inner"]
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    page.locator("thead th", has_text="gradients").get_by_role("button").click()
    assert names(page)[0] == "test_func"


def test_the_largest_residuals_first(show):
    """On request, over all calls; the bars and the total say it at a glance."""
    page = show(SOME)
    page.wait_for_function("document.querySelector('.vc-told').textContent === '400 rows'")
    assert "in all" in page.locator(".vc-total").inner_text()
    page.get_by_role("button", name="largest first").click()
    assert [row[7] for row in cells(page)][:2] == ["10 × 1.2 kB", "10 × 1.2 kB"]  # noqa: RUF001 (a sign of multiplication)
    assert page.locator(".vc-bar > span").first.get_attribute("style") == "width:100%"


def test_by_keyboard_alone(show):
    """Tab reaches everything, the arrows go from row to row, Enter opens."""
    page = show(SEED)
    page.get_by_role("searchbox").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.vc-opener')"):
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("caption", has_text="leaves of call 2").count() == 1
    assert page.evaluate("document.activeElement.closest('tr').dataset.call") == "2"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('tr').dataset.call") == "3"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_what_changed_is_shown(show):
    """Findings gone, shapes old and new, each in words; the cells say what they were."""
    page = show(REPAIRED, before=SEED)
    assert page.locator(".vc-since summary").inner_text() == "since the last run: 3 findings gone, 2 calls changed"
    assert "call 2, test_func: output f32[3] → f32[]" in page.locator(".vc-since").inner_text()
    assert cells(page)[1][5] == "f32[] was f32[3]"


def test_thousands_of_calls_scroll(show):
    """All of them are there, few of them are drawn, and the last is reached."""
    page = show(MANY)
    page.wait_for_function("document.querySelector('.vc-told').textContent === '5,000 rows'")
    assert page.locator("tr[data-call]").count() < 100
    assert page.locator(".vc-calls").get_attribute("aria-rowcount") == "5001"
    page.evaluate("const area = document.querySelector('.vc-scroll'); area.scrollTop = area.scrollHeight")
    page.locator("tr[data-call='5000']").wait_for()
    assert page.locator("tr[data-call='5000']").get_attribute("aria-rowindex") == "5001"
    page.locator("tr[data-call='5000'] .vc-opener").click()
    page.locator("caption", has_text="leaves of call 5000").wait_for()


def test_without_the_session_the_first_rows_and_the_findings_are_there(show):
    """And how many calls are missing; the rows that are there open."""
    page = show(MANY, session=False)
    assert page.get_by_text("... and 4,900 more calls").count() == 1
    assert page.locator("article").count() == 1
    page.locator("tr[data-call='2'] .vc-opener").click()
    assert page.locator("caption", has_text="leaves of call 2").count() == 1


@pytest.mark.parametrize("report", [SEED, MIXED, NESTED], ids=["seed", "mixed", "nested"])
def test_the_picture_is_that_of_the_static_page(show, report):
    """It is drawn once, by Python."""
    page = show(report)
    for row in ReportView(report).rows:
        page.locator(f"tr[data-call='{row.call.id}'] .vc-opener").click()
        drawn = page.locator(f"tr[data-opened='{row.call.id}'] svg").evaluate("(svg) => svg.outerHTML")
        static = page.evaluate(
            "(text) => new DOMParser().parseFromString(text, 'text/html').querySelector('svg').outerHTML",
            diagram.draw(diagram.scene(row)),
        )
        assert drawn == static


def test_text_of_the_program_stays_text(show):
    """Names, paths, messages, source lines with scripts, control characters and marks of direction."""
    page = show(_report_of(HOSTILE))
    page.locator(".vc-opener").click()
    shown = """<script>alert("1")</script>&amp;<!-- '\\' -->\\u001b[31m\\u202eevil\\u2028\\u0000"""
    text = page.locator("#place").evaluate("(place) => place.textContent")
    places = "jax call source primal-path primal-type nondiff title message fix code line finding-source error note "
    places += "left-out why"
    assert [place for place in places.split() if f"{place}:{shown}" not in text] == []
    assert page.locator("#place script, #place img").count() == 0
    assert "\u202e" not in text


def test_what_was_not_looked_at_is_a_quiet_line(show):
    """Grey, below the calls and above the notes; no key opens what is whole."""
    page = show(LEFT_OUT)
    line = page.locator("p.vc-unseen")
    assert line.inner_text() == render_text(LEFT_OUT).splitlines()[-3]
    assert page.locator("#place p").last.inner_text() == "note: a rule was not traced"
    assert line.evaluate("(line) => line.previousElementSibling.previousElementSibling.className") == "vc-scroll"
    colours = page.evaluate(
        "['.vc-unseen', '.vc-head'].map((one) => getComputedStyle(document.querySelector(one)).color)"
    )
    assert colours[0] != colours[1]


def test_much_that_was_not_looked_at_is_folded(show):
    """One line, which opens to the rest; it stays readable."""
    page = show(dataclasses.replace(LEFT_OUT, not_checked=LEFT_OUT.not_checked * 2))
    folded = page.locator("details.vc-unseen")
    assert folded.locator("summary").inner_text().endswith("; and 3 more")
    assert not folded.locator("li").first.is_visible()
    folded.locator("summary").click()
    assert folded.locator("li").first.inner_text() == "what decode returns: it calls table (line 12), an lru_cache"
    assert _axe(page) == []


def test_a_report_of_empty_and_zero_things_is_drawn(show):
    """A call without a name is opened, and what holds nothing has no bar."""
    page = show(EMPTY)
    assert [row[7] for row in cells(page)] == ["0 × 12 B", "0 B"]  # noqa: RUF001 (a sign of multiplication)
    bars = page.locator(".vc-bar > span").all()
    assert [bar.get_attribute("style") for bar in bars] == ["width:0%", "width:0%"]
    page.locator(".vc-opener").nth(1).click()
    assert page.locator("caption", has_text="leaves of call 2").count() == 1


@pytest.mark.parametrize("theme", ["light", "dark", "black", "none"])
def test_axe_finds_nothing(show, theme):
    """Nothing that keeps people from reading or using it, closed and opened, in any theme."""
    page = show(LEFT_OUT, before=REPAIRED, theme=theme)
    page.locator(".vc-opener").nth(1).click()
    assert _axe(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_many_calls(show, theme):
    """The scroll area, too."""
    page = show(SOME, theme=theme)
    page.wait_for_function("document.querySelector('.vc-told').textContent === '400 rows'")
    assert _axe(page) == []


def test_axe_finds_nothing_in_the_static_page(page):
    """The same for those without the widget."""
    page.set_content(f"<!doctype html><html lang=en><title>t</title><main>{render_html(LEFT_OUT)}</main></html>")
    assert _axe(page) == []


def _axe(page):
    """What axe-core finds, of any weight, as rule and element."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("async () => (await axe.run()).violations")
    return [(rule["id"], rule["impact"], node["html"][:120], node["failureSummary"]) for rule in found
            if rule["impact"] in ("serious", "critical", "moderate") and rule["id"] not in PAGE_RULES
            for node in rule["nodes"]]  # fmt: skip


PAGE_RULES = ("page-has-heading-one",)  # the page is the test's own
