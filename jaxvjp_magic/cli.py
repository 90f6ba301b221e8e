"""The command line: `vjpcheck FILE`, or `python -m jaxvjp_magic FILE`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jaxvjp_magic import rules
from jaxvjp_magic.check import RETRACE, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxvjp_magic.report import Report

COULD_NOT_RUN = 2
EXIT_STATUS = "0: nothing at or above --fail-on; 1: something, or the program raised; 2: it could not run"


class CannotRunError(Exception):
    """Why the program could not be run at all, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one program; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.explain:
            _print(rules.section(options.explain))
            return 0
        if options.file is None:
            parser.error("the following arguments are required: FILE")
        ignore = rules.parse_codes(",".join(options.ignore))
        _writable(options.json)
        report = _run(
            Path(options.file),
            options.arguments,
            Options(
                verify=options.verify,
                ignore=ignore,
                fail_on=options.fail_on,
                retrace="none" if options.no_retrace else options.retrace,
            ),
        )
    except (ValueError, CannotRunError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    _write(report, options.json)
    if not report.complete:
        return COULD_NOT_RUN
    return 1 if report.error is not None or report.reaches(options.fail_on) else 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        print(f"{self.prog}: {message} (--help shows the options)", file=sys.stderr)
        raise SystemExit(COULD_NOT_RUN)


def _parser() -> argparse.ArgumentParser:
    prog = "vjpcheck" if Path(sys.argv[0]).stem == "vjpcheck" else "python -m jaxvjp_magic"
    parser = _Parser(
        prog=prog,
        description="Run a script or a notebook, and show what its vjp and custom_vjp calls do.",
        epilog=f"Exit status: {EXIT_STATUS}.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="a Python script, or a notebook (.ipynb)")
    parser.add_argument("arguments", nargs="*", metavar="ARG", help="arguments for the script; put -- before options")
    parser.add_argument("--json", metavar="PATH", help="write the report as JSON; - for the last line of the output")
    parser.add_argument("--explain", metavar="CODE", help="show what a rule is about, and run nothing")
    parser.add_argument("--verify", action="store_true", help="compare the rules' values too")
    parser.add_argument(
        "--ignore", metavar="CODE[,CODE]", action="append", default=[], help="do not report these; may be repeated"
    )
    parser.add_argument("--fail-on", choices=("never", "error", "warning"), default="error", help="default: error")
    parser.add_argument(
        "--retrace",
        choices=RETRACE,
        default="pure",
        help="which functions that JAX has traced before are traced again (default: pure)",
    )
    parser.add_argument("--no-retrace", action="store_true", help="short for --retrace none")
    return parser


def _writable(json_path: str | None) -> None:
    """Say that the report cannot be written before the program has run for an hour."""
    if json_path and json_path != "-" and not Path(json_path).absolute().parent.is_dir():
        message = f"no folder for --json {json_path}"
        raise CannotRunError(message)


def _run(path: Path, arguments: Sequence[str], options: Options) -> Report:
    if not path.exists():
        message = f"no such file: {path}"
        raise CannotRunError(message)
    if path.is_dir():
        message = f"{path} is a folder"
        raise CannotRunError(message)
    if path.suffix == ".ipynb":
        from jaxvjp_magic.running.notebook import run_notebook

        return run_notebook(path, options)
    from jaxvjp_magic.running.script import run_script

    return run_script(path, list(arguments), options)


def _print(text: str) -> None:
    """To standard output, whose reader may have gone: `head` has seen enough, and that is no mistake."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # what is still to be printed goes nowhere, and Python says nothing of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(report: Report, json_path: str | None) -> None:
    if json_path == "-":
        _print(report.to_json())
        return
    _print(str(report))
    if json_path:
        try:
            Path(json_path).write_text(report.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            print(f"could not write {json_path}: {error.strerror}", file=sys.stderr)
