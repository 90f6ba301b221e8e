"""Every use of jax.vjp and every call of a custom_vjp function is seen, wherever it hides."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import grad as grad_imported_before
from jax import vjp as vjp_imported_before
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxvjp_magic import vjpcheck


@jax.custom_vjp
def scale(x, y):
    return x * y


def scale_fwd(x, y):
    return x * y, (x, y)


def scale_bwd(residuals, cotangent):
    x, y = residuals
    return cotangent * y, jnp.sum(cotangent * x)


scale.defvjp(scale_fwd, scale_bwd)

X = jnp.arange(3.0)


def total(x):
    return scale(x, 2.0).sum()


def checked(function, *arguments):
    """The report of `function(*arguments)`; it must say nothing of a correct program."""
    with vjpcheck() as report:
        function(*arguments)
    assert report.findings == ()
    assert report.notes == ()
    return report


def rows(report, kind):
    return [call for call in report.calls if call.kind == kind]


def types(leaves):
    return [(leaf.path, leaf.type) for leaf in leaves]


@pytest.mark.parametrize(
    ("differentiate", "kind"),
    [
        (lambda: vjp_imported_before(total, X)[1](1.0), "vjp"),
        (lambda: grad_imported_before(total)(X), "grad"),
        (lambda: jax.value_and_grad(total)(X), "value_and_grad"),
        (lambda: jax.jacrev(lambda x: scale(x, 2.0))(X), "jacrev"),
        (lambda: jax.jacobian(lambda x: scale(x, 2.0))(X), "jacrev"),
    ],
)
def test_every_way_into_reverse_mode_is_a_row_of_its_kind(differentiate, kind):
    """The kind is that of the function that was called, not of what it is built on."""
    report = checked(differentiate)
    (outer,) = [call for call in report.calls if call.kind != "custom_vjp"]
    assert outer.kind == kind
    (inner,) = rows(report, "custom_vjp")
    assert inner.function == "scale"
    assert inner.parent == outer.id


def test_hessian_is_seen():
    """The reverse-mode half of a Hessian is a row."""
    report = checked(jax.hessian(lambda x: (x**3).sum()), X)
    assert [call.kind for call in report.calls] == ["jacrev"]


def test_shapes_of_a_rule_have_the_names_of_its_arguments():
    """Primals and gradients carry argument names, residuals their key paths and bytes."""
    (call,) = rows(checked(jax.grad(total), X), "custom_vjp")
    assert types(call.primals) == [("x", "float32[3]"), ("y", "float32[]")]
    assert types(call.fwd_outputs) == [("", "float32[3]")]
    assert types(call.residuals) == [("[0]", "float32[3]"), ("[1]", "float32[]")]
    assert [leaf.bytes for leaf in call.residuals] == [12, 4]
    assert call.residual_bytes == 16
    assert types(call.cotangents_in) == [("", "float32[3]")]
    assert types(call.cotangents_out) == [("x", "float32[3]"), ("y", "float32[]")]
    assert call.status == "ok"


def test_residuals_of_a_vjp_are_what_its_pullback_keeps():
    """A kept argument has its name, a kept intermediate its number."""
    pullbacks = []
    report = checked(lambda: pullbacks.append(jax.vjp(lambda x, y: x * jnp.sin(y), X, X + 1)[1]))
    (call,) = report.calls
    assert sorted(leaf.type for leaf in call.residuals) == ["float32[3]"] * 3
    is_named = hasattr(pullbacks[0], "args_res")  # JAX 0.8 up to 0.8.2 has a Partial
    assert sum(leaf.path in ("x", "y") for leaf in call.residuals) == (1 if is_named else 0)


def test_the_line_is_the_users_and_not_a_librarys():
    """The call of scale stands in `total`, the call of grad here."""
    report = checked(lambda: jax.grad(total)(X))
    assert rows(report, "custom_vjp")[0].line == total.__code__.co_firstlineno + 1
    assert rows(report, "grad")[0].line == test_the_line_is_the_users_and_not_a_librarys.__code__.co_firstlineno + 2
    assert {call.source for call in report.calls} == {""}


def test_a_call_made_by_a_library_has_the_line_that_called_the_library():
    """jax.nn.relu is a library's rule-carrying function; the line is ours."""
    report = checked(lambda: jax.grad(lambda x: jax.scipy.special.logsumexp(scale(x, 2.0)))(X))
    assert rows(report, "custom_vjp")[0].line == rows(report, "grad")[0].line


def test_functions_that_jit_compiled_before_are_seen_again():
    """Both orders of jit and grad, compiled outside of the check."""
    jit_of_grad, grad_of_jit = jax.jit(jax.grad(total)), jax.grad(jax.jit(total))
    jit_of_grad(X)
    grad_of_jit(X)
    for function in (jit_of_grad, grad_of_jit):
        (call,) = rows(checked(function, X), "custom_vjp")
        assert call.cotangents_out is not None


