"""Reports for the tests in a browser."""

from __future__ import annotations

import dataclasses

from test_html import SEED

from jaxvjp_magic.report import Call, Leaf, Report

REPAIRED = dataclasses.replace(
    SEED, findings=(), error=None, notes=(),
    calls=tuple(
        dataclasses.replace(c, fwd_outputs=c.outputs, status="ok", cotangents_in=c.outputs, cotangents_out=c.primals)
        for c in SEED.calls
    ),
)  # fmt: skip


def many(count):
    """The seed's two calls again and again, with residuals of every size."""
    calls = [
        dataclasses.replace(
            SEED.calls[i % 2], id=i + 1, parent=i if i % 2 else 0, residuals=(Leaf("", "float32[3]", 12 * (i % 97)),)
        )
        for i in range(count)
    ]
    return dataclasses.replace(SEED, calls=tuple(calls))


MANY, SOME = many(5000), many(400)
NESTED = Report(
    calls=(
        Call(
            1, "custom_vjp", "attention", vmap=(10, 3, 8),
            primals=tuple(Leaf(f"params['layer{i}']['w']", "float32[128,64]", 32768) for i in range(9)),
            outputs=(Leaf("", "float32[8]"),), fwd_outputs=(Leaf("", "float32[8]"),),
            residuals=tuple(Leaf(f"[{i}]", "float32[128,64]", 32768) for i in range(5)),
            cotangents_in=(Leaf("", "float32[8]"),), cotangents_out=(Leaf("x", "float32[9]"),),
        ),
    ),
)  # fmt: skip
