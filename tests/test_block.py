"""`vjpcheck()` in scripts and tests: a block, a function, and what the report is before, in and after it."""

from __future__ import annotations

import asyncio
import traceback

import jax
import jax.numpy as jnp
import pytest

from jaxvjp_magic import Report, Severity, session, versions, vjpcheck
from jaxvjp_magic.instrument import tracer
from jaxvjp_magic.results.model import Finding

wrong = jax.custom_vjp(lambda x: jnp.sum(x * x))
wrong.defvjp(lambda x: (jnp.sum(x * x), x), lambda x, g: (jnp.ones(4) * g,))
X = jnp.ones(3)


def fails():
    """The gradient of a function whose bwd rule returns another shape."""
    return jax.grad(wrong)(X)


def finding(severity):
    """A report with one finding."""
    return Report(findings=(Finding("VJP104", severity, "f", "title", "message"),))


def test_the_worse_severity_is_the_greater():
    """In comparisons, in `max` and `sorted`, and beside its word."""
    assert Severity.ERROR > Severity.WARNING > Severity.NOTE
    assert Severity.NOTE < Severity.WARNING <= Severity.WARNING
    assert Severity.WARNING >= Severity.NOTE
    assert not Severity.WARNING < Severity.NOTE
    assert max(Severity) is Severity.ERROR
    assert sorted(Severity) == [Severity.NOTE, Severity.WARNING, Severity.ERROR]
    assert Severity.ERROR > "warning"
    assert Severity.NOTE == "note"
    with pytest.raises(ValueError, match="'worse' is not a valid Severity"):
        assert Severity.ERROR > "worse"


def test_a_report_is_true_where_it_is_ok():
    """No error, and complete."""
    assert Report()
    assert finding(Severity.WARNING)
    assert not finding(Severity.ERROR)
    assert not Report(complete=False)


def test_inside_the_block_it_is_not_ok_yet():
    """And says so; after it, it is."""
    with vjpcheck() as report:
        assert not report.ok
        assert str(report) == "vjpcheck: the check is not finished"
        with pytest.raises(AssertionError, match="the check is not finished"):
            report.raise_if("error")
        report.raise_if("never")
        jax.grad(jnp.sin)(1.0)
    assert report.ok
    assert report.complete
    assert len(report.calls) == 1


def test_raise_if_has_the_report_as_its_text():
    """At the level, and above it."""
    report = finding(Severity.WARNING)
    report.raise_if("error")
    for level in ("warning", "note"):
        with pytest.raises(AssertionError) as raised:
            report.raise_if(level)
        assert str(raised.value) == str(report)
    with pytest.raises(ValueError, match="'all' is not a valid Severity"):
        report.raise_if("all")


def test_its_repr_is_the_table():
    """For a failing `assert report.ok, report`."""
    report = finding(Severity.ERROR)
    assert repr(report) == str(report)
    assert repr(report).startswith("vjpcheck: 1 error, ")


def test_fail_on_raises_when_the_block_ends():
    """With the report as the text; not below the level, and not in place of the block's own exception."""

    def handled():
        with pytest.raises(ValueError, match="bwd"):
            fails()

    with (
        pytest.raises(AssertionError, match=r"^vjpcheck: \d errors?, ") as raised,
        vjpcheck(fail_on="warning") as report,
    ):
        handled()
    assert str(raised.value) == str(report)
    with vjpcheck(fail_on="note"):
        jax.grad(jnp.sin)(1.0)
    with pytest.raises(ZeroDivisionError), vjpcheck(fail_on="note"):
        1 / 0  # noqa: B018
    with pytest.raises(ValueError, match="fail_on must be one of never, error, warning, note, not 'all'"):
        vjpcheck(fail_on="all")


def test_an_exception_takes_the_report_along():
    """With `fail_on`, where something was found: a traceback shows it. Without, the exception is as it was."""
    with pytest.raises(ValueError, match="bwd") as untouched, vjpcheck():
        fails()
    assert not [note for note in getattr(untouched.value, "__notes__", []) if "vjpcheck" in note]
    with pytest.raises(ValueError, match="bwd") as raised, vjpcheck(fail_on="error") as report:
        fails()
    assert raised.value.__notes__[-1] == str(report)
    assert str(report) in "".join(traceback.format_exception(raised.value))
    with pytest.raises(ZeroDivisionError) as plain, vjpcheck(fail_on="note"):
        _ = jax.grad(jnp.sin)(1 / 0)
    assert not hasattr(plain.value, "__notes__")


