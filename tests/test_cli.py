"""The command line: a script and a notebook run as they run by themselves, with a report after them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from jaxvjp_magic import Report

pytestmark = pytest.mark.any_jax

EXAMPLES = Path(__file__).parent.parent / "examples"
WRONG = """
    import jax, jax.numpy as jnp
    @jax.custom_vjp
    def f(x):
        return x.sum()
    f.defvjp(lambda x: (x.sum(), x), lambda x, g: (g,))
    print("before")
    try:
        jax.grad(f)(jnp.ones(3))
    except ValueError:
        print("after")
"""


COMMAND = (sys.executable, "-m", "jaxvjp_magic")


def run(*arguments, cwd, program=COMMAND):
    return subprocess.run([*program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def script(tmp_path):
    """Write a script, give back how to run it."""

    def write_and_run(text, *options, arguments=()):
        (tmp_path / "script.py").write_text(textwrap.dedent(text))
        return run("script.py", *options, *arguments, cwd=tmp_path)

    return write_and_run


def test_a_scripts_output_comes_first_and_the_report_after_it(script):
    """Exit status 1: an error was found; the exception was the program's own affair."""
    done = script(WRONG)
    assert done.returncode == 1
    assert done.stdout.startswith("before\nafter\nvjpcheck: 1 error, ")
    assert "× error VJP104  line 6: the bwd rule of f returns float32[] for x, which is float32[3]" in done.stdout  # noqa: RUF001
    assert done.stderr == ""


def test_a_reader_that_has_gone_is_no_mistake(tmp_path):
    """`vjpcheck script.py | head -1`: no traceback, the same exit status, and the JSON is written."""
    (tmp_path / "script.py").write_text("import jax\njax.grad(lambda x: x)(1.0)\n")
    command = [sys.executable, "-m", "jaxvjp_magic", "script.py", "--json", "report.json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
    assert len(json.loads((tmp_path / "report.json").read_text())["calls"]) == 1


def test_fail_on_and_ignore_decide_the_exit_status(script):
    """never, error, warning; an ignored code does not count."""
    assert script(WRONG, "--fail-on", "never").returncode == 0
    assert script(WRONG, "--ignore", "VJP104").returncode == 0
    assert script(WRONG, "--ignore", "VJP104", "--ignore", "NAM201").returncode == 0
    warning = "import jax, jax.numpy as jnp\nf = jax.custom_vjp(lambda x: x)\n"
    warning += "f.defvjp(lambda x: (x, None), lambda _, g: (g.astype(jnp.bfloat16),))\njax.grad(f)(1.0)\n"
    assert [script(warning, "--fail-on", level).returncode for level in ("error", "warning")] == [0, 1]


def test_json_is_the_last_line_even_after_exit_functions_and_threads(script):
    """With --json -, what the program prints at its very end comes before."""
    done = script(
        """
        import atexit, jax, threading, time
        atexit.register(print, "bye")
        threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
        jax.grad(jax.numpy.sin)(1.0)
        """,
        "--json",
        "-",
    )
    assert done.returncode == 0
    *lines, last = done.stdout.splitlines()
    assert sorted(lines) == ["bye", "thread"]
    assert [call.kind for call in Report.from_json(last).calls] == ["grad"]


def test_json_to_a_file(script, tmp_path):
    """The text is printed too."""
    done = script(WRONG, "--json", "report.json")
    report = Report.from_json((tmp_path / "report.json").read_text())
    assert [finding.code for finding in report.findings] == ["VJP104"]
    assert str(report) in done.stdout


def test_an_exception_is_shown_as_python_shows_it(script, tmp_path):
    """The same standard error as without the check, and none of our frames in it."""
    text = "import jax\ndef f(x):\n    raise KeyError('boom')\njax.grad(f)(1.0)\n"
    done = script(text, "--json", "report.json")
    plain = run("script.py", cwd=tmp_path, program=(sys.executable,))
    assert done.stderr == plain.stderr
    assert done.returncode == 1
    error = json.loads((tmp_path / "report.json").read_text())["error"]
    assert error == {"type": "KeyError", "message": "'boom'", "line": 3}


def test_environment_variables_set_before_the_import_of_jax_count(script):
    """The check does not import jax before the program does."""
    done = script(
        """
        import os, sys
        assert "jax" not in sys.modules
        os.environ["JAX_ENABLE_X64"] = "1"
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=3"
        import jax
        print(jax.grad(jax.numpy.sin)(1.0).dtype, jax.device_count())
        """
    )
    assert done.stdout.startswith("float64 3\nvjpcheck: no problems found in 1 call")


def test_a_script_is_main_and_has_its_arguments_and_folder(script, tmp_path):
    """__name__, __file__, sys.argv, sys.path, classes that pickle."""
    (tmp_path / "neighbour.py").write_text("value = 3\n")
    done = script(
        """
        import sys, pickle, neighbour
        class Thing: pass
        assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
        print(__name__, __file__, sys.argv, neighbour.value)
        """,
        arguments=("--", "one", "--two"),
    )
    assert done.stdout.startswith(f"__main__ {tmp_path / 'script.py'} ['script.py', 'one', '--two'] 3\n")


def test_a_script_has_its_own_future_imports_alone(script):
    """An annotation is an object, unless the script asks for texts."""
    done = script("class Thing:\n    count: int = 3\nprint(Thing.__annotations__)\n")
    assert done.stdout.startswith("{'count': <class 'int'>}\n")


@pytest.mark.parametrize(
    ("ending", "status"), [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 1), ("sys.exit('bad luck')", 1)]
)
def test_a_script_that_exits_still_has_a_report(script, ending, status):
    """exit() is an end like others; another status than 0 is an error."""
    done = script(f"import sys, jax\njax.grad(jax.numpy.sin)(1.0)\n{ending}\n")
    assert done.returncode == status
    assert "grad(sin)" in done.stdout
    assert ("\n\nended in exit(3) at line 3\n" in done.stdout) == ("3" in ending)
    assert "explains" not in done.stdout
    assert done.stderr == ("bad luck\n" if "luck" in ending else "")


