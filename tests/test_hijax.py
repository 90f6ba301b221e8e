"""Hijax primitives: their rules in rows like those of custom_vjp functions, and what is wrong with them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fault_programs import HAS_HIJAX
from programs import check_program

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.jax_compat import internals

pytestmark = pytest.mark.skipif(not HAS_HIJAX, reason="this JAX has no hijax primitives")

X, W = np.ones((4, 3), np.float32), np.ones((3, 2), np.float32)
PROGRAM = """
try:
    from jax.experimental.hijax import VJPHiPrimitive as HiPrim
except ImportError:
    from jax.experimental.hijax import HiPrim
class Product(HiPrim):
    def __init__(self, x, w):
        self.in_avals, self.params = (x, w), {{}}
        self.out_aval = jax.typeof(jnp.zeros((x.shape[0], w.shape[1])))
        super().__init__()
    def expand(self, x, w):
        return x @ w
    def vjp_fwd(self, nonzero, x, w):
        return {fwd}
{bwd}
def product(x, w):
    return Product(jax.typeof(x), jax.typeof(w))(x, w)
x, w = jnp.arange(12.0).reshape(4, 3), 1.0 + jnp.arange(6.0).reshape(3, 2)
{run}
"""
FWD = "self(x, w), (x, w)"
BWD = """
    def vjp_bwd_retval(self, residuals, g):
        x, w = residuals
        return {}
"""
INTO = """
    def vjp_bwd(self, residuals, g, dx, dw):
        x, w = residuals
        dx.accum({})
        dw.accum({})
"""
RUN = "jax.grad(lambda x, w: product(x, w).sum(), argnums=(0, 1))(x, w)"
RIGHT = BWD.format("g @ w.T, x.T @ g")


def report_of(fwd=FWD, bwd=RIGHT, run=RUN, **options):
    return check_program(PROGRAM.format(fwd=fwd, bwd=bwd.strip("\n"), run=run), **options)


class Product(internals.HiPrimitive if HAS_HIJAX else object):
    """A matrix product, for the programs that are compared with and without a check."""

    def __init__(self, x, w):
        self.in_avals, self.params = (x, w), {}
        self.out_aval = jax.typeof(jnp.zeros((x.shape[0], w.shape[1])))
        super().__init__()

    def expand(self, x, w):
        return x @ w

    def vjp_fwd(self, _, x, w):
        return x @ w, (x, w)

    def vjp_bwd_retval(self, residuals, g):
        x, w = residuals
        return g @ w.T, x.T @ g

    def batch(self, axis_data, args, dims):
        return jax.vmap(lambda x, w: x @ w, dims)(*args), 0


def product(x, w):
    return Product(jax.typeof(x), jax.typeof(w))(x, w)


PROGRAMS = {
    "grad": lambda: jax.grad(lambda x: product(x, W).sum())(X),
    "jit of grad": lambda: jax.jit(jax.grad(lambda x: product(x, W).sum()))(X),
    "grad of jit": lambda: jax.grad(jax.jit(lambda x: product(x, W).sum()))(X),
    "scan": lambda: jax.grad(lambda x: jax.lax.scan(lambda c, _: (c + product(c, np.eye(3, dtype=np.float32)), None),
                                                    x, None, length=2)[0].sum())(X),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_rules_have_rows_and_the_program_its_values(name):
    """Primals, output, residuals, cotangent and gradients of the call; nothing is left in the primitive."""
    plain = PROGRAMS[name]()
    with vjpcheck() as report:
        value = PROGRAMS[name]()
    assert np.array_equal(value, plain)
    assert (report.findings, report.notes) == ((), ())
    (call, *_) = (call for call in report.calls if call.kind == "hijax" and call.cotangents_out)
    assert (call.function, [leaf.path for leaf in call.primals]) == ("Product", ["x", "w"])
    types = (call.primals, call.fwd_outputs, call.residuals, call.cotangents_in, call.cotangents_out)
    shapes = [[leaf.type for leaf in leaves] for leaves in types]
    wide = "float32[4,3]" if name == "scan" else "float32[4,2]"
    w = "float32[3,3]" if name == "scan" else "float32[3,2]"
    assert shapes == [["float32[4,3]", w], [wide], ["float32[4,3]", w], [wide], ["float32[4,3]", w]]


def test_nothing_of_the_check_stays_in_a_primitive():
    """The methods that are watched are the primitive's own again; what was traced in a check runs after it."""
    primitive = Product(jax.typeof(X), jax.typeof(W))
    with vjpcheck():
        gradient = jax.jit(jax.grad(lambda x: primitive(x, W).sum()))
        before = gradient(X)
    assert not {"vjp_fwd", "vjp_bwd", "vjp_bwd_retval"} & vars(primitive).keys()
    assert np.array_equal(gradient(X), before)


