"""Overwritten names: in globals, closures, behind helpers; harmful, harmless, and not overwritten at all."""

from __future__ import annotations

import textwrap

import pytest
from programs import check_program
from test_findings import SEED, SINE, only

from jaxvjp_magic import Severity


@pytest.mark.parametrize("wrap", ["jax.jit(f)", "jax.checkpoint(f)", "jax.jit(jax.checkpoint(f))"])
def test_a_wrapper_that_changes_nothing_is_a_note(wrap):
    """F = jit(f) is harmless, and said to be."""
    report = check_program(
        SINE.format(fwd="f(x), x", bwd="(g * jnp.cos(res),)") + f"    f = {wrap}\n    jax.grad(f)(1.0)"
    )
    finding = only(report)
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.NOTE, 10)
    assert finding.message.endswith("instead of the custom_vjp function. Both compute the same, so this is harmless.")
    assert report.ok


def test_a_function_overwritten_by_its_gradient_is_an_error_even_before_it_recurses():
    """Grad gives another function, whatever the shapes are."""
    report = check_program(SINE.format(fwd="f(x), x", bwd="(g * jnp.cos(res),)") + "    f = jax.grad(f)\n    f(1.0)")
    finding = only(report)
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 10)
    assert report.error.type == "RecursionError"


def test_a_name_in_a_closure_is_looked_at_too():
    """Inside a function the name is a cell, and the overwriting stands in that function."""
    report = check_program("""
        def make():
            @jax.custom_vjp
            def f(x):
                return x * 2.0
            def fwd(x):
                return f(x), None
            def bwd(_, g):
                return (2.0 * g,)
            f.defvjp(fwd, bwd)
            f = jax.vmap(f)
            return f
        f = None
        jax.grad(lambda x: make()(x).sum())(jnp.ones(3))
    """)
    finding = only(report, "NAM201")
    assert (finding.line, finding.severity) == (11, Severity.ERROR)
    assert finding.fix == "give the new function its own name:  f_mapped = jax.vmap(f)"


def test_a_name_whose_uses_below_mean_the_function_has_no_new_name():
    """For tools, which would rename what raised too: the words of the fix say enough."""
    report = check_program("""
        from jax import grad
        grad = grad(jnp.sin)(1.0)
        grad(jnp.cos)(1.0)
    """)
    finding = only(report, "NAM204")
    assert finding.fix == "give the result its own name:  grad_result = grad(jnp.sin)(1.0)"
    assert finding.new_name == ""


def test_a_name_behind_a_helper_is_found():
    """The rule calls a helper, and the helper calls the name."""
    report = check_program("""
        @jax.custom_vjp
        def f(x):
            return (x * x).sum()
        def helper(x):
            return f(x)
        def fwd(x):
            return helper(x), x
        def bwd(x, g):
            return (2 * g * x,)
        f.defvjp(fwd, bwd)
        f = jax.vmap(f)
        jax.grad(lambda x: f(x).sum())(jnp.ones((2, 3)))
    """)
    assert "fwd (line 7) calls f through helper, and now gets jax.vmap(f)" in only(report, "NAM201").message


def test_a_partial_that_shifts_the_arguments_is_found():
    """F = partial(f, 2.0), and fwd calls f with all of its arguments."""
    report = check_program("""
        @jax.custom_vjp
        def f(a, x):
            return a * x
        def fwd(a, x):
            return f(a, x), (a, x)
        def bwd(res, g):
            return g * res[1], g * res[0]
        f.defvjp(fwd, bwd)
        f = partial(f, 2.0)
        jax.grad(f)(1.0)
    """)
    finding = report.findings[0]
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 10)
    assert finding.explains_error


IN_OBJECTS = {
    "an attribute of an object": ("held = types.SimpleNamespace()", "held.f"),
    "an object in an object": ("held = types.SimpleNamespace(inner=types.SimpleNamespace())", "held.inner.f"),
    "an entry of a dictionary": ("held = {}", "held['f']"),
    "an entry of a list": ("held = [None]", "held[0]"),
}


def held(make, name, assigned, *, in_function):
    """A rule that calls what an object holds, at the top level or in a function."""
    code = f"""
import types
{make}
@jax.custom_vjp
def f(w, x):
    return jnp.dot(w, x)
{name} = f
def fwd(w, x):
    return {name}(w, x), (w, x)
def bwd(res, g):
    return g * res[1], g * res[0]
f.defvjp(fwd, bwd)
{assigned} = jax.vmap({name}, in_axes=(None, 0))
jax.grad(lambda w: {assigned}(w, jnp.ones((4, 3))).mean())(jnp.ones(3))
"""
    return "def main():\n" + textwrap.indent(code.strip(), "    ") + "\nmain()" if in_function else code