def test_a_program_without_jax_is_told_so_in_one_line(script):
    """Nothing to see."""
    assert script("print(1)").stdout == "1\nvjpcheck: no call of jax.vjp or of a custom_vjp function\n"


def test_an_older_jax_is_named_and_left_alone(script):
    """Which versions are supported; the program runs on."""
    done = script(
        """
        import sys, jax
        jax.__version__, jax.__version_info__ = "0.7.2", (0, 7, 2)
        from jaxvjp_magic import vjpcheck
        with vjpcheck() as report:
            print(jax.grad(jax.numpy.sin)(0.0))
        print(report.notes, report.calls)
        """
    )
    assert done.stdout.startswith(
        "1.0\n('JAX 0.7.2 is not supported, so nothing is traced. Install JAX 0.8 to 0.12',) ()\n"
    )


def test_an_older_jax_is_exit_status_2(tmp_path):
    """A program that could not be checked has not passed."""
    (tmp_path / "script.py").write_text("import jax\nprint(jax.grad(jax.numpy.sin)(0.0))\n")
    older = "import sys; from jaxvjp_magic import cli, versions; versions.is_too_old = lambda _: True; "
    done = run(f"{older}sys.exit(cli.main(['script.py']))", cwd=tmp_path, program=(sys.executable, "-c"))
    assert done.returncode == 2
    assert done.stdout.startswith("1.0\nvjpcheck: the check could not be done")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "no such file: missing.py"),
        (["."], ". is a folder"),
        (["empty.py", "--nope"], "unrecognized arguments: --nope (--help shows the options)"),
        (["empty.py", "--fail-on", "never", "--fail-on", "x"], "argument --fail-on: invalid choice: 'x'"),
        ([], "the following arguments are required: PATH"),
        (["empty.py", "--ignore", "NAM2O1"], "unknown code NAM2O1; did you mean NAM201?"),
        (["empty.py", "--json", "no/such/folder.json"], "no folder for --json no/such/folder.json"),
        (["damaged.ipynb"], "damaged.ipynb is not a readable notebook: "),
        (["list.ipynb"], "list.ipynb is not a readable notebook: "),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(tmp_path, arguments, message):
    """Exit status 2, and no traceback."""
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "damaged.ipynb").write_text('{"cells": [')
    (tmp_path / "list.ipynb").write_text("[]")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"python -m jaxvjp_magic: {message}")
    assert done.stderr.count("\n") == 1


def test_the_installed_command_is_the_same(tmp_path):
    """`vjpcheck FILE`."""
    done = run("missing.py", cwd=tmp_path, program=(str(Path(sys.executable).parent / "vjpcheck"),))
    assert (done.returncode, done.stderr) == (
        2,
        "vjpcheck: no such file: missing.py (arguments for the program itself go after --)\n",
    )