def test_a_primitive_that_calls_itself_in_its_rule_has_its_rules_in_the_outer_row():
    """`vjp_fwd` calls the primitive: that is a row below it."""
    report = report_of()
    outer, inner = (call for call in report.calls if call.kind == "hijax")
    assert (inner.parent, outer.cotangents_out is None, inner.cotangents_out) == (outer.id, False, None)
    assert report.findings == ()


WRONG = {
    "a cotangent of another shape": ({"bwd": BWD.format("g @ w.T, jnp.zeros((2, 3))")}, "VJP104", "error"),
    "a cotangent of another dtype": ({"bwd": BWD.format("g @ w.T, jnp.bfloat16(x.T @ g)")}, "VJP105", "warning"),
    "no cotangent": ({"bwd": BWD.format("g @ w.T, None")}, "VJP115", "warning"),
    "another shape into an accumulator": ({"bwd": INTO.format("g @ w.T", "jnp.zeros((2, 3))")}, "VJP104", "error"),
    "a factor": ({"bwd": BWD.format("g @ w.T, 2 * (x.T @ g)"), "verify": True}, "VAL302", "warning"),
    "a sign in an accumulator": ({"bwd": INTO.format("g @ w.T", "-(x.T @ g)"), "verify": True}, "VAL302", "warning"),
    "another output": ({"fwd": "2 * self(x, w), (x, w)", "verify": True}, "VAL301", "warning"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    """The rule by its name, on a line of it."""
    options, code, severity = WRONG[name]
    report = report_of(**options)
    finding = report.findings[0]
    assert (finding.code, finding.severity.value, finding.function) == (code, severity, "Product")
    method = "vjp_fwd" if "fwd" in options else "vjp_bwd"
    assert f"Product.{method}" in finding.title
    lines = PROGRAM.format(fwd=FWD, bwd=options.get("bwd", RIGHT).strip("\n"), run=RUN).splitlines()
    first = next(number for number, line in enumerate(lines, 1) if f"def {method}" in line)
    assert finding.line in range(first - 1, first + 5)


def test_equal_primals_and_another_parameter_are_two_outputs():
    """What a primitive returns may depend on its parameters."""

    class Repeat(internals.HiPrimitive if HAS_HIJAX else object):
        def __init__(self, x, times):
            self.in_avals, self.params = (x,), {"times": times}
            self.out_aval = jax.core.ShapedArray((times, *x.shape), x.dtype)
            super().__init__()

        def expand(self, x):
            return jnp.broadcast_to(x, (self.times, *x.shape))

        def vjp_fwd(self, _, x):
            return self(x), None

        def vjp_bwd_retval(self, _, g):
            return (g.sum(0),)

    with vjpcheck(verify=True) as report:
        for times in (2, 3):
            jax.grad(lambda x, times=times: Repeat(jax.typeof(x), times)(x).sum())(X)
    assert (report.findings, report.notes) == ((), ())


def test_parameters_without_a_hash_are_no_obstacle():
    """JAX needs one below jit only."""

    class Scaled(internals.HiPrimitive if HAS_HIJAX else object):
        def __init__(self, x, by):
            self.in_avals, self.out_aval, self.params = (x,), x, {"by": by}
            super().__init__()

        def expand(self, x):
            return x * self.by[0]

        def vjp_fwd(self, _, x):
            return self(x), None

        def vjp_bwd_retval(self, _, g):
            return (g * self.by[0],)

    with vjpcheck(verify=True) as report:
        jax.grad(lambda x: Scaled(jax.typeof(x), [2.0])(x).sum())(X)
    assert (report.findings, report.not_checked, report.notes) == ((), (), ())


def test_a_right_primitive_is_compared():
    """With --verify, nothing is left out."""
    report = report_of(verify=True)
    assert (report.findings, report.not_checked) == ((), ())
