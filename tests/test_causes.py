"""Causes beside the examples of docs/rules.md: other forms of each mistake, and right programs that look like one."""

from __future__ import annotations

import pytest
from programs import check_cells, check_program

SQUARE = """
        @jax.custom_vjp
        def f(x):
            return jnp.dot(x, x)
        def fwd(x):
            return f(x), x
        def bwd(x, g):
            return (2 * g * x,)
        f.defvjp(fwd, bwd)
"""
WRONG = {
    "an attribute of a class": (
        """
        class Layer:
            @staticmethod
            def norm(x):
                return jnp.dot(x, x)
        norm = Layer.norm = jax.custom_vjp(Layer.norm)
        norm.defvjp(lambda x: (Layer.norm(x), x), lambda x, g: (2 * g * x,))
        Layer.norm = jax.vmap(Layer.norm)
        jax.grad(lambda x: Layer.norm(x).mean())(jnp.ones((5, 3)))
        """,
        ("NAM201", "error", 8),
    ),
    "an attribute of self": (
        """
        class Layer:
            def __init__(self):
                self.f = jax.custom_vjp(lambda x: jnp.dot(x, x))
                self.f.defvjp(self.fwd, lambda x, g: (2 * g * x,))
                self.f = jax.vmap(self.f)
            def fwd(self, x):
                return self.f(x), x
        layer = Layer()
        jax.grad(lambda x: layer.f(x).mean())(jnp.ones((5, 3)))
        """,
        ("NAM201", "error", 6),
    ),
    "a loop's variable": (
        SQUARE + "        g = jax.vmap(f)\n        for f in range(2):\n            jax.vjp(g, jnp.ones((5, 3)))",
        ("NAM201", "error", 11),
    ),
    "a deleted name": (
        SQUARE + "        g = jax.vmap(f)\n        del f\n        jax.grad(lambda x: g(x).sum())(jnp.ones((5, 3)))",
        ("NAM201", "error", 11),
    ),
    "known though the cell ends at once": (
        SQUARE + "        f = jax.vmap(f)\n        undefined",
        ("NAM201", "warning", 10),
    ),
    "an import": (
        SQUARE + "        used = f\n        from math import floor as f\n        jax.grad(used)(jnp.ones(3))",
        ("NAM201", "error", 11),
    ),
    "a partial that changes an argument": (
        """
        @jax.custom_vjp
        def f(x, k=1.0):
            return k * x
        f.defvjp(lambda x, k: (f(x), (x, k)), lambda res, g: (g * res[1], jnp.sum(g * res[0])))
        f = partial(f, k=5.0)
        jax.grad(f)(1.0)
        """,
        ("NAM201", "warning", 6),
    ),
    "a transformation in a loop": (
        """
        def f(x):
            return x ** 2
        for _ in range(3):
            f = jax.vmap(f)
            jax.vjp(f, jnp.ones((2, 2)))
        """,
        ("NAM202", "error", 5),
    ),
    "a transformation in a loop, where an exception is about another thing": (
        """
        def f(x):
            return x ** 2
        for _ in range(3):
            f = jax.vmap(f)
            f(jnp.ones((2, 2, 2, 2)))
        raise ValueError
        """,
        ("NAM202", "warning", 5),
    ),
    "a pullback under the function's name": (
        """
        f = jnp.tanh
        for _ in range(2):
            y, f = jax.vjp(f, jnp.ones(3))
            f(jnp.ones_like(y))
        """,
        ("NAM204", "error", 4),
    ),
    "rules made in a comprehension": (
        """
        def with_rule(f, fwd, bwd):
            f = jax.custom_vjp(f)
            f.defvjp(fwd, bwd)
            return f
        fs = [with_rule(lambda x: x, lambda x: (x, None), lambda _, g: (k * g,)) for k in (0.1, 1.0)]
        jax.grad(fs[0])(2.0)
        """,
        ("NAM206", "warning", 6),
    ),
    "an entry of a dictionary": (
        """
        settings = {"scale": 1.0}
        f = jax.custom_vjp(lambda x: settings["scale"] * x)
        f.defvjp(lambda x: (f(x), None), lambda _, g: (settings["scale"] * g,))
        jax.jit(jax.grad(f))(1.0)
        settings["scale"] = 2.0
        """,
        ("NAM207", "note", 3),
    ),
    "state in self": (
        """
        class Norm:
            def fwd(self, x):
                self.n = jnp.sum(x)
                return self.n, None
            def bwd(self, _, g):
                return (g * self.n * jnp.ones(3),)
        norm = Norm()
        f = jax.custom_vjp(lambda x: jnp.sum(x))
        f.defvjp(norm.fwd, norm.bwd)
        jax.grad(f)(jnp.ones(3))
        """,
        ("NAM208", "warning", 4),
    ),
    "one tuple level too many": (
        """
        f = jax.custom_vjp(lambda x, w: x * w)
        f.defvjp(lambda x, w: (x * w, (x, w)), lambda res, g: ((g * res[1], g * res[0]),))
        jax.grad(f)(1.0, 2.0)
        """,
        (
            "VJP103", "error", 3),
    ),
    "the line that makes the wrong cotangent": (
        """
        f = jax.custom_vjp(lambda x, b: x + b)
        def bwd(_, g):
            db = jnp.sum(g, axis=0, keepdims=True)
            return g, db
        f.defvjp(lambda x, b: (x + b, None), bwd)
        jax.grad(lambda b: f(jnp.ones((4, 3)), b).sum())(jnp.ones(3))
        """,
        ("VJP104", "error", 4),
    ),
    "a custom_gradient": (
        """
        @jax.custom_gradient
        def power(x, n):
            def gradient(g):
                return g * n * x ** (n - 1)
            return x ** n, gradient
        jax.grad(power)(2.0, 3.0)
        """,
        (
            "VJP103", "error", 6),
    ),
    "a residual that is text": (
        """
        f = jax.custom_vjp(lambda x: x)
        f.defvjp(lambda x: (x, ("mean", x)), lambda res, g: (g,))
        jax.grad(jax.jit(f))(1.0)
        """,
        (
            "VJP118", "error", 3),
    ),
    "an object that JAX does not know": (
        """
        import dataclasses
        @dataclasses.dataclass
        class Params:
            w: float
        f = jax.custom_vjp(lambda p, x: p.w * x)
        f.defvjp(lambda p, x: (p.w * x, (p, x)), lambda res, g: (Params(g * res[1]), g * res[0].w))
        jax.grad(f, 1)(Params(1.0), 2.0)
        """,
        ("VJP118", "error", 4),
    ),
    "a flag that decides": (
        """
        @jax.custom_vjp
        def f(x, flag):
            return jnp.sin(x) if flag else x
        f.defvjp(lambda x, flag: (f(x, flag), x), lambda x, g: (g * jnp.cos(x), None))
        jax.grad(jax.jit(lambda x: f(x, True)))(1.0)
        """,
        ("VJP118", "error", 4),
    ),
    "rules in each other's place": (
        """
        f = jax.custom_vjp(lambda x: jnp.sin(x))
        def f_fwd(x):
            return jnp.sin(x), x
        def f_bwd(x, g):
            return (g * jnp.cos(x),)
        f.defvjp(f_bwd, f_fwd)
        jax.grad(f)(1.0)
        """,
        (
            "VJP119", "error", 7),
    ),
    "bwd without what is in nondiff_argnums": (
        """
        @partial(jax.custom_vjp, nondiff_argnums=(1,))
        def f(x, n):
            return x ** n
        def bwd(x, g):
            return (3 * g * x ** 2,)
        f.defvjp(lambda x, n: (x ** n, x), bwd)
        jax.grad(f)(2.0, 3)
        """,
        ("VJP119", "error", 5),
    ),
    "bwd with what is in nondiff_argnums at its end": (
        """
        @partial(jax.custom_vjp, nondiff_argnums=(1,))
        def f(x, n):
            return x ** n
        def bwd(x, g, n):
            return (n * g * x ** (n - 1),)
        f.defvjp(lambda x, n: (x ** n, x), bwd)
        jax.grad(f)(2.0, 3)
        """,
        ("VJP119", "warning", 5),
    ),
    "a tuple that is repeated": (
        """
        y, pullback = jax.vjp(jnp.sin, jnp.ones(3))
        twice = 2 * pullback(y)
        """,
        ("VJP120", "warning", 3),
    ),
    "the gradient of an integer": (
        "def f(x):\n    return x * 2.0\njax.grad(f)(3)",
        ("VJP114", "error", 4),
    ),
    "a float0 in an update": (
        """
        y, pullback = jax.vjp(lambda table, ids: table[ids], jnp.ones(3), jnp.array([0, 2]))
        steps = [0.1 * g for g in pullback(y)]
        """,
        ("VJP114", "error", 2),
    ),
    "a loop that has no reverse mode": (
        """
        def root(a):
            return jax.lax.while_loop(lambda x: jnp.abs(x * x - a) > 1e-3, lambda x: 0.5 * (x + a / x), a)
        jax.grad(root)(2.0)
        """,
        ("VJP113", "error", 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", WRONG)
def test_the_cause_comes_first(which):
    """Code, severity and line of the first finding."""
    program, expected = WRONG[which]
    finding = check_program(program).findings[0]
    assert (finding.code, finding.severity.value, finding.line) == expected


RIGHT = {
    "a tuple that is put beside the tuple of a pullback": """
        y, pullback = jax.vjp(jnp.sin, jnp.ones(3))
        both = (1,) + pullback(y)
    """,
    "a wrapper that counts": SQUARE
    + """
        import functools
        def counted(f):
            @functools.wraps(f)
            def inner(*args):
                return f(*args)
            return inner
        f = counted(f)
        jax.grad(f)(jnp.ones(3))
""",
    "vectorize": SQUARE + "        f = jnp.vectorize(f, signature='(n)->()')\n        jax.grad(f)(jnp.ones(3))",
    "a partial of what the rule gives itself": """
        @jax.custom_vjp
        def f(x, k=1.0):
            return k * x
        f.defvjp(lambda x, k: (f(x, k=k), (x, k)), lambda res, g: (g * res[1], jnp.sum(g * res[0])))
        f = partial(f, k=5.0)
        jax.grad(f)(1.0)
    """,
    "one rule in each round": """
        for k in (1.0, 2.0):
            f = jax.custom_vjp(lambda x: k * x)
            f.defvjp(lambda x: (k * x, None), lambda _, g: (k * g,))
            jax.grad(f)(1.0)
    """,
    "a default that keeps the value": """
        fs = []
        for k in (1.0, 2.0):
            f = jax.custom_vjp(lambda x: x)
            f.defvjp(lambda x: (x, None), lambda _, g, k=k: (k * g,))
            fs.append(f)
        jax.grad(fs[0])(1.0)
    """,
    "rules' names used again": """
        f, h = jax.custom_vjp(lambda x: 2 * x), jax.custom_vjp(lambda x: 3 * x)
        def fwd(x):
            return 2 * x, None
        def bwd(_, g):
            return (2 * g,)
        f.defvjp(fwd, bwd)
        def fwd(x):
            return 3 * x, None
        def bwd(_, g):
            return (3 * g,)
        h.defvjp(fwd, bwd)
        jax.grad(lambda x: f(x) + h(x))(1.0)
    """,
    "a derivative in a loop": """
        f = jnp.sin
        for _ in range(3):
            f = jax.grad(f)
        f(1.0)
    """,
    "counting calls": """
        count = {"fwd": 0}
        f = jax.custom_vjp(lambda x: jnp.sin(x))
        def fwd(x):
            count["fwd"] += 1
            return jnp.sin(x), x
        def bwd(x, g):
            return (g * jnp.cos(x),)
        f.defvjp(fwd, bwd)
        jax.grad(f)(1.0)
    """,
    "a closed-over constant": """
        def make(w):
            f = jax.custom_vjp(lambda x: w * x)
            f.defvjp(lambda x: (w * x, None), lambda _, g: (w * g,))
            return f
        jax.jit(lambda w, x: jax.grad(make(w))(x))(2.0, 3.0)
    """,
    "None for what is not differentiated": """
        f = jax.custom_vjp(lambda x, w: x * w)
        f.defvjp(lambda x, w: (x * w, w), lambda w, g: (g * w, None))
        jax.grad(f)(2.0, 3.0)
    """,
    "None for what has no gradient": """
        clip = jax.custom_vjp(lambda lo, x: x)
        clip.defvjp(lambda lo, x: (x, lo), lambda lo, g: (None, jnp.maximum(lo, g)))
        jax.grad(lambda p: clip(*p))((-1.0, 2.0))
    """,
    "an output that is constant": """
        f = jax.custom_vjp(lambda w, x: (jnp.zeros(()), w * x))
        f.defvjp(lambda w, x: (f(w, x), (w, x)), lambda res, g: (res[1] * g[1], res[0] * g[1]))
        jax.grad(lambda w: jax.vmap(f, (None, 0), (None, 0))(w, jnp.ones(3))[1].sum())(2.0)
    """,
}


NOT_WITH_CUSTOM_VJP3 = pytest.mark.classic("a function that closes over a tracer raises")


@pytest.mark.parametrize(
    "which",
    [pytest.param(name, marks=NOT_WITH_CUSTOM_VJP3 if name == "a closed-over constant" else ()) for name in RIGHT],
)
def test_right_programs_get_at_most_a_note(which):
    """Nothing that a person has to do something about."""
    report = check_program(RIGHT[which])
    assert report.error is None
    assert not report.reaches("warning"), report


def test_a_cell_that_transforms_another_cells_function_is_told_before_it_happens():
    """The first run is right, and the second would not be."""
    report = check_cells("def f(x):\n    return x ** 2", "f = jax.vmap(f)\njax.vjp(f, jnp.ones(3))")
    (finding,) = report.findings
    assert (finding.code, finding.severity, finding.line) == ("NAM202", "note", 2)
    assert finding.title == "running this cell again applies vmap to f again"


def test_a_rule_run_again_unchanged_is_no_edit():
    """The same text in another cell is the same rule."""
    rules = "def fwd(x):\n    return 2 * x, None\ndef bwd(_, g):\n    return (2 * g,)"
    first = f"f = jax.custom_vjp(lambda x: 2 * x)\n{rules}\nf.defvjp(fwd, bwd)"
    assert check_cells(first, rules, "jax.grad(f)(1.0)").findings == ()
    edited = rules.replace("(2 * g,)", "(3 * g,)")
    (finding,) = check_cells(first, edited, "jax.grad(f)(1.0)").findings
    assert (finding.code, finding.source, finding.line) == ("NAM203", "In[2]", 4)
