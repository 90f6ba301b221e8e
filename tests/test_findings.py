"""What a finding says, word by word: what disagrees, both shapes, the line, why, and the fix."""

from __future__ import annotations

import pytest
from programs import check_program

from jaxvjp_magic import Severity
from jaxvjp_magic.checks.wording import near_fit

SEED = """
    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def test_func(f, R):
        return f(jnp.dot(R, R))

    def test_func_fwd(f, primal):
        primal_out = test_func(f, primal)
        return primal_out, 2.0 * primal * primal_out

    def test_func_bwd(f, residual, cotangent):
        return (residual * cotangent,)

    test_func.defvjp(test_func_fwd, test_func_bwd)
    test_func = jax.vmap(test_func, in_axes=(None, 0))
"""
SINE = """
    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)
    def f_fwd(x):
        return {fwd}
    def f_bwd(res, g):
        return {bwd}
    f.defvjp(f_fwd, f_bwd)
"""


def only(report, code=None):
    found = [finding for finding in report.findings if code in (None, finding.code)]
    assert len(found) == 1, report
    return found[0]


@pytest.mark.classic("JAX compares the output of fwd with the function's at once, and raises")
def test_the_seed_bug_is_explained_by_the_overwritten_name():
    """The cause first: its line, the rule that calls it, the repaired line; what follows is folded under it."""
    report = check_program(
        SEED
        + "    primal, f_vjp = jax.vjp(partial(test_func, lambda x: x), jnp.ones((10, 3)))\n    f_vjp(jnp.ones(10))"
    )
    cause, fwd, pullback = report.findings
    assert (cause.code, cause.severity, cause.line, cause.function) == ("NAM201", "error", 14, "test_func")
    assert cause.title == "test_func was overwritten; test_func_fwd calls it"
    assert cause.message == (
        "test_func_fwd (line 6) calls test_func, and now gets jax.vmap(test_func, in_axes=(None, 0)) "
        "instead of the custom_vjp function."
    )
    assert cause.fix == "give the new function its own name:  test_func_mapped = jax.vmap(test_func, in_axes=(None, 0))"
    assert [finding.new_name for finding in report.findings] == ["test_func_mapped", "", ""]
    assert (cause.snippet.text[cause.snippet.start : cause.snippet.end], cause.cause_of) == ("test_func", (1, 2))
    assert cause.explains_error
    assert (fwd.code, fwd.line, fwd.expected, fwd.got, fwd.fix) == ("VJP101", 8, "float32[]", "float32[3]", "")
    assert fwd.title == "test_func_fwd returns float32[3], but test_func returns float32[]"
    assert (pullback.code, pullback.line) == ("VJP106", 16)
    assert pullback.title == "the pullback of test_func was given float32[10], but the output is float32[10,3]"
    assert (report.error.type, report.error.line) == ("ValueError", 16)


def test_the_same_program_run_again_is_a_program_of_its_own():
    """Equal code under another file name: nothing of the first run is taken for the second."""
    program = SINE.format(fwd="jnp.sin(x)[None], x", bwd="(g[0],)") + "    jax.grad(lambda x: f(x).sum())(1.0)"
    for _ in range(2):
        report = check_program(program)
        assert {finding.source for finding in report.findings} == {call.source for call in report.calls} == {""}


@pytest.mark.classic("JAX compares the output of fwd with the function's at once, and raises")
def test_the_silent_variant_is_found_without_an_error():
    """A mean swallows the extra axis: JAX raises nothing, the gradient is wrong."""
    report = check_program(
        SEED + "    jax.grad(lambda R: jnp.sqrt(test_func(lambda x: x, R)).mean())(jnp.arange(6.0).reshape(2, 3) + 1)"
    )
    assert report.error is None
    assert [finding.code for finding in report.findings] == ["NAM201", "VJP101"]
    assert not report.ok


def test_fwd_without_a_pair():
    """VJP102."""
    finding = only(check_program(SINE.format(fwd="jnp.sin(x)", bwd="(g,)") + "    jax.grad(f)(1.0)"))
    assert (finding.code, finding.line) == ("VJP102", 6)
    assert finding.title == "f_fwd returns one value, not a pair (output, residuals)"
    assert finding.fix == "return both, with None if bwd needs no residuals:  return output, residuals"


@pytest.mark.classic("JAX compares the output of fwd with the function's at once, and raises")
def test_fwd_with_another_output_is_found_in_eager_mode():
    """VJP101, where JAX does not look; the primal function is evaluated on shapes."""
    report = check_program(
        SINE.format(fwd="jnp.sin(x)[None], x", bwd="(g[0] * jnp.cos(res),)")
        + "    jax.grad(lambda x: f(x).sum())(jnp.ones(3))"
    )
    finding = only(report)
    assert (finding.code, finding.line, report.error) == ("VJP101", 6, None)
    assert finding.title == "f_fwd returns float32[1,3], but f returns float32[3]"
    assert finding.message == (
        "The first element of the pair that f_fwd returns replaces f's output; it has shape (1, 3) instead of (3,) "
        "(it would fit if summed over axis 0). JAX compares the two only if f itself has run, too."
    )
    assert finding.fix == "return from f_fwd what f returns:  return f(x), x"


