"""The report: JSON and back, and the text, to the letter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from programs import check_program
from test_findings import SEED

from jaxvjp_magic import Call, Finding, Leaf, Report, Severity
from jaxvjp_magic.rendering.mime import MIME_TYPE, mime_bundle
from jaxvjp_magic.rendering.report_view import ReportView
from jaxvjp_magic.results.formatting import short_type, size
from jaxvjp_magic.results.model import NotChecked, ProgramError, Snippet

FULL = Report(
    jax="0.10.2",
    findings=(
        Finding(
            "NAM201", Severity.ERROR, "f was overwritten", "why", "fix it", "f", 17, "In[3]", "fwd", "p['w']",
            "float32[]", "float32[3]", Snippet(17, "f = vmap(f)", 0, 1), (1, 2), (1,), explains_error=True,
            new_name="f_mapped",
        ),
        Finding("VJP101", Severity.WARNING, "title", "message", line=2, calls=(2,), phase="fwd"),
        Finding("VJP113", Severity.NOTE, "only a note", "message"),
    ),
    calls=(
        Call(1, "vjp", "f", 18, primals=(Leaf("x", "float32[10,3]", 120),), outputs=(), status="error"),
        Call(2, "custom_vjp", "f", 18, "In[3]", 4, 1, (10,), "ok", (), (Leaf("g", "function h"),), None, None, None,
             (Leaf("", "float32[]", note="symbolic zero"),), (Leaf("x", "None", note="None"),)),
    ),
    error=ProgramError("ValueError", "bad\nnews", 20),
    notes=("could not do a thing",),
    not_checked=(NotChecked("output", "f", 17, "In[3]", "it calls table (line 3), an lru_cache"), NotChecked("calls")),
)  # fmt: skip


def test_json_gives_the_same_report_back():
    """Every field survives, and so does the difference of nothing and not run."""
    assert Report.from_json(FULL.to_json()) == FULL
    assert Report.from_json(Report().to_json()) == Report()


def test_an_array_without_elements_has_no_bytes_and_says_so():
    """0 bytes are not the same as unknown."""
    call = Call(id=1, kind="vjp", function="sin", primals=(Leaf("x", "float16[0,4]", 0),))
    assert Report.from_json(Report(calls=(call,)).to_json()).calls == (call,)


def test_json_has_the_keys_of_the_contract():
    """Schema 1; what does not apply is left out; a phase without leaves is null."""
    data = json.loads(FULL.to_json())
    assert (data["schema"], data["jax"], data["ok"]) == (1, "0.10.2", False)
    assert data["error"] == {"type": "ValueError", "message": "bad\nnews", "line": 20}
    assert data["not_checked"][0]["why"] == "it calls table (line 3), an lru_cache"
    assert data["findings"][0]["cause_of"] == [1]
    assert [finding.get("new_name") for finding in data["findings"]] == ["f_mapped", None, None]
    assert data["calls"][0]["primals"] == [{"path": "x", "type": "float32[10,3]", "bytes": 120}]
    assert data["calls"][0]["outputs"] is None
    assert "residuals" not in data["calls"][0]
    assert data["calls"][1]["vmap"] == [10]
    assert "\n" not in FULL.to_json()


def test_json_of_a_later_version_may_have_more_keys():
    """Keys may be added."""
    data = json.loads(FULL.to_json())
    data["new"] = data["findings"][0]["new"] = data["calls"][0]["new"] = 1
    assert Report.from_json(json.dumps(data)) == FULL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a vjpcheck report: Expecting property name"),
        ("[]", "not a vjpcheck report of schema 1"),
        ('{"schema": 2}', "not a vjpcheck report of schema 1"),
        ('{"schema": 1}', "a damaged vjpcheck report: findings is missing"),
        (
            '{"schema": 1, "findings": [{}], "calls": []}',
            "a damaged vjpcheck report: findings[0].severity is not one of error, warning, note",
        ),
        ('{"schema": 1, "findings": 3, "calls": []}', "a damaged vjpcheck report: findings is not a list"),
        ('{"schema": 1, "findings": [], "calls": [3]}', "a damaged vjpcheck report: calls[0] is not an object"),
    ],
)
def test_damaged_json_is_told_in_one_line(text, message):
    """ValueError, and nothing else."""
    with pytest.raises(ValueError, match=r".") as caught:
        Report.from_json(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_ok_and_levels():
    """Only an error is not ok."""
    assert not FULL.ok
    assert [FULL.reaches(level) for level in ("never", "error", "warning")] == [False, True, True]
    warning = Report(findings=FULL.findings[1:])
    assert warning.ok
    assert [warning.reaches(level) for level in ("never", "error", "warning")] == [False, False, True]


def test_the_text_of_the_seed_bug_to_the_letter(snapshot):
    """Table, cause, consequence, end: the form that the README shows."""
    report = check_program(
        SEED + "    p, f_vjp = jax.vjp(partial(test_func, lambda x: x), jnp.ones((10, 3)))\n    f_vjp(jnp.ones(10))"
    )
    snapshot("seed_report.txt", str(report).replace(report.jax, "VERSION") + "\n")


def test_the_mark_is_at_the_leaf_that_is_wrong():
    """Of several leaves the finding's own."""
    leaves = (Leaf("w", "float32[2]"), Leaf("b", "float32[3]"))
    finding = Finding("VJP104", Severity.ERROR, "t", "m", phase="bwd", path="b", calls=(1,))
    text = str(Report(findings=(finding,), calls=(Call(1, "custom_vjp", "f", 1, cotangents_out=leaves),)))
    assert "  w f32[2]\n" in text
    assert " × b f32[3]\n" in text  # noqa: RUF001


