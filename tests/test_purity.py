"""Purity is proved from what code does, and what is not known has a reason with a line."""

from __future__ import annotations

import dataclasses
import dis
import functools
import gc
import itertools
import logging
import random
import sys
import types
import typing
import warnings
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxvjp_magic.introspect.purity import bytecode, judged, judging
from jaxvjp_magic.introspect.purity.abstract_values import ANY_DATA, Concrete, Heap, NotKnownError, singleton

X = jnp.arange(3.0)
log: list[int] = []
count = itertools.count()
generator = np.random.default_rng(0)
array = np.zeros(3)
total = 0


@functools.lru_cache
def table(n):
    return jnp.arange(n)


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))


@jax.custom_vjp
def counting(x):
    return x**3


def counting_fwd(x):
    log.append(1)
    return x**3, x


counting.defvjp(counting_fwd, lambda x, g: (3 * x**2 * g,))


class Layer:
    """A model, as people write them without a library."""

    def __init__(self):
        self.weight, self.functions, self.calls = X, [jnp.sin, lambda y: y], 0

    @property
    def doubled(self):
        return self.weight * 2

    @functools.cached_property
    def grid(self):
        return jnp.ones(3)

    def __call__(self, x):
        for function in self.functions:
            x = function(x)
        return x * self.doubled

    def counts(self, x):
        self.calls += 1
        return x


class Inner(Layer):
    """One that calls its base."""

    def __init__(self):
        super().__init__()
        self.more = 1

    def __call__(self, x):
        return super().__call__(x) + self.more


@dataclasses.dataclass
class Scaled:
    """Made in a rule."""

    value: object
    by: float = 2.0

    def result(self):
        return self.value * self.by


class Pair(typing.NamedTuple):
    """As a dataclass, and a tuple."""

    first: object
    second: int = 1


layer, inner = Layer(), Inner()


def apply(function, x):
    return function(x) * 2


def builds(x):
    out = []
    for i in range(3):
        for value in {"a": 1, "b": x}.values():
            out.append(value * i)  # noqa: PERF401 (that is how it is written)
    known = dict(zip("ab", out, strict=False))
    try:
        first = known["a"]
    except KeyError as error:
        message = f"bad {error}"
        raise ValueError(message) from error
    finally:
        out.clear()
    with jax.named_scope("x"):
        return sum(out) + first if out else first


def fills_its_own_array(x):
    own = np.zeros(3)
    own[0] = 1
    own += 2
    return x * own


def counts_inside(x):
    n = 0

    def step():
        nonlocal n
        n += 1

    step()
    return x * n


def rule_made_inside(x):
    @jax.custom_vjp
    def double(y):
        return y * 2

    double.defvjp(lambda y: (y * 2, None), lambda _, g: (2 * g,))
    output, pullback = jax.vjp(double, x)
    return pullback(output)


def debug_prints(x):
    print("shape", x.shape)  # noqa: T201 (that is the point)
    return x


PURE = {
    "a function of jax.numpy": jnp.sin,
    "a helper that is given a function": lambda x: apply(jnp.tanh, x),
    "a helper that is given a lambda": lambda x: apply(lambda y: y + x, x),
    "scan": lambda x: lax.scan(lambda c, t: (c + t, c), 0.0, x)[0],
    "vmap": lambda x: jax.vmap(lambda t: t * 2)(x),
    "a vmapped gradient from outside": jax.vmap(jax.grad(lambda t: t**2)),
    "containers": builds,
    "a model": layer,
    "super": inner,
    "an object made inside": lambda x: Inner()(x),
    "a dataclass": lambda x: Scaled(x).result(),
    "a named tuple": lambda x: Pair(x).first + Pair(x, 2)[1],
    "its own array": fills_its_own_array,
    "rules": lambda x: jax.grad(lambda y: cube(y).sum())(x),
    "jit": jax.jit(lambda x: cube(x)),
    "its own counter": counts_inside,
    "a rule made inside": rule_made_inside,
    "random numbers of JAX": lambda x: x + jax.random.normal(jax.random.key(0), (3,)),
    "items set by at": lambda x: x.astype(jnp.float32).at[0].set(1.0),
    "a tree": lambda x: jax.tree.map(lambda a, b: a + b, {"a": x}, {"a": x}),
    "comprehensions": lambda x: {i: i * x for i in (1, 2)}[1] + sum(j for j in (1, 2)),
    "a print of its own": debug_prints,
}


