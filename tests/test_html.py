"""The static HTML: says what the text says, in elements that need no style, and never as markup of the user's."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvjp_magic.rendering.html import render_html
from jaxvjp_magic.rendering.quoting import plain
from jaxvjp_magic.rendering.text import render_text
from jaxvjp_magic.report import Report
from jaxvjp_magic.results.model import Call, Finding, Leaf, NotChecked, ProgramError, Severity, Snippet

pytestmark = pytest.mark.any_jax

TAGS = "div p b span article details summary pre code u table caption thead tbody tr th td br ul li button"
DRAWN = "svg title desc g path circle rect text"


class Node:
    """An element, with the elements and the text in it."""

    def __init__(self, tag, attributes=(), parent=None):
        """Empty so far."""
        self.tag, self.attributes, self.parent = tag, dict(attributes), parent
        self.content = []

    def all(self, *tags):
        """All elements inside this one, in order, with one of these tags (with any, if none is given)."""
        inside = [(node, *node.all()) for node in self.content if isinstance(node, Node)]
        return [node for nodes in inside for node in nodes if not tags or node.tag in tags]

    @property
    def text(self):
        """The text as a reader without style sheets gets it; a cell or a block ends in a new line."""
        inside = "".join(part if isinstance(part, str) else part.text for part in self.content)
        if self.tag == "svg" or self.attributes.get("aria-hidden"):
            return ""  # the same once more, for the eyes
        return inside if self.tag in {"b", "code", "span", "u"} else f"{inside}\n"

    @property
    def words(self):
        """The text without its layout."""
        return " ".join(self.text.split())


class Tree(HTMLParser):
    """Builds the nodes, and takes no unclosed element."""

    def __init__(self, text):
        """Read the whole text."""
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("root")
        self.feed(text)
        self.close()
        assert self.here is self.root

    def handle_starttag(self, tag, attrs):
        """Begin an element."""
        node = Node(tag, attrs, self.here)
        self.here.content.append(node)
        if tag != "br":
            self.here = node

    def handle_endtag(self, tag):
        """End the element that began last, and no other."""
        assert tag == self.here.tag
        self.here = self.here.parent

    def handle_data(self, data):
        """Add text."""
        self.here.content.append(data)

    def handle_comment(self, data):
        """Fail: nothing is said where nobody reads it."""
        pytest.fail(f"a comment: {data}")


def parse(report):
    """The report's HTML as a tree."""
    return Tree(render_html(report)).root


def cells_of(root):
    """The table's body as lists of words."""
    (body,) = root.all("tbody")
    return [[cell.words for cell in row.all("td", "th")] for row in body.all("tr")]


