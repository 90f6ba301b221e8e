"""All of JAX's ways to a rule: with a check and without, equal values, no notes, and rows that make sense."""

from __future__ import annotations

import functools
import inspect

import jax
import jax._src.hijax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvjp_magic import Severity, vjpcheck

X = jnp.arange(1.0, 4.0)
F3, F0 = "float32[3]", "float32[]"
SAVES_COS = "x {0} -> {0} saves {0}; {0} -> x {0}".format


def sine(define="defvjp", fwd=None, bwd=None, *, custom=jax.custom_vjp, **options):
    """A sine that saves its cosine, with one of the ways to define its rules."""

    @custom
    def sine(x):
        return jnp.sin(x)

    def sine_fwd(x):
        return jnp.sin(x), jnp.cos(x)

    def sine_bwd(cos, g):
        return (cos * g,)

    getattr(sine, define)(fwd or sine_fwd, bwd or sine_bwd, **options)
    return sine


def total(function):
    return lambda x: jnp.sum(function(x) * 2.0)


def symbolic_zeros():
    def fwd(x):
        return jnp.sin(x.value), jnp.cos(x.value)

    def bwd(cos, g):
        return (jnp.zeros_like(cos) if isinstance(g, jax.custom_derivatives.SymbolicZero) else cos * g,)

    f = sine(fwd=fwd, bwd=bwd, symbolic_zeros=True)
    return jax.grad(lambda x, y: total(f)(x) + y)(X, 1.0), jax.grad(lambda x, y: y + f(x * 0 + y)[0] * 0, 1)(X, 1.0)


def optimize_remat():
    return jax.grad(total(jax.checkpoint(sine(optimize_remat=True))))(X), jax.jit(sine(optimize_remat=True))(X)


def power(**options):
    f = jax.custom_vjp(lambda n, x: x**n, **options)
    f.defvjp(lambda n, x: (x**n, x), lambda n, x, g: (n * x ** (n - 1) * g,))
    return jax.grad(lambda x: f(3, x).sum())(X), jax.vmap(functools.partial(f, 2))(X)


def nondiff_with_a_function():
    f = jax.custom_vjp(lambda op, x: op(x), nondiff_argnums=(0,))
    f.defvjp(lambda op, x: (op(x), x), lambda op, x, g: (jax.vjp(op, x)[1](g)[0],))
    return jax.grad(lambda x: f(lambda y: jnp.sin(y) * 2.0, x).sum())(X)


def keywords():
    f = jax.custom_vjp(lambda x, scale=2.0: x * scale)
    f.defvjp(lambda x, scale: (x * scale, (x, scale)), lambda r, g: (g * r[1], jnp.sum(g * r[0])))
    return jax.grad(lambda x: f(scale=3.0, x=x).sum() + f(x).sum())(X)


def with_logs():
    f = sine("defvjp_with_logs", bwd=lambda cos, g: ((cos * g,), {"cotangent": g}))
    out, pullback = jax.vjp(f, X)
    return out, pullback.with_logs(X), pullback(X), jax.jit(jax.grad(total(f)))(X)


def with_accumulators():
    def bwd(cos, g, accumulator):
        accumulator.accum(cos * g)

    f = sine("defvjp_with_accums", bwd=bwd)
    ref = jax.new_ref(jnp.zeros(3))
    jax.vjp(f, X)[1].with_refs(ref)(X)
    return jax.grad(total(f))(X), ref[...]


def remat_rules():
    with _flag("jax_custom_vjp3", value=True), _flag("jax_remat3", value=True):

        @jax.custom_vjp
        def sine(x):
            return jnp.sin(x)

        f = sine
        f.defremat(lambda x: (jnp.sin(x), jnp.cos(x)), lambda cos, x: (jnp.sin(x), cos), lambda cos, g: (cos * g,))
        return jax.grad(total(jax.checkpoint(f)))(X), jax.grad(total(f))(X)


def generic_batching():
    return jax.grad(total(jax.vmap(sine(generic_batching=True))))(X)


