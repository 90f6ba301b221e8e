"""Write the table of cases: for each, what JAX says and what the check says.

    python docs/cases.py CASES [docs/cases.md]

CASES is a folder with `bug/*.py`, programs with one mistake each, and `expected.json`,
which says of each what kind of mistake it is, whether it needs `--verify`, and which
lines are the cause.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import html
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LONGEST = 110  # characters of an exception's message
SECONDS = 240  # for one program
HEADING = """\
# What JAX says, and what the check says

{count} programs with one mistake each around `jax.vjp` and `jax.custom_vjp`, run by themselves and checked, with \
JAX {jax}. Written by `docs/cases.py`.

*JAX* is the exception that the program ends with, or nothing. *The check* is the first finding; **bold** where it \
stands on the line of the cause. Where a program needs it, it was checked with `--verify`.

With the first finding on the line of the cause: {named} of {sought}. Where JAX says nothing: {silent_named} of \
{silent}.
"""
KINDS = {
    "error": ("JAX raises", "Often at another line than the cause."),
    "silent": ("JAX says nothing", "The values or the gradients are wrong, or cost more than they need."),
    "control": ("Nothing is wrong", "These look like mistakes, and are none: more than a note would be a false alarm."),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One case: its description, JAX's exception, and the check's report."""

    case: dict[str, Any]
    plain: str
    report: dict[str, Any]

    @property
    def first(self) -> dict[str, Any] | None:
        """The first finding."""
        return next(iter(self.report["findings"]), None)

    @property
    def is_named(self) -> bool:
        """Whether the first finding is on a line of the cause, in the program itself."""
        return self.first is not None and not self.first.get("source") and self.first.get("line") in self._cause_lines

    @property
    def _cause_lines(self) -> list[int]:
        return list(self.case["cause_lines"])

    @property
    def is_sought(self) -> bool:
        """Whether there is a mistake that this check could find."""
        return bool(self.case["detectable"])

    def __str__(self) -> str:
        """The row of the table."""
        return (
            f"| {self.case['id'].split('_')[0]} | {_text(self.case['title'])} | {_text(self.plain)} | {self._check()} |"
        )

    def _check(self) -> str:
        if self.first is None:
            return "nothing" if self.is_sought or "why" not in self.case else f"nothing ({_text(self.case['why'])})"
        head = f"{self.first['code']} {self.first['severity']}"
        line = f", line {self.first['line']}" if "line" in self.first else ""
        head = f"**{head}{line}**" if self.is_named else f"{head}{line}"
        return f"{head}: {_text(self.first['title'])}"


def main() -> int:
    """Write the table; returns 2 if there are no cases."""
    parser = argparse.ArgumentParser(description="Write the table of what JAX and the check say of each case.")
    parser.add_argument("cases", type=Path, help="a folder with bug/*.py and expected.json")
    parser.add_argument("table", nargs="?", type=Path, default=Path(__file__).with_name("cases.md"))
    parser.add_argument("--jobs", type=int, default=2, help="programs at a time")
    arguments = parser.parse_args()
    expected = arguments.cases / "expected.json"
    if not expected.is_file():
        print(f"cases: no such file: {expected}", file=sys.stderr)
        return 2
    cases = json.loads(expected.read_text(encoding="utf-8"))["cases"]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        rows = list(pool.map(lambda case: _row(arguments.cases, case), cases))
    arguments.table.write_text(_table(rows), encoding="utf-8")
    print(f"{arguments.table}: {len(rows)} cases")
    return 0


def _row(folder: Path, case: dict[str, Any]) -> Row:
    program = (folder / "bug" / f"{case['id']}.py").resolve()
    checked = ["-m", "jaxvjp_magic", str(program), "--json", "-", *["--verify"] * (case["needs"] == "values")]
    last_line = _run(checked).stdout.rstrip("\n").rsplit("\n", 1)[-1]
    return Row(case, _exception(_run([str(program)])), json.loads(last_line))


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty folder, so that the program sees nothing of the current one."""
    environment = {"JAX_PLATFORMS": "cpu", **os.environ}
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(  # noqa: S603 (the cases are given by who runs this)
            [sys.executable, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip


def _exception(done: subprocess.CompletedProcess[str]) -> str:
    """The exception that ended the program: its type and the first line of its message, shortened."""
    if done.returncode == 0:
        return "nothing"
    matches = re.findall(r"^([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit))(?:: (.*))?$", done.stderr, re.MULTILINE)
    if not matches:
        message = f"cases: a program ended in no exception: {done.stderr[-500:]}"
        raise SystemExit(message)
    name, message = matches[-1]
    name = name.rsplit(".", 1)[-1]
    return f"{name}: {_shortened(message)}" if message else name


def _shortened(message: str) -> str:
    message = re.sub(r"(?:/[\w.@+-]+){2,}/([\w.-]+)", r"\1", message)  # where a file is on this machine
    message = re.sub(r" at 0x[0-9a-f]+", "", message)
    return message if len(message) <= LONGEST else message[: LONGEST - 3].rstrip() + "..."


def _text(text: str) -> str:
    """Text escaped for a table in Markdown."""
    escaped = html.escape(text, quote=False).replace("|", "\\|")
    return re.sub(r"([*`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|~~)", r"\\\1", escaped)


def _table(rows: list[Row]) -> str:
    sought = [row for row in rows if row.is_sought]
    silent = [row for row in sought if row.plain == "nothing"]
    parts = [
        HEADING.format(
            count=len(rows), jax=rows[0].report["jax"], sought=len(sought), named=sum(row.is_named for row in sought),
            silent=len(silent), silent_named=sum(row.is_named for row in silent),
        )
    ]  # fmt: skip
    for kind, (title, words) in KINDS.items():
        kind_rows = [row for row in rows if row.case["kind"] == kind]
        if kind_rows:
            head = "| | the mistake | JAX | the check |\n|---|---|---|---|"
            parts.append(f"## {title}\n\n{words}\n\n{head}\n" + "\n".join(map(str, kind_rows)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