SEED_FINDINGS = (
    Finding(
        "NAM201", Severity.ERROR, "test_func was overwritten; test_func_fwd calls it",
        "test_func_fwd (line 9) calls test_func, and now gets vmap(test_func).",
        fix="give the new function its own name:  test_func_mapped = vmap(test_func, in_axes=(None, 0))",
        fix_code="test_func_mapped = vmap(test_func, in_axes=(None, 0))", line=17, cause_of=(1, 2),
        snippet=Snippet(17, "test_func = vmap(test_func, in_axes=(None, 0))", 0, 9), explains_error=True,
    ),
    Finding(
        "VJP101", Severity.ERROR, "test_func_fwd returns float32[3], but test_func returns float32[]",
        "The first of the pair takes the place of the output.", line=10, phase="fwd", calls=(2,),
        snippet=Snippet(10, "    return primal_out, 2.0 * primal * primal_out", 4, 48),
    ),
    Finding(
        "VJP106", Severity.ERROR, "the pullback was given float32[10], but the output is float32[10,3]",
        "A pullback takes a cotangent of the output's type.", fix="return zeros_like(x)",
        fix_code="return zeros_like(x)", line=19,
        phase="pullback", calls=(1,),
    ),
)  # fmt: skip
SEED_CALLS = (
    Call(
        1, "vjp", "test_func", primals=(Leaf("R", "float32[10,3]", 120),), outputs=(Leaf("", "float32[10,3]"),),
        residuals=(Leaf("[0]", "float32[10,3]", 120),), cotangents_in=(Leaf("", "float32[10]"),), line=18,
    ),
    Call(
        2, "custom_vjp", "test_func", line=18, parent=1, vmap=(10,), status="bwd not run",
        primals=(Leaf("R", "float32[3]", 12),), nondiff=(Leaf("f", "function <lambda>"),),
        outputs=(Leaf("", "float32[]"),), fwd_outputs=(Leaf("", "float32[3]"),),
        residuals=(Leaf("", "float32[3]", 12),),
    ),
    Call(3, "custom_vjp", "inner", line=4, source="In[3]", parent=2, count=1200, vmap=(10, 3)),
)  # fmt: skip
RAISED = ProgramError("ValueError", "unexpected JAX type", 19)
SEED = Report("0.10.2", SEED_FINDINGS, SEED_CALLS, RAISED, ("a rule was not traced",))
MIXED = Report(
    findings=(
        Finding("VJP110", Severity.WARNING, "an odd thing", "Why it is odd.", phase="bwd", calls=(7,)),
        Finding("RES401", Severity.NOTE, "saved and unused", "It costs 4 MB.", line=2, source="lib.py"),
    ),
    calls=(Call(7, "custom_vjp", "g", primals=(Leaf("params['w']", "bfloat16[8,8]", 128), Leaf("x", "int32[8]", 32))),),
)
NOTHING_WRONG = dataclasses.replace(SEED, findings=(), error=None, notes=())
LEFT_OUT = dataclasses.replace(
    SEED,
    not_checked=(
        NotChecked("output", "decode", 4, why="it calls table (line 12), an lru_cache"),
        NotChecked("residuals", "decode_bwd", 7, "lib.py", "it prints (line 8)"),
        NotChecked("calls", why="JAX has cached them"),
    ),
)
REPORTS = {
    "seed": SEED,
    "mixed": MIXED,
    "nothing wrong": NOTHING_WRONG,
    "no call": Report(jax="0.12.0"),
    "left out": LEFT_OUT,
    "much left out": dataclasses.replace(LEFT_OUT, not_checked=LEFT_OUT.not_checked * 2),
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_html_says_what_the_text_says(report):
    """Each word of the text is there as often; more are the caption, a marked cell's severity and what is folded."""
    root = parse(report)
    in_text, in_html = (Counter(re.findall(r"[^\s│\[\]()]+", text)) for text in (render_text(report), root.text))
    above = [*root.all("caption", "li"), *(one for one in root.all("summary") if one.words.endswith("as a picture"))]
    captions = Counter(word for node in above for word in re.findall(r"[^\s│\[\]()]+", node.text))
    assert in_text["vjpcheck:"] == 1
    assert in_text - in_html == Counter()
    assert set(in_html - in_text - captions) <= set(Severity)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_html_has_no_style_sheet_script_class_or_link(report):
    """Nothing in it needs a style sheet or runs, and nothing is fetched."""
    nodes = parse(report).all()
    drawn = {node for picture in parse(report).all("svg") for node in (picture, *picture.all())}
    nodes = [node for node in nodes if node.tag not in DRAWN.split()]
    assert {node.tag for node in drawn} <= set(DRAWN.split())
    assert {node.tag for node in nodes} <= set(TAGS.split())
    plain_attributes = {"style", "scope", "role", "aria-label", "aria-hidden", "tabindex", "open", "title"}
    linked = {"data-commandlinker-command", "data-commandlinker-args"}  # JupyterLab's own, inert elsewhere
    assert {name for node in nodes if node.tag != "button" for name in node.attributes} <= plain_attributes
    assert {name for node in nodes if node.tag == "button" for name in node.attributes} <= {"style", *linked}
    assert "url(" not in render_html(report)


def test_a_place_in_the_notebook_is_a_button_for_jupyterlab():
    """It says which line of which cell; a place in a file is text."""
    finding = SEED.findings[0]
    places = [("", '{"line": 17, "source": ""}'), ("In[3]", '{"line": 17, "source": "In[3]"}'), ("rules.py", None)]
    for source, expected in places:
        report = dataclasses.replace(SEED, findings=(dataclasses.replace(finding, source=source, cause_of=()),))
        buttons = parse(report).all("button")
        assert [button.attributes["data-commandlinker-args"] for button in buttons] == [expected] * bool(expected)
        assert {button.attributes["data-commandlinker-command"] for button in buttons} <= {"jaxvjp:go-to-line"}


def test_container_sets_text_colour_and_background_together():
    """Both come from the same theme, JupyterLab's, else VS Code's, else a light one of our own."""
    (frame,) = [node for node in parse(SEED).content if isinstance(node, Node)]
    for name, last in (("background", "#fff"), ("color", "#1f1f1f")):
        (value,) = re.findall(rf"(?:^|;){name}:([^;]*)", frame.attributes["style"])
        assert re.fullmatch(rf"var\(--jp-[\w-]+,var\(--vscode-[\w-]+,{last}\)\)", value)
    (table,) = frame.all("table")
    assert "color:inherit" in table.attributes["style"].split(";")  # in pages without a doctype it is not


def test_calls_are_one_table_with_caption_and_headers():
    """Screen readers, and pages without styles, get a real table."""
    root = parse(SEED)
    (table,) = root.all("table")
    (caption,) = table.all("caption")
    assert caption.words.startswith("Calls")
    (head,) = table.all("thead")
    headers = [(node.words, node.attributes["scope"]) for node in head.all("th")]
    names = ["#", "call", "line", "vmap", "primals", "output", "residuals", "cotangent", "gradients"]
    assert headers == [(name, "col") for name in names]
    rows = table.all("tbody")[0].all("tr")
    assert [len(row.all("td", "th")) for row in rows] == [len(names)] * 3
    assert [[node.attributes["scope"] for node in row.all("th")] for row in rows] == [["row"]] * 3


def test_rows_have_the_types_sizes_and_notes_of_each_call():
    """Every fact of a call is in its own column."""
    assert cells_of(parse(SEED)) == [
        ["1", "vjp(test_func)", "18", "", "R f32[10,3]", "f32[10,3]", "[0] f32[10,3] 120 B", "× error f32[10]", ""],  # noqa: RUF001 (the sign of an error)
        [
            *("2", "└ test_func", "18", "10", "R f32[3] f function <lambda> (nondiff)"),
            *("× error f32[3]", "f32[3] 12 B", "", "(bwd not run)"),  # noqa: RUF001 (the sign of an error)
        ],
        ["3", "└ inner (1,200 times)", "In[3]:4", "10 3", "", "", "", "", ""],
    ]


def test_findings_come_before_the_table_and_the_cause_first():
    """Headline, how it ended, cause, what follows, calls, what was not looked at, notes."""
    text = parse(LEFT_OUT).words
    places = [
        text.index(part)
        for part in (
            "vjpcheck: 3 errors, 1,202 calls jax 0.10.2",
            "ended in ValueError at line 19: NAM201 explains it",
            "× error NAM201 line 17: test_func was overwritten; test_func_fwd calls it (cause of VJP101, VJP106)",  # noqa: RUF001 (the sign of an error)
            "× error VJP101 line 10: test_func_fwd returns float32[3], but test_func returns float32[] (follows from",  # noqa: RUF001 (the sign of an error)
            "Calls, nested",
            "not looked at: what decode returns: it calls table (line 12), an lru_cache; which residuals decode_bwd",
            "note: a rule was not traced",
        )
    ]
    assert places == sorted(places)


def test_findings_that_follow_are_folded_under_their_cause():
    """One card for the cause; each of the others is a line in it that opens."""
    (card,) = parse(SEED).all("article")
    assert [node.words.split()[2] for node in card.all("summary")] == ["VJP101", "VJP106"]
    first, second = card.all("details")
    assert "The first of the pair" in first.words
    assert "The first of the pair" not in second.words
    assert "test_func_fwd (line 9) calls test_func" not in first.words + second.words


def test_what_follows_from_what_follows_is_in_the_same_card():
    """A chain of causes is one card, that of its beginning."""
    findings = [Finding(f"VJP{i}", Severity.ERROR, "title", "reason", cause_of=(i - 1,) if i else ()) for i in range(3)]
    (card,) = parse(Report(findings=tuple(findings))).all("article")
    assert card.words.startswith("× error VJP2")  # noqa: RUF001 (the sign of an error)
    assert [node.words.split()[2] for node in card.all("summary")] == ["VJP1", "VJP0"]


def test_findings_without_a_cause_have_a_card_each():
    """Nothing is folded that does not follow from another."""
    root = parse(MIXED)
    assert [card.words for card in root.all("article")] == [
        "! warning VJP110 an odd thing Why it is odd.",
        "· note RES401 lib.py, line 2: saved and unused It costs 4 MB.",
    ]
    assert not [card for card in root.all("article") if card.all("details")]


@pytest.mark.parametrize("causes", [((1,), (0,), ()), ((0,), (), ()), ((1,), (2,), ()), ((1, 2), (2,), (0, 9))])
def test_every_finding_is_shown_once_whatever_causes_what(causes):
    """Chains and circles of causes, and indices of no finding, lose and double nothing."""
    findings = [
        Finding(f"VJP{i}", Severity.ERROR, f"title {i}", f"reason {i}.", cause_of=effects)
        for i, effects in enumerate(causes)
    ]
    text = parse(Report(findings=tuple(findings))).words
    assert [text.count(f"reason {i}.") for i in range(3)] == [1, 1, 1]


def test_source_line_is_underlined_and_has_carets_where_styles_are_stripped():
    """The part that is meant is an element, and a line of carets that styles hide."""
    snippet = Snippet(9, "\treturn g, x  ", 8, 9)
    (code,) = parse(Report(findings=(_finding(snippet=snippet),))).all("code")
    assert [node.text for node in code.all("u")] == ["g"]
    assert code.text == "9 │ return g, x\n  │        ^"
    assert [node.attributes["style"] for node in code.all("span")][-1] == "display:none"


@pytest.mark.parametrize(("start", "end"), [(0, 0), (5, 3), (50, 60), (11, 11)])
def test_source_line_without_a_part_that_is_meant_is_whole(start, end):
    """A position that is none leaves the line as it is."""
    (code,) = parse(Report(findings=(_finding(snippet=Snippet(9, "return g, x", start, end)),))).all("code")
    assert code.text == "9 │ return g, x"


@pytest.mark.parametrize(
    ("snippet", "underlined", "line"),
    [
        (Snippet(9, "<b>a</b> < b & c", 11, 12), ["b"], "9 │ <b>a</b> < b & c\n  │            ^"),
        (Snippet(9, "<b>a</b> < b & c", 0, 3), ["<b>"], "9 │ <b>a</b> < b & c\n  │ ^^^"),
        (Snippet(9, "<b>a</b>"), [], "9 │ <b>a</b>"),
        (Snippet(123, "    if x:", 0, 99), ["if x:"], "123 │ if x:\n    │ ^^^^^"),
    ],
)
def test_source_line_is_text_before_in_and_after_the_underline(snippet, underlined, line):
    """Comparisons and tags in a program are not markup; the indentation is not underlined."""
    (code,) = parse(Report(findings=(_finding(snippet=snippet),))).all("code")
    assert [node.text for node in code.all("u")] == underlined
    assert code.text == line


def test_control_characters_in_the_source_line_keep_the_underline_in_place():
    """What is made visible takes more room, and the carets know."""
    (code,) = parse(Report(findings=(_finding(snippet=Snippet(3, "a\u202e = b", 5, 6)),))).all("code")
    assert [node.text for node in code.all("u")] == ["b"]
    assert code.text == "3 │ a\\u202e = b\n  │" + " " * 11 + "^"


@pytest.mark.parametrize(
    ("fix", "code", "words"),
    [
        ("keep the name:  g = vmap(f)", "g = vmap(f)", "fix: keep the name: g = vmap(f)"),
        ("return a, b", "return a, b", "fix: return a, b"),
        ("do it once", "", "fix: do it once"),
        ("do it once", "another", "fix: do it once"),  # somebody's report
    ],
)
def test_fix_has_its_code_as_code(fix, code, words):
    """What is to be written stands in `<code>`, the words before it do not."""
    (card,) = parse(Report(findings=(_finding(fix=fix, fix_code=code),))).all("article")
    assert card.all("p")[-1].words == words
    assert [node.words for node in card.all("code")] == [code] * fix.endswith(code or "\n")


HOSTILE = """<script>alert("1")</script>&amp;<!-- '\\' -->\x1b[31m\u202eevil\u2028\x00"""


def test_text_of_the_program_stays_text():
    """Names, key paths, types, messages, sources, versions: none is taken for markup, and nothing is invisible."""
    report = _report_of(HOSTILE)
    root = parse(report)
    assert not {"script", "img"} & {node.tag for node in root.all()}
    shown = """<script>alert("1")</script>&amp;<!-- '\\' -->\\u001b[31m\\u202eevil\\u2028\\u0000"""
    places = "jax call source primal-path primal-type nondiff title message fix code line finding-source error note "
    places += "left-out why"
    assert [place for place in places.split() if f"{place}:{shown}" not in root.text] == []
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u2028\u202e]", render_html(report))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_text_comes_through(text):
    """What the reader gets is what the program says, with what cannot be seen written out."""
    root = parse(_report_of(text))
    assert f"message:{plain(text)}" in root.text
    assert f"call:{plain(text)}" in root.text


