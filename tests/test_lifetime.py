"""What a check leaves behind: nothing, neither arrays nor hooks."""

from __future__ import annotations

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_tracing import X, scale, total

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.tracing import jax_internals


def test_no_array_outlives_the_check_because_of_us():
    """Weak references to arguments, residuals and outputs die with the program's own references."""
    kept = []

    def program():
        x = jnp.arange(4.0) + 1
        out, pullback = jax.vjp(lambda x: scale(x, 2.0), x)
        kept.extend(weakref.ref(array) for array in (x, out))
        pullback(out)

    with vjpcheck() as report:
        program()
        gc.collect()
        assert [reference() for reference in kept] == [None, None]
    assert len(report.calls) == 2


def test_a_rule_cached_inside_a_check_is_quiet_after_it():
    """A function traced in a check and run afterwards records nothing and works."""
    compiled = jax.jit(lambda x: jax.vjp(total, x)[1])
    with vjpcheck() as report:
        pullback = compiled(X)
    calls = report.calls
    assert np.allclose(pullback(1.0)[0], 2.0)
    assert report.calls is calls


def test_hooks_stand_only_during_a_check():
    """JAX's own functions are back afterwards, also after nested checks and exceptions."""
    slots = (jax_internals.custom_vjp_slot, jax_internals.vjp_slot, jax_internals.pullback_slot)
    before = [slot().original for slot in slots]
    with vjpcheck():
        assert all(slot().original is not original for slot, original in zip(slots, before, strict=True))
        with pytest.raises(ZeroDivisionError), vjpcheck():
            raise ZeroDivisionError
        assert all(slot().original is not original for slot, original in zip(slots, before, strict=True))
    assert [slot().original for slot in slots] == before


def test_nested_checks_report_each_call_once():
    """The inner check has its calls, the outer one the rest."""
    with vjpcheck() as outer:
        jax.grad(total)(X)
        with vjpcheck() as inner:
            jax.grad(total)(X)
    assert len(outer.calls) == len(inner.calls) == 2
    assert {call.count for call in (*outer.calls, *inner.calls)} == {1}
