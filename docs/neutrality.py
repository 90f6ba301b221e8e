"""Run other people's tests plain and inside a check, and compare each test's result.

    python docs/neutrality.py PATH_TO_JAX/tests/custom_api_test.py PATH_TO_JAX/tests/nn_test.py
    python docs/neutrality.py --suite "equinox 0.13" PATH_TO_EQUINOX/tests --into docs/neutrality.md

The checkout is that of the release that is installed beside this package; the
tests run in this Python. Each test's outcome, and of one that fails the type of
its exception, must be the same in both runs. What differs is run once more,
plain and checked, alone: what then agrees, or is not the same in two plain
runs, is not steady, and is only listed.

The tests that a check must change stand in docs/neutrality.toml, each with its
reason. The exit status is 1 where another one changes, or a check has a note:
that is a fault of ours.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REASONS = HERE / "neutrality.toml"
ABSENT = {"outcome": "not run", "exception": "", "told": []}
TITLE = "| suite | JAX | tests run | calls recorded | results changed | of these, with a reason |"
HEADING = f"""\
# Other people's tests, run inside a check

Every test of a suite runs twice, plain and inside an active check. A result is passed, failed, skipped or expected \
to fail, and of a test that fails the type of its exception. *Tests run* leaves out those that are skipped in both \
runs; *calls recorded* is the number of rows in all reports together. {{about}} Written by `docs/neutrality.py`:

```sh
python docs/neutrality.py --into docs/neutrality.md PATH_TO_JAX/tests/custom_api_test.py
```

{TITLE}
|---|---|---|---|---|---|
"""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Tests that a check must change, and why."""

    tests: tuple[str, ...]
    reason: str

    def is_about(self, test: str) -> bool:
        """Whether a test, by its id, is one of them."""
        return any(fnmatch.fnmatchcase(test, f"*{pattern}") for pattern in self.tests)


def about(path: Path = REASONS) -> str:
    """Which release's tests ran, if it is not the installed one."""
    return str(tomllib.loads(path.read_text(encoding="utf-8"))["about"]).strip()


