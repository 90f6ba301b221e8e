"""A JAX setting without meaning, whose value is part of every cache key.

Under a new value of it, functions that JAX has cached are traced again, and
what is traced then is found by nobody who traces under another value.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


@functools.cache
def prepare() -> Any:
    """Make the setting, once in a process.

    JAX keys its caches by all such settings that exist, so this lets functions
    that are compiled already be traced again, once. Right after jax's import
    there are none: that is the time to do it.
    """
    import jax

    return jax.make_user_context(None)


def fresh() -> AbstractContextManager[None]:
    """A context with a value that was never there before."""
    return prepare()(object())  # type: ignore[no-any-return]
