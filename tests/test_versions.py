"""What of JAX the check rests on, by name: a JAX in which one has moved fails here, and says which."""

from __future__ import annotations

import inspect
import re

import jax
import jax.numpy as jnp
import pytest

from jaxvjp_magic import versions, vjpcheck
from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.jax_compat import internals, patch_points

VERSION = jax.__version_info__[:2]
api, batching = internals.api, internals.batching
CASE = jnp.sin


def signature(function):
    return list(inspect.signature(function).parameters)


def inside(function):
    """The parameters of what stands inside an `api_boundary`."""
    return signature(inspect.unwrap(function))


def forgotten(function):
    """How many calls jit's fast path knows of a function that was called once, and how many when it has forgotten."""
    function(1.0)
    before = function._cache_size()
    internals.forget_the_fast_path()
    return before, function._cache_size()


def tracers_of(transform, *arguments):
    """The tracer that a function is given."""
    seen = []
    transform(lambda x: (seen.append(x), x * 2)[1])(*arguments)
    return seen[0]


def linearize_tracer():
    seen = []
    jax.vjp(lambda x: (seen.append(x), x * 2)[1], 1.0)
    return seen[0]


ITEMS = {
    "jax._src.api.vjp is an api_boundary around its function": lambda: patch_points.vjp(),
    "jax._src.custom_derivatives.custom_vjp.__call__ is an api_boundary": lambda: patch_points.custom_vjp(),
    "jax._src.api.VJP.__call__ takes the cotangent second": lambda: (
        signature(api.VJP.__call__)[:2] == ["self", "out_ct"]
    ),
    "jax.vjp takes a function and primals": lambda: inside(jax.vjp)[:2] == ["fun", "primals"],
    "custom_vjp.__call__ takes the arguments of the function": lambda: (
        inside(jax.custom_vjp.__call__) == ["self", "args", "kwargs"]
    ),
    "a custom_vjp object has fun, fwd, bwd, nondiff_argnums, symbolic_zeros": lambda: (
        {"fun", "fwd", "bwd", "nondiff_argnums", "symbolic_zeros"} <= vars(jax.custom_vjp(CASE)).keys()
    ),
    "jax._src.custom_derivatives.CustomVJPPrimal": lambda: internals.CustomVJPPrimal(1.0, perturbed=True).perturbed,
    "jax._src.array.ArrayImpl is the type of arrays": lambda: isinstance(jnp.ones(2), internals.ArrayImpl),
    "jax.custom_derivatives.SymbolicZero": lambda: jax.custom_derivatives.SymbolicZero,
    "jit's fast path, which can be told to forget": lambda: forgotten(jax.jit(lambda x: x)) == (1, 0),
    "caches of traces, by the function, and how often each missed": lambda: all(
        cache.misses(CASE) is not None for cache in patch_points.trace_caches()
    ),
    "what jit traces, loops trace, checkpoint traces": lambda: len(list(patch_points.trace_caches())) == 3,
    "jax._src.pjit._pjit_lower and its keys": lambda: [
        reference for slot in patch_points.lowerings() for reference in internals.lowered_jaxprs(slot.original)
    ],
    "how a loop outside of jit runs": lambda: all(callable(slot.original) for slot in patch_points.loops()),
    "jax._src.core.trace_ctx.trace": lambda: internals.core.trace_ctx.trace is not None,
    "BatchTrace.axis_data.size and parent_trace": lambda: (
        (trace := tracers_of(jax.vmap, jnp.ones(3))._trace).axis_data.size == 3 and hasattr(trace, "parent_trace")
    ),
    "BatchTracer.val and batch_dim": lambda: (
        (one := tracers_of(jax.vmap, jnp.ones(3))).batch_dim == 0 and one.val.shape == (3,)
    ),
    "LinearizeTracer or JVPTracer with primal and tangent": lambda: (
        (one := linearize_tracer()).primal == 1.0 and hasattr(one, "tangent")
    ),
    "DynamicJaxprTrace below jit": lambda: isinstance(tracers_of(jax.jit, 1.0)._trace, internals.pe.DynamicJaxprTrace),
    "jax._src.interpreters.partial_eval.dce_jaxpr": lambda: (
        internals.used_arguments(lambda x, y: x, [1.0, 2.0], None) == [True, False]
    ),
    "jax._src.source_info_util.user_frames": lambda: callable(internals.source_info_util.user_frames),
    "register_exclusion of traceback_util and source_info_util": lambda: (
        callable(internals.traceback_util.register_exclusion)
        and callable(internals.source_info_util.register_exclusion)
    ),
    "jax._src.config.traceback_filtering": lambda: hasattr(internals._module("config"), "traceback_filtering"),
    "what calls jax.vjp is known": lambda: (
        [call.kind for call in report_of(lambda: jax.jacrev(jnp.sin)(1.0)).calls] == ["jacrev"]
    ),
}
if VERSION >= (0, 9):
    ITEMS["a VJP object has args_res, opaque_residuals and fun"] = lambda: all(
        hasattr(jax.vjp(jnp.sin, 1.0)[1], name) for name in ("args_res", "opaque_residuals", "fun")
    )
