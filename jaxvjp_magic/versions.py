"""Which JAX the hooks are written and tested for; read without importing jax."""

from __future__ import annotations

OLDEST, NEWEST = (0, 8), (0, 12)
SUPPORTED = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"


def is_supported(version: tuple[int, ...]) -> bool:
    """Whether a JAX of this version can be traced."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def unsupported_message(version: str) -> str:
    """What to say to a person who has another JAX."""
    return f"JAX {version} is not supported, nothing is traced: install JAX {SUPPORTED}"