def test_fwd_with_another_structure():
    """A tuple where the function returns one array."""
    report = check_program(
        SINE.format(fwd="(jnp.sin(x), x), x", bwd="(g[0],)") + "    jax.grad(lambda x: f(x)[0])(1.0)"
    )
    assert only(report).title == "f_fwd returns (float32[], float32[]), but f returns float32[]"
    assert "it is a tuple of 2, not one value" in only(report).message


TWO = """
    @jax.custom_vjp
    def linear(w, x, b):
        return x @ w + b
    def fwd(w, x, b):
        return linear(w, x, b), (w, x)
    def bwd(res, g):
        w, x = res
        return {bwd}
    linear.defvjp(fwd, bwd)
    jax.grad(lambda *a: linear(*a).sum(), (0, 1, 2))(jnp.ones((3, 4)), jnp.ones((2, 3)), jnp.zeros(4))
"""


def test_bwd_with_too_few_cotangents():
    """VJP103 names the arguments."""
    finding = only(check_program(TWO.format(bwd="x.T @ g, g @ w.T")))
    assert (finding.code, finding.line) == ("VJP103", 9)
    assert finding.title == "bwd returns 2 cotangents, but linear takes 3 arguments: w, x and b"
    assert (
        finding.fix == "return one for each argument, None where there is no gradient:  return x.T @ g, g @ w.T, None"
    )


def test_bwd_with_too_many_cotangents():
    """VJP103."""
    finding = only(check_program(TWO.format(bwd="x.T @ g, g @ w.T, g.sum(0), None")))
    assert finding.title == "bwd returns 4 cotangents, but linear takes 3 arguments: w, x and b"
    assert finding.fix == "return only those of w, x and b"


def test_bwd_without_a_tuple():
    """VJP103: the missing comma."""
    finding = only(check_program(SINE.format(fwd="f(x), x", bwd="g * jnp.cos(res)") + "    jax.grad(f)(1.0)"))
    assert finding.title == "f_bwd returns one value, not a tuple with one cotangent per argument"
    assert finding.message == "f takes 1 argument (x)."
    assert finding.fix == "mind the comma of a tuple of one:  return (cotangent,)"


def test_bwd_with_wrong_shapes_says_what_would_fit():
    """VJP104 for each leaf that differs: a missing sum, a missing transpose."""
    report = check_program(TWO.format(bwd="(x.T @ g).T, g @ w.T, g"))
    assert [(f.code, f.path, f.expected, f.got) for f in report.findings] == [
        ("VJP104", "w", "float32[3,4]", "float32[4,3]"),
        ("VJP104", "b", "float32[4]", "float32[2,4]"),
    ]
    assert report.findings[0].message == "A cotangent has the shape of its argument; it would fit if transposed."
    assert (
        report.findings[1].message == "A cotangent has the shape of its argument; it would fit if summed over axis 0."
    )
    assert report.findings[1].title == "bwd returns float32[2,4] for b, which is float32[4]"


def test_bwd_with_another_dtype_is_a_warning():
    """VJP105: JAX accepts it without a word."""
    report = check_program(
        SINE.format(fwd="f(x), x", bwd="((g * jnp.cos(res)).astype(jnp.bfloat16),)") + "    jax.grad(f)(1.0)"
    )
    finding = only(report)
    assert (finding.code, finding.severity, report.ok) == ("VJP105", Severity.WARNING, True)
    assert finding.title == "f_bwd returns bfloat16[] for x, which is float32[]"


def test_a_missing_key_is_named():
    """VJP103 in a dictionary."""
    report = check_program("""
        @jax.custom_vjp
        def f(p, x):
            return p["w"] * x + p["b"]
        def fwd(p, x):
            return f(p, x), (p, x)
        def bwd(res, g):
            return {"w": g * res[1]}, g * res[0]["w"]
        f.defvjp(fwd, bwd)
        jax.grad(f)({"w": 2.0, "b": 1.0}, 3.0)
    """)
    assert only(report).title == "bwd returns another structure for p: it lacks the key 'b'"


def test_none_and_a_value_for_a_subtree_are_right():
    """JAX takes None for any argument."""
    report = check_program("""
        @jax.custom_vjp
        def f(p, x):
            return p["w"] * x
        def fwd(p, x):
            return f(p, x), p
        f.defvjp(fwd, lambda p, g: (None, g * p["w"]))
        jax.grad(f, 1)({"w": 2.0, "b": 1.0}, 3.0)
    """)
    assert report.findings == ()


