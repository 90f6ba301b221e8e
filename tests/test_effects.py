"""Each kind of effect in each kind of code that a check looks at: nobody can tell whether there was a check.

Output, state, exceptions and values are those of the plain program, and no
tracer is left that it does not leave itself. That the code was looked at, or is
said not to have been, is asked too: a check that sees nothing disturbs nothing.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import textwrap
import warnings
from typing import NamedTuple

import jax
import pytest

from jaxvjp_magic import vjpcheck

NOT_RUN = frozenset({"primal"})  # where the plain program never runs it
TRACED = frozenset({"primal", "jit", "scan", "checkpoint"})  # where the checked cell does not run it, plain


class Effect(NamedTuple):
    """Statements that are run in a function, what they need, and what tells that they ran."""

    statement: str
    setup: str = ""
    state: str = "None"
    before: str = ""  # after all has been traced once, before the cell that is checked
    places: frozenset[str] = frozenset({"primal", "bwd", "jit", "scan", "checkpoint", "verify"})


# ruff: noqa: E501 (a line for each effect)
EFFECTS = {
    "a print": Effect("print('said')"),
    "a print in a helper": Effect("tell()", "def tell(): print('said')"),
    "standard error": Effect("sys.stderr.write('said')"),
    "a log line": Effect("logging.getLogger('program').warning('said')"),
    "a warning": Effect("warnings.warn('said')", state="len(globals().get('__warningregistry__', ()))"),
    "a global": Effect("global total; total += 1", "total = 0", "total"),
    "a shared variable": Effect("count()", "def counter():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n    return count, lambda: n\ncount, counted = counter()", "counted()"),
    "a list": Effect("log.append(1)", "log = []", "log"),
    "a list of tracers": Effect("log.append(x)", "log = []", "len(log)"),
    "a dictionary": Effect("table['n'] = table.get('n', 0) + 1", "table = {}", "table"),
    "an attribute": Effect("held.n += 1", "held = types.SimpleNamespace(n=0)", "held.n"),
    "a class": Effect("Held.n += 1", "class Held:\n    n = 0", "Held.n"),
    "an array": Effect("array[0] += 1", "array = np.zeros(2)", "array.tolist()"),
    "an argument by default": Effect("add()", "def add(to=[]): to.append(1)", "add.__defaults__"),
    "a file": Effect("open(path, 'a').close(); os.truncate(path, os.path.getsize(path) + 1)", "path = tempfile.mkstemp()[1]", "os.path.getsize(path)"),
    "an environment variable": Effect("os.environ['EFFECT'] = os.environ.get('EFFECT', '') + '1'", "os.environ.pop('EFFECT', None)", "os.environ.get('EFFECT')"),
    "Python's random numbers": Effect("random.random()", "random.seed(0)", "random.getstate()"),
    "an imported random()": Effect("draw()", "random.seed(0)\nfrom random import random as draw", "random.getstate()"),
    "NumPy's random numbers": Effect("np.random.random()", "np.random.seed(0)", "np.random.get_state()[2]"),
    "a generator of NumPy's": Effect("generator.random()", "generator = np.random.default_rng(0)", "generator.bit_generator.state"),
    "a RandomState": Effect("state.rand()", "state = np.random.RandomState(0)", "state.get_state()[2]"),
    "an iterator": Effect("next(numbers)", "numbers = itertools.count()", "numbers"),
    "a generator": Effect("next(steps)", "steps = (n for n in range(99))", "next(steps)"),
    "an lru_cache": Effect("cached(3)", "@functools.lru_cache\ndef cached(n): return np.ones(n)", "cached.cache_info()"),
    "an lru_cache of arrays of JAX": Effect("cached(3)", "@functools.lru_cache\ndef cached(n): return jnp.ones(n)", "cached.cache_info()"),
    "a cached property": Effect("held.table", "class Held:\n    @functools.cached_property\n    def table(self): return np.ones(2)\nheld = Held()", "sorted(vars(held))"),
    "a lazy attribute": Effect("held.table", "class Held:\n    def __getattr__(self, name):\n        self.__dict__[name] = 1\n        return 1\nheld = Held()", "sorted(vars(held))"),
    "an attribute that counts": Effect("held.table", "class Held:\n    n = 0\n    @property\n    def table(self): Held.n += 1\nheld = Held()", "Held.n"),
    "an operator that counts": Effect("held + 1", "class Held:\n    n = 0\n    def __add__(self, other): Held.n += 1\nheld = Held()", "Held.n"),
    "a context that counts": Effect("with held: pass", "class Held:\n    n = 0\n    def __enter__(self): Held.n += 1\n    def __exit__(self, *_): pass\nheld = Held()", "Held.n"),
    "a context variable": Effect("current.set(current.get() + 1)", "current = contextvars.ContextVar('current', default=0)", "current.get()"),
    "what is asked for": Effect("input()", "sys.stdin = io.StringIO('1\\n' * 99)", "sys.stdin.tell()"),
    "the recursion limit": Effect("sys.setrecursionlimit(sys.getrecursionlimit() + 1)", "sys.setrecursionlimit(4000)", "sys.getrecursionlimit()"),
    "a debugger": Effect("breakpoint()", "log = []\nsys.breakpointhook = lambda: log.append(1)", "log"),
    "a thread": Effect("start()", "log = []\ndef start():\n    thread = threading.Thread(target=log.append, args=(1,))\n    thread.start()\n    thread.join()", "log"),
    "a process": Effect("subprocess.run(['touch', path])", "path = tempfile.mktemp()", "os.path.exists(path)"),
    "NumPy's error state": Effect("np.seterr(all=np.geterr()['over'])", "np.seterr(over='ignore')", "np.geterr()"),
    "JAX's configuration": Effect("jax.config.update('jax_log_compiles', False)", state="jax.config.jax_log_compiles"),
    "a lock that the caller holds": Effect("with lock: pass", "lock = threading.Lock()", "lock.locked()", "lock.acquire()", TRACED),
    "a wait without end": Effect("while waiting: pass", "waiting = False", before="waiting = True", places=TRACED),
    "sys.exit": Effect("sys.exit(3)", places=NOT_RUN),
    "os._exit": Effect("os._exit(3)", places=NOT_RUN),
    "a signal": Effect("os.kill(os.getpid(), 9)", places=NOT_RUN),
    "pytest.fail": Effect("pytest.fail('said')", places=NOT_RUN),
    "an interrupt": Effect("raise KeyboardInterrupt", places=NOT_RUN),
}  # fmt: skip

RULE = """
def primal(x):
    {primal}
    return x * x
