"""From a record to findings: pure functions, one for each code or family of codes."""

from jaxvjp_magic.checks.engine import diagnose

__all__ = ["diagnose"]