def test_without_retracing_compiled_calls_stay_hidden_and_caches_stay_valid():
    """retrace=False leaves JAX's caches alone, and sees less."""
    traces = []
    compiled = jax.jit(lambda x: traces.append(1) or jax.grad(total)(x))
    compiled(X)
    before = len(traces)
    with vjpcheck(retrace=False) as report:
        compiled(X)
    assert len(traces) == before
    assert report.calls == ()


def test_mapped_axes_are_sizes_and_types_are_per_example():
    """Nested vmap: outermost first."""
    function = jax.vmap(jax.vmap(scale, (0, None)), (None, 0))
    (call,) = rows(checked(jax.grad(lambda x: function(x, jnp.arange(2.0)).sum()), X), "custom_vjp")
    assert call.vmap == (2, 3)
    assert types(call.primals) == [("x", "float32[]"), ("y", "float32[]")]


def test_a_call_that_vmap_does_not_map_has_no_mapped_axis():
    """An unmapped call in a mapped function runs once."""
    report = checked(jax.vmap(lambda x: x + scale(1.0, 2.0)), X)
    assert [call.vmap for call in report.calls] == [()]


def test_vmap_around_jit_is_known():
    """The tracers below jit do not show the mapping; the row does."""
    (call,) = rows(checked(jax.vmap(jax.jit(jax.grad(lambda x: scale(x, 2.0)))), X), "custom_vjp")
    assert call.vmap == (3,)


def looped(x):
    return jax.lax.scan(lambda c, _: (scale(c, 1.5), None), x, None, length=4)[0].sum()


def branched(x):
    return jax.lax.cond(x[0] < 3, lambda x: scale(x, 2.0).sum(), lambda x: x.sum(), x)


def rematerialised(x):
    return jax.checkpoint(lambda x: scale(jnp.sin(x), 2.0).sum())(x)


@pytest.mark.parametrize("function", [looped, branched, rematerialised, jax.jit(total)])
def test_calls_inside_control_flow_and_remat_are_complete(function):
    """Forward and backward rule of a call in scan, cond, remat and jit."""
    calls = [call for call in rows(checked(jax.grad(function), X), "custom_vjp") if call.cotangents_out is not None]
    assert len(calls) == 1
    assert types(calls[0].cotangents_out) == [("x", "float32[3]"), ("y", "float32[]")]


def test_a_call_in_a_while_loop_is_seen():
    """A while loop has no reverse mode, but its calls are calls."""
    report = checked(lambda: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, scale(c[1], 2.0)), (0, X)))
    assert [call.function for call in report.calls] == ["scale"]


def test_shard_map_shows_the_shards():
    """Inside shard_map the types are those of one shard."""
    mesh = jax.make_mesh((1,), ("i",), axis_types=(AxisType.Auto,))

    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    mapped = jax.shard_map(double, mesh=mesh, in_specs=P("i"), out_specs=P("i"))
    (call,) = rows(checked(jax.grad(lambda x: mapped(x).sum()), X), "custom_vjp")
    assert call.cotangents_out[0].type.startswith("float32[3]")


def test_custom_gradient_has_the_users_name_and_arguments():
    """What JAX wraps around the user's function is not shown."""

    @jax.custom_gradient
    def square(x):
        return x**2, lambda g: (2 * g * x,)

    report = checked(jax.grad(square), 3.0)
    assert [(call.kind, call.function) for call in report.calls] == [("grad", "square"), ("custom_vjp", "square")]
    assert types(report.calls[1].primals) == [("x", "float32[]")]


def test_equal_calls_are_one_row_with_a_count():
    """Ten rounds of a loop are two rows."""
    report = checked(lambda: [jax.grad(total)(X) for _ in range(10)])
    assert [(call.kind, call.count) for call in report.calls] == [("grad", 10), ("custom_vjp", 10)]


def test_calls_that_differ_in_shape_are_rows_of_their_own():
    """Another shape is another row."""
    report = checked(lambda: [jax.grad(total)(jnp.ones(n)) for n in (2, 3, 2)])
    assert [(call.count, call.primals[0].type) for call in rows(report, "grad")] == [
        (2, "float32[2]"),
        (1, "float32[3]"),
    ]


def test_a_backward_pass_that_never_ran_is_told():
    """The status says which half is missing."""
    report = checked(lambda: jax.vjp(total, X))
    assert [call.status for call in report.calls] == ["pullback not called", "bwd not run"]
    assert all(call.cotangents_out is None for call in report.calls)


def test_a_call_without_differentiation_has_only_an_output():
    """Nothing of a rule ran."""
    (call,) = checked(scale, X, 2.0).calls
    assert types(call.outputs) == [("", "float32[3]")]
    assert (call.fwd_outputs, call.residuals, call.status) == (None, None, "ok")


def test_a_pullback_that_passes_through_jit_is_still_the_same_call():
    """JAX rebuilds the VJP object there."""
    report = checked(lambda: jax.jit(lambda pullback, ct: pullback(ct))(jax.vjp(total, X)[1], 1.0))
    assert rows(report, "vjp")[0].status == "ok"