def test_a_rule_that_raises_is_named_with_its_line_and_shapes():
    """VJP110: which rule, of which function, with what."""
    report = check_program(
        SINE.format(fwd="f(x), x", bwd="(jnp.dot(g, jnp.ones((5, 5))),)")
        + "    jax.grad(lambda x: f(x).sum())(jnp.ones(3))"
    )
    finding = only(report)
    assert (finding.code, finding.line, finding.phase) == ("VJP110", 8, "bwd")
    assert finding.title == "f_bwd raises TypeError"
    assert finding.message.startswith(
        "f_bwd, the bwd rule of f, was called with residuals float32[3] and raised TypeError: "
    )
    assert finding.explains_error


def test_an_exception_that_the_program_handles_is_a_note():
    """A program may try and recover; that is no error of its rules."""
    report = check_program(
        SINE.format(fwd="f(x), 1 / 0", bwd="(g,)") + "    try: jax.grad(f)(1.0)\n    except ZeroDivisionError: pass"
    )
    assert only(report).severity is Severity.NOTE
    assert report.ok


def test_a_function_without_a_rule():
    """VJP107: defined again, and defvjp not called again."""
    report = check_program(
        SINE.format(fwd="f(x), x", bwd="(g,)") + "    f = jax.custom_vjp(lambda x: 2 * x)\n    f(1.0)"
    )
    finding = only(report)
    assert (finding.code, finding.line) == ("VJP107", 10)
    assert finding.title == "<lambda> has no rule: defvjp was not called on this <lambda>"


def test_a_custom_vjp_function_in_a_class():
    """VJP108: self is an argument."""
    report = check_program("""
        class Layer:
            @jax.custom_vjp
            def apply(self, x):
                return x
            apply.defvjp(lambda self, x: (x, None), lambda _, g: (None, g))
        jax.grad(Layer().apply)(3.0)
    """)
    finding = only(report)
    assert (finding.code, finding.line) == ("VJP108", 4)
    assert "A custom_vjp object in a class does not bind self" in finding.message


def test_primals_given_as_a_tuple():
    """VJP111 with the advice for this very mistake."""
    finding = only(check_program("jax.vjp(lambda x, y: x * y, (1.0, 2.0))"))
    assert (finding.code, finding.line) == ("VJP111", 2)
    assert finding.fix == "pass the primals one by one, not as a tuple:  jax.vjp(f, x, y)"


def test_a_cotangent_of_another_dtype():
    """VJP106: types are not promoted."""
    finding = only(check_program("out, f_vjp = jax.vjp(lambda x: x.sum(), jnp.ones(3, jnp.float16))\nf_vjp(1.0)"))
    assert (finding.code, finding.line, finding.expected, finding.got) == ("VJP106", 3, "float16[]", "float32[]")
    assert "this one has dtype float32 instead of float16" in finding.message


def test_forward_mode_is_explained():
    """VJP112: a custom_vjp function has no forward-mode rule."""
    finding = only(check_program(SINE.format(fwd="f(x), x", bwd="(g,)") + "    jax.jvp(f, (1.0,), (1.0,))"))
    assert (finding.code, finding.line) == ("VJP112", 10)
    assert finding.fix == "give it a custom_jvp rule, or use reverse mode twice:  jax.jacrev(jax.jacrev(f))"


def test_findings_can_be_silenced_by_code_and_on_the_line():
    """--ignore, and a comment."""
    program = SINE.format(fwd="jnp.sin(x)[None], x", bwd="(g[0],)") + "    jax.grad(lambda x: f(x).sum())(1.0)"
    assert check_program(program, ignore=("VJP101",)).findings == ()
    assert check_program(program.replace("[None], x", "[None], x  # vjpcheck: ignore[VJP101]")).findings == ()
    assert only(check_program(program.replace("[None], x", "[None], x  # vjpcheck: ignore[VJP104]"))).code == "VJP101"


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        ((3,), (2, 3), "it would fit if summed over axis 0"),
        ((), (2, 3), "it would fit if summed over axes 0 and 1"),
        ((1, 3), (2, 3), "it would fit if summed over axis 0 with keepdims=True"),
        ((3, 2), (2, 3), "it would fit if transposed"),
        ((3, 2, 4), (2, 3, 4), "it would fit if its axes were permuted"),
        ((6,), (2, 3), "it would fit if reshaped"),
        ((2, 3), (3,), "it would fit if broadcast"),
        ((2, 3), (4,), ""),
        ((2, 3), (2, 3), ""),
        (None, (2,), ""),
    ],
)
def test_near_fits_in_words(expected, got, words):
    """How a shape could be made to fit."""
    assert near_fit(expected, got) == words