f = jax.custom_vjp(primal)
def fwd(x):
    {fwd}
    return x * x, x
def bwd(x, g):
    {bwd}
    return (2 * x * g,)
f.defvjp(fwd, bwd)
"""
AROUND = (
    RULE
    + """
def step(x):
    {around}
    return f(x)
"""
)
NOTHING = {"primal": "pass", "fwd": "pass", "bwd": "pass", "around": "pass"}


class Where(NamedTuple):
    """A program with a place for an effect; what runs before the check, and what is checked."""

    rule: str
    place: str
    warm: str
    checked: str
    options: dict[str, bool] = {}  # noqa: RUF012 (nobody changes it)


PLACES = {
    "primal": Where(RULE, "primal", "", "out = jax.grad(lambda x: f(x).sum())(X)"),
    "bwd": Where(RULE, "bwd", "", "out = jax.grad(lambda x: f(x).sum())(X)"),
    "jit": Where(
        AROUND + "step = jax.jit(step)", "around", "jax.grad(lambda x: step(x).sum())(X)",
        "out = jax.grad(lambda x: step(x).sum())(X)",
    ),
    "scan": Where(
        AROUND + "body = lambda c, x: (c, step(x))\ndef loop(x): return jax.lax.scan(body, 0.0, x)[1].sum()\n",
        "around", "jax.grad(loop)(X)", "out = jax.grad(loop)(X)",
    ),
    "checkpoint": Where(
        AROUND + "step = jax.checkpoint(step)", "around", "jax.grad(lambda x: step(x).sum())(X)",
        "out = jax.grad(lambda x: step(x).sum())(X)",
    ),
    "verify": Where(RULE, "fwd", "", "out = jax.grad(lambda x: f(x).sum())(X)", {"verify": True}),
}  # fmt: skip
IMPORTS = (
    "import contextvars, functools, io, itertools, logging, os, random, subprocess, sys, tempfile, threading, types,"
    " warnings\nimport jax, jax.numpy as jnp, numpy as np, pytest\nX = jnp.arange(3.0)\n"
)


@pytest.fixture(scope="module", autouse=True)
def heap():
    """What is there already is not looked through for tracers again and again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """What the effects change in this process is put back."""
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    monkeypatch.setattr(sys, "breakpointhook", sys.breakpointhook)
    limit, log_compiles = sys.getrecursionlimit(), jax.config.jax_log_compiles
    yield
    sys.setrecursionlimit(limit)
    jax.config.update("jax_log_compiles", log_compiles)


def tracers():
    """How many tracers are alive."""
    gc.collect()
    return sum(isinstance(one, jax.core.Tracer) for one in gc.get_objects())


def seen(effect, where, capfd, caplog, context):
    """All that can be seen of a program, and the report."""
    before, scope = tracers(), {"__name__": "program"}
    holes = NOTHING | {where.place: textwrap.indent(effect.statement, "    ").strip()}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        for text in (IMPORTS + effect.setup, where.rule.format(**holes), where.warm, effect.before):
            exec(compile(text, "program.py", "exec"), scope)  # noqa: S102 (our own text)
        capfd.readouterr()
        caplog.clear()
        with context(**where.options) as report:
            exec(compile(where.checked, "cell.py", "exec"), scope)  # noqa: S102 (as above)
        state = repr(eval(effect.state, scope))  # noqa: S307 (as above)
    out = scope["out"].tolist()
    said = capfd.readouterr()
    logged = [record.getMessage() for record in caplog.records]
    left = tracers() - before
    return (out, state, said.out, said.err, logged, [str(one.message) for one in warned], left), report


@contextlib.contextmanager
def unchecked(**_):
    """Nothing is checked."""
    yield None


WAITS = ("a lock that the caller holds", "a wait without end")


def combined():
    """Each effect in each place; what JAX keeps of a trace depends on its version, how long a child is waited for not."""
    for place in PLACES:
        is_kept = place in ("jit", "scan", "checkpoint")
        for name, effect in EFFECTS.items():
            if place in effect.places:
                once = not is_kept or name in WAITS
                yield pytest.param(name, place, id=f"{name}-{place}", marks=[pytest.mark.any_jax] * once)


@pytest.mark.parametrize(("name", "place"), list(combined()))
def test_an_effect_is_had_as_often_as_without_a_check(name, place, capfd, caplog):
    """And what was not looked at for it is said."""
    effect, where = EFFECTS[name], PLACES[place]
    caplog.set_level(logging.INFO, "program")
    plain, _ = seen(effect, where, capfd, caplog, unchecked)
    checked, report = seen(effect, where, capfd, caplog, vjpcheck)
    assert checked == plain
    assert report.notes == ()
    rules = [call for call in report.calls if call.kind == "custom_vjp"]
    assert rules or report.not_checked
    assert [call for call in rules if not (call.residuals and call.cotangents_out)] == []
