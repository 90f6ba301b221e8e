"""Every function of the tracing is made to raise, one at a time: the program does not notice, and one note tells."""

from __future__ import annotations

import contextlib
import functools
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from faults import FAULT, broken, functions_in, reaching

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.tracing import jax_internals

X = jnp.arange(3.0)
MODULES = (
    "tracing.hooks", "tracing.listener", "tracing.recorder", "tracing.looks", "tracing.names", "tracing.functions",
    "tracing.helpers", "tracing.array_types", "tracing.frames", "tracing.purity", "tracing.probes", "tracing.verify",
    "tracing.nan", "tracing.precision", "tracing.closeness", "tracing.values", "tracing.retrace", "tracing.tracer",
    "tracing.namespace", "tracing.snapshot", "tracing.jax_internals", "tracing.twins", "tracing.quiet",
    "tracing.compilation", "tracing.calls", "tracing.watched", "tracing.wrappers", "tracing.slots",
)  # fmt: skip
NOT_BROKEN = {
    "the guard itself": {
        "hooks.Hooks.fault", "hooks._said", "hooks._Stay.current", "watched.tell",
        "recorder.Recorder.noting", "recorder._Noting.__init__", "recorder._Noting.__enter__",
        "recorder._Noting.__exit__", "listener.Listener._unseen", "recorder.Recorder.note",
        "recorder.Recorder.could_not", "recorder._first_line", "tracer.Tracer._could_not",
        "listener.Listener._could_not",
    },
    "a hook, or what stands for a rule: it is the program's own call that fails": {
        "watched._Watched.__call__", "watched._Watched.__getattr__", "watched._Watched.__repr__",
        "watched._Watched.__doc__",
    },
    "called by Python when a pullback is gone, and takes one entry out of a dictionary": {"calls.forget"},
    "takes our frames off tracebacks, which are longer without it": {"frames.drop_own_frames"},
    "tells our faults from what the program cannot do": {
        "frames.is_own_fault", "frames.Elsewhere.__enter__", "frames.Elsewhere.__exit__",
    },
    "what puts JAX back, which nothing else can": {
        "hooks.Hooks.forget", "hooks.Hooks._restore", "slots.Slot.restore",
        "tracer.Tracer.abandon",
    },
    "runs once in a process, or at its import": {
        "hooks.Hooks.__init__", "hooks._Stay.__init__", "tracer._hooks", "tracer._the_hooks", "retrace._Here.__init__",
        "jax_internals._Gone.__init__", "jax_internals._Gone.__getattr__", "jax_internals._module",
        "jax_internals._inside_boundary",
    },
    "counts who is inside a cache of JAX's, under a lock": {
        "retrace._Inside.__enter__", "retrace._Inside.__exit__", "retrace._Inside.__init__", "retrace._Inside.alone",
    },
    "asked where there are several checks": {"recorder.Recorder.listening", "hooks.Hooks.current"},
    "where there are hundreds of pullbacks": {"listener.Listener._forget_the_dead"},
    "of %vjpcheck cache, or where compiling takes long": {"compilation.keep_in", "compilation.kept_in"},
    "JAX calls it, and it adds two numbers": {"compilation.Compilation._listen"},
    "keeps a stream open for other threads": {"quiet._OfOthers.__getattr__", "quiet._OfOthers.writelines"},
    "no part of a check's run: when the extension is loaded, or while a cell runs": {
        "tracer.about_jax", "hooks.not_seen", "tracer.Tracer.so_far",
    },
}  # fmt: skip
if jax.__version_info__ >= (0, 9):
    NOT_BROKEN["for JAX 0.8"] = {"hooks.partial_pullback_hook"}
if hasattr(jax_internals.api, "_vjp"):
    NOT_BROKEN["for JAX 0.10 and later"] = {"wrappers._selection", "wrappers._is_custom_gradient"}


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
    print("traced")  # noqa: T201 (once)
    scale = np.float32(2)
    return jax.pure_callback(lambda x: scale * x, x, x, vmap_method="sequential") + right_rule(x)


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


PROGRAMS = [
    traced_before, into_refs, changed_since,
    right, wrong, raising, raising_pullback, no_pair, closes_over, method, symbolic_zeros, mapped, shared, partials,
    overwritten, overwritten_helper, changed_global, late_bound, edited, another_shape,
]  # fmt: skip


# With --verify


def wrong_sign():
    f = rule(lambda x: (jnp.sin(x), x), lambda x, g: (-g * jnp.cos(x),), jnp.sin)
    return jax.grad(lambda x: f(x).sum())(X)


def swapped():
    f = rule(lambda x, y: (x * y, (x, y)), lambda r, g: (r[0] * g, r[1] * g), lambda x, y: x * y)
    return jax.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(X, X + 1)


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


VERIFIED = [wrong_sign, swapped, clipped, unused_cotangent, not_a_number, mapped_wrong_sign, without_autodiff]
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


def to_break():
    """For each function the programs to break it in: the first that runs it, and those that raise, if they do."""

    def run(program):
        return outcome(program, **options_of(program))[1]

    for program in PROGRAMS:
        run(program)
    wanted = {name: FUNCTIONS[name] for name in BROKEN}
    found = reaching(wanted, PROGRAMS, run, lambda program: bool(run(program).notes))
    return {name: [some[0], *(one for one in some[1:] if one in (wrong, raising))] for name, some in found.items()}


@pytest.fixture(scope="module")
def programs():
    """What `to_break` finds, and what each program does when it is not checked."""
    return to_break(), {program: outcome(program)[0] for program in PROGRAMS}


FUNCTIONS = functions_in(*MODULES)
BROKEN = [name for name in FUNCTIONS if not any(name.removeprefix("tracing.") in some for some in NOT_BROKEN.values())]


def test_every_function_is_broken_below_or_said_why_not(programs):
    """A new function needs a program that reaches it, or a reason."""
    named = {f"tracing.{name}" for some in NOT_BROKEN.values() for name in some}
    assert named <= FUNCTIONS.keys()
    assert FUNCTIONS.keys() - programs[0].keys() <= named


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_one_note_and_nothing_else(programs, name, capsys):
    """Value, exception, traceback and output are the program's own, JAX is as before, and the next check is clean."""
    found, plain = programs
    before = standing()
    for program in found[name]:
        with broken(FUNCTIONS[name]):
            got, report = outcome(program, **options_of(program))
        assert got == plain[program]
        assert standing() == before
        assert [FAULT in note for note in report.notes] == [True]
    said = capsys.readouterr()
    assert (said.out.replace("said\n", ""), said.err) == ("", "")
    got, report = outcome(right, verify=False)
    assert got == plain[right]
    assert report.notes == ()
    assert len(report.calls) == 2


def standing():
    """What stands in JAX's places."""
    slots = (
        jax_internals.custom_vjp_slot(), jax_internals.vjp_slot(), jax_internals.pullback_slot(),
        jax_internals.partial_pullback_slot(),
    )  # fmt: skip
    return [slot and slot.original for slot in slots]
