"""What checks recorded of wrong programs: enough to make their reports again and again."""

from __future__ import annotations

import functools

import pytest
import test_causes
from programs import check_program
from test_docs import check_example

from jaxvjp_magic import analyse, catalogue
from jaxvjp_magic.session import Check, Options


@functools.cache
def recorded():
    """For each wrong program of the documentation, of the tests of causes, and of some more: what was recorded."""
    found = {}
    make = analyse.build_report
    with pytest.MonkeyPatch.context() as patch:

        def run(name, program):
            kept = []

            def keep(record, program, *, error=None, **shown):
                kept.append((record, program.sources, error))
                return make(record, program, error=error, **shown)

            patch.setattr(analyse, "build_report", keep)
            program()
            found[name] = kept[-1]

        for code in catalogue.CATALOGUE:
            verify = code.startswith("VAL") or code == "RES403"
            run(code, lambda code=code, verify=verify: check_example(code, "wrong", verify=verify))
        for name, (text, *_) in (test_causes.WRONG | MORE).items():
            run(name, lambda text=text, name=name: check_program(text, verify="verify" in name))
    return found


RULE = """
        f = jax.custom_vjp(lambda x: jnp.sin(x))
        f.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: ({},))
        jax.grad(lambda x: f(x).sum())(jnp.ones((3, 2)))
"""
MORE = {
    "transposed": (RULE.format("g.T"),),
    "another size": (RULE.format("jnp.ones(6)"),),
    "an axis of one": (RULE.format("g[:, :1]"),),
    "a factor, with verify": (RULE.format("3 * g * jnp.cos(x)"),),
    "NaN in the rule, with verify": (RULE.format("0 * g / (x - x)"),),
    "an overwritten helper": (
        RULE.format("g * slope(x)")
        .replace(
            "        f =", "        slope = lambda x: jnp.cos(x)\n        slope.__name__ = 'slope'\n        f =", 1
        )
        .replace("        jax.grad", "        slope = jax.vmap(slope, in_axes=1, out_axes=0)\n        jax.grad"),
    ),
    "cotangents as a tuple": ("out, pull = jax.vjp(lambda x: (x, x), 1.0)\npull(out[0])",),
    "another container": (
        RULE.replace("jnp.sin(x)", "jnp.sin(x['a'])")
        .replace("jnp.ones((3, 2))", "{{'a': jnp.ones(3)}}")
        .format("{'b': g}"),
    ),
    "the cotangent of an integer": (
        """
        f = jax.custom_vjp(lambda x: (x, jnp.argmax(x)))
        f.defvjp(lambda x: (f(x), None), lambda _, g: (g[0] + g[1],))
        jax.grad(lambda x: f(x)[0].sum())(jnp.ones(3))
        """,
    ),
    "a comment": (RULE.format("3 * g * jnp.cos(x)") + "        x = 1  # vjpcheck: ignore[VJP104]\n",),
    "an argument is missing": ("jax.grad(lambda w, x: w * x)(1.0)",),
    "an element too many": ("out, pull = jax.vjp(lambda x: (x, x), 1.0)\npull((1.0, jnp.ones(3)))",),
}


class Stopped:
    """A tracer that has recorded this."""

    def __init__(self, record):
        self.record = record

    def stop(self):
        return self.record

    def abandon(self):
        """It holds nothing."""


def report_of(kept):
    record, sources, error = kept
    check = Check(Options())
    check._tracer = Stopped(record)
    return check.finish(sources, error)
