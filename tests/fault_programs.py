"""Programs that reach every hook, check and look, to break these one at a time; and what a program comes to."""

from __future__ import annotations

import contextlib
import functools
import os
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jax.extend.core import Primitive
from jax.interpreters import ad

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.jax_compat import internals

X = jnp.arange(3.0)


def rule(fwd, bwd, primal, **options):
    function = jax.custom_vjp(primal, nondiff_argnums=options.pop("nondiff_argnums", ()))
    function.defvjp(fwd, bwd, **options)
    return function


def boom(*_):
    message = "boom"
    raise KeyError(message)


def right():
    f = rule(
        lambda f, x, y: (f(x) * y, (x, y, x * 3)),
        lambda f, r, g: (jnp.cos(r[0]) * r[1] * g, f(r[0]) * g),
        lambda f, x, y: f(x) * y,
        nondiff_argnums=(0,),
    )
    return jax.grad(lambda x: f(jnp.sin, x, y=X).sum())(X)


def wrong():
    f = rule(lambda x: (x, x), lambda x, g: (jnp.ones(7),), lambda x: x)
    return jax.grad(f)(1.0)


def raising():
    return jax.grad(rule(boom, lambda x, g: (g,), lambda x: x))(1.0)


def raising_pullback():
    return jax.vjp(jnp.sin, X)[1](1.0)


def nested():
    inner = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),), jnp.sin)
    middle = rule(lambda x: jax.vjp(inner, x), lambda pullback, g: pullback(g), lambda x: inner(x))
    outer = rule(lambda x: jax.vjp(middle, x), lambda pullback, g: pullback(g), lambda x: middle(x))
    return jax.grad(lambda x: outer(x).sum())(X)


def no_pair():
    return jax.grad(rule(lambda x: x, lambda x, g: (g,), lambda x: x))(1.0)


def closes_over():
    a = jnp.ones(3)
    f = rule(lambda x, y: (x * y * a, y), lambda y, g: (g * y * a, None), lambda x, y: x * y * a)
    return jax.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(X, X)


class Layer:
    """A rule that is a method, of a class with a scale."""

    scale = 3.0

    def __init__(self):
        self.call = rule(self.fwd, self.bwd, lambda x: self.scale * x)

    def fwd(self, x):
        return x * self.scale, x

    def bwd(self, x, g):
        return (g * Layer.scale,)


def method():
    return jax.grad(lambda x: Layer().call(x).sum())(X)


def symbolic_zeros():
    f = rule(lambda x: (x.value, None), lambda _, g: (g,), lambda x: x, symbolic_zeros=True)
    return jax.grad(lambda x: f(x).sum())(X)


def mapped():
    f = rule(lambda x: (x * x, x), lambda x, g: (2 * x * g,), lambda x: x * x)
    return jax.jit(jax.grad(lambda x: jax.vmap(f)(x).sum()))(X)


def shared():
    f = rule(lambda x: ((x, jnp.ones(2)), None), lambda _, g: (g[0],), lambda x: (x, jnp.ones(2) * x.sum()))
    return jax.grad(lambda x: jax.vmap(f, out_axes=(0, None))(x)[0].sum())(X)


def partials():
    f = rule(
        functools.partial(lambda k, x: (k * x, x), 2), functools.partial(lambda k, x, g: (k * g,), 2), lambda x: 2 * x
    )
    return jax.grad(lambda x: f(x).sum())(X)


def overwritten_fwd(x):
    return over(x), x


def overwritten():
    global over  # noqa: PLW0603 (that is the mistake)
    over = rule(overwritten_fwd, lambda x, g: (g,), lambda x: x * 2)
    first, over = over, jax.vmap(over)
    return jax.vjp(first, X)[1](X)


TABLE = {"sine": jnp.sin}


def from_a_table():
    f = rule(lambda x: (TABLE["sine"](x), x), lambda x, g: (g * jnp.cos(x),), jnp.sin)
    return jax.grad(lambda x: f(x).sum())(X)


def slope(x):
    return 2.0 * x


def helped_bwd(x, g):
    return (g * slope(x),)


def overwritten_helper():
    global slope  # noqa: PLW0603 (as above)
    helper, slope = slope, jax.vmap(slope)
    try:
        return jax.vjp(rule(lambda x: (x**2, x), helped_bwd, lambda x: x**2), 1.0)[1](1.0)
    finally:
        slope = helper


limit = 1.0


def changed_global():
    """A rule that is traced reads a number that is another one afterwards."""
    global limit  # noqa: PLW0603 (that is the mistake)
    f = rule(lambda x: (x * limit, x), lambda x, g: (g * limit,), lambda x: x * limit)
    limit = 1.0
    result = jax.jit(jax.grad(f))(1.0)
    limit = 2.0
    return result


