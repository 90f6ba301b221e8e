"""Beyond one process, on this machine: jax.distributed on two processes, and ipyparallel's engines."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
import textwrap

import pytest
from conftest import value_of

from jaxvjp_magic.rendering.mime import MIME_TYPE

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp
from jaxvjp_magic import vjpcheck

number, address = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(address, num_processes=2, process_id=number, initialization_timeout=60)
f = jax.custom_vjp(lambda x: x * x)
f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))

from jax.sharding import NamedSharding, PartitionSpec
devices = jax.make_mesh((2,), ("i",))
whole = jax.make_array_from_callback(
    (4,), NamedSharding(devices, PartitionSpec("i")), lambda index: jnp.arange(4.0)[index]
)
with vjpcheck() as report:
    gradient = jax.grad(lambda x: f(x).sum())(jnp.ones(3) * (number + 1))
    shards = jax.jit(jax.grad(lambda x: f(x).sum()))(whole).addressable_shards
print(json.dumps({
    "processes": jax.process_count(),
    "gradient": gradient.tolist(),
    "shard": shards[0].data.tolist(),
    "calls": [[call.kind, call.count, call.status] for call in report.calls],
    "notes": report.notes,
}))
"""


def test_two_processes_of_jax_distributed_are_checked_each(tmp_path):
    """Each process has the report of its own calls, also of one on an array that both have a part of."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "program.py", str(number), address],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        done = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0], done
    for number, (out, _) in enumerate(done):
        seen = json.loads(out.splitlines()[-1])
        assert seen["processes"] == 2
        assert seen["gradient"] == [2.0 * (number + 1)] * 3
        assert seen["shard"] == [[0.0, 2.0], [4.0, 6.0]][number]
        assert seen["calls"] == [["grad", 1, "ok"], ["custom_vjp", 1, "ok"]] * 2
        assert seen["notes"] == []


@pytest.mark.any_jax
def test_the_engines_of_ipyparallel_show_a_report_each(start_kernel):
    """`%%px`, and `%%vjpcheck` on the line below: each engine's report, below the number of the engine."""
    kernel = start_kernel()
    kernel.run("import ipyparallel as ipp\ncluster = ipp.Cluster(n=2, log_level=40)")
    kernel.run("client = cluster.start_and_connect_sync()")
    try:
        assert value_of(kernel.run("len(client)")) == "2"
        kernel.run("%px %load_ext jaxvjp_magic")
        kernel.run("client[:].scatter('number', [3, 4]).get();")
        outcome = kernel.run(
            "%%px\n%%vjpcheck\nimport jax, jax.numpy as jnp\n"
            "x = jnp.ones(number[0])\nout, pull = jax.vjp(jnp.sin, x)\npull(out)[0].shape"
        )
        shown = [content["data"] for kind, content in outcome.messages if kind == "display_data"]
        below = {above["text/plain"]: data for above, data in itertools.pairwise(shown) if MIME_TYPE in data}
        assert set(below) == {"[output:0]", "[output:1]"}
        for number, data in enumerate(below[name] for name in sorted(below)):
            call = data[MIME_TYPE]["calls"][0]
            assert (call["line"], call["primals"][0]["type"]) == (4, f"float32[{number + 3}]")
            assert "application/vnd.jupyter.widget-view+json" not in data  # which no page could reach
    finally:
        kernel.run("client.close(); cluster.stop_cluster_sync()")
