"""Who is blamed for an exception: the line that is wrong, JAX where JAX raised, and no effect before its cause."""

from __future__ import annotations

import pytest
from programs import check_program

from jaxvjp_magic import Severity

pytestmark = pytest.mark.any_jax


def told(text):
    """The code and the title of each error, and the message and the fix of the first."""
    report = check_program(text)
    errors = [one for one in report.findings if one.severity is Severity.ERROR]
    assert errors[0].explains_error
    return [(one.code, one.title) for one in errors], errors[0].message, errors[0].fix


@pytest.mark.parametrize("use", ["g = pull(1.0)", "(g,) = pull(1.0)", "g, = pull(1.0)"])
def test_a_cotangent_of_the_wrong_tree_is_no_tuple_used_as_an_array(use):
    """JAX's message has the word tuple in it; nothing came back that could have been used."""
    errors, _, _ = told(f"y, pull = jax.vjp(lambda x: (x, 2 * x), 1.0)\n{use}")
    assert errors == [
        ("VJP106", "the pullback of <lambda> was given float32[], but the output is (float32[], float32[])")
    ]


def test_a_pullback_is_called_with_a_cotangent():
    """And not with the primals."""
    errors, message, _ = told("y, pull = jax.vjp(lambda a, b: a * b, jnp.ones(3), 2.0)\npull(jnp.ones(3), jnp.ones(3))")
    assert errors[0][0] == "VJP113"
    assert message.startswith(
        "The pullback of <lambda> was called with the cotangent float32[3] and raised TypeError: "
    )


FLOAT0 = """
    f = jax.custom_vjp(lambda x: (x * 2, jnp.argmax(x)))
    def bwd(_, g):
        gy, gi = g
        return (gy * 2 + gi,)
    f.defvjp(lambda x: (f(x), None), bwd)
    jax.grad(lambda x: f(x)[0].sum())(jnp.ones(3))
"""
INNER_FLOAT0 = """
    f = jax.custom_vjp(lambda x, n: x * n)
    def bwd(r, g):
        gx, gn = jax.vjp(lambda x, n: x * n, *r)[1](g)
        return gx, gn * 2
    f.defvjp(lambda x, n: (f(x, n), (x, n)), bwd)
    jax.grad(lambda x: f(x, 3).sum())(jnp.ones(3))
"""


def test_a_float0_is_the_cause_of_what_it_ends():
    """That bwd raises follows from it, and is not said beside it."""
    errors, message, fix = told(FLOAT0)
    assert errors == [("VJP114", "bwd computes with a float0: the output [1] of <lambda> is int32[]")]
    assert message == (
        "An integer has no derivative, so bwd gets a float0 as its cotangent, which no arithmetic accepts. JAX raised "
        "TypeError."
    )
    assert fix == "use only the cotangents of the float outputs in bwd"
    errors, _, fix = told(INNER_FLOAT0)
    assert errors == [("VJP114", "the gradient of <lambda> with respect to n is float0, because n is int32[]")]
    assert fix == "differentiate with respect to the floats only"  # a lambda has no name to be called by


@pytest.mark.parametrize("grad", ["grad", "value_and_grad"])
def test_what_jax_raises_is_not_the_functions(grad):
    """`has_aux` that is not kept: no line of the function raised."""
    errors, message, fix = told(f"def loss(w):\n    return (w * w).sum()\njax.{grad}(loss, has_aux=True)(jnp.ones(3))")
    assert errors == [("VJP111", f"{grad}(loss) raises TypeError")]
    assert message.startswith("JAX itself raised it, called with w: float32[3]: expected function with aux output")
    assert fix == "return a pair from loss, or remove has_aux:  return value, aux"


def test_what_the_function_raises_is_its_own():
    """Its line, and its name."""
    errors, message, _ = told("def loss(w):\n    return w.nothing\njax.grad(loss)(jnp.ones(3))")
    assert errors == [("VJP111", "loss raises AttributeError")]
    assert message.startswith("loss was called with w: float32[3] and raised AttributeError: ")


def test_the_gradient_that_is_no_scalar_is_named():
    """Of `grad(grad(f))` it is `grad(f)` that is no scalar, or f itself."""
    errors, message, fix = told("def f(x):\n    return (x**3).sum()\njax.grad(jax.grad(f))(jnp.ones(3))")
    assert errors == [("VJP124", "grad of grad(f), which returns float32[3]: jax.grad needs a scalar output")]
    assert message == "grad(f) was called with x: float32[3]."
    assert fix.startswith("reduce the output, as in grad(f)(...).sum()")
    errors, _, _ = told("def f(x):\n    return x**3\njax.grad(jax.grad(f))(jnp.ones(3))")
    assert errors == [("VJP124", "grad of f, which returns float32[3]: jax.grad needs a scalar output")]


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        ("jax.grad(loss)(1.0, 2.0)", "pass all arguments of loss:  jax.grad(loss)(w, a, b)"),
        ("jax.value_and_grad(loss)(1.0)", "pass all arguments of loss:  jax.value_and_grad(loss)(w, a, b)"),
        ("jax.grad(loss)(1.0, 2.0, 3.0, 4.0)", "pass all arguments of loss:  jax.grad(loss)(w, a, b)"),
        ("jax.vjp(loss, 1.0, 2.0)", "pass all arguments of loss:  jax.vjp(loss, w, a, b)"),
        ("jax.vjp(loss, (1.0, 2.0, 3.0))", "pass the primals one by one, not as a tuple:  jax.vjp(loss, w, a, b)"),
    ],
)
def test_an_argument_that_is_missing(call, fix):
    """The right call; a tuple is spoken of where there is one."""
    errors, _, given = told(f"def loss(w, a, b):\n    return w * a * b\n{call}")
    assert errors[0][0] == "VJP111"
    assert given == fix


def test_a_message_of_several_lines_is_kept():
    """JAX's hint stands in the last."""
    _, message, _ = told(
        "def loss(w):\n    raise ValueError('first line\\n\\n  second\\nthe hint')\njax.grad(loss)(1.0)"
    )
    assert message.endswith("raised ValueError: first line second the hint")
    _, message, _ = told("def loss(w):\n    raise ValueError('begin ' + 'x' * 5000 + ' the hint')\njax.grad(loss)(1.0)")
    assert message.endswith(" ... the hint")
    assert "ValueError: begin ..." in message
    assert len(message) < 1000


def test_a_cotangent_of_another_dtype_is_the_cause_where_jax_takes_none():
    """JAX names the two dtypes, and no rule."""
    errors, message, fix = told("""
        f = jax.custom_vjp(lambda x: x * 2)
        f.defvjp(lambda x: (x * 2, None), lambda _, g: (2 * g.astype("bfloat16"),))
        jax.grad(lambda x: f(jax.lax.mul(x, x)).sum())(jnp.ones(3))
    """)
    assert errors == [("VJP105", "the bwd rule of <lambda> returns bfloat16[3] for x, which is float32[3]")]
    assert message == "JAX accepts a cotangent of another dtype without a word, and raised TypeError where it was used."
    assert fix == "return it as float32:  (2 * g.astype('bfloat16')).astype(\"float32\")"
