"""What the documentation says is true: its examples run, its lines are those that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import check_program

from jaxvjp_magic import rules

ROOT = Path(__file__).parent.parent
SECTIONS = dict(
    re.findall(r"^## ([A-Z]+\d+)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "rules.md").read_text(), re.MULTILINE | re.DOTALL)
)


def example(code, which):
    found = re.findall(rf"```python {which}\n(.*?)```", SECTIONS[code], re.DOTALL)
    assert len(found) == 1
    return found[0]


def test_every_rule_has_a_section_and_every_section_a_rule():
    """The catalogue and the documentation are the same list."""
    assert list(SECTIONS) == list(rules.CATALOGUE)


@pytest.mark.parametrize("code", rules.CATALOGUE)
def test_the_wrong_example_gives_the_finding_first(code):
    """The reader sees what the section promises, as the first finding."""
    report = check_program(example(code, "wrong"), verify=code.startswith(("VAL", "RES")))
    assert report.findings[0].code == code
    if report.error is not None:
        assert report.findings[0].explains_error


SAID = {
    "NAM204": (
        "grad was overwritten by a result of its own",
        "grad is an array since then, and line 5 calls it.",
        "keep the original name:  grad_result = grad(jnp.sin)(1.0)",
        4,
    ),
    "NAM205": (
        "fwd leaves a tracer in the global cache",
        (
            "Below jit, vmap and grad a value is a tracer, which is worth nothing when its trace has ended. "
            "Residuals are the way from fwd to bwd; in eager mode a global seems to work."
        ),
        "hand it over as a residual:  return output, value",
        10,
    ),
    "VJP109": (
        "double is no custom_vjp function: jit is around it",
        "defvjp belongs to the custom_vjp object, and double is what jit made of it.",
        "let custom_vjp be the outermost, call double.defvjp(...), and apply jit where double is used",
        2,
    ),
    "VJP114": (
        "the gradient of <lambda> with respect to x is float0, for x is int32[3]",
        (
            "An integer has no derivative: what the pullback returns for it has the type float0, and no arithmetic "
            "takes it. jax.grad raises here, jax.vjp does not."
        ),
        "differentiate with respect to floats:  x.astype(jnp.float32)",
        2,
    ),
    "RES402": (
        "the residual [0] or the residual [2] of step, float32[64,64], is kept 100 times: 1.6 MB",
        (
            "The pullback of <lambda> keeps one for each step, float32[100,64,64]; what <lambda> takes has 16.4 kB. "
            "What bwd can compute again need not be saved."
        ),
        "",
        9,
    ),
    "RES403": (
        "<lambda> was given a large cotangent that is all zeros",
        "An output of <lambda> is not used, and its cotangent was built and calculated with all the same.",
        "have it told:  <lambda>.defvjp(..., symbolic_zeros=True)",
        3,
    ),
}


@pytest.mark.parametrize("code", SAID)
def test_what_the_wrong_example_is_told_word_by_word(code):
    """Title, reason, fix and line."""
    finding = check_program(example(code, "wrong"), verify=code == "RES403").findings[0]
    assert (finding.title, finding.message, finding.fix, finding.line) == SAID[code]


@pytest.mark.parametrize("code", rules.CATALOGUE)
def test_the_right_example_gives_none(code):
    """No finding of any sort."""
    report = check_program(example(code, "right"), verify=True)
    assert report.findings == ()
    assert report.error is None
    assert report.calls


def test_ci_calls_the_test_line_of_the_readme():
    """One line, in both places."""
    lines = re.findall(r"^```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (test_line,) = [line for line in lines if "pytest" in line]
    assert "\n" not in test_line
    assert test_line in (ROOT / ".ci" / "run").read_text()


def test_the_readme_shows_the_real_report(tmp_path):
    """The table in the README is what the program above it prints, letter by letter but for JAX's version."""
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"```text\n(vjpcheck: .*?)```", readme, re.DOTALL)[1]
    (tmp_path / "example.py").write_text(re.search(r"```python\n(from functools .*?)```", readme, re.DOTALL)[1])
    command = [sys.executable, "-m", "jaxvjp_magic", "example.py"]
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert re.sub(r"jax [\d.]+", "jax", printed) == re.sub(r"jax [\d.]+", "jax", shown)