def test_a_block_is_for_one_time():
    """Entered again, inside itself or after it, it says what to do."""
    block = vjpcheck()
    with block as report:
        again = pytest.raises(RuntimeError, match=r"entered only once; call vjpcheck\(\) for each block")
        with again, block:
            pass
        jax.grad(jnp.sin)(1.0)
    assert len(report.calls) == 1
    with again, block:
        pass


def test_a_check_that_could_not_begin_is_not_ok(monkeypatch):
    """With the note that says why, in JSON too."""

    class Broken(tracer.Tracer):
        def start(self):
            message = "broken"
            raise LookupError(message)

    monkeypatch.setattr(session, "Tracer", Broken)
    with vjpcheck() as report:
        jax.grad(jnp.sin)(1.0)
    assert not report.ok
    assert (
        str(report) == "vjpcheck: the check could not be done\n\nnote: could not start the check: LookupError: broken"
    )
    assert Report.from_json(report.to_json()) == report
    with pytest.raises(AssertionError, match="could not be done"), vjpcheck(fail_on="error"):
        pass


def test_a_jax_that_is_too_old_is_not_ok(monkeypatch):
    """Nothing is seen with it."""
    monkeypatch.setattr(versions, "is_too_old", lambda _: True)
    with vjpcheck() as report:
        jax.grad(jnp.sin)(1.0)
    assert not report.ok
    assert len(report.notes) == 1


class TestFunction:
    """`@vjpcheck()`."""

    def test_each_call_is_checked(self, capsys):
        """It keeps its name and result; the report is that of the last call; nothing found, nothing shown."""

        @vjpcheck()
        def step(x, *, scale):
            """Step."""
            return jax.grad(jnp.sin)(x) * scale

        assert step.__name__ == "step"
        assert step.__doc__ == "Step."
        assert step(0.0, scale=2) == 2
        first = step.report
        assert step(0.0, scale=3) == 3
        assert first.ok
        assert step.report.ok
        assert step.report is not first
        assert capsys.readouterr() == ("", "")

    def test_what_is_found_is_shown(self, capsys):
        """Where the function goes on, and where it raises; not twice, where the exception has it."""

        @vjpcheck()
        def handles():
            with pytest.raises(ValueError, match="bwd"):
                fails()

        handles()
        assert capsys.readouterr() == ("", f"{handles.report}\n")
        raising = vjpcheck(fails)
        with pytest.raises(ValueError, match="bwd"):
            raising()
        assert capsys.readouterr() == ("", f"{raising.report}\n")
        with pytest.raises(ValueError, match="bwd") as raised:
            vjpcheck(fail_on="error")(fails)()
        assert raised.value.__notes__[-1].startswith("vjpcheck: 1 error, 2 calls")
        assert capsys.readouterr() == ("", "")

    def test_a_coroutine_is_checked_to_its_end(self):
        """Not until its first await only."""

        @vjpcheck()
        async def step():
            await asyncio.sleep(0)
            return jax.grad(jnp.sin)(0.0)

        assert asyncio.run(step()) == 1
        assert len(step.report.calls) == 1

    def test_a_generator_is_refused(self):
        """Its body does not run in the call."""
        with pytest.raises(TypeError, match="steps is a generator: its body runs after the call"):

            @vjpcheck()
            def steps():
                yield 1

    def test_what_is_no_function_is_told(self):
        """An option without its name, say."""
        with pytest.raises(TypeError, match="vjpcheck checks functions, not True; pass options by name"):
            vjpcheck(True)  # noqa: FBT003 (that is the mistake)

    def test_bare(self):
        """Without the parentheses."""

        @vjpcheck
        def step():
            return jax.grad(jnp.sin)(0.0)

        assert step() == 1
        assert step.report.ok
