"""From a JAX version to whether the hooks support it, and a message if not. Does not import jax."""

from __future__ import annotations

OLDEST, NEWEST = (0, 8), (0, 12)
SUPPORTED = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"


def is_too_old(version: tuple[int, ...]) -> bool:
    """Whether a JAX of this version lacks what the check needs."""
    return tuple(version[:2]) < OLDEST


def is_untested(version: tuple[int, ...]) -> bool:
    """Whether a JAX of this version is newer than the tested ones."""
    return tuple(version[:2]) > NEWEST


def too_old_message(version: str) -> str:
    """The message for a JAX that is too old."""
    return f"JAX {version} is not supported, so nothing is traced. Install JAX {SUPPORTED}"


def untested_message(version: str) -> str:
    """The message for a JAX that is newer than the tested ones, and may work."""
    return f"JAX {version} is newer than the tested versions ({SUPPORTED}). The check notes what it cannot see"
