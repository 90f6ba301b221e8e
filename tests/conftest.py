"""Real kernels for the tests: run cells as a notebook does, and see every message that comes back."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser_pages import browser, page, server, settings, show  # noqa: F401 (fixtures)
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from jaxvjp_magic.introspect import purity
from jaxvjp_magic.rendering.mime import MIME_TYPE
from jaxvjp_magic.retracing import child_process, rerun, retrace
from jaxvjp_magic.runners.notebook import connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jupyter_client.blocking.client import BlockingKernelClient


def pytest_addoption(parser: pytest.Parser) -> None:
    """Words change on purpose; the facts in them are tested by themselves."""
    parser.addoption("--renew-snapshots", action="store_true", help="write tests/snapshots again")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`.ci/run` runs the tests of rules with JAX_CUSTOM_VJP3 too."""
    marker = item.get_closest_marker("classic")
    if marker is not None and os.environ.get("JAX_CUSTOM_VJP3") == "1":
        pytest.skip(f"with JAX_CUSTOM_VJP3, {marker.args[0]}")


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`snapshot(name, text)`: the text is what `tests/snapshots/name` has."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "snapshots" / name
        if request.config.getoption("--renew-snapshots"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare


os.environ.pop("VIRTUAL_ENV", None)  # IPython warns of one that it does not run in


@pytest.fixture(autouse=True)
def a_new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget, after each test, that a child did not come back in it: the next one is to have its own."""
    monkeypatch.setattr(child_process, "_off", "")


@pytest.fixture
def all_is_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every function for a pure one, so that those that count their runs may run once more."""
    for module in (rerun, purity, retrace):
        monkeypatch.setattr(module, "judged", lambda *_: purity.Verdict())


LOAD = "%load_ext jaxvjp_magic"
_LONGEST_CELL = 120  # seconds
_SHOWN = ("stream", "execute_result", "display_data", "update_display_data", "error", "clear_output")
_CHANGING = (
    (r"\x1b\[[0-9;]*m", ""),  # colours
    (r"0x[0-9a-f]{6,}", "0xADDRESS"),
    (r"\S*[\\/]ipykernel_\d+[\\/]\d+\.py", "CELL.py"),  # the name of a cell's code
    (r"\(\d+\.py, line", "(CELL.py, line"),  # the same, in a SyntaxError
    (r"^(CPU times|Wall time): .*", r"\1: TIME"),
    (r"^(Compiler|Parser) +: .*\n", ""),  # %%time says it where these were slow
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came back for one cell: the messages that are shown, in order, and the reply."""

    messages: tuple[tuple[str, dict[str, Any]], ...]
    reply: dict[str, Any]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The JSON of each report that was shown."""
        return [content["data"][MIME_TYPE] for _, content in self.messages if _is_report(content)]

    @property
    def report(self) -> dict[str, Any]:
        """The JSON of the only report."""
        (report,) = self.reports
        return report

    @property
    def codes(self) -> list[str]:
        """The codes of the findings of the only report."""
        return [finding["code"] for finding in self.report["findings"]]

    @property
    def text(self) -> str:
        """The only report as text."""
        (text,) = [content["data"]["text/plain"] for _, content in self.messages if _is_report(content)]
        return text

    @property
    def own(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The messages without our reports: what the cell itself shows."""
        return tuple((kind, content) for kind, content in self.messages if not _is_report(content))

    def stream(self, name: str) -> str:
        """All that was written to `stdout` or `stderr`."""
        return "".join(c["text"] for kind, c in self.messages if kind == "stream" and c["name"] == name)

    @property
    def value(self) -> str | None:
        """The value that was shown last, as text."""
        values = [c["data"]["text/plain"] for kind, c in self.messages if kind == "execute_result"]
        return values[-1] if values else None

    @property
    def error(self) -> str:
        """The shown traceback without colours; "" where there is none."""
        errors = [c["traceback"] for kind, c in self.messages if kind == "error"]
        return "\n".join(errors[0]) if errors else ""

    @property
    def kinds(self) -> list[str]:
        """The kinds of the messages in order; ours is `report`."""
        return ["report" if _is_report(content) else kind for kind, content in self.messages]


def _is_report(content: dict[str, Any]) -> bool:
    return MIME_TYPE in content.get("data", {})


class Kernel:
    """A running kernel of this Python, and one client."""

    def __init__(self, folder: Path, **environment: str) -> None:
        """Start it, with an IPython profile of its own."""
        self._sockets = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.manager = KernelManager(**connection(self._sockets.name))
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=ERROR"]
        self.manager._kernel_spec = KernelSpec(argv=command, display_name="Python", language="python")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        env = {**clean, "IPYTHONDIR": str(folder), "JAX_PLATFORMS": "cpu", **environment}
        self.manager.start_kernel(env=env, cwd=str(folder))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=_LONGEST_CELL)

    def stop(self) -> None:
        """End the kernel and close all sockets."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()
        self.client.context.destroy()
        self._sockets.cleanup()

    def send(self, cell: str, **options: Any) -> str:
        """Ask for a cell to be run; `outcome` waits for it."""
        return self.client.execute(cell, **options)

    def outcome(self, request: str, when_shown: Callable[[str], None] | None = None) -> Outcome:
        """What comes back for a request; `when_shown` is told each text that is written to a stream."""
        messages: list[tuple[str, dict[str, Any]]] = []
        while True:
            message = self.client.get_iopub_msg(timeout=_LONGEST_CELL)
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "stream" and when_shown is not None:
                when_shown(content["text"])
            if kind == "stream" and messages and messages[-1][0] == kind and messages[-1][1]["name"] == content["name"]:
                messages[-1][1]["text"] += content["text"]  # how it is cut into messages is chance
            elif kind in _SHOWN:
                messages.append((kind, content))
        while True:
            reply = self.client.get_shell_msg(timeout=_LONGEST_CELL)
            if reply["parent_header"].get("msg_id") == request:
                break
        reply["content"].pop("engine_info", None)
        return Outcome(tuple(_steady(messages)), _steady(reply["content"]))

    def run(self, cell: str, **options: Any) -> Outcome:
        """Run one cell to its end."""
        return self.outcome(self.send(cell, **options))

    def evaluate(self, expression: str) -> str:
        """The repr of an expression; no cell is run for it, nothing of IPython's notices."""
        request = self.client.execute("", silent=True, user_expressions={"it": expression})
        value = self.outcome(request).reply["user_expressions"]["it"]
        assert value["status"] == "ok", value
        return value["data"]["text/plain"]

    def interrupt(self, cell: str) -> Outcome:
        """Run a cell, and interrupt it as soon as it has written something."""

        def stop(_: str) -> None:
            time.sleep(0.2)  # from the print to the line that waits
            self.manager.interrupt_kernel()

        return self.outcome(self.send(cell), stop)


def _steady(value: Any) -> Any:
    """A message without what is different each time."""
    if isinstance(value, str):
        for pattern, steady in _CHANGING:
            value = re.sub(pattern, steady, value, flags=re.MULTILINE)
        return value
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_steady(item) for item in value)
    return value


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has much else to do any compilation is long: no test is about that, but its own."""
    monkeypatch.setattr("jaxvjp_magic.instrument.compile_time.LONG", float("inf"))


@pytest.fixture(scope="session")
def start_kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Kernel]]:
    """Start kernels; they end with the session."""
    running: list[Kernel] = []

    def start(**environment: str) -> Kernel:
        running.append(Kernel(tmp_path_factory.mktemp("kernel"), **environment))
        return running[-1]

    yield start
    for kernel in running:
        kernel.stop()


class Twins:
    """Two kernels with the same history: the one has the extension, the other has never heard of it."""

    def __init__(self, plain: Kernel, checked: Kernel) -> None:
        """Neither has run a cell yet; `%load_ext` is the first."""
        self.plain, self.checked = plain, checked
        checked.run(LOAD)
        plain.run("pass")

    def run(self, cell: str) -> tuple[Outcome, Outcome]:
        """Run a checked cell, and the same without the check: with `pass` in the place of the magic."""
        requests = self.plain.send(without_magic(cell)), self.checked.send(cell)
        return self.plain.outcome(requests[0]), self.checked.outcome(requests[1])

    def same(self, cell: str) -> Outcome:
        """Run a cell in both, compare everything that comes back but the report, and return the checked one's."""
        return same(*self.run(cell))


def without_magic(cell: str) -> str:
    """The cell with a line that does nothing instead of `%%vjpcheck`, so that lines keep their numbers."""
    return re.sub(r"^%%vjpcheck.*$", "pass", cell, count=1, flags=re.MULTILINE)


def same(plain: Outcome, checked: Outcome) -> Outcome:
    """Compare everything that comes back for a cell but the report; only the magic's line may read differently."""
    assert not plain.reports
    assert _with_plain_line(_gathered(checked.own)) == _gathered(plain.messages)
    assert _with_plain_line(checked.reply) == plain.reply
    return checked


def _gathered(messages: tuple[tuple[str, dict[str, Any]], ...]) -> list[tuple[str, dict[str, Any]]]:
    """With one message for each stream between two other messages: which of the two comes first is chance."""
    gathered: list[tuple[str, dict[str, Any]]] = []
    streams: dict[str, str] = {}
    for kind, content in (*messages, ("end", {})):
        if kind == "stream":
            streams[content["name"]] = streams.get(content["name"], "") + content["text"]
            continue
        gathered += [("stream", {"name": name, "text": streams[name]}) for name in sorted(streams)]
        gathered.append((kind, content))
        streams = {}
    return gathered


def _with_plain_line(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"get_ipython\(\)\.run_line_magic\('vjpcheck', '--begin-cell[^\n]*'\)", "pass", value)
    if isinstance(value, dict):
        return {key: _with_plain_line(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_plain_line(item) for item in value)
    return value


@pytest.fixture(scope="session")
def twins(start_kernel: Callable[..., Kernel]) -> Twins:
    """Two kernels with JAX and a correct custom_vjp function `square`, in both of which the same cells are run."""
    both = Twins(start_kernel(), start_kernel())
    both.run(SQUARE)
    return both


SQUARE = """
import jax, jax.numpy as jnp

@jax.custom_vjp
def square(x):
    return x * x

square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
"""


# What the tests of cells share -----------------------------------------------------------------

HOOKED = """sum(place.__globals__['__name__'].startswith('jaxvjp_magic') for place in (
    *(outer.__closure__[outer.__code__.co_freevars.index('fun')].cell_contents
      for outer in (jax.custom_vjp.__call__, jax.vjp)),
    *(getattr(jax._src.api, name) for name in ('_vjp', '_vjp_pullback_wrapper') if hasattr(jax._src.api, name)),
    jax._src.api.VJP.__call__))""".replace("\n", " ")
NO_FILE_OF_OURS = "jaxvjp_magic/", "jaxvjp_magic\\"


def value_of(outcome: Outcome) -> str:
    """The shown value; there must be one."""
    assert outcome.value is not None
    return outcome.value
