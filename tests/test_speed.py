"""What makes a check cheap, without a clock: equal calls are known again, and nothing that matters is missed by it."""

from __future__ import annotations

import functools
import inspect
import itertools
import random

import jax
import jax.numpy as jnp
import pytest
from programs import check_program
from test_tracing import X

from jaxvjp_magic import Finding, Severity, vjpcheck
from jaxvjp_magic.checks.engine import MOST_ALIKE, Causes, explains
from jaxvjp_magic.checks.view import Found, RecordView
from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.instrument.wrapped_rules import watch
from jaxvjp_magic.introspect import stack
from jaxvjp_magic.introspect.avals import MOST_KNOWN, Types
from jaxvjp_magic.record.calls import CallFact, Function
from jaxvjp_magic.record.record import Record
from jaxvjp_magic.recording.collector import Collector
from jaxvjp_magic.recording.recorder import MANY, Recorder


@pytest.mark.parametrize(
    "fwd",
    ["def fwd(x):\n    return f(x), x", "def helper(x):\n    return f(x)\nfwd = lambda x: (helper(x), x)"],
    ids=["in the rule", "in a helper that the rule calls"],
)
def test_a_name_overwritten_between_equal_calls_is_seen(fwd):
    """The fwd rule ran before, with the same types; the name means the mapped function from the second call on."""
    report = check_program(
        f"""
@jax.custom_vjp
def f(x):
    return jnp.dot(x, x)
{fwd}
f.defvjp(fwd, lambda x, g: (2 * g * x,))
first = f
for name in ("kept", "overwritten"):
    jax.vjp(first, jnp.ones(3))
    f = jax.vmap(first)
"""
    )
    assert "NAM201" in {finding.code for finding in report.findings}


def test_a_tracer_left_by_a_later_equal_call_is_seen():
    """The first call puts nothing into the dictionary, an equal one later does."""
    report = check_program(
        """
kept, calls = {}, []
@jax.custom_vjp
def f(x):
    return jnp.sin(x)
def fwd(x):
    calls.append(1)
    if len(calls) == 3:
        kept["x"] = x
    return f(x), x
f.defvjp(fwd, lambda x, g: (g * jnp.cos(x),))
for _ in range(4):
    jax.make_jaxpr(jax.grad(f))(1.0)
"""
    )
    assert "NAM205" in {finding.code for finding in report.findings}


@pytest.fixture
def looks(monkeypatch):
    """The phases of the rules whose names are looked up, one for each look."""
    found = []
    original = Recorder.__init__

    def counting(self, *args, **kwargs):
        original(self, *args, **kwargs)
        look = self.names._look_at_rule
        self.names._look_at_rule = lambda *given: (found.append(given[2]), look(*given))

    monkeypatch.setattr(Recorder, "__init__", counting)
    return found


def test_equal_calls_are_looked_at_once(looks):
    """A rule's names are looked up once for each rule, however often it runs."""
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * jnp.cos(x),))
    with vjpcheck() as report:
        for _ in range(20):
            jax.grad(f)(1.0)
    assert sorted(looks) == ["bwd", "fwd", "primal"]
    assert [call.count for call in report.calls] == [20, 20, 20]


class Layer:
    """A class with a function and with data."""

    scale = 1.0
    sine = staticmethod(lambda x: jnp.sin(x))


def test_rules_that_read_data_and_functions_of_objects_are_looked_at_once(looks):
    """The data are others in each call, as in training; the functions stay."""
    parameters = {"scale": jnp.ones(3)}
    f = jax.custom_vjp(lambda x: Layer.sine(x) * parameters["scale"] * Layer.scale)
    f.defvjp(
        lambda x: (Layer.sine(x) * parameters["scale"] * Layer.scale, x),
        lambda x, g: (g * jnp.cos(x) * parameters["scale"] * Layer.scale,),
    )
    with vjpcheck():
        for step in range(20):
            parameters["scale"], Layer.scale = jnp.ones(3) * step, float(step)
            jax.grad(lambda x: f(x).sum())(X)
    assert sorted(looks) == ["bwd", "fwd"]


def test_equal_calls_make_no_new_states():
    """What is recorded of a hundred calls is as much as of ten."""
    sizes = []
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (f(x), x), lambda x, g: (g * jnp.cos(x),))
    for count in (10, 100):
        with vjpcheck():
            recorder = _recorder()
            for _ in range(count):
                jax.grad(f)(1.0)
            sizes.append((_states(recorder.collector), len(recorder.collector.types._of_avals)))
    assert sizes[0] == sizes[1]


@pytest.mark.usefixtures("all_is_pure")
def test_a_nested_function_is_not_traced_again_in_each_look_at_those_around_it():
    """Once by the program, once in the look at the function around it, and once for all others."""

    def runs(depth):
        count = itertools.count()
        tick = count.__next__

        def innermost(x):
            tick()
            return jnp.sin(x)

        function = functools.reduce(lambda inner, _: _around(inner), range(depth), innermost)
        with vjpcheck() as report:
            jax.eval_shape(jax.grad(function), jax.ShapeDtypeStruct((), jnp.float32))
        assert len(report.calls) == 2 * depth + 1
        assert report.findings == ()
        return next(count)

    assert runs(2) == runs(12) == 3