def appends(x):
    log.append(1)
    return x


def writes_a_global(x):
    global total  # noqa: PLW0603 (that is the point)
    total += 1
    return x


def changes_an_array(x):
    own = np.asarray(array)[1:]
    own[0] = 1
    return x


def _counter():
    n = 0

    def step(x):
        nonlocal n
        n += 1
        return x

    return step


EFFECTS = {
    "append": (appends, "it calls append{at} on a list from outside"),
    "global": (writes_a_global, "it changes the global total{at}"),
    "outer variable": (_counter(), "it changes the outer variable n{at}"),
    "attribute": (layer.counts, "it sets the attribute calls{at}"),
    "lru_cache": (lambda x: x * table(3), "it calls table{at}, an lru_cache"),
    "cached property": (lambda x: x * layer.grid, "it fills the cached property grid{at}"),
    "iterator": (lambda x: x * next(count), "it advances an iterator{at}"),
    "iterator in zip": (lambda x: x * len([a for a, _ in zip(count, [1], strict=False)]), "it advances a count{at}"),
    "view of an array": (changes_an_array, "it changes an item{at} of something from outside"),
    "random": (lambda x: x * random.random(), "it calls Random.random{at}, which is not known to have no effects"),  # noqa: S311
    "generator": (lambda x: x * generator.normal(), None),
    "log": (lambda x: (logging.getLogger("a").info("x"), x)[1], None),
    "warning": (lambda x: (warnings.warn("x", stacklevel=1), x)[1], None),
    "print of a helper": (lambda x: debug_prints(x), "it prints{at}"),
    "input": (lambda x: (input(), x)[1], "it calls input{at}, which is not known to have no effects"),
    "exit": (lambda _: sys.exit(1), "it calls sys.exit{at}, which is not known to have no effects"),
    "a rule with an effect": (lambda x: counting(x), "it calls append{at} on a list from outside"),
    "a type of which JAX warns": (
        lambda x: x + jnp.zeros(3, dtype="float64"),
        "it calls zeros{at} with a 64-bit type, which JAX may warn about",
    ),
}


@pytest.mark.parametrize("function", PURE.values(), ids=PURE.keys())
def test_what_changes_nothing_is_pure(function):
    """Local containers, objects and counters may change; what is called is followed."""
    assert judged(function, [X]).why == ""


@pytest.mark.parametrize(("function", "why"), EFFECTS.values(), ids=EFFECTS.keys())
def test_an_effect_is_told_with_its_reason(function, why):
    """And with the line where it is."""
    verdict = judged(function, [X])
    assert not verdict.is_pure
    assert why is None or verdict.why == why
    assert verdict.place is not None


def test_the_line_is_that_of_the_effect():
    """In the user's code, however deep it is called."""
    verdict = judged(lambda x: jax.vmap(appends)(x), [X])
    assert verdict.place.filename == __file__
    assert verdict.place.line == appends.__code__.co_firstlineno + 1


def test_an_argument_may_be_a_function():
    """As in nondiff_argnums."""
    assert judged(apply, [jnp.sin, X]).is_pure
    assert not judged(apply, [appends, X]).is_pure


def _while(x):
    while X.sum() > 1:
        x = x * 1.01
    return x


def _until(x):
    while True:
        x = x * 1.01
        if X.sum() > 1:
            return x


def _turns(x, n=5000):
    for _ in range(n):
        if n == 1:
            continue
        x = x * 1.01
    return x


