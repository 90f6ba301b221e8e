"""Fixes are code: whatever "copy" copies parses, and what is no code is not offered as code."""

from __future__ import annotations

import ast
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import recorded, report_of

from jaxvjp_magic.checks import wording

pytestmark = [pytest.mark.any_jax, pytest.mark.xdist_group("recorded")]


@pytest.fixture(scope="module")
def fixes():
    """Each fix of the wrong programs in the documentation, of those in the tests of causes, and of some more."""
    return {
        (name, finding.code, finding.fix, *finding.fix_parts)
        for name, kept in recorded().items()
        for finding in report_of(kept).findings
        if finding.fix
    }


def test_what_is_copied_can_be_pasted(fixes):
    """It parses, and has no gaps but the body of a function."""
    assert len(fixes) > 60
    wrong = []
    for name, code, _, _, pasted in sorted(fixes):
        try:
            ast.parse(pasted)
        except SyntaxError:
            wrong.append((name, code, pasted))
        else:
            if "..." in pasted.removesuffix(": ..."):
                wrong.append((name, code, pasted))
    assert wrong == []


def test_what_is_no_code_is_not_offered_as_code(fixes):
    """A sentence is shown as one; code is what stands behind two spaces, or the whole."""
    for _, _, fix, words, pasted in fixes:
        assert words + pasted == fix
        assert not pasted or not words or words.endswith(":  ")
        assert pasted or not re.search(r":  \S", fix)


SHAPES = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@given(SHAPES, SHAPES)
def test_what_would_make_a_shape_fit_makes_it_fit(expected, got):
    """Summed, transposed, in another order, reshaped, broadcast: the words and the code are of the same change."""
    code = wording.fitting(expected, got, "g")
    assert bool(code) == bool(wording.near_fit(expected, got))
    if code:
        assert eval(code, {"jnp": np, "g": np.ones(got)}).shape == expected  # noqa: S307 (that is the purpose)


@pytest.mark.parametrize(
    ("expected", "got", "value", "code"),
    [
        ((3,), (10, 3), "g", "g.sum(axis=0)"),
        ((), (2, 3), "g", "g.sum(axis=(0, 1))"),
        ((1, 3), (10, 3), "(x * g)", "(x * g).sum(axis=0, keepdims=True)"),
        ((3, 2), (2, 3), "(x.T @ g)", "(x.T @ g).T"),
        ((3, 2), (2, 3), "g.T", "g"),
        ((2, 4, 3), (2, 3, 4), "g", "jnp.transpose(g, (0, 2, 1))"),
        ((6,), (2, 3, 1), "g", "g.reshape((6,))"),
        ((10, 3), (3,), "g", "jnp.broadcast_to(g, (10, 3))"),
        ((5,), (7,), "g", ""),
    ],
)
def test_the_expression_is_the_one_that_a_person_would_write(expected, got, value, code):
    """With what bwd returns in its place."""
    assert wording.fitting(expected, got, value) == code
