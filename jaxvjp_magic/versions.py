"""Which JAX the hooks are written and tested for; read without importing jax."""

from __future__ import annotations

OLDEST, NEWEST = (0, 8), (0, 12)
SUPPORTED = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"


def is_too_old(version: tuple[int, ...]) -> bool:
    """Whether a JAX of this version lacks what the check rests on."""
    return tuple(version[:2]) < OLDEST


def is_untested(version: tuple[int, ...]) -> bool:
    """Whether a JAX of this version is newer than what was there to be tested."""
    return tuple(version[:2]) > NEWEST


def too_old_message(version: str) -> str:
    """What to say to a person who has an older JAX."""
    return f"JAX {version} is not supported, so nothing is traced. Install JAX {SUPPORTED}"


def untested_message(version: str) -> str:
    """What to say to a person who has a newer JAX: nothing in it is known to have moved."""
    return f"JAX {version} is newer than the tested versions ({SUPPORTED}). The check notes what it cannot see"
