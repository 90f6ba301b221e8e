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


SAID = {
    "NAM202": (
        "vmap has been applied to norm2 2 times",
        (
            "norm2 is defined in In[1], and this cell overwrites it by jax.vmap(norm2); each run of the cell "
            "takes what the last one has made."
        ),
        "keep the original name:  norm2_mapped = jax.vmap(norm2)",
        2,
    ),
    "NAM203": (
        "bwd was defined again, and f still uses the old one",
        (
            "defvjp was given the bwd of line 11. It takes the function, not its name, and no custom_vjp function has "
            "the bwd of line 18."
        ),
        "call defvjp again after it:  f.defvjp(fwd, bwd)",
        18,
    ),
    "NAM205": (
        "fwd leaves a tracer in the global cache",
        (
            "Below jit, vmap and grad a value is a tracer, which is worth nothing when its trace has ended. Residuals "
            "are the way from fwd to bwd; in eager mode a global seems to work."
        ),
        "hand it over as a residual:  return output, value",
        11,
    ),
    "NAM206": (
        "the fwd rule of power reads n when it runs, after the loop has ended",
        (
            "The loop makes one power for each n, and all of them read the same n: the last one. Python looks a name "
            "up when a function runs, not when it is made."
        ),
        "make them in a function that takes n:  def make_power(n): ...",
        9,
    ),
    "NAM207": (
        "scale was changed after f was traced with it",
        (
            "When the fwd rule of f (line 10) was traced, scale was 1.0, and is 5.0 now. A jitted function keeps the "
            "value that it was traced with."
        ),
        "hand scale over as an argument",
        13,
    ),
    "NAM208": (
        "square_fwd keeps a value in saved, and square_bwd reads it there",
        (
            "bwd runs later, and for all calls of square: in between another call may have written there. Below jit "
            "what is kept is a tracer, and is worth nothing afterwards."
        ),
        "hand it over as a residual:  return output, value",
        11,
    ),
    "VJP115": (
        "the bwd rule of scaled returns None for w, which is being differentiated",
        "The output of scaled depends on w. JAX takes None for zeros, and says nothing.",
        "return its cotangent; where zeros are meant, say so:  jnp.zeros_like(w)",
        7,
    ),
    "VJP116": (
        "layer closes over w, which is being differentiated",
        (
            "A rule returns cotangents for the arguments of layer. w is none of them, so its gradient has no way back;"
            " JAX raises UnexpectedTracerError and names no variable."
        ),
        "make it an argument, and return its cotangent too:  def layer(w, x): ...",
        5,
    ),
    "VJP117": (
        "w of scaled is an array, and in nondiff_argnums",
        (
            "What stands in nondiff_argnums is no part of what JAX traces and differentiates. JAX raised "
            "UnexpectedTracerError."
        ),
        "leave w out of nondiff_argnums; the bwd rule returns its cotangent, or None where it needs none",
        3,
    ),
    "VJP118": (
        "the argument kind of wave is a str, which is nothing that JAX can trace",
        "Arguments and residuals are pytrees of arrays and numbers; JAX raised TypeError.",
        "name its position in nondiff_argnums of wave",
        3,
    ),
    "VJP119": (
        "power_fwd takes n and x, but power takes x and n",
        (
            "JAX calls the fwd rule with the arguments in the order of the function, those in nondiff_argnums "
            "included; only for the bwd rule do these come first."
        ),
        "def power_fwd(x, n): ...",
        7,
    ),
    "VJP120": (
        "pullback returns a tuple, with one gradient for each primal",
        "line 3 uses it as an array, and raised TypeError. A pullback of one primal returns a tuple of one.",
        "take it apart:  (gradient,) = pullback(cotangent)",
        3,
    ),
    "VJP121": (
        "output [0] of f is shared by all examples of the vmap",
        (
            "Its cotangent is given to the bwd rule with every example, and the sum over the examples counts it 4 "
            "times. Since 0.12 JAX raises here."
        ),
        "compute it outside of f, or where the function is not mapped",
        3,
    ),
    "VJP122": (
        'scale_bwd returns for w a cotangent that varies over the mesh axis "i"',
        (
            "w is float32[], the same on all devices, and its cotangent is float32[]{V:i}: the sum over the devices is"
            " missing."
        ),
        'sum it:  jax.lax.psum(jnp.sum(x * g), "i")',
        17,
    ),
    "VJP123": (
        "ratio_bwd takes the residuals apart as y and x, but ratio_fwd saves x and y",
        "Residuals are taken by position: a name that stands elsewhere than in the fwd rule holds another value.",
        "take them in the same order:  x, y = residuals",
        12,
    ),
    "VJP124": (
        "grad of loss, which returns float32[3]: a gradient is that of a scalar",
        "loss was called with w: float32[3].",
        (
            "reduce the output, as in loss(...).sum(); or take jax.vmap(jax.grad(f)) for one gradient each, "
            "jax.jacrev(f) for all derivatives"
        ),
        6,
    ),
    "VAL305": (
        "what the bwd rule of <lambda> returns for x is not linear in the incoming cotangent",
        (
            "A derivative is: for the sum of two cotangents it gives the sum of the two results. Here it does not, at "
            "the values of this run; a cotangent that is clipped, normalised or squared is the usual reason. A rule "
            "that does so on purpose can say so on this line: # vjpcheck: ignore[VAL305]"
        ),
        "",
        3,
    ),
    "RES401": (
        ("the fwd rule of scaled saves [0] float32[3], [1] float32[3], and the bwd rule of scaled uses no value of it"),
        "What fwd saves is kept until bwd has run, here 24 B for nothing.",
        "leave it out of the residuals; a shape or a dtype is known without the array",
        7,
    ),
    "RES404": (
        "the residual of energy is float32[600,600]: 1.4 MB",
        "What energy takes and returns has 2.4 kB. The residual is kept until bwd has run.",
        "save what it is made of, and let energy_bwd compute it again",
        9,
    ),
    "NAM204": (
        "grad was overwritten by a result of its own",
        "grad is an array since then, and line 5 calls it.",
        "keep the original name:  grad_result = grad(jnp.sin)(1.0)",
        4,
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
        "the bwd rule of <lambda> was given a large cotangent that is all zeros",
        "An output of <lambda> is not used, and its cotangent was built and calculated with all the same.",
        "have the rule told which cotangents are zeros",
        3,
    ),
}


@pytest.mark.parametrize("code", SAID)
def test_what_the_wrong_example_is_told_word_by_word(code):
    """Title, reason, fix and line."""
    finding = check_example(code, "wrong", verify=code in ("RES403", "VAL305")).findings[0]
    assert (finding.title, finding.message, finding.fix, finding.line) == SAID[code]


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