def test_a_script_with_a_syntax_error_is_shown_as_python_shows_it(script, tmp_path):
    """No traceback of ours; the report has the line."""
    done = script("import jax\na = = 3\n", "--json", "-")
    assert done.returncode == 1
    assert done.stderr == run("script.py", cwd=tmp_path, program=(sys.executable,)).stderr
    assert done.stderr.endswith("SyntaxError: invalid syntax\n")
    assert Report.from_json(done.stdout).error.line == 2


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of code cells, give back how to run it."""

    def write_and_run(*cells, options=()):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells])
        nbformat.write(book, tmp_path / "book.ipynb")
        before = (tmp_path / "book.ipynb").read_bytes()
        done = run("book.ipynb", *options, cwd=tmp_path)
        assert (tmp_path / "book.ipynb").read_bytes() == before
        return done

    return write_and_run


def test_a_notebook_runs_in_a_kernel_and_findings_say_which_cell(notebook):
    """Each code cell is checked; output goes where it goes; the exception stops the run."""
    done = notebook(
        "import jax, jax.numpy as jnp, sys\nprint('out'); print('err', file=sys.stderr)\n6 * 7",
        "@jax.custom_vjp\ndef f(x):\n    return x.sum()\nf.defvjp(lambda x: (f(x), x), lambda x, g: (g,))",
        "f = jax.vmap(f)",
        "jax.vjp(f, jnp.ones((2, 3)))[1](jnp.ones(2))",
        "print('never')",
        options=("--json", "-"),
    )
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert lines == ["out", "42"]
    assert "err\n" in done.stderr
    report = Report.from_json(last)
    assert [(finding.code, finding.source, finding.line) for finding in report.findings] == [
        ("NAM201", "In[3]", 1),
        ("VJP101", "In[2]", 4),
        ("VJP106", "In[4]", 1),
    ]
    assert {call.source for call in report.calls} == {"In[2]", "In[4]"}
    assert (report.error.type, report.error.source, report.error.line) == ("ValueError", "In[4]", 1)


def test_a_notebook_whose_kernel_dies_is_told_in_one_line(notebook):
    """What was seen until then is reported."""
    done = notebook("import jax\njax.grad(jax.numpy.sin)(1.0)", "import os\nos._exit(1)", "1")
    assert done.returncode == 1
    assert "grad(sin)" in done.stdout
    assert "ended in DeadKernelError at In[2]" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("seed_bug", 1, "NAM201 explains it"),
        ("seed_fixed", 0, "no problems found in 4 calls; values not compared (--verify)"),
        ("silent_mean", 1, "× error NAM201  In[3], line 1"),  # noqa: RUF001
        ("correct_rule", 0, "no problems found in"),
    ],
)
def test_the_examples_run(tmp_path, name, status, says):
    """Each shows what its first lines promise."""
    done = run(str(EXAMPLES / f"{name}.ipynb"), cwd=tmp_path)
    assert done.returncode == status
    assert says in done.stdout


# Several programs ---------------------------------------------------------------------------------


def test_several_programs_run_each_in_a_process_of_its_own(tmp_path):
    """Each prints and reports below its name; one exit status, that of the worst; one JSON, with places told apart."""
    (tmp_path / "wrong.py").write_text(textwrap.dedent(WRONG))
    (tmp_path / "right.py").write_text("import sys, jax\nprint(sys.argv[1:], jax.grad(lambda x: x * x)(1.0))\n")
    cells = [nbformat.v4.new_code_cell(one) for one in ("import jax", "jax.grad(lambda x: x * 3)(1.0)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book.ipynb")
    done = run("right.py", "wrong.py", "book.ipynb", "--json", "all.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    heads = [line for line in done.stdout.splitlines() if line.startswith("==")]
    assert heads == ["== right.py", "== wrong.py", "== book.ipynb", "== 3 programs, wrong.py with something wrong"]
    assert "[] 2.0\nvjpcheck: no problems found in 1 call" in done.stdout
    report = Report.from_json((tmp_path / "all.json").read_text())
    assert [(one.code, one.source, one.line) for one in report.findings] == [("VJP104", "wrong.py", 6)]
    assert {call.source for call in report.calls} == {"right.py", "wrong.py", "book.ipynb, In[2]"}
    done = run("right.py", "right.py", "--json", "-", "--", "--deep", "3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1] == "['--deep', '3'] 2.0"
    assert len(Report.from_json(done.stdout.splitlines()[-1]).calls) == 2


def test_what_cannot_be_run_among_several_is_the_exit_status(tmp_path):
    """A notebook that cannot be read, beside one that is right; and what is no file at all stops before the first."""
    (tmp_path / "right.py").write_text("import jax\njax.grad(lambda x: x * x)(1.0)\n")
    (tmp_path / "damaged.ipynb").write_text('{"cells": [')
    done = run("right.py", "damaged.ipynb", "--json", "all.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "== 2 programs, damaged.ipynb with something wrong" in done.stdout
    report = Report.from_json((tmp_path / "all.json").read_text())
    assert (report.complete, report.notes) == (False, ("damaged.ipynb: it left no report",))
    done = run("right.py", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("no such file: 3 (arguments for the program itself go after --)\n")


def test_a_notebook_takes_no_arguments(tmp_path):
    """They would go nowhere."""
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "book.ipynb")
    done = run("book.ipynb", "--", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(": book.ipynb is a notebook, and takes no arguments\n")


# What is written, and where -----------------------------------------------------------------------


def test_a_report_that_cannot_be_written_is_the_exit_status(script, tmp_path):
    """Before the program runs where that is known, and after it where not."""
    (tmp_path / "folder").mkdir()
    done = script("print('ran')", "--json", "folder")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(": --json folder is a folder\n")
    done = script("import os; os.mkdir('made.json'); print('ran')", "--json", "made.json")
    assert done.returncode == 2
    assert done.stdout.startswith("ran\nvjpcheck: ")
    assert done.stderr == "could not write made.json: Is a directory\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_of_few_letters_gets_the_report(tmp_path, encoding):
    """In signs that it has; a traceback of ours it does not."""
    (tmp_path / "script.py").write_text(textwrap.dedent(WRONG))
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('Schrödinger: ψ')")]), tmp_path / "book.ipynb"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [*COMMAND, "script.py"], cwd=tmp_path, env=environment, capture_output=True, encoding=encoding, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "x error VJP104  line 6" in done.stdout
    done = subprocess.run(
        [*COMMAND, "book.ipynb"], cwd=tmp_path, env=environment, capture_output=True, encoding=encoding, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Schrödinger: ?" if encoding == "latin-1" else "Schr?dinger: ?")


def test_a_script_that_is_not_utf_8_ends_as_python_ends_it(tmp_path):
    """And one that says what it is runs."""
    (tmp_path / "script.py").write_bytes("# caf\xe9\nprint('ran')\n".encode("latin-1"))
    done, plain = (run("script.py", cwd=tmp_path, program=one) for one in (COMMAND, (sys.executable,)))
    assert (done.returncode, plain.returncode) == (1, 1)
    assert done.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1].replace(
        "file script.py", f"file {tmp_path / 'script.py'}"
    )
    (tmp_path / "script.py").write_bytes("# coding: latin-1\nprint('caf\xe9')\n".encode("latin-1"))
    assert run("script.py", cwd=tmp_path).stdout.startswith("café\n")


# How a notebook ends ------------------------------------------------------------------------------


@pytest.fixture
def tagged(tmp_path):
    """Run a notebook of cells with tags; what it printed, and its report."""

    def write_and_run(*cells):
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(text, metadata={"tags": tags}) for text, *tags in cells]
        )
        nbformat.write(book, tmp_path / "book.ipynb")
        done = run("book.ipynb", "--json", "-", cwd=tmp_path)
        *lines, last = done.stdout.splitlines()
        return done.returncode, lines, Report.from_json(last)

    return write_and_run


def test_a_cell_that_is_to_raise_does_not_end_the_notebook(tagged):
    """Its exception is as one that the program handles."""
    cells = ("import jax", "jax.grad(lambda x: x.nothing)(1.0)", "print('on')")
    status, lines, report = tagged(cells[:1], (cells[1], "raises-exception"), cells[2:])
    assert (status, lines, report.error) == (0, ["on"], None)
    assert [(one.code, one.severity.value) for one in report.findings] == [("VJP111", "note")]
    status, lines, report = tagged(*((cell,) for cell in cells))
    assert (status, lines, report.error.type) == (1, [], "AttributeError")


def test_a_cell_that_is_not_to_run_does_not(tagged):
    """Neither does what it printed before count."""
    assert tagged(("print('no')", "skip-execution"), ("print('yes')",))[:2] == (0, ["yes"])


def test_a_line_magic_that_fails_ends_the_notebook(tagged):
    """As Run All does, although IPython shows no traceback for it."""
    status, lines, report = tagged(("%no_such_magic",), ("print('never')",))
    assert (status, lines) == (1, [])
    assert (report.error.type, report.error.source) == ("UsageError", "In[1]")


def test_a_long_temporary_folder_is_no_obstacle(tmp_path):
    """A socket's name has to be short."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('ran')")]), tmp_path / "book.ipynb")
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(
        [*COMMAND, "book.ipynb"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[0], done.stderr) == (0, "ran", "")
