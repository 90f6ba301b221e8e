"""The magics: `%%vjpcheck` and `%vjpcheck`."""

from __future__ import annotations

import keyword
from argparse import SUPPRESS
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

from jaxvjp_magic import catalogue
from jaxvjp_magic.notebook.cell_transform import BEGIN
from jaxvjp_magic.session import RETRACE, Options

if TYPE_CHECKING:
    from jaxvjp_magic.notebook.session import Extension


COMMANDS = ("on", "off", "last", "ignore", "explain", "cache")


class _AlreadyShownError(Exception):
    """Ends an outer cell whose inner cell has shown its exception already."""

    def _render_traceback_(self) -> list[str]:
        return []


@magics_class
class VjpCheckMagics(Magics):
    """The magics of one shell."""

    def __init__(self, extension: Extension) -> None:
        """The extension does the work."""
        super().__init__(extension.shell)
        self._extension = extension

    @magic_arguments()
    @argument("command", nargs="?", choices=COMMANDS, help="%%vjpcheck only: on, off, last, ignore, explain, cache")
    @argument("codes", nargs="*", metavar="CODE", help="of ignore and explain; of cache: on or off")
    @argument("--verify", action="store_true", help="compare the values of the rules, too")
    @argument(
        "--ignore",
        metavar="CODE[,CODE]",
        action="append",
        default=[],
        help="do not report these codes; repeatable",
    )
    @argument("--into", metavar="NAME", default="", help="bind the report to this name")
    @argument("--fail-on", choices=("never", "error", "warning"), default="never", help="fail on such findings")
    @argument(
        "--retrace", choices=RETRACE, default="pure", help="which functions that JAX has traced before are traced again"
    )
    @argument("--no-retrace", action="store_true", help="short for --retrace none")
    @argument("--libraries", action="store_true", help="show warnings about library files, too")
    @argument("--no-widget", action="store_true", help="show only the static table")
    @argument(BEGIN, action="store_true", help=SUPPRESS)
    @no_var_expand
    @line_cell_magic
    def vjpcheck(self, line: str, cell: str | None = None) -> Any:
        """Run a cell as without this magic, and show what its vjp and custom_vjp calls do.

        %%vjpcheck [options] on top of a cell checks it. `%vjpcheck on` checks
        every cell from here on, `%vjpcheck off` stops that, `%vjpcheck last`
        shows the last report again. `%vjpcheck ignore CODE ...` leaves findings
        out for the rest of the session (`ignore none` ends that),
        `%vjpcheck explain CODE` shows what a rule is about, and `%vjpcheck
        cache on` lets JAX keep on disk what it compiles.
        """
        try:
            arguments = _parsed(self.vjpcheck, line)
            options = _options(arguments)
        except UsageError:
            raise
        except Exception as error:
            if BEGIN not in line:
                raise
            print(f"vjpcheck: could not check this cell: {type(error).__name__}: {error}")
            return  # and the cell runs
        if arguments.command and (arguments.begin_cell or cell is not None):
            message = f"%%vjpcheck takes options only; without a cell: %vjpcheck {arguments.command}"
            raise UsageError(message)
        if arguments.codes and arguments.command not in ("ignore", "explain", "cache"):
            message = f"%vjpcheck {arguments.command} takes options only"
            raise UsageError(message)
        if arguments.begin_cell:
            self._extension.begin(options)
        elif cell is not None:
            self._run(options, cell)
        else:
            self._command(arguments.command, arguments.codes, options)

    def _command(self, command: str | None, codes: list[str], options: Options) -> None:
        if command == "on":
            self._extension.every_cell = options
        elif command == "off":
            self._extension.every_cell = None
        elif command == "last":
            if self._extension.last is None:
                message = "no cell has been checked yet"
                raise UsageError(message)
            self._extension.show_last(widget=options.widget)
        elif command == "ignore":
            self._ignore(codes)
        elif command == "explain":
            _explain(codes)
        elif command == "cache":
            _cache(codes)
        else:
            message = f"%vjpcheck takes {', '.join(COMMANDS)}; %%vjpcheck on top of a cell checks it"
            raise UsageError(message)

    def options(self, line: str) -> Options:
        """The options of a line that has nothing else; raises UsageError."""
        arguments = _parsed(self.vjpcheck, line)
        if arguments.command or arguments.begin_cell:
            message = f"{line.strip()}: only options of %%vjpcheck may follow it"
            raise UsageError(message)
        return _options(arguments)

    def _ignore(self, codes: list[str]) -> None:
        if codes == ["none"]:
            self._extension.ignored = ()
        elif codes:
            self._extension.ignored = tuple(dict.fromkeys((*self._extension.ignored, *_codes(",".join(codes)))))
        ignored = ", ".join(self._extension.ignored)
        print(
            f"vjpcheck: ignores {ignored} in this session" if ignored else "vjpcheck: ignores nothing in this session"
        )

    def _run(self, options: Options, cell: str) -> None:
        """For `run_cell_magic('vjpcheck', ...)`, as nbconvert writes it: a cell inside the cell."""
        if not cell.strip():
            message = "the cell below %%vjpcheck is empty"
            raise UsageError(message)
        result = self._extension.run_inside(options, cell)
        error = result.error_in_exec or result.error_before_exec
        if error is not None:
            raise type(type(error).__name__, (_AlreadyShownError,), {})(str(error))


def _parsed(magic: Any, line: str) -> Any:
    try:
        return parse_argstring(magic, line)
    except ValueError as error:  # an unclosed quotation mark
        message = f"{error} in the options of vjpcheck"
        raise UsageError(message) from None


def _codes(text: str) -> tuple[str, ...]:
    try:
        return catalogue.parse_codes(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _explain(codes: list[str]) -> None:
    if not codes:
        message = "%vjpcheck explain takes a code, as in: %vjpcheck explain NAM201"
        raise UsageError(message)
    for code in _codes(",".join(codes)):
        text = catalogue.section(code)
        display({"text/markdown": text, "text/plain": text}, raw=True)


def _cache(words: list[str]) -> None:
    if words not in (["on"], ["off"]):
        message = "%vjpcheck cache takes on or off"
        raise UsageError(message)
    from platformdirs import user_cache_dir

    from jaxvjp_magic.instrument import compile_time

    folder = (compile_time.kept_in() or user_cache_dir("jaxvjp_magic")) if words == ["on"] else None
    shortest = compile_time.keep_in(folder)
    kept = f"keeps in {folder} what takes longer than {shortest:g} s to compile" if folder else "keeps nothing on disk"
    print(f"vjpcheck: JAX {kept}")


def _options(arguments: Any) -> Options:
    into = _unquoted(arguments.into)
    ignore = _codes(",".join(map(_unquoted, arguments.ignore)))
    if into and (not into.isidentifier() or keyword.iskeyword(into)):
        message = f"--into {into}: not a name"
        raise UsageError(message)
    retrace = "none" if arguments.no_retrace else arguments.retrace
    return Options(
        arguments.verify, ignore, arguments.fail_on, retrace, into, not arguments.no_widget, arguments.libraries
    )


def _unquoted(text: str) -> str:
    """Without quotation marks, which IPython leaves on."""
    return text[1:-1] if text[:1] in ("'", '"') and text[-1:] == text[:1] else text
