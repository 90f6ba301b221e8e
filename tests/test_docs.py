"""What the documentation says is true: its examples run, its lines are those that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import check_cells

from jaxvjp_magic import catalogue

ROOT = Path(__file__).parent.parent
SECTIONS = dict(
    re.findall(r"^## ([A-Z]+\d+)\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "rules.md").read_text(), re.MULTILINE | re.DOTALL)
)


def example(code, which):
    found = re.findall(rf"```python {which}\n(.*?)```", SECTIONS[code], re.DOTALL)
    assert len(found) == 1
    return found[0]


def check_example(code, which, **options):
    """The report of an example; where it has two cells, the second is run twice."""
    first, *second = example(code, which).split("# %%\n")
    return check_cells(first, *second, *second, **options)


def test_every_rule_has_a_section_and_every_section_a_rule():
    """The catalogue and the documentation are the same list."""
    assert list(SECTIONS) == list(catalogue.CATALOGUE)


@pytest.mark.parametrize("code", catalogue.CATALOGUE)
def test_the_wrong_example_gives_the_finding_first(code):
    """The reader sees what the section promises, as the first finding."""
    report = check_example(
        code, "wrong", verify=code in ("RES403", *(one for one in catalogue.CATALOGUE if one.startswith("VAL")))
    )
    assert report.findings[0].code == code
    if report.error is not None:
        assert report.findings[0].explains_error


LINES = {
    "NAM202": 2, "NAM203": 18, "NAM205": 11, "NAM206": 9, "NAM207": 13, "NAM208": 11, "VJP115": 7, "VJP116": 5,
    "VJP117": 3, "VJP118": 3, "VJP119": 7, "VJP120": 3, "VJP121": 3, "VJP122": 17, "VJP123": 12, "VJP124": 6,
    "VAL305": 3, "RES401": 7, "RES404": 9, "NAM204": 4, "VJP109": 2, "VJP114": 2, "RES402": 9, "RES403": 3,
}  # fmt: skip


@pytest.mark.parametrize("code", LINES)
def test_the_wrong_example_is_found_on_its_line(code):
    finding = check_example(code, "wrong", verify=code in ("RES403", "VAL305")).findings[0]
    assert finding.line == LINES[code]


@pytest.mark.parametrize("code", catalogue.CATALOGUE)
def test_the_right_example_gives_none(code):
    """No finding of any sort, with values too; a rule below shard_map cannot be run without its mesh."""
    report = check_example(code, "right", verify=code != "VJP122")
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
