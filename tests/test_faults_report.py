"""Every check, and whatever makes a report or shows it, is made to raise: one note or one line tells, and no more."""

from __future__ import annotations

import pytest
import test_causes
from faults import FAULT, broken, functions_in, reaching
from programs import check_program
from test_docs import check_example

from jaxvjp_magic import analyse, catalogue
from jaxvjp_magic.session import Check, Options

pytestmark = pytest.mark.any_jax

MAKING = (
    "checks",
    "analyse",
    "source.program",
    "source.overwrites",
    "source.bindings",
    "source.rule_ast",
    "introspect.names_at_error",
)
NOT_BROKEN = {
    "the guard itself": {
        "checks.engine._Checks.__init__",
        "checks.engine._Checks.__call__",
        "source.program.FileSources.__init__",
    },
    "at the import of the checks": {"checks.register.check"},
    "the words of an interface": {
        "source.program.Sources.text_of",
        "source.program.Sources.searched",
        "source.program.Sources.checked",
        "source.program.Sources.history",
    },
    "used while the program runs, by what is broken in test_faults.py": {
        "source.bindings.loops_around",
        "source.bindings._function_around",
        "source.bindings._stored",
    },
    "a word of arguments.closed_over_values, which is broken": {"checks.view.RecordView.has_leaked"},
    "another's: the session of these tests takes its place": {
        "source.program.FileSources.searched",
        "source.program.FileSources.history",
    },
}


def recorded():
    """What was recorded of wrong programs: enough to make each one's report again and again."""
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


@pytest.fixture(scope="module")
def kept():
    """For each function, what was recorded of the first program whose report needs it."""
    wanted = {name: FUNCTIONS[name] for name in FUNCTIONS.keys() - NAMED}
    found = reaching(wanted, list(recorded().values()), report_of, lambda record: bool(report_of(record).notes))
    return {name: records[0] for name, records in found.items()}


FUNCTIONS = functions_in(*MAKING)
NAMED = {name for some in NOT_BROKEN.values() for name in some}


def test_every_check_is_broken_below_or_said_why_not(kept):
    """A new function needs a program that reaches it, or a reason."""
    assert FUNCTIONS.keys() >= NAMED
    assert FUNCTIONS.keys() - kept.keys() <= NAMED


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - NAMED))
def test_a_fault_in_making_the_report_is_one_note(kept, name):
    """The report comes, with what the other checks find, or with the note alone."""
    whole = report_of(kept[name])
    assert whole.notes == ()
    with broken(FUNCTIONS[name]):
        report = report_of(kept[name])
    assert [FAULT in note for note in report.notes] == [True]
    assert str(report).count(FAULT) == 1
    assert report_of(kept[name]) == whole
