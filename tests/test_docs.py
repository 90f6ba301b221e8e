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