@pytest.mark.parametrize(
    ("function", "arguments", "is_long"),
    [
        (_turns, [X], True),
        (_turns, [X, 3], False),
        (_turns, [X, jnp.array(3)], True),  # nobody knows how many
        (lambda x: [y for y in range(5000)][0] * x, [X], True),  # noqa: C416, RUF015 (a loop is meant)
        (_while, [X], True),
        (_until, [X], True),
        (lambda x, y: x if x is None else y or x, [X, X], False),
    ],
)
def test_what_may_take_long_is_told(function, arguments, is_long):
    """A long loop is pure, and is not run beside the program; how long a `while` takes is never known."""
    verdict = judged(function, arguments)
    assert (verdict.why, verdict.is_long) == ("", is_long)


def test_a_rule_that_calls_its_function_is_no_loop():
    """As most fwd rules do."""

    @jax.custom_vjp
    def f(x):
        return jnp.sin(x)

    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * jnp.cos(x),))
    assert judged(f, [X]) == judged(f.fwd, [X]) == judged(jnp.sin, [X])


def test_what_a_name_means_now_counts():
    """A helper that is pure today may be another function tomorrow."""
    scope = {"helper": jnp.sin}
    function = types.FunctionType((lambda x: helper(x)).__code__, scope)  # noqa: F821 (bound in its own globals)
    assert judged(function, [X]).is_pure
    scope["helper"] = appends
    assert not judged(function, [X]).is_pure


# The machine --------------------------------------------------------------------------------------


class _Anything:
    """Answers whatever the machine asks."""

    heap = Heap()

    def __getattr__(self, name):
        special = {"unpacked": lambda *a: [ANY_DATA] * a[2], "enter": lambda *_: (ANY_DATA, ANY_DATA)}
        return special.get(name, (lambda *_: {True, False}) if name == "truth" else lambda *_, **__: ANY_DATA)


def _all_code(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all_code(constant)


def _left(code, instruction):
    """How many values an operation leaves beyond what it took: falling through, and jumping."""
    frame, jumped = bytecode.Frame(_Anything(), code, "test", None), []
    frame.instruction = instruction
    frame.state = bytecode.State([ANY_DATA] * 300, {})
    if instruction.opname == "CALL_KW":
        frame.state.stack[-1] = singleton(Concrete(()))
    frame._reach = lambda _, state: jumped.append(len(state.stack) - 300)
    frame._run(instruction)
    return len(frame.state.stack) - 300, jumped[0] if jumped else None


def test_each_operation_takes_and_leaves_what_cpython_does():
    """Over the functions of whole packages."""
    compared = 0
    for folder in (Path(jax.__file__).parent / "_src", Path(dis.__file__).parent):
        for file in sorted(folder.glob("*.py"))[:60]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                whole = compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)
            for code in itertools.islice(_all_code(whole), 1, None):
                if code.co_flags & 1:  # a function: CO_OPTIMIZED
                    compared += _compare(code)
    assert compared > 10_000


def _compare(code):
    compared = pending = 0
    for instruction in bytecode.taken_apart(code).instructions:
        if instruction.opname in ("CACHE", "EXTENDED_ARG", "RETURN_GENERATOR"):  # the last is told wrong by 3.11
            continue
        argument = instruction.arg if instruction.opcode >= dis.HAVE_ARGUMENT else None
        effect = dis.stack_effect(instruction.opcode, argument, jump=False)
        if instruction.opname == "PRECALL":  # 3.11 splits a call in two; here it is one
            pending = effect
            continue
        try:
            left, jumped = _left(code, instruction)
        except NotKnownError:
            continue
        if instruction.opname not in bytecode._JUMPS_ONLY:
            assert left == effect + pending, instruction
        pending, compared = 0, compared + 1
        if jumped is not None:
            assert jumped == dis.stack_effect(instruction.opcode, argument, jump=True), instruction
    return compared


# A verdict is kept as long as the names that it rests on mean the same ------------------------------------------


def program(source, **names):
    """What a program's text defines."""
    scope = {"jax": jax, "jnp": jnp, "log": [], **names}
    exec(compile(source, "<a cell>", "exec"), scope)  # noqa: S102 (our own text)
    return scope