def test_text_without_findings_and_without_calls():
    """One line says it."""
    assert str(Report(jax="0.10.2")) == "vjpcheck: no call of jax.vjp or of a custom_vjp function   jax 0.10.2"
    assert str(Report(calls=(Call(1, "grad", "f", 3, count=2),))).startswith("vjpcheck: no problems found in 2 calls\n")
    unexplained = Report(error=ProgramError("KeyError", "x", 3))
    assert str(unexplained).endswith("ended in KeyError at line 3: no finding explains it")


def test_control_and_direction_characters_stay_visible_text():
    """A name cannot move the cursor or turn a line around."""
    text = str(Report(findings=(Finding("VJP101", Severity.ERROR, "a\x1b[31m\u202eb\nc", "m"),)))
    assert "a\\u001b[31m\\u202eb\\u000ac" in text


def test_long_reports_show_the_first_calls_and_count_the_rest():
    """5,000 calls are no 5,000 lines."""
    report = Report(calls=tuple(Call(i, "grad", "f", i) for i in range(1, 5001)))
    assert len(str(report).splitlines()) < 60
    assert str(report).endswith("... and 4,950 more calls")


def test_many_leaves_are_cut_and_counted():
    """A cell has four leaves at most."""
    leaves = tuple(Leaf(f"p[{i}]", "float32[2]", 8) for i in range(9))
    (row,) = ReportView(Report(calls=(Call(1, "grad", "f", 1, primals=leaves, residuals=leaves),))).rows
    assert row.cells["primals"].lines == ("p[0] f32[2]", "p[1] f32[2]", "p[2] f32[2]", "p[3] f32[2]", "and 5 more")
    assert row.cells["residuals"].lines[-1] == "total  72 B"


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ("float32[10,3]", "f32[10,3]"), ("bfloat16[]", "bf16[]"), ("int32[3]", "i32[3]"), ("uint8[2]", "u8[2]"),
        ("complex64[1]", "c64[1]"), ("bool[3]", "bool[3]"), ("float0[3]", "float0[3]"), ("None", "None"),
        ("float8_e4m3fn[2]", "f8_e4m3fn[2]"), ("float32[2]{V:i}", "f32[2]{V:i}"), ("Ref{float32[3]}", "Ref{f32[3]}"),
        ("function float32", "function float32"), ("key<fry>[]", "key<fry>[]"),
    ],
)  # fmt: skip
def test_short_types(long, short):
    """JAX's short form; what is no array type stays."""
    assert short_type(long) == short


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (120, "120 B"), (1500, "1.5 kB"), (36_000_000_000, "36.0 GB")])
def test_sizes(count, text):
    """Bytes for people."""
    assert size(count) == text


def test_one_bundle_has_every_form():
    """Text, a static page, and the data that other tools read."""
    bundle = mime_bundle(FULL)
    assert set(bundle) == {"text/plain", "text/html", MIME_TYPE}
    assert bundle["text/plain"] == str(FULL)
    assert Report.from_json(json.dumps(bundle[MIME_TYPE])) == FULL


def test_reading_and_showing_a_report_imports_neither_jax_nor_ipython():
    """A report is data: it can be looked at where there is no JAX."""
    code = (
        "import sys\n"
        "from jaxvjp_magic import Report\n"
        f"report = Report.from_json({FULL.to_json()!r})\n"
        "str(report), report._repr_mimebundle_()\n"
        "print([name for name in ('jax', 'jaxlib', 'IPython', 'numpy', 'nbclient') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
