"""Arrays on eight devices: the same values, and the report says how they are laid out."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
import json
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from jaxvjp_magic import vjpcheck

@jax.custom_vjp
def sine(x):
    return jnp.sin(x)

sine.defvjp(lambda x: (jnp.sin(x), jnp.cos(x)), lambda cos, g: (cos * g,))
mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.KIND,) * 2)
x = jax.device_put(jnp.ones((8, 6)), NamedSharding(mesh, P("x", None)))
replicated = jax.device_put(jnp.ones((8, 6)), NamedSharding(mesh, P()))

def sharded(x):
    return jax.shard_map(sine, mesh=mesh, in_specs=P("x", "y"), out_specs=P("x", "y"))(x)

def program():
    gradient = jax.grad(lambda x: sine(x).sum())(x)
    jitted = jax.jit(jax.grad(lambda x: sine(x).sum()))(x)
    inside = jax.grad(lambda x: sharded(x).sum())(jax.device_put(x, NamedSharding(mesh, P("x", "y"))))
    return gradient, jitted, inside, sine(replicated)

with jax.set_mesh(mesh):
    plain = program()
    with vjpcheck() as report:
        checked = program()
same = [np.array_equal(a, b) and a.sharding == b.sharding for a, b in zip(plain, checked)]
calls = [[one.primals[0].type, one.primals[0].note] for one in report.calls if one.kind == "custom_vjp"]
severe = [str(one) for one in report.findings if one.severity != "note"]
print(json.dumps([same, list(report.notes), severe, calls, str(report)]))
"""
BY_KIND = {
    "Explicit": (
        ["float32[8@x,6]", ""],
        ["float32[8@x,6]", ""],
        ["float32[2,3]{V:(x,y)}", ""],
        ["float32[8,6]", "replicated on 8 devices"],
    ),
    "Auto": (
        ["float32[8,6]", "sharded P('x', None)"],
        ["float32[8,6]", ""],
        ["float32[2,3]{V:(x,y)}", ""],
        ["float32[8,6]", "replicated on 8 devices"],
    ),
}


@pytest.mark.parametrize("kind", BY_KIND)
def test_sharded_arrays_keep_their_values_and_show_their_layout(kind):
    """A mesh with explicit axes is in the type, as JAX writes it; of another one the array itself tells."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    command = [sys.executable, "-c", PROGRAM.replace("KIND", kind)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    same, notes, severe, calls, text = json.loads(done.stdout)
    assert (same, notes, severe) == ([True] * 4, [], [])
    assert calls == list(BY_KIND[kind])
    assert ("f32[8@x,6]" if kind == "Explicit" else "f32[8,6] (sharded P('x', None))") in text