@pytest.fixture
def followed(monkeypatch):
    """The names of the functions that were followed, instead of known."""
    names = []
    follow = judging._followed

    def noted(follower, function, given):
        names.append(function.__name__)
        return follow(follower, function, given)

    monkeypatch.setattr(judging, "_followed", noted)
    return names


def test_a_function_is_followed_once_as_long_as_its_names_mean_the_same(followed):
    """Also where a new one is made of the same code, and with other shapes; not with other arguments."""
    scope = program("""
def inner(x):
    return jnp.sin(x)
def make(n):
    def f(x, flag=None):
        return inner(x) * n
    return f
""")
    for n, x in ((2, X), (2, jnp.ones((2, 3))), (2, 1.0)):
        assert judged(scope["make"](n), [x]).is_pure
    assert followed == ["f"]
    judged(scope["make"](3), [X])
    judged(scope["make"](3), [X, True])
    judged(scope["make"](3), [(X, X)])
    judged(scope["make"](3))
    assert followed == ["f"] * 5


@pytest.mark.parametrize(
    "change",
    [
        "inner = lambda x: log.append(1)",
        "module.inner = lambda x: log.append(1)",
        "ruled.defvjp(lambda x: (log.append(1), x), lambda x, g: (g,))",
        "sin = log.append",
        "del inner",
        "print = log.append",
        "shared(lambda x: log.append(1))",
        "held.function = lambda x: log.append(1)",
        "table['f'] = lambda x: log.append(1)",
        "several[0] = lambda x: log.append(1)",
        "Kind.method = lambda self, x: log.append(1)",
        "Kind.__call__ = lambda self, x: log.append(1)",
    ],
)
def test_a_verdict_is_not_kept_when_a_name_means_something_else(change):
    """A global, a builtin, a variable that functions share, a rule; what objects hold is read each time."""
    scope = program(
        """
import types
module = types.ModuleType("module")
module.inner = lambda x: x
inner = lambda x: x
sin = jnp.sin
class Kind:
    def method(self, x):
        return x
    def __call__(self, x):
        return x
held = Kind()
held.function = lambda x: x
table = {"f": lambda x: x}
several = [lambda x: x]
@jax.custom_vjp
def ruled(x):
    return x
ruled.defvjp(lambda x: (x, x), lambda x, g: (g,))
def make():
    def change(function):
        nonlocal within
        within = function
    within = lambda x: x
    def f(x):
        def nested(x):
            return within(sin(inner(x)))
        print(x)
        x = held.function(held.method(held(module.inner(ruled(x)))))
        return table["f"](several[0](nested(x)))
    return f, change
f, shared = make()
"""
    )
    assert judged(scope["f"], [X]).is_pure
    exec(change, scope)  # noqa: S102 (as above)
    verdict = judged(scope["f"], [X])
    assert verdict.is_pure == (change == "del inner")  # a NameError has no effect


def test_a_function_at_the_address_of_one_that_is_gone_is_followed_anew():
    """CPython gives a freed object's memory to the next one."""
    scope = program("f = lambda x: inner(x)")
    for n in range(20):
        scope["inner"] = None
        scope["inner"] = program(f"f = lambda x: log.append({n})" if n % 2 else "f = lambda x: x")["f"]
        assert judged(scope["f"], [X]).is_pure == (n % 2 == 0)


def test_a_verdict_keeps_nothing_alive():
    """Neither the function, nor what it calls, nor an argument."""
    scope = program("def inner(x):\n return x\ndef f(g, x):\n return inner(x)")
    gone = [weakref.ref(scope[name]) for name in ("inner", "f")]
    judged(scope["f"], [scope["inner"], X])
    judged(scope["f"], [X, X])
    scope.clear()
    gc.collect()
    assert [one() for one in gone] == [None, None]


def test_types_of_64_bits_are_asked_for_again_when_jax_has_them():
    """JAX warns of them only where it does not have them."""
    f = program("f = lambda x: x.astype('float64')")["f"]
    assert not judged(f, [X]).is_pure
    with jax.enable_x64():
        assert judged(f, [X]).is_pure
    assert not judged(f, [X]).is_pure