@pytest.mark.parametrize("in_function", [False, True], ids=["at the top", "in a function"])
@pytest.mark.parametrize(("make", "name"), IN_OBJECTS.values(), ids=IN_OBJECTS)
def test_what_an_object_holds_is_a_name_too(make, name, in_function):
    """The assignment is the cause, whatever holds the function."""
    report = check_program(held(make, name, name, in_function=in_function))
    finding = report.findings[0]
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 14 if in_function else 13)
    assert finding.title == f"{name} was overwritten; fwd calls it"
    now = f"jax.vmap({name}, in_axes=(None, 0))"
    assert finding.message == (
        f"fwd (line {9 if in_function else 8}) calls {name}, and now gets {now} instead of the custom_vjp function."
    )
    new = {"held.f": "held_f", "held.inner.f": "held_inner_f", "held['f']": "held_f", "held[0]": "held_0"}[name]
    assert finding.fix == f"give the new function its own name:  {new}_mapped = {now}"


@pytest.mark.parametrize("in_function", [False, True], ids=["at the top", "in a function"])
@pytest.mark.parametrize(("make", "name"), IN_OBJECTS.values(), ids=IN_OBJECTS)
def test_a_mapped_function_under_another_name_is_left_alone(make, name, in_function):
    """The object goes on holding what the rule calls."""
    assert check_program(held(make, name, "mapped", in_function=in_function)).findings == ()


def test_an_attribute_of_a_class_that_became_an_array_is_the_cause():
    """The rule raises TypeError, for what the class holds now cannot be called."""
    report = check_program("""
        class Layer:
            @jax.custom_vjp
            def norm(x):
                return jnp.dot(x, x)
        first = Layer.norm
        first.defvjp(lambda x: (Layer.norm(x), x), lambda x, g: (2 * g * x,))
        Layer.norm = Layer.norm(jnp.ones(3))
        jax.grad(first)(jnp.ones(3))
    """)
    finding = only(report, "NAM201")
    assert (finding.severity, finding.line) == (Severity.ERROR, 8)
    assert finding.title == "Layer.norm was overwritten; the fwd rule of Layer.norm calls it"


def test_an_object_that_holds_another_function_from_the_second_call_on_is_seen():
    """The rules are looked at again when what an object holds has changed."""
    report = check_program("""
        import types
        held = types.SimpleNamespace()
        held.f = first = jax.custom_vjp(lambda w, x: jnp.dot(w, x))
        def fwd(w, x):
            return held.f(w, x), (w, x)
        held.f.defvjp(fwd, lambda res, g: (g * res[1], g * res[0]))
        for _ in range(2):
            jax.grad(first)(jnp.ones(3), jnp.ones(3))
        held.f = jax.jit(held.f)
        jax.grad(first)(jnp.ones(3), jnp.ones(3))
    """)
    assert [(one.code, one.severity, one.line) for one in report.findings] == [("NAM201", Severity.NOTE, 10)]


def test_names_that_were_not_overwritten_are_left_alone():
    """The mapped function has a name of its own."""
    report = check_program(
        SEED.replace("    test_func = jax", "    mapped = jax")
        + "    jax.grad(lambda R: mapped(lambda x: x, R).sum())(jnp.ones((2, 3)))"
    )
    assert report.findings == ()


def test_another_name_for_something_made_from_the_function_is_no_overwriting():
    """Fwd calls the mapped function on purpose, under a name of its own."""
    report = check_program("""
        @jax.custom_vjp
        def f(x):
            return jnp.sin(x)
        def fwd(x):
            return f_mapped(jnp.ones(3)).sum() + jnp.sin(x), x
        f.defvjp(fwd, lambda x, g: (g * jnp.cos(x),))
        f_mapped = jax.vmap(f)
        jax.grad(f)(1.0)
    """)
    assert report.findings == ()


def test_a_name_given_later_is_found_when_it_is_overwritten():
    """The function is called something else than its name in the program says."""
    report = check_program("""
        def impl(x):
            return (x * x).sum()
        g = jax.custom_vjp(impl)
        g.defvjp(lambda x: (g(x), x), lambda x, ct: (2 * ct * x,))
        g = jax.vmap(g)
        jax.grad(lambda x: g(x).sum())(jnp.ones((2, 3)))
    """)
    assert (report.findings[0].code, report.findings[0].line) == ("NAM201", 6)