made = [rule(lambda x: (x, x), lambda x, g: (g * k,), lambda x: x) for k in (1, 2)]  # noqa: B023 (the mistake)


def late_bound():
    return [jax.grad(f)(1.0) for f in made]


def edited():
    """A rule that is defined again, and not given to defvjp."""
    scope = {"f": rule(lambda x: (x, x), lambda x, g: (g,), lambda x: x)}
    for body in ("return x, x", "return x * 1, x"):
        exec(compile(f"def fwd(x):\n    {body}", __file__, "exec"), scope)  # noqa: S102 (as two cells do)
        if "1" not in body:
            scope["f"].defvjp(scope["fwd"], lambda x, g: (g,))
    return jax.grad(scope["f"])(1.0)


def another_shape():
    """The function ran, and fwd gives something else."""
    f = rule(lambda x: (x[0], x), lambda x, g: (x * g,), lambda x: x)
    f(X)
    return jax.vjp(f, X)[0]


def summed(x):
    return jnp.sin(right_rule(x)).sum()


def step(carry, x):
    return carry + summed(x[None]), x


right_rule = rule(lambda x: (x * 2, None), lambda _, g: (2 * g,), lambda x: x * 2)
kept = jax.jit(lambda x: summed(x) + jax.lax.scan(step, 0.0, x)[0])


class Summed:
    """What is called is no function."""

    def __call__(self, x):
        return summed(x)


calling = jax.jit(functools.partial(Summed()))


@jax.jit
def with_callback(x):
    scale = np.float32(2)
    return jax.pure_callback(lambda x: scale * x, x, x, vmap_method="sequential") + right_rule(x)


@jax.jit
def printing(x):
    print("said")  # noqa: T201 (once)
    return right_rule(x)


seen: list[int] = []


@jax.jit
def counting(x):
    seen.append(1)
    return right_rule(x)


def writing(x):
    with open(os.devnull, "w"):  # noqa: PTH123 (as people write it)
        return x * 2


def with_effects():
    """Not known to be pure: a child sees what is in it, or says why it may not."""
    f = rule(lambda x: (x * 2, None), lambda _, g: (2 * g,), writing)
    return printing(X), jax.grad(lambda x: counting(x).sum())(X), jax.vjp(f, X)[1](X), jax.jit(writing)(X)


writes = jax.jit(lambda x: right_rule(writing(x)))


def left_alone():
    """What a child may not do is not looked at."""
    return writes(X)


def traced_before():
    """Compiled by the first run: with a check and without it nothing is compiled, and all is seen."""
    derived = jax.grad(kept)(X), jax.vmap(with_callback)(X[:, None]), jax.grad(calling)(X)
    return kept(X), *derived, jax.grad(lambda x: jax.lax.scan(step, 0.0, x)[0])(X)


factor = 1.0
compiled = jax.jit(lambda x: right_rule(x * factor).sum())


def changed_since():
    """A function that was compiled with another number goes on with it."""
    global factor  # noqa: PLW0603 (that is the mistake)
    factor = 1.0
    compiled(X)
    factor = 2.0
    return jax.grad(compiled)(X)


def into_refs():
    """A pullback that adds its gradient to a ref."""
    ref = jax.new_ref(jnp.zeros(3))
    jax.vjp(right_rule, X)[1].with_refs(ref)(X)
    return ref[...]


@jax.custom_jvp
def forward_rule(x):
    return x * 2


forward_rule.defjvp(lambda primals, tangents: (forward_rule(*primals), tangents[0] * 2))


def other_rules():
    """A rule of a kind that is not traced."""
    return jax.grad(lambda x: forward_rule(x).sum())(X)


def primitive():
    class Square(internals.HiPrimitive):
        def __init__(self, x):
            self.in_avals, self.out_aval, self.params = (x,), x, {}
            super().__init__()

        def expand(self, x):
            return x * x

        def vjp_fwd(self, _, x):
            return self(x), x

        def vjp_bwd_retval(self, x, g):
            return (2 * x * g,)

    return jax.jit(jax.grad(lambda x: Square(jax.typeof(x))(x).sum()))(X)


def made_with_custom_vjp3():
    jax.config.update("jax_custom_vjp3", val=True)
    try:
        f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),), jnp.sin)
        return jax.grad(lambda x: f(x).sum())(X)
    finally:
        jax.config.update("jax_custom_vjp3", val=False)


def linear_maps():
    def tangent_solve(g, y):
        return y / g(1.0)

    def newton(f, x):
        return jax.lax.fori_loop(0, 5, lambda _, x: x - f(x) / jax.grad(f)(x), x)

    def root(a):
        return jax.lax.custom_root(lambda x: x**3 - a, 1.0, newton, tangent_solve)

    return jax.grad(root)(2.0), jax.linear_transpose(lambda x: 2 * x, X)(X)


