"""From facts to findings: pure functions, one small one a rule."""

from jaxvjp_magic.checks.engine import diagnose

__all__ = ["diagnose"]