OVERWRITTEN_HELPER = """
    def score(w, x):
        return jnp.dot(w, x)
    @jax.custom_vjp
    def f(w, x):
        return {primal}
    def fwd(w, x):
        return {fwd}, (w, x)
    def bwd(res, g):
        w, x = res
        return {bwd}
    f.defvjp(fwd, bwd)
    {statement}
    jax.grad(lambda w: jax.vmap(f, in_axes=(None, 0))(w, jnp.ones((5, 3))).mean())(jnp.ones(3))
"""
MAPPED = "score = jax.vmap(score, in_axes=(None, 0))"
CALLS = {"primal": "score(w, x)", "fwd": "score(w, x)", "bwd": "g * x, g * w"}


def test_a_helper_that_was_overwritten_is_the_cause_where_the_rules_would_fit_with_it():
    """The same mistake with a helper's name: the first finding, and the rest follows from it."""
    report = check_program(OVERWRITTEN_HELPER.format(**CALLS, statement=MAPPED))
    finding = report.findings[0]
    assert (finding.code, finding.severity, finding.line) == ("NAM201", Severity.ERROR, 13)
    assert finding.title == "score was overwritten; fwd calls it"
    assert finding.message == (
        "fwd (line 7) calls score, and now gets jax.vmap(score, in_axes=(None, 0)) instead of the function that line 2 "
        "defines. With that function, the rules would fit."
    )
    assert finding.fix == "give the new function its own name:  score_mapped = jax.vmap(score, in_axes=(None, 0))"
    assert [other.code for other in report.findings[1:]] == ["VJP104", "VJP104"]
    assert finding.cause_of == (1, 2)
    assert finding.explains_error


@pytest.mark.parametrize(
    ("statement", "changed", "title"),
    [
        (MAPPED, {"fwd": "f(w, x)"}, "score was overwritten; fwd calls it"),
        (
            "score = jax.vmap(score, in_axes=(None, 1))",
            {"primal": "jnp.dot(w, x)"},
            "score was overwritten; fwd calls it",
        ),
        (
            "score = jax.vmap(score, in_axes=(None, 1))",
            {"primal": "jnp.dot(w, x)", "fwd": "f(w, x)", "bwd": "g * x, g * score(w, x) / jnp.dot(w, x) * w"},
            "score was overwritten; bwd calls it",
        ),
    ],
)
def test_an_overwritten_helper_is_found_behind_the_function_and_where_a_rule_raises(statement, changed, title):
    """Whether the rule calls it itself or through its function, and whatever JAX says."""
    finding = check_program(OVERWRITTEN_HELPER.format(**CALLS | changed, statement=statement)).findings[0]
    assert (finding.code, finding.line, finding.title) == ("NAM201", 13, title)


@pytest.mark.parametrize(
    ("statement", "changed", "codes"),
    [
        ("score = jax.jit(score)", {}, []),
        ("", {"bwd": "g, g * w"}, ["VJP104"]),
        (MAPPED, {"primal": "jnp.dot(w, x)", "fwd": "f(w, x)"}, []),
        (MAPPED, {"bwd": "g, g * w"}, ["VJP104", "VJP104"]),  # wrong with the helper, too
        (MAPPED, {"primal": "score(w, x[None])[0]", "fwd": "score(w, x[None])[0]"}, []),  # it is meant so
    ],
)
def test_a_helper_is_not_blamed_where_it_does_not_help(statement, changed, codes):
    """Overwritten or not: only where the rules fail with what the name means, and would not with the helper."""
    report = check_program(OVERWRITTEN_HELPER.format(**CALLS | changed, statement=statement))
    assert [finding.code for finding in report.findings] == codes


def test_a_helper_in_a_closure_is_found():
    """Cells are variables too."""
    report = check_program("""
        def make():
            def slope(x):
                return jnp.cos(x)
            @jax.custom_vjp
            def f(x):
                return jnp.sin(x)
            def fwd(x):
                return f(x), x
            def bwd(x, g):
                return (g * slope(x),)
            f.defvjp(fwd, bwd)
            slope = jax.vmap(slope)
            return f
        jax.grad(make())(1.0)
    """)
    finding = only(report)
    assert (finding.code, finding.line, finding.title) == ("NAM201", 13, "slope was overwritten; bwd calls it")