def with_a_vmap_rule():
    f = custom_vmap(lambda x, w: jnp.sin(x) * w)
    f.def_vmap(lambda _, __, x, w: (jnp.sin(x) * w, True))
    return jax.grad(lambda x: jax.vmap(f)(x, X).sum())(X), f(X, X)


def of_its_own():
    double = Primitive("double")
    double.def_impl(lambda x: 2 * x)
    double.def_abstract_eval(lambda x: x)
    ad.deflinear2(double, lambda g, _: (2 * g,))
    return jax.grad(lambda x: double.bind(x).sum())(X)


cube = Primitive("cube")
cube.def_impl(lambda x: x**3)
cube.def_abstract_eval(lambda x: x)
ad.defjvp(cube, lambda t, x: 3 * x**2 * t)


def with_a_jvp_rule():
    return jax.grad(lambda x: cube.bind(x).sum())(X)


def with_a_policy():
    policy = jax.checkpoint_policies.save_only_these_names("sine")
    return jax.grad(jax.checkpoint(lambda x: checkpoint_name(jnp.sin(x), "sine").sum(), policy=policy))(X)


HAS_HIJAX = internals.has_hijax_rules()
HAS_CUSTOM_VJP3 = hasattr(internals.hijax, "custom_vjp3")
PROGRAMS = [
    *[primitive] * HAS_HIJAX, *[made_with_custom_vjp3] * HAS_CUSTOM_VJP3,
    with_a_jvp_rule, with_a_vmap_rule, linear_maps, of_its_own, with_a_policy,
    traced_before, with_effects, left_alone, into_refs, changed_since,
    right, wrong, raising, raising_pullback, nested, no_pair, closes_over, method, symbolic_zeros, mapped, shared,
    partials, overwritten, other_rules, from_a_table, overwritten_helper, changed_global, late_bound, edited,
    another_shape,
]  # fmt: skip


# With --verify


def wrong_sign():
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (-g * jnp.cos(x),), jnp.sin)
    return jax.grad(lambda x: f(x).sum())(X)


def swapped():
    f = rule(lambda x, y: (x * y, (x, y)), lambda r, g: (r[0] * g, r[1] * g), lambda x, y: x * y)
    return jax.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(X, X + 1)


def over_an_axis():
    f = rule(lambda x: (jax.lax.psum(x, "i"), None), lambda _, g: (g,), lambda x: jax.lax.psum(x, "i"))
    return jax.vmap(jax.grad(f), axis_name="i")(X)


def clipped():
    f = rule(lambda x: (x, None), lambda _, g: (jnp.clip(g, -1, 1),), lambda x: x)
    return jax.grad(lambda x: f(x).sum())(X)


def unused_cotangent():
    f = rule(lambda x: (x * 2, x), lambda x, g: (x * 0 + 2,), lambda x: x * 2)
    return jax.grad(lambda x: f(x).sum())(X)


def without_autodiff():
    def loop(x):
        return jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * 2), (0, x))[1], x.sum()

    f = rule(lambda x: (loop(x), None), lambda _, g: (g[0] * 5,), loop)
    return jax.grad(lambda x: f(x)[0].sum())(X)


def not_a_number():
    return jax.grad(lambda x: jax.jit(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0))(x).sum())(X)


def mapped_wrong_sign():
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (-g * jnp.cos(x),), jnp.sin)
    return jax.vmap(jax.grad(f))(X)


def rounded():
    f = rule(lambda x: (jnp.round(x), None), lambda _, g: (g,), lambda x: jnp.round(x))
    return jax.grad(lambda x: f(x).sum())(X + 0.3)


def no_output():
    f = rule(lambda x: (jnp.log(x), x), lambda x, g: (g / x,), lambda x: jnp.log(x))
    return jax.grad(lambda x: f(x).sum())(-X - 1).shape


VERIFIED = [
    wrong_sign, swapped, clipped, unused_cotangent, not_a_number, mapped_wrong_sign, without_autodiff, rounded,
    no_output, over_an_axis,
]  # fmt: skip
PROGRAMS += VERIFIED


def outcome(program, **options):
    """What a program gives or raises; and the report, where it is checked."""
    report, frames = None, {"outcome"}
    try:
        with contextlib.ExitStack() as stack:
            if options:
                report = stack.enter_context(vjpcheck(**options))
            value = program()
            print("said")  # noqa: T201 (whose output is compared)
    except Exception as error:  # noqa: BLE001 (whatever it is, it must be the same)
        found = traceback.extract_tb(error.__traceback__)
        mine = [(e.filename, e.lineno) for e in found if e.name not in frames and "contextlib" not in e.filename]
        return (type(error), str(error), mine), report
    return [np.asarray(one).tobytes() for one in jax.tree.leaves(value)], report


def options_of(program):
    return {"verify": program in VERIFIED}
