"""Random programs of nested transformations, plain and checked: the same values to the bit, the same exceptions.

What is drawn is the text of a program: functions one above the other, each made
from the one below by a transformation or a custom_vjp with a random rule, right
or wrong. `HYPOTHESIS_PROFILE=thorough` draws ten times as many, other ones each time.
"""

from __future__ import annotations

import contextlib
import itertools
import linecache
import os
import re

import jax
import numpy as np
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from jaxvjp_magic import vjpcheck

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
numbers, drawn = itertools.count(1), itertools.count(1)
PRELUDE = """import jax, jax.numpy as jnp, numpy as np
from functools import partial
X = np.arange(1.0, 4.0, dtype=np.float32)
"""

# Each makes a function of an array that gives an array of the same shape, or a number for a number, from `f`.
BASES = ["jnp.sin(x)", "x * x", "jnp.where(x > 1, x, -x)", "jnp.cumsum(jnp.atleast_1d(x)).reshape(jnp.shape(x))"]
MAKERS = {
    "jit": "jax.jit(f)",
    "vmap": "lambda x: jax.vmap(f)(x) if jnp.ndim(x) else f(x)",
    "grad": "jax.grad(lambda x: f(x).sum())",
    "value_and_grad": "lambda x: sum(jax.value_and_grad(lambda x: f(x).sum())(x))",
    "vjp": "lambda x: jax.vjp(f, x)[1](jnp.ones_like(x))[0]",
    "linearize": "lambda x: jax.linearize(jnp.sin, f(x))[1](x)",
    "scan": "lambda x: jax.lax.scan(lambda c, a: (f(c) * a, c), x, jnp.ones(2))[0]",
    "scan over": "lambda x: jax.lax.scan(lambda c, a: (c + f(a).sum(), f(a)), 0.0, x)[1] if jnp.ndim(x) else f(x)",
    "cond": "lambda x: jax.lax.cond(jnp.sum(x) > 2, f, lambda x: x * 2, x)",
    "while": "lambda x: jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, f(s[1])), (0, x))[1]",
    "remat": "jax.checkpoint(f)",
    "map": "lambda x: jax.lax.map(f, x) if jnp.ndim(x) else f(x)",
    "partial": "partial(lambda k, x: f(x) * k, 2.0)",
    "stop": "lambda x: f(jax.lax.stop_gradient(x)) + x",
    "hessian": "lambda x: jax.jacrev(f)(x).sum(-1) if jnp.ndim(x) else f(x)",
    "twice": "lambda x: f(f(x))",
    "tree": "lambda x: sum(jax.tree.leaves(jax.vjp(lambda d: {'a': f(d['a']), 'b': d['b']}, {'a': x, 'b': (x,)})[0]))",
}
RULES = {  # what fwd returns, and what bwd returns of the residuals r, the cotangent g and what autodiff of f gives
    "right": ("f(x), x", "jax.vjp(f, r)[1](g)"),
    "calls itself": ("h(x), x", "jax.vjp(f, r)[1](g)"),
    "half": ("f(x), x", "(0.5 * g,)"),
    "zeros": ("f(x), None", "(None,)"),
    "another shape": ("f(x), x", "(jnp.stack([g, g]),)"),
    "another dtype": ("f(x), x", "(g.astype(jnp.float16),)"),
    "no tuple": ("f(x), x", "g"),
    "too many": ("f(x), x", "(g, g)"),
    "no pair": ("f(x)", "(g,)"),
    "fwd gives more": ("jnp.stack([f(x), f(x)]), x", "(g[0],)"),
    "raises in fwd": ("f(x), undefined", "(g,)"),
    "raises in bwd": ("f(x), x", "(1 / 0,)"),
    "by value": ("(f(x), x) if jnp.sum(x) > 0 else (x, x)", "(g,)"),
    "many residuals": ("f(x), {'x': x, 'y': [x, x * 2]}", "(g * r['x'] + r['y'][0],)"),
}
OPTIONS = ["", "", "", ", symbolic_zeros=True", ", optimize_remat=True"]
CALLS = [
    "f(X)", "f(2.0)", "jax.grad(lambda x: f(x).sum())(X)", "jax.jit(jax.grad(lambda x: f(x).sum()))(X)",
    "jax.vmap(jax.grad(f))(X)", "jax.vjp(f, X)[1](X)", "jax.vjp(f, X)[1](2.0)", "jax.value_and_grad(f)(2.0)",
    "jax.jit(lambda x: jax.vjp(f, x)[1])(X)(X)", "[jax.grad(f)(float(k)) for k in range(3)]",
    "jax.jvp(f, (X,), (X,))", "jax.eval_shape(jax.grad(lambda x: f(x).sum()), X).shape",
]  # fmt: skip


@st.composite
def programs(draw):
    """The text of a program whose last line gives a value."""
    lines = [f"f = lambda x: {draw(st.sampled_from(BASES))}"]
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.integers(0, 2)):
            lines.append(f"f = (lambda f: {MAKERS[draw(st.sampled_from(sorted(MAKERS)))]})(f)")
        else:
            fwd, bwd = RULES[draw(st.sampled_from(["right", *sorted(RULES)]))]
            lines += [
                "def make(f):", "    h = jax.custom_vjp(lambda x: f(x))", f"    def fwd(x):\n        return {fwd}",
                f"    def bwd(r, g):\n        return {bwd}",
                f"    h.defvjp(fwd, bwd{draw(st.sampled_from(OPTIONS))})", "    return h", "f = make(f)",
            ]  # fmt: skip
    last = draw(st.lists(st.sampled_from(CALLS), min_size=1, max_size=2))
    return PRELUDE + "\n".join([*lines, f"result = [{', '.join(last)}]"]) + "\n"


def run(text, **options):
    """What a program gives to the bit, or raises and where; each run is a program of its own."""
    filename = f"fuzz_{next(numbers)}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    scope, report = {"__name__": "__main__"}, None
    try:
        with contextlib.ExitStack() as stack:
            if options:
                report = stack.enter_context(vjpcheck(**options))
            # One line for both: a message of the compiler has the lines of the whole stack.
            exec(compile(text, filename, "exec"), scope)  # noqa: S102 (that is the purpose)
    except Exception as error:  # noqa: BLE001 (whatever it is, it must be the same)
        lines, entry = [], error.__traceback__
        while entry is not None:
            if entry.tb_frame.f_code.co_filename == filename:
                lines.append(entry.tb_lineno)
            entry = entry.tb_next
        return (type(error), address_free(str(error)).replace(filename, "PROGRAM"), lines), report
    finally:
        del linecache.cache[filename]
    return [(np.asarray(one).dtype, np.asarray(one).tobytes()) for one in jax.tree.leaves(scope["result"])], report


def address_free(text):
    """A message without what tells one object from another of its kind."""
    return re.sub(r"0x[0-9a-f]+|object id \d+", "OBJECT", text)


@settings(
    max_examples=1200 if IS_THOROUGH else 120,
    derandomize=not IS_THOROUGH,
    database=None,
    deadline=None,
    phases=tuple(Phase) if IS_THOROUGH else (Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(programs(), st.sampled_from([{"retrace": False}] * 7 + [{"retrace": True}]))
def test_a_program_gives_and_raises_the_same(text, options):
    """Values to the bit; type, message and lines of an exception; and the check has nothing to say about itself."""
    note(text)
    if next(drawn) % 50 == 0:  # thousands of compiled programs take gigabytes
        jax.clear_caches()
    (plain, _), (checked, report) = [run(text, **one) for one in ({}, options)]
    assert checked == plain
    assert report.notes == ()
