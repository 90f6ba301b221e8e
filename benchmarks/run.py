"""What a check costs: every row of the table, measured here and now.

    python benchmarks/run.py [--only ROW]... [--quick] [--rounds N] [--profile] [--plots] [--write]

Plain and checked take turns in one process; the ratio is the median of the
pairs. `--quick` takes few rounds. `--write` writes docs/speed.md and the
plots. Exit status 1 where a bound is broken. The tools beside are measured
where they are installed: `pip install jaxvjp_magic[bench]`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import eager
import growth
import models
import page
import parts
import session
import sizes
from measuring import Figure, machine

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS: dict[str, Callable[[int], Figure | None]] = {
    "step": eager.jitted_step,
    "custom": eager.eager_custom,
    "plain": eager.eager_plain,
    "smallest": eager.eager_smallest,
    "jvp": eager.eager_jvp,
    "hijax": eager.eager_hijax,
    "leaves": eager.many_leaves,
    "transformer": models.first_transformer,
    "solve": models.first_solve,
    "again": models.again_by_cold,
    "again-tracing": models.again_by_tracing,
    "memory": sizes.equal_calls,
    "different": sizes.different_calls,
    "json": sizes.saved_size,
    "load": sizes.loading,
    "cell": session.without_jax,
    "late": session.late_by_early,
}
# A model takes seconds to compile, so it gets fewer rounds.
ROUNDS = {"transformer": 5, "solve": 5, "again": 3, "again-tracing": 3, "load": 7}
USUAL, QUICK = 11, 3


def main() -> int:
    """Measure, print, write."""
    options = _options()
    print(machine())
    figures: list[tuple[str, Figure]] = []
    for name in options.only or ROWS:
        rounds = options.rounds or (min(ROUNDS.get(name, QUICK), QUICK) if options.quick else ROUNDS.get(name, USUAL))
        figure = ROWS[name](1 if options.quick and name == "memory" else rounds)
        if figure is None:
            print(f"{name}: not measured, something that it needs is not installed", file=sys.stderr)
            continue
        figures.append((_about(name), figure))
        print("\n".join(page.lines(*figures[-1])), flush=True)
    profile = parts.table() if options.profile or options.write else ()
    if profile:
        print(*page.profile_lines(profile), sep="\n")
    if options.plots or options.write:
        print(*growth.draw(), sep="\n")
    if options.write:
        page.write(figures, profile)
    return int(not all(figure.is_within for _, figure in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(ROWS), help="this row alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="few rounds: a rough answer soon")
    parser.add_argument("--rounds", type=int, default=0, help="so many pairs for each row")
    parser.add_argument("--profile", action="store_true", help="where the time of an eager call goes")
    parser.add_argument("--plots", action="store_true", help="how cost grows, as docs/images/growth.png")
    parser.add_argument("--write", action="store_true", help="write docs/speed.md, with profile and plots")
    return parser.parse_args()


def _about(name: str) -> str:
    """What the row measures: the first line of its docstring."""
    return (ROWS[name].__doc__ or name).strip().split("\n", 1)[0].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
