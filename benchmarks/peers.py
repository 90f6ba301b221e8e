"""Time the same work under other tools, if they are installed: `pip install jaxvjp_magic[bench]`."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import jax
from measuring import compared, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def timed_under_peers(work: dict[str, Any], rounds: int) -> dict[str, float]:
    """How many times longer the work takes under each installed tool; empty without work."""
    if not work:
        return {}
    return {name: _ratio(work, make, min(rounds, 5)) for name, make in _peers().items()}


def _peers() -> dict[str, Callable[[Any], contextlib.AbstractContextManager[Any]]]:
    peers = {
        "jax-shape-tracker": _shape_tracker,
        "jaxtyping + beartype": _jaxtyping,
        "jax.checking_leaks": _checking_leaks,
    }
    installed = {}
    for name, peer in peers.items():
        with contextlib.suppress(ImportError), peer(lambda x: x):
            installed[name] = peer
    return installed


def _ratio(work: dict[str, Any], peer: Callable[[Any], contextlib.AbstractContextManager[Any]], rounds: int) -> float:
    run, function, calls = work["work"], work["function"], work["calls"]

    def under() -> Any:
        with peer(function) as wrapped:
            run(1, wrapped)
            return timed(lambda: run(calls, wrapped))

    return compared(lambda: timed(lambda: run(calls, function)), under, rounds)[2].wall


@contextlib.contextmanager
def _shape_tracker(function: Any) -> Iterator[Any]:
    """It hooks every primitive; what it prints is not measured."""
    from shape_tracker import JaxShapeTracker

    with contextlib.redirect_stdout(io.StringIO()), JaxShapeTracker():
        yield function


@contextlib.contextmanager
def _jaxtyping(function: Any) -> Iterator[Any]:
    """Its decorator around the differentiated function, with annotations, as its documentation shows."""
    from beartype import beartype
    from jaxtyping import Array, Float, jaxtyped

    def annotated(x: Any) -> Any:
        return function(x)

    annotated.__annotations__ = {"x": Float[Array, "..."], "return": Float[Array, "..."]}
    yield jaxtyped(typechecker=beartype)(annotated)


@contextlib.contextmanager
def _checking_leaks(function: Any) -> Iterator[Any]:
    """JAX's own check for leaked tracers."""
    with jax.checking_leaks():
        yield function