def custom_gradient():
    @jax.custom_gradient
    def sine(x):
        cos = jnp.cos(x)
        return jnp.sin(x), lambda g: g * cos

    f = sine
    return f(X), jax.grad(total(f))(X), jax.jit(jax.vmap(jax.grad(f)))(X)


def closure_convert():
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def apply(function, x, *constants):
        return function(x, *constants)

    def fwd(function, x, *constants):
        out, pullback = jax.vjp(function, x, *constants)
        return out, pullback

    apply.defvjp(fwd, lambda function, pullback, g: pullback(g))

    def loss(scale, x):
        function, constants = jax.closure_convert(lambda y: jnp.sin(y * scale), x)
        return apply(function, x, *constants).sum()

    return jax.grad(loss, (0, 1))(2.0, X)


def other_implementation():
    f = sine()
    with _flag("jax_custom_vjp3", value=True):
        return f(X), jax.grad(total(f))(X), jax.jit(jax.vmap(jax.grad(f)))(X), jax.grad(total(jax.checkpoint(f)))(X)


def with_refs():
    ref = jax.new_ref(jnp.zeros(3))
    out, pullback = jax.vjp(sine(), X)
    pullback.with_refs(ref)(X)
    return out, ref[...]


def saveable_args():
    out, pullback = jax.vjp(lambda x, y: sine()(x) * y, X, X, saveable_args=(True, False))
    pullback.args_res[1] = X
    return out, pullback(X)


def array_refs():
    def loss(x):
        ref = jax.new_ref(jnp.zeros(3))
        ref[...] = sine()(x)
        ref[...] += x
        return ref[...].sum()

    return jax.grad(loss)(X), jax.jit(jax.grad(loss))(X)


def plumbed_ref():
    """A rule that leaves its cotangent in a ref that is passed along, as JAX's own documentation does."""

    @jax.custom_vjp
    def stash(ref, x):
        return x

    def bwd(ref, g):
        ref[...] = g
        return None, g

    stash.defvjp(lambda ref, x: (x, ref), bwd)
    ref = jax.new_ref(jnp.zeros(3))
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(stash(ref, x))))(X)
    return gradient, ref[...]


def own_type():
    """A value whose type is no array: a box, in which the bwd rule leaves its cotangent."""

    @jax.custom_vjp
    def stash(box, x):
        return x

    def bwd(box, g):
        box.set(g)
        return None, g

    stash.defvjp(lambda box, x: (x, box), bwd)
    box = jax._src.hijax.Box(jnp.zeros(3))
    gradient = jax.grad(lambda x: jnp.sum(jnp.sin(stash(box, x))))(X)
    return gradient, box.get()


def linearize():
    out, tangent = jax.linearize(jnp.sin, X)
    again, pullback = jax.vjp(sine(), X)
    with pytest.raises(TypeError, match="forward-mode"):  # JAX's own word about a function with a rule
        jax.linearize(sine(), X)[1](X)
    return out, tangent(X), again, pullback(X), jax.linear_transpose(tangent, X)(X), jax.jvp(jnp.sin, (X,), (X,))


def pure_callback():
    def host(x):
        return np.sin(x).astype(np.float32)

    def call(x):
        return jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="sequential")

    f = sine(fwd=lambda x: (call(x), jnp.cos(x)), bwd=lambda cos, g: (cos * g,))
    return jax.grad(total(f))(X), jax.jit(jax.grad(total(f)))(X)


def io_callback():
    seen = []

    def bwd(cos, g):
        jax.experimental.io_callback(lambda g: seen.append(np.asarray(g)), None, g, ordered=True)
        return (cos * g,)

    gradient = jax.jit(jax.grad(total(sine(bwd=bwd))))(X)
    jax.effects_barrier()
    return gradient, seen


def shard_map(*, check_vma):
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("i",))
    f = jax.shard_map(sine(), mesh=mesh, in_specs=jax.P("i"), out_specs=jax.P("i"), check_vma=check_vma)
    return jax.grad(total(f))(X), jax.jit(jax.grad(total(f)))(X)


