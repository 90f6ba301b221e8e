"""Measure where the time goes that a check adds to one eager gradient, with a clock around each part."""

from __future__ import annotations

import functools
import statistics
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from eager import wave

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.introspect import stack, unwrap
from jaxvjp_magic.introspect.avals import Types
from jaxvjp_magic.introspect.callables import Functions
from jaxvjp_magic.jax_compat import internals
from jaxvjp_magic.recording.collector import Collector
from jaxvjp_magic.recording.recorder import Recorder
from jaxvjp_magic.recording.rule_names import RuleNames

if TYPE_CHECKING:
    from collections.abc import Iterable

CALLS, ROUNDS = 200, 9
HOOKS: tuple[tuple[Any, str, str], ...] = (
    (Recorder, "start_vjp", "jax.vjp begins: function, place, types of the arguments"),
    (Recorder, "vjp_ran", "jax.vjp returns: types of output and residuals, the pullback noted"),
    (Recorder, "start_custom", "the custom_vjp function is called, by the program and by its fwd rule"),
    (Recorder, "primal_ran", "its primal function returns"),
    (Recorder, "fwd_ran", "its fwd rule returns"),
    (Recorder, "bwd_ran", "its bwd rule returns"),
    (Recorder, "pullback_ran", "the pullback returns"),
)
INSIDE: tuple[tuple[Any, str, str], ...] = (
    (Types, "known_by", "of these: types of pytrees"),
    (RuleNames, "at_rule", "of these: what the rules' names mean"),
    (Collector, "begun", "of these: the row of a call"),
    (Functions, "custom", "of these: the facts about a custom_vjp object"),
    (stack, "user_frame", "of these: the user's line"),
    (unwrap, "user_function", "of these: the function below what JAX wrapped around it"),
    (unwrap, "way_in", "of these: which transformation asked"),
    (internals, "kept_residuals", "of these: the residuals of the pullback"),
    (internals, "mapped_sizes", "of these: the axes of vmap"),
)


def table() -> list[tuple[str, float]]:
    """The parts with the seconds that each takes in one gradient of a small custom_vjp function."""
    _gradients(())  # warm up
    rounds = [(_plain(), _gradients(())) for _ in range(ROUNDS)]
    plain = statistics.median(seconds for seconds, _ in rounds)
    checked = statistics.median(spent["all"] for _, spent in rounds)
    hooks, inside = (
        _median(_gradients(HOOKS) for _ in range(ROUNDS)),
        _median(_gradients(INSIDE) for _ in range(ROUNDS)),
    )
    rest = checked - plain - sum(hooks[label] for _, _, label in HOOKS)
    return [
        ("one gradient without a check", plain),
        ("what a check adds", checked - plain),
        *((label, hooks[label]) for _, _, label in HOOKS),
        ("the hooks' own frames, and what JAX does with wrapped rules", rest),
        *((label, inside[label]) for _, _, label in INSIDE),
    ]


def _plain() -> float:
    x = jnp.float32(0.5)
    began = time.thread_time()
    for _ in range(CALLS):
        jax.grad(wave)(x)
    return (time.thread_time() - began) / CALLS


def _gradients(parts: Iterable[tuple[Any, str, str]]) -> dict[str, float]:
    """Seconds for one gradient in a check, altogether and in each of these parts."""
    spent: dict[str, float] = defaultdict(float)
    originals = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    empty = _empty(spent)
    for owner, name, label in parts:
        setattr(owner, name, _clocked(getattr(owner, name), label, spent, empty))
    try:
        with vjpcheck():
            _plain()
            spent.clear()
            whole = _plain()
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
    return defaultdict(float, {"all": whole, **{label: seconds / CALLS for label, seconds in spent.items()}})


def _clocked(function: Any, label: str, spent: dict[str, float], empty: float = 0.0) -> Any:
    clock = time.perf_counter

    @functools.wraps(function)
    def clocked(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        result = function(*args, **kwargs)
        spent[label] += clock() - began - empty
        return result

    return clocked


def _empty(spent: dict[str, float]) -> float:
    """The seconds that the clock itself takes."""
    nothing = _clocked(lambda: None, "nothing", spent)
    for _ in range(CALLS):
        nothing()
    return spent.pop("nothing") / CALLS


def _median(rounds: Iterable[dict[str, float]]) -> dict[str, float]:
    rounds = list(rounds)
    return {label: statistics.median(spent[label] for spent in rounds) for label in rounds[0]}
