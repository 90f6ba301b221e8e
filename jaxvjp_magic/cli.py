"""The command line, `vjpcheck PATH ...` or `python -m jaxvjp_magic PATH ...`: arguments in, exit status out."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jaxvjp_magic import catalogue
from jaxvjp_magic.runners.errors import CannotRunError
from jaxvjp_magic.runners.terminal import said
from jaxvjp_magic.session import RETRACE, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxvjp_magic.report import Report

COULD_NOT_RUN = 2
EXIT_STATUS = "0: nothing at or above --fail-on; 1: something, or the program raised; 2: it could not run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one program, or several; returns the exit status."""
    parser = _parser()
    own, program_arguments = _split(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(own)
    try:
        if options.explain:
            said(catalogue.section(options.explain))
            return 0
        if not options.paths:
            parser.error("the following arguments are required: PATH")
        check_options = Options(
            verify=options.verify,
            ignore=catalogue.parse_codes(",".join(options.ignore)),
            fail_on=options.fail_on,
            retrace="none" if options.no_retrace else options.retrace,
            libraries=options.libraries,
        )
        _writable(options.json)
        paths = [_existing(path) for path in options.paths]
        if len(paths) > 1:
            return _run_several(paths, check_options, program_arguments, options.json)
        report = _run(paths[0], program_arguments, check_options)
    except (ValueError, CannotRunError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    if not _write(report, options.json, text=not options.no_text):
        return COULD_NOT_RUN
    if not report.complete:
        return COULD_NOT_RUN
    return 1 if report.error is not None or report.reaches(options.fail_on) else 0


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments of vjpcheck, and those of the program, which come after `--`."""
    words = list(arguments)
    separator = words.index("--") if "--" in words else len(words)
    return words[:separator], words[separator + 1 :]


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        print(f"{self.prog}: {message} (--help shows the options)", file=sys.stderr)
        raise SystemExit(COULD_NOT_RUN)


def _parser() -> argparse.ArgumentParser:
    prog = "vjpcheck" if Path(sys.argv[0]).stem == "vjpcheck" else "python -m jaxvjp_magic"
    parser = _Parser(
        prog=prog,
        description="Run scripts and notebooks, and show what its vjp and custom_vjp calls do.",
        epilog=f"Exit status: {EXIT_STATUS}.",
        allow_abbrev=False,
    )
    parser.usage = "%(prog)s [options] PATH ... [-- ARG ...]"
    parser.add_argument("paths", metavar="PATH", nargs="*", help="a Python script or a notebook; ARG is for the script")
    parser.add_argument("--json", metavar="PATH", help="write the report as JSON; - prints it as the last line")
    parser.add_argument("--explain", metavar="CODE", help="explain a code, and run nothing")
    parser.add_argument("--verify", action="store_true", help="compare the values of the rules, too")
    parser.add_argument(
        "--ignore",
        metavar="CODE[,CODE]",
        action="append",
        default=[],
        help="do not report these codes; repeatable",
    )
    parser.add_argument("--fail-on", choices=("never", "error", "warning"), default="error", help="default: error")
    parser.add_argument(
        "--retrace",
        choices=RETRACE,
        default="pure",
        help="which functions that JAX has traced before are traced again (default: pure)",
    )
    parser.add_argument("--no-text", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-retrace", action="store_true", help="short for --retrace none")
    parser.add_argument("--libraries", action="store_true", help="show warnings about library files, too")
    return parser


def _writable(json_path: str | None) -> None:
    """Raise CannotRunError if the report cannot be written, before the program runs for an hour."""
    if not json_path or json_path == "-":
        return
    path = Path(json_path).absolute()
    message = ""
    if not path.parent.is_dir():
        message = f"no folder for --json {json_path}"
    elif path.is_dir():
        message = f"--json {json_path} is a folder"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        message = f"--json {json_path} may not be written"
    if message:
        raise CannotRunError(message)


def _existing(name: str) -> Path:
    path = Path(name)
    if not path.exists():
        message = f"no such file: {path} (arguments for the program itself go after --)"
        raise CannotRunError(message)
    if path.is_dir():
        message = f"{path} is a folder"
        raise CannotRunError(message)
    return path


def _run_several(paths: Sequence[Path], options: Options, arguments: Sequence[str], json_path: str | None) -> int:
    """Check each program in its own process; returns the worst exit status."""
    from jaxvjp_magic.runners.processes import run_several

    passed = ["--fail-on", options.fail_on, "--retrace", options.retrace]
    passed += ["--ignore", ",".join(options.ignore)] if options.ignore else []
    passed += [f"--{name}" for name in ("verify", "libraries") if getattr(options, name)]
    passed += ["--no-text"] if json_path == "-" else []
    report, statuses = run_several(paths, passed, arguments)
    if json_path != "-":
        wrong = [str(path) for path, status in zip(paths, statuses, strict=True) if status]
        said(f"== {len(paths)} programs, {', '.join(wrong) or 'none'} with something wrong")
    is_written = _write(report, json_path, text=False)
    worst = max(status if status in (0, 1) else COULD_NOT_RUN for status in statuses)
    return worst if is_written else COULD_NOT_RUN


def _run(path: Path, arguments: Sequence[str], options: Options) -> Report:
    if path.suffix == ".ipynb" and arguments:
        message = f"{path} is a notebook, and takes no arguments"
        raise CannotRunError(message)
    if path.suffix == ".ipynb":
        from jaxvjp_magic.runners.notebook import run_notebook

        return run_notebook(path, options)
    from jaxvjp_magic.runners.script import run_script

    return run_script(path, list(arguments), options)


def _write(report: Report, json_path: str | None, *, text: bool = True) -> bool:
    """Show the report and write its JSON; returns whether that worked."""
    if json_path == "-":
        said(report.to_json())
        return True
    if text:
        said(str(report))
    if json_path:
        try:
            Path(json_path).write_text(report.to_json() + "\n", encoding="utf-8")
        except OSError as error:
            said(f"could not write {json_path}: {error.strerror}", errors=True)
            return False
    return True