def pallas():
    from jax.experimental import pallas

    def kernel(x_ref, out_ref):
        out_ref[...] = jnp.sin(x_ref[...])

    def call(x):
        return pallas.pallas_call(kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x)

    f = sine(fwd=lambda x: (call(x), jnp.cos(x)), bwd=lambda cos, g: (cos * g,))
    return jax.grad(total(f))(X), jax.jit(jax.grad(total(f)))(X)


def checkpoint_policies():
    from jax.ad_checkpoint import checkpoint_name

    def layer(x):
        return checkpoint_name(sine()(x), "saved") * checkpoint_name(jnp.exp(x), "dropped")

    policies = [
        jax.checkpoint_policies.save_only_these_names("saved"),
        jax.checkpoint_policies.nothing_saveable,
        jax.checkpoint_policies.everything_saveable,
    ]
    return [jax.grad(total(jax.checkpoint(layer, policy=policy)))(X) for policy in policies]


def control_flow():
    f = sine()

    def loss(x):
        carry, out = lax.scan(lambda c, y: (f(c) + y, f(y)), x[0], x)
        carry = lax.fori_loop(0, 3, lambda _, c: f(c), carry)
        carry = lax.cond(x[0] > 0, f, lambda c: c, carry)
        return carry + out.sum() + lax.map(f, x).sum()

    end = lax.while_loop(lambda c: c[0] < 1.0, lambda c: f(c) + 0.5, X * 0)
    return jax.grad(loss)(X), end


def export():
    f = jax.jit(jax.grad(total(sine())))
    exported = jax.export.export(f)(jax.ShapeDtypeStruct((3,), jnp.float32))
    return exported.call(X)


def _flag(name, *, value):
    """A context in which one of JAX's settings has this value."""
    return getattr(jax._src.config, name.removeprefix("jax_"))(value)


def line(call):
    """A call in words: its arguments, what it gives, what it saves, what cotangent it takes and gives."""
    phases = (call.primals, call.nondiff, call.shown_outputs, call.residuals, call.cotangents_in, call.cotangents_out)
    primals, nondiff, outputs, residuals, taken, given = map(texts, phases)
    static = f" ({nondiff})" if nondiff else ""
    back = "" if call.cotangents_in is None else f"; {taken} -> {given}"
    return f"{call.function} {primals}{static} -> {outputs}" + (f"; saves {residuals}" if residuals else "") + back


def texts(leaves):
    return ", ".join(" ".join(filter(None, (leaf.path, leaf.type, leaf.note))) for leaf in leaves or ())