def test_what_a_nested_function_returned_before_is_not_taken_for_what_it_returns_now():
    """Two looks in one check, between which a helper was written anew, and the rules with it."""
    report = check_program(
        """
def helper(x):
    return jnp.sin(x)
@jax.custom_vjp
def inner(x):
    return helper(x)
inner.defvjp(lambda x: (helper(x), x), lambda x, g: (g * jnp.cos(x),))
@jax.custom_vjp
def outer(x):
    return inner(x)
outer.defvjp(lambda x: jax.vjp(inner, x), lambda pullback, g: pullback(g))
jax.vjp(outer, jnp.ones(3))[1](jnp.ones(3))
def helper(x):
    return jnp.sum(jnp.sin(x))
jax.vjp(outer, jnp.ones(3))[1](jnp.ones(()))
"""
    )
    assert [finding.code for finding in report.findings] == []
    assert len({str(call.fwd_outputs) for call in report.calls if call.fwd_outputs and call.function == "outer"}) == 2


def test_residuals_with_a_pullback_in_them_are_one_row():
    """The pullback of each call has a jaxpr of its own, which no report shows: the calls are equal."""
    f = jax.custom_vjp(lambda x: jnp.sin(x) * 2)
    f.defvjp(lambda x: jax.vjp(jnp.sin, x), lambda pullback, g: pullback(2 * g))
    with vjpcheck() as report:
        for _ in range(12):
            jax.grad(f)(1.0)
    assert {call.count for call in report.calls} == {12}


def test_known_types_are_bounded():
    """More than a few thousand kinds of pytrees are not kept for a quick look; each is described all the same."""
    types = Types()
    for number in range(MOST_KNOWN + 10):
        assert [leaf.path for leaf in types.tree({f"w{number}": X}).leaves] == [f"['w{number}']"]
    assert len(types._of_avals) <= MOST_KNOWN
    assert len(types._trees) <= MOST_KNOWN


def test_of_many_pullbacks_only_those_that_live_are_known():
    """A first one is called after thousands came and went; an object in a dead one's place is not taken for it."""
    with vjpcheck() as report:
        _, first = jax.vjp(jnp.sin, 1.0)
        (recorder,) = tracer._hooks()._recorders.values()
        for _ in range(3 * MANY):
            jax.vjp(jnp.cos, 1.0)
        assert len(recorder._pullbacks) <= MANY
        first(1.0)
        key = min(key for key, pending in recorder._pullbacks.items() if pending() is None)
        assert recorder.pullback_of(lambda: key, ()) is None
    assert [(call.function, call.count, call.status) for call in report.calls] == [
        ("sin", 1, "ok"), ("cos", 3 * MANY, "pullback not called"),
    ]  # fmt: skip


def test_a_watched_rule_is_like_the_rule():
    """Signature, name, module, text, attributes and what lies below the wrapper are the rule's."""

    def rule(x, y=2):
        """Says so."""
        return x * y

    rule.mark = "kept"
    f = jax.custom_vjp(rule)
    f.defvjp(lambda x, y: (f(x, y), x), lambda x, g: (g, None))
    recorder = Recorder(Collector())
    call = recorder.start_custom(f, (X, 2), {}, stack.caller(0))
    watched = watch(rule, "primal", recorder, call)
    assert inspect.signature(watched) == inspect.signature(rule)
    assert inspect.unwrap(watched) is rule
    assert (watched.__name__, watched.mark, watched.__doc__) == (rule.__name__, "kept", rule.__doc__)
    assert repr(watched) == repr(rule)
    with pytest.raises(AttributeError):
        _ = watched.missing


def test_the_same_said_of_very_many_shapes_is_said_a_few_times():
    """A rule that is wrong for sixty shapes has at most twenty findings of one code, with all the calls."""
    f = jax.custom_vjp(lambda x: jnp.sum(x))
    f.defvjp(lambda x: (x, x), lambda x, g: (g * x,))
    with vjpcheck() as report:
        for size in range(2, 62):
            jax.eval_shape(lambda x: f(x), jax.ShapeDtypeStruct((size,), "float32"))
            jax.vjp(f, jnp.ones(size))
    found = [finding for finding in report.findings if finding.code == "VJP101"]
    assert len(found) == MOST_ALIKE
    assert len({call for finding in found for call in finding.calls}) == 60


def test_causes_say_what_explains_says():
    """Looked up or asked one by one, the same findings are explained: random calls inside each other."""
    choose = random.Random(0)  # noqa: S311 (the same calls each time)
    functions = [Function(name) for name in "abc"]
    for _ in range(50):
        calls = [
            CallFact("vjp", choose.choice(functions), None, id=number, parent=choose.randrange(number))
            for number in range(1, 9)
        ]
        views = [*RecordView(Record(calls=tuple(calls)), None).calls, None]
        codes = ("NAM201", "VJP101", "VJP104", "VJP111", "RES401")
        found = [
            Found(Finding(choose.choice(codes), choose.choice(list(Severity)), "t", "m"), choose.choice(views))
            for _ in range(10)
        ]
        causes = Causes(found)
        for effect in found:
            assert causes.explain(effect) == any(explains(other, effect) for other in found)


def _around(inner):
    @jax.custom_vjp
    def outer(x):
        return inner(x) * 1.5

    outer.defvjp(lambda x: jax.vjp(lambda x: inner(x) * 1.5, x), lambda pullback, g: pullback(g))
    return outer


def _recorder():
    from jaxvjp_magic.instrument.tracer import _hooks

    return list(_hooks()._recorders.values())[-1]


def _states(collector):
    waiting, count = list(collector._tops.values()), 0
    for origin in waiting:
        waiting.extend(origin.children.values())
        states = [origin.root]
        for state in states:
            states.extend(state.later.values())
        count += len(states) + len(origin.calls) + sum(len(state.steps) for state in states)
    return count + len(list(itertools.chain(collector._calls)))