if VERSION >= (0, 10):
    ITEMS["grad's selection of arguments is seen through"] = lambda: any(
        call.primals[0].path == "y" and len(call.primals) == 1
        for call in report_of(lambda: jax.grad(lambda x, y: x * y, argnums=1)(1.0, 2.0)).calls
    )


def report_of(program):
    with vjpcheck(retrace=False) as report:
        program()
    return report


@pytest.mark.parametrize("item", ITEMS)
def test_what_the_check_rests_on_is_there(item):
    """With its shape: the name of this test says what has moved, and the message in which JAX."""
    try:
        found = ITEMS[item]()
    except Exception as error:  # noqa: BLE001 (each is a way to have moved)
        pytest.fail(f"moved in JAX {jax.__version__}: {item}: {type(error).__name__}: {error}")
    assert found is not False, f"moved in JAX {jax.__version__}: {item}"


class Without:
    """A module of JAX in which something is not there any more."""

    def __init__(self, module, *names):
        self.__dict__["_module"], self.__dict__["_names"] = module, names

    def __getattr__(self, name):  # noqa: D105 (the class says it)
        if name in self._names:
            message = f"JAX has no {name}"
            raise AttributeError(message)
        return getattr(self._module, name)

    def __setattr__(self, name, value):  # noqa: D105 (as above)
        setattr(self._module, name, value)


CUSTOM = ("custom_vjp", "ok")
MOVED = [  # where, what, the calls that are still seen, and what is said
    ("api", ("vjp", "_vjp"), [CUSTOM], "uses of jax.vjp, grad and the like: not available in this JAX version: "),
    ("batching", ("BatchTrace",), [("grad", "ok"), CUSTOM], "could not see the axes of vmap: AttributeError: "),
    ("core", ("trace_ctx",), [("grad", "ok"), CUSTOM], "could not see the axes of vmap: AttributeError: "),
    ("ad", ("JVPTracer",), [("grad", "ok"), CUSTOM], "could not see what is differentiated: AttributeError: "),
    # not register_exclusion alone: an earlier check may have called it, and it is called once
    ("traceback_util", ("_exclude_paths",), [("grad", "ok"), CUSTOM], "tracebacks without our frames: "),
]


@pytest.mark.parametrize(("module", "names", "seen", "said"), MOVED)
def test_where_a_part_of_jax_has_moved_the_other_parts_are_seen(monkeypatch, module, names, seen, said):
    """The program runs as ever; the first note says what is not seen, and why."""
    f = jax.custom_vjp(lambda x: x * x)
    f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    monkeypatch.setattr(internals, module, Without(getattr(internals, module), *names))
    with vjpcheck(retrace=False) as report:
        assert jax.grad(f)(3.0) == 6.0
    monkeypatch.undo()
    assert [(call.kind, call.status) for call in report.calls] == seen
    assert report.notes[0].startswith(said)
    assert report_of(lambda: jax.grad(f)(3.0)).notes == ()


def test_a_module_of_jax_that_is_gone_is_named_where_it_is_needed():
    """The import of our part does not fail; what rests on the module says so."""
    with pytest.raises(AttributeError, match=rf"^JAX {re.escape(jax.__version__)} has no jax\._src\.nowhere\.thing$"):
        internals._module("nowhere").thing  # noqa: B018 (to look is what fails)


def test_which_jax_is_known():
    """Older ones are left alone, newer ones are tried."""
    assert [versions.is_too_old(one) for one in ((0, 7, 2), (0, 8, 0), (0, 12, 9), (1, 0, 0))] == [
        True,
        False,
        False,
        False,
    ]
    assert [versions.is_untested(one) for one in ((0, 7, 2), (0, 8, 0), (0, 12, 9), (0, 13, 0), (1, 0))] == [
        False, False, False, True, True,
    ]  # fmt: skip
    assert not versions.is_too_old(jax.__version_info__)
    assert not versions.is_untested(jax.__version_info__)


def test_what_is_said_when_the_extension_is_loaded(monkeypatch):
    """Nothing on a JAX that is known; otherwise what works and what does not."""
    assert tracer.about_jax() == []
    monkeypatch.setattr(patch_points, "pullback", lambda: Without(api, "VJP").VJP)
    (line,) = tracer.about_jax()
    assert line.startswith("calls of pullbacks: not available in this JAX version: AttributeError: JAX has no VJP")
    monkeypatch.setattr(jax, "__version__", "0.13.1.dev2")
    newer, moved = tracer.about_jax()
    assert newer.startswith("JAX 0.13.1.dev2 is newer than the tested versions (0.8 to 0.12).")
    assert moved.startswith("calls of pullbacks:")