SINE = "sine x float32[3] -> float32[3]; saves float32[3]; float32[3] -> x float32[3]"
SCALAR_SINE = "sine x float32[] -> float32[]; saves float32[]; float32[] -> x float32[]"
PRIMAL = "sine x float32[3] -> float32[3]"
POWER = (
    "<lambda> x float32[3] (n int32[]) -> float32[3]; saves float32[3]; float32[3] -> x float32[3]",
    "<lambda> x float32[] (n int32[]) -> float32[]",
)
WAYS = {
    "symbolic_zeros": (symbolic_zeros, [SINE]),
    "optimize_remat": (optimize_remat, [SINE, PRIMAL]),
    "nondiff_argnums": (functools.partial(power, nondiff_argnums=(0,)), POWER),
    "nondiff_argnames": (functools.partial(power, nondiff_argnames=("n",)), POWER),
    "a function in nondiff_argnums": (
        nondiff_with_a_function,
        ["<lambda> x float32[3] (op function <lambda>) -> float32[3]; saves float32[3]; float32[3] -> x float32[3]"],
    ),
    "keywords and defaults": (
        keywords,
        [
            (
                "<lambda> x float32[3], scale float32[] Python float -> float32[3]; "
                "saves [0] float32[3], [1] float32[] Python float; float32[3] -> x float32[3], scale float32[]"
            )
        ],
    ),
    "defvjp_with_logs": (with_logs, [SINE]),
    "defvjp_with_accums": (with_accumulators, ["sine x float32[3] -> float32[3]; saves float32[3]; float32[3] -> "]),
    "defremat": (remat_rules, [SINE]),
    "generic_batching": (generic_batching, [SCALAR_SINE]),
    "custom_gradient": (
        custom_gradient,
        [
            PRIMAL,
            "sine x float32[3] -> float32[3]; saves [<flat index 0>] float32[3]; float32[3] -> x float32[3]",
            "sine x float32[] -> float32[]; saves [<flat index 0>] float32[]; float32[] -> x float32[]",
        ],
    ),
    "closure_convert": (
        closure_convert,
        [
            (
                "apply x float32[3], [2] float32[] weak type (function function converted_fun) -> float32[3]; saves "
                "[<flat index 0>][0] float32[3], [<flat index 1>][0] float32[], [<flat index 1>][1] float32[3]; "
                "float32[3] -> x float32[3], [2] float32[] weak type"
            )
        ],
    ),
    "jax_custom_vjp3": (other_implementation, [PRIMAL, SINE, SCALAR_SINE]),
    "with_refs": (with_refs, [SINE]),
    "saveable_args": (saveable_args, [SINE]),
    "array refs": (array_refs, [SINE]),
    "a ref that is passed along": (
        plumbed_ref,
        [
            (
                "stash ref Ref{float32[3]}, x float32[3] -> float32[3]; saves Ref{float32[3]}; "
                "float32[3] -> ref None None, x float32[3]"
            )
        ],
    ),
    "a type of its own": (
        own_type,
        ["stash box BoxTy, x float32[3] -> float32[3]; saves BoxTy; float32[3] -> box None None, x float32[3]"],
    ),
    "linearize": (linearize, [SINE, "sine x float32[3] -> float32[3]; saves float32[3]"]),
    "pure_callback": (pure_callback, [SINE]),
    "io_callback": (io_callback, [SINE]),
    "shard_map": (
        functools.partial(shard_map, check_vma=True),
        ["sine x float32[3]{V:i} -> float32[3]{V:i}; saves float32[3]{V:i}; float32[3]{V:i} -> x float32[3]{V:i}"],
    ),
    "shard_map without checks": (functools.partial(shard_map, check_vma=False), [SINE]),
    "pallas": (pallas, [SINE]),
    "checkpoint": (checkpoint_policies, [SINE]),
    "control flow": (control_flow, [PRIMAL, SCALAR_SINE]),
    "export": (export, [SINE, "f_flat [0] float32[3] -> [0] float32[3]"]),
}
NEEDED = {
    "a type of its own": hasattr(jax._src.hijax, "Box"),
    "defvjp_with_logs": hasattr(jax.custom_vjp, "defvjp_with_logs"),
    "defvjp_with_accums": hasattr(jax.custom_vjp, "defvjp_with_accums"),
    "defremat": hasattr(jax.custom_vjp, "defremat"),
    "generic_batching": "generic_batching" in inspect.signature(jax.custom_vjp.defvjp).parameters,
    "jax_custom_vjp3": hasattr(jax.config, "jax_custom_vjp3"),
    "saveable_args": "saveable_args" in inspect.signature(jax.vjp).parameters,
}


@pytest.mark.parametrize("name", [name for name in WAYS if NEEDED.get(name, True)])
def test_a_way_gives_the_same_values_and_rows_that_make_sense(name):
    """Run plain and checked: equal values, no notes, no errors or warnings, and the rows of the rule as expected."""
    way, expected = WAYS[name]
    plain = way()
    with vjpcheck() as report:
        checked = way()
    assert jax.tree.structure(plain) == jax.tree.structure(checked)
    assert jax.tree.all(jax.tree.map(np.array_equal, plain, checked))
    assert report.notes == ()
    assert [one for one in report.findings if one.severity is not Severity.NOTE] == []
    assert list(dict.fromkeys(line(call) for call in report.calls if call.kind == "custom_vjp")) == list(expected)
