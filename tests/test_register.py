"""The catalogue, the register of checks and the documentation name the same codes."""

from __future__ import annotations

import re

import pytest
from recorded import recorded, report_of

from jaxvjp_magic import catalogue
from jaxvjp_magic.checks import engine
from jaxvjp_magic.checks.register import CHECKS

pytestmark = [pytest.mark.any_jax, pytest.mark.xdist_group("recorded")]


def test_each_code_has_a_check_and_a_section():
    declared = {code for check in CHECKS for code in check.codes}
    assert declared == set(catalogue.CATALOGUE)
    assert all(re.match(rf"## {code}\n\n\S", catalogue.section(code)) for code in declared)


def test_a_check_finds_what_it_declares(monkeypatch):
    """In all wrong programs of the documentation and of the tests of causes; and each code is found in one of them."""
    found, undeclared = set(), set()
    of_function = {check.function: check for check in CHECKS}
    run = engine._Checks.__call__

    def noting(self, function, subject):
        results = run(self, function, subject)
        for one in results if function in of_function else ():
            known = of_function[function].codes
            (found if one.finding.code in known else undeclared).add(one.finding.code)
        return results

    monkeypatch.setattr(engine._Checks, "__call__", noting)
    for kept in recorded().values():
        report_of(kept)
    assert undeclared == set()
    assert found == set(catalogue.CATALOGUE)