def test_keyword_and_default_arguments_are_arguments():
    """Both have names and types, as JAX resolves them."""

    @jax.custom_vjp
    def f(x, eps=1e-6):
        return x + eps

    f.defvjp(lambda x, eps: (x + eps, None), lambda _, g: (g, None))
    for call in (lambda x: f(x), lambda x: f(x, eps=2.0)):
        (row,) = rows(checked(jax.grad(call), 1.0), "custom_vjp")
        assert types(row.primals) == [("x", "float32[]"), ("eps", "float32[]")]
        assert types(row.cotangents_out) == [("x", "float32[]"), ("eps", "None")]
        assert row.primals[1].note == "Python float"


def test_nondiff_arguments_are_shown_as_such():
    """A function in nondiff_argnums is named, and is no primal."""

    @partial(jax.custom_vjp, nondiff_argnums=(0, 2))
    def apply(f, x, mode):
        return f(x)

    apply.defvjp(lambda f, x, mode: (f(x), x), lambda f, mode, x, g: (g * jnp.cos(x),))
    (row,) = rows(checked(jax.grad(lambda x: apply(jnp.sin, x, "fast")), 1.0), "custom_vjp")
    assert types(row.nondiff) == [("f", "function sin"), ("mode", "str")]
    assert types(row.primals) == [("x", "float32[]")]


def test_symbolic_zeros_are_shown():
    """Both what fwd is told of its arguments and what bwd gets for an unused output."""

    @jax.custom_vjp
    def both(x, y):
        return jnp.sin(x), jnp.cos(y)

    def fwd(x, y):
        return (jnp.sin(x.value), jnp.cos(y.value)), x.value

    both.defvjp(fwd, lambda x, g: (g[0] * jnp.cos(x), None), symbolic_zeros=True)
    (row,) = rows(checked(jax.grad(lambda x: both(x, 1.0)[0]), 1.0), "custom_vjp")
    assert [leaf.note for leaf in row.cotangents_in] == ["weak type", "symbolic zero"]


class Point(NamedTuple):
    """A named tuple, which JAX knows as a pytree."""

    x: object
    y: object


@jax.tree_util.register_pytree_with_keys_class
class Box:
    """A pytree node of a user's own, with static data that has no hash."""

    def __init__(self, value, label):
        self.value, self.label = value, label

    def tree_flatten_with_keys(self):
        return ((jax.tree_util.GetAttrKey("value"), self.value),), self.label

    @classmethod
    def tree_unflatten(cls, label, children):
        return cls(children[0], label)


def test_pytrees_of_every_sort_have_key_paths():
    """Dictionaries, named tuples, own nodes, empty containers and None."""

    @jax.custom_vjp
    def f(tree):
        return tree["point"].x * tree["box"].value

    def fwd(tree):
        return f(tree), tree

    def bwd(tree, g):
        return ({**tree, "point": Point(g * tree["box"].value, None), "box": Box(g * tree["point"].x, ["a"])},)

    f.defvjp(fwd, bwd)
    tree = {"point": Point(1.0, 2.0), "box": Box(3.0, ["a"]), "empty": [], "nothing": None}
    (row,) = [row for row in rows(checked(jax.grad(f), tree), "custom_vjp") if row.cotangents_out]
    assert [leaf.path for leaf in row.primals] == ["tree['box'].value", "tree['point'].x", "tree['point'].y"]
    assert "tree['point'].y" in [leaf.path for leaf in row.cotangents_out if leaf.type == "None"]


def test_a_rule_without_arrays_is_shown_with_nothing_in_it():
    """No leaves is another thing than not run."""
    report = checked(lambda: jax.vjp(lambda d: 1.0, {})[1](1.0))
    assert report.calls[0].primals == ()
    assert report.calls[0].cotangents_out == ()


def test_integer_primals_have_float0_gradients():
    """As JAX gives them."""
    (call,) = checked(lambda: jax.vjp(lambda n, x: n * x, jnp.arange(3), X)[1](X)).calls
    assert types(call.cotangents_out) == [("n", "float0[3]"), ("x", "float32[3]")]


def test_weak_types_and_numpy_values_are_shown():
    """A note tells a Python scalar and a weak type; a NumPy array is a plain array."""
    (call,) = checked(
        lambda: jax.vjp(lambda a, b, c: a * b * c, 1.0, np.float32(2), jnp.asarray(3.0) * 1)[1](1.0)
    ).calls
    assert [leaf.type for leaf in call.primals] == ["float32[]"] * 3
    assert call.primals[0].note == "Python float"


def test_aux_is_not_an_output():
    """has_aux=True: the second value is no output of the differentiated function."""
    report = checked(jax.value_and_grad(lambda x: (total(x), {"kept": x}), has_aux=True), X)
    assert types(rows(report, "value_and_grad")[0].outputs) == [("", "float32[]")]


def test_deep_recursion_is_a_few_rows():
    """A rule that calls the gradient of its own function, until Python has enough."""

    @jax.custom_vjp
    def f(x):
        return x

    f.defvjp(lambda x: (jax.grad(f)(x), None), lambda _, g: (g,))
    with pytest.raises(RecursionError), vjpcheck() as report:
        jax.grad(f)(1.0)
    assert len(report.calls) < 12
    assert sum(call.count for call in report.calls) > 30
