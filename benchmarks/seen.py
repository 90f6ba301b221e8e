"""How much a check still sees of what JAX has traced before: the calls with `--retrace pure`, of those with `all`.

    python benchmarks/seen.py [--jobs 2] PROGRAM_OR_FOLDER...

Scripts and notebooks; each is run with both, in processes of their own. A row
for each program where something is seen, and the share of all. What is not known
to be pure is traced in a forked child, so little should be missing.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PHASES = "primals", "outputs", "residuals", "cotangents_in", "cotangents_out"
LONGEST = 600  # seconds for one program


def calls(program: Path, retrace: str) -> collections.Counter[tuple[object, ...]]:
    """How often each call is recorded, with the phases that were seen of it."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "report.json"
        command = [sys.executable, "-m", "jaxvjp_magic", "--retrace", retrace, "--json", str(into), program.name]
        environment = {"JAX_PLATFORMS": "cpu", **os.environ}
        try:
            subprocess.run(  # noqa: S603 (the programs that are asked for)
                command, cwd=program.parent, env=environment, capture_output=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            return collections.Counter()
        report = json.loads(into.read_text()) if into.exists() else {"calls": []}
    seen: collections.Counter[tuple[object, ...]] = collections.Counter()
    for call in report["calls"]:
        phases = tuple(phase for phase in PHASES if call.get(phase) is not None)
        seen[call["kind"], call["function"], call["line"], phases] += call["count"]
    return seen


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("paths", nargs="+", type=Path)
    options = parser.parse_args()
    programs = [
        program
        for path in options.paths
        for program in (
            sorted(file for file in path.rglob("*") if file.suffix in {".py", ".ipynb"}) if path.is_dir() else [path]
        )
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        pairs = pool.map(lambda program: (calls(program.resolve(), "pure"), calls(program.resolve(), "all")), programs)
        total = [0, 0]
        print("| program | with pure | with all |\n|---|---:|---:|")
        for program, (pure, everything) in zip(programs, pairs, strict=True):
            counts = (pure & everything).total(), everything.total()
            total = [a + b for a, b in zip(total, counts, strict=True)]
            if counts[1]:
                print(f"| {program.name} | {counts[0]} | {counts[1]} |", flush=True)
    print(f"\nseen with pure: {total[0]} of {total[1]} calls, {total[0] / max(total[1], 1):.1%}")


if __name__ == "__main__":
    main()