def reasons(path: Path = REASONS) -> list[Reason]:
    """The list of what must change."""
    listed = tomllib.loads(path.read_text(encoding="utf-8")).get("change", [])
    return [Reason(tuple(entry["tests"]), entry["reason"].strip()) for entry in listed]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run of one test."""

    outcome: str
    exception: str

    def __str__(self) -> str:
        """`failed (TypeError)`."""
        return self.outcome + (f" ({self.exception})" if self.exception else "")


@dataclasses.dataclass
class Suite:
    """The results of one suite."""

    name: str
    plain: dict[str, Any]
    checked: dict[str, Any]
    changed: dict[str, tuple[Outcome, Outcome]] = dataclasses.field(default_factory=dict)
    unsteady: dict[str, tuple[Outcome, Outcome]] = dataclasses.field(default_factory=dict)

    def different(self) -> list[str]:
        """The tests whose results differ."""
        results = {**self.plain, **self.checked}
        return [test for test in results if outcome_of(self.plain, test) != outcome_of(self.checked, test)]

    def told(self, name: str) -> list[tuple[str, Any]]:
        """The values that the checks reported under this name, each with its test."""
        return [(test, value) for test, result in self.checked.items() for key, value in result["told"] if key == name]

    def row(self, accepted: list[Reason]) -> str:
        """The row of the table."""
        ran = sum(result["outcome"] not in ("skipped", "not collected") for result in self.plain.values())
        calls = sum(int(value) for _, value in self.told("checked calls"))
        with_reason = sum(any(reason.is_about(test) for reason in accepted) for test in self.changed)
        version = importlib.metadata.version("jax")
        return f"| {self.name} | {version} | {ran:,} | {calls:,} | {len(self.changed)} | {with_reason} |"


def outcome_of(results: dict[str, Any], test: str) -> Outcome:
    """The outcome of a test in a run."""
    result = results.get(test, ABSENT)
    return Outcome(result["outcome"], result["exception"])


def run(tests: Iterable[str], folder: str, options: Iterable[str], *, checked: bool) -> dict[str, Any]:
    """Each test's result, by its id, which begins below `folder`."""
    with tempfile.TemporaryDirectory() as empty:
        results = Path(empty) / "results.json"
        # A conftest.py above the tests belongs to the checkout's own sources, not to the installed package.
        where = ["--rootdir", folder, "--confcutdir", folder, "-p", "no:cacheprovider"]
        plugins = ["-p", "outcomes", "--outcomes", str(results), *(["-p", "every_test_checked"] if checked else [])]
        command = [sys.executable, "-m", "pytest", "-q", *where, *plugins, *options, *tests]
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
        environment = {"JAX_PLATFORMS": "cpu", **os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        # In an empty folder, so that the installed package is imported.
        done = subprocess.run(command, env=environment, cwd=empty, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode not in (0, 1, 2) or not results.exists():
            sys.exit(f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        return json.loads(results.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def compare(name: str, tests: list[str], options: list[str], absent: list[str]) -> Suite:
    """Run a suite both ways, and what differs once more, alone; with an empty class for each name that is absent."""
    paths = [Path(test.partition("::")[0]) for test in tests]
    folder = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
    names = [f"--absent={absent_name}" for absent_name in absent]
    options = [*options, *names]
    suite = Suite(name, run(tests, folder, options, checked=False), run(tests, folder, options, checked=True))
    different = suite.different()
    if different:
        ids = [f"{folder}/{test}" for test in different]
        again = Suite(name, run(ids, folder, names, checked=False), run(ids, folder, names, checked=True))
        for test in different:
            first, plain, checked = (outcome_of(results, test) for results in (suite.plain, again.plain, again.checked))
            if plain == first and checked != plain:
                suite.changed[test] = plain, checked
            else:
                suite.unsteady[test] = first, outcome_of(suite.checked, test)
    return suite


def write_into(page: Path, rows: list[str], accepted: list[Reason]) -> None:
    """Put these rows into the page's table, in the place of older ones of the same suite and JAX."""
    old = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    kept = [line for line in old if re.match(r"\| .* \| \d+\.\d+", line)]
    table = {_key(row): row for row in (*kept, *rows)}
    text = HEADING.format(about=about()) + "".join(f"{table[key]}\n" for key in sorted(table))
    text += "\n## What must change\n\n"
    text += "".join(f"- {', '.join(f'`{test}`' for test in entry.tests)}: {entry.reason}\n" for entry in accepted)
    text += "" if accepted else "Nothing.\n"
    page.write_text(text, encoding="utf-8")


def _key(row: str) -> tuple[str, tuple[int, ...]]:
    suite, version = (cell.strip() for cell in row.split("|")[1:3])
    return suite, tuple(map(int, re.findall(r"\d+", version)))


def main() -> int:
    """Run, print, and say by the exit status whether something changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="+", help="files, folders or ids, as pytest takes them")
    parser.add_argument("--suite", help="one name for all of them; without it, each is a suite of its own")
    parser.add_argument("--into", type=Path, metavar="PAGE.md", help="write the rows into this page's table, too")
    parser.add_argument("--findings", action="store_true", help="list the errors and warnings that the checks gave")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all results to this file")
    parser.add_argument("-n", default="0", help="processes to use (pytest-xdist)")
    parser.add_argument("-k", default="", help="only tests that match, as with pytest")
    parser.add_argument("--option", action="append", default=[], help="one more option for pytest; may be repeated")
    parser.add_argument(
        "--absent", action="append", default=[], metavar="MODULE:NAME[=NOW]",
        help="a name that the tests import and this JAX lacks, and what it is called now; what uses one that is gone "
        "fails in both runs; may be repeated",
    )  # fmt: skip
    arguments = parser.parse_args()
    accepted = reasons()
    tests = [
        str(Path(file).resolve()) + mark + rest for file, mark, rest in (t.partition("::") for t in arguments.tests)
    ]
    options = ["-n", arguments.n, *(["-k", arguments.k] if arguments.k else []), *arguments.option]
    named = {arguments.suite: tests} if arguments.suite else {Path(test.split("::")[0]).name: [test] for test in tests}
    suites, is_right = [], True
    print(f"{TITLE}\n|---|---|---|---|---|---|", flush=True)
    for name, suite_tests in named.items():
        suite = compare(name, suite_tests, options, arguments.absent)
        suites.append(suite)
        print(suite.row(accepted), flush=True)
    for suite in suites:
        is_right &= show(suite, accepted, findings=arguments.findings)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({suite.name: [suite.plain, suite.checked] for suite in suites}), encoding="utf-8"
        )
    if arguments.into:
        write_into(arguments.into, [suite.row(accepted) for suite in suites], accepted)
    return 0 if is_right else 1


def show(suite: Suite, accepted: list[Reason], *, findings: bool) -> bool:
    """Print the changed tests, notes and findings of a suite; whether all is as it must be."""
    is_right = bool(suite.plain)
    for test, result in suite.plain.items():
        if result["outcome"] == "not collected":
            is_right = False
            print(f"NOT COLLECTED: {test}: this file cannot be imported here")
    for test, (plain, checked) in suite.changed.items():
        why = next((entry.reason for entry in accepted if entry.is_about(test)), "")
        is_right &= bool(why)
        print(f"{'expected' if why else 'CHANGED'}: {test}: {plain} -> {checked}{f': {why}' if why else ''}")
    for test, (plain, checked) in suite.unsteady.items():
        print(f"not steady: {test}: {plain} -> {checked}, and not so when run alone")
    for test, note in suite.told("check note"):
        if note.startswith("compiling took"):  # advice, not a fault
            continue
        is_right = False
        print(f"NOTE: {test}: {note}")
    for test, finding in suite.told("check finding") if findings else ():
        print(f"finding: {test}: {finding}")
    return is_right


if __name__ == "__main__":
    sys.exit(main())