def test_report_without_calls_has_no_table():
    """The headline says that nothing was seen."""
    root = parse(Report(jax="0.12.0"))
    assert root.words == "vjpcheck: no call of jax.vjp or of a custom_vjp function jax 0.12.0"
    assert root.all("table", "article") == []


def _finding(*, fix="", snippet=None, fix_code=""):
    return Finding("VJP101", Severity.ERROR, "title", "reason", fix=fix, snippet=snippet, fix_code=fix_code)


def _report_of(text):
    """A report that has the text in every place, each after the place's name."""
    finding = Finding(
        f"code:{text}",
        Severity.ERROR,
        f"title:{text}",
        f"message:{text}",
        fix=f"fix:{text}",
        source=f"finding-source:{text}",
        snippet=Snippet(1, f"line:{text}", 5, 9),
    )
    call = Call(
        1,
        "custom_vjp",
        f"call:{text}",
        line=3,
        source=f"source:{text}",
        primals=(Leaf(f"primal-path:{text}", "float32[]"), Leaf("", f"primal-type:{text}")),
        nondiff=(Leaf("f", f"nondiff:{text}"),),
    )
    left_out = NotChecked("values", f"left-out:{text}", why=f"why:{text}")
    ended, notes = ProgramError(f"error:{text}", line=1), (f"note:{text}",)
    return Report(
        f"jax:{text}", (finding,), (call,), ended, notes, not_checked=(left_out, left_out, left_out, left_out)
    )
