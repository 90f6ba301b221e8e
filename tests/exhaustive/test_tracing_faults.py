"""Every function of the tracing is made to raise, one at a time: the program does not notice, and one note tells."""

from __future__ import annotations

import jax
import pytest
from fault_programs import PROGRAMS, options_of, outcome, raising, right, wrong
from faults import FAULT, broken, functions_in, reaching, standing

from jaxvjp_magic.jax_compat import internals

MODULES = (
    "instrument.hooks",
    "recording.recorder",
    "recording.collector",
    "recording.rule_names",
    "recording.dependence",
    "introspect.name_lookup",
    "introspect.callables",
    "introspect.helper_functions",
    "introspect.avals",
    "introspect.stack",
    "verify.samples",
    "verify.compare",
    "verify.nan_origin",
    "verify.promotion",
    "verify.tolerance",
    "verify.observed_values",
    "retracing.retrace",
    "instrument.tracer",
    "introspect.names_at_error",
    "introspect.snapshots",
    "jax_compat.internals",
    "jax_compat.patch_points",
    "retracing.jaxpr_equality",
    "retracing.rerun",
    "instrument.compile_time",
    "recording.live_calls",
    "instrument.wrapped_rules",
    "introspect.unwrap",
    "jax_compat.patch",
    "introspect.static_attributes",
)
NOT_BROKEN = {
    "the guard itself": {
        "instrument.hooks.Hooks.fault",
        "instrument.hooks._said",
        "instrument.hooks._Stay.current",
        "instrument.wrapped_rules.tell",
        "recording.collector.Collector.noting",
        "recording.collector._Noting.__init__",
        "recording.collector._Noting.__enter__",
        "recording.collector._Noting.__exit__",
        "recording.recorder.Recorder._unseen",
        "recording.collector.Collector.note",
        "recording.collector.Collector.could_not",
        "recording.collector._first_line",
        "instrument.tracer.Tracer._could_not",
        "recording.recorder.Recorder._could_not",
    },
    "a hook, or what stands for a rule: it is the program's own call that fails": {
        "instrument.wrapped_rules._WrappedRule.__bool__",
        "instrument.wrapped_rules._WrappedRule.__call__",
        "instrument.wrapped_rules._WrappedRule.__doc__",
        "instrument.wrapped_rules._WrappedRule.__getattr__",
        "instrument.wrapped_rules._WrappedRule.__repr__",
    },
    "called by Python when a pullback is gone, and takes one entry out of a dictionary": {
        "recording.live_calls.forget"
    },
    "takes our frames off tracebacks, which are longer without it": {"introspect.stack.drop_own_frames"},
    "tells our faults from what the program cannot do": {
        "introspect.stack.is_own_fault",
        "introspect.stack.UserCode.__enter__",
        "introspect.stack.UserCode.__exit__",
    },
    "what puts JAX back, which nothing else can": {
        "instrument.hooks.Hooks.forget",
        "instrument.hooks.Hooks._restore",
        "jax_compat.patch.PatchPoint.restore",
        "instrument.tracer.Tracer.abandon",
    },
    "runs once in a process, or at its import": {
        "instrument.hooks.Hooks.__init__",
        "instrument.hooks._Stay.__init__",
        "instrument.tracer._hooks",
        "instrument.tracer._the_hooks",
        "retracing.retrace._ThreadState.__init__",
        "jax_compat.internals._MissingModule.__init__",
        "jax_compat.internals._MissingModule.__getattr__",
        "jax_compat.internals._module",
        "jax_compat.patch_points._inside_boundary",
    },
    "counts who is inside a cache of JAX's, under a lock": {
        "retracing.retrace._Inside.__enter__",
        "retracing.retrace._Inside.__exit__",
        "retracing.retrace._Inside.__init__",
        "retracing.retrace._Inside.alone",
    },
    "runs in a forked child, whose faults come back as the reason": {
        "recording.collector.Collector.found",
        "recording.collector.Collector.begin_anew",
        "recording.collector._branch",
        "recording.collector._states_of",
        "retracing.rerun.packed",
        "retracing.rerun._Pickler.reducer_override",
        "jax_compat.internals.run_rules_in",
        "jax_compat.internals.is_differentiating",
        "jax_compat.internals.accelerators",
        "jax_compat.internals.forbid_compiling",
    },
    "stands for print": {"retracing.retrace._say_nothing"},
    "asked where there are several checks": {
        "recording.collector.Collector.listening",
        "instrument.hooks.Hooks.current",
    },
    "where there are hundreds of pullbacks": {"recording.recorder.Recorder._forget_the_dead"},
    "of %vjpcheck cache, or where compiling takes long": {
        "instrument.compile_time.keep_in",
        "instrument.compile_time.kept_in",
    },
    "JAX calls it, and it adds two numbers": {"instrument.compile_time.Compilation._listen"},
    "no part of a check's run: when the extension is loaded, or while a cell runs": {
        "instrument.tracer.about_jax",
        "instrument.hooks.not_seen",
        "instrument.tracer.Tracer.so_far",
    },
}
if jax.__version_info__ >= (0, 9):
    NOT_BROKEN["for JAX 0.8"] = {"instrument.hooks.partial_pullback_hook"}
if hasattr(internals.api, "_vjp"):
    NOT_BROKEN["for JAX 0.10 and later"] = {"introspect.unwrap._selection", "introspect.unwrap._is_custom_gradient"}


def to_break():
    """For each function the programs to break it in: the first that runs it, and those that raise, if they do."""

    def run(program):
        return outcome(program, **options_of(program))[1]

    for program in PROGRAMS:
        run(program)
    wanted = {name: FUNCTIONS[name] for name in BROKEN}
    found = reaching(wanted, PROGRAMS, run, lambda program: bool(run(program).notes))
    return {name: [some[0], *(one for one in some[1:] if one in (wrong, raising))] for name, some in found.items()}


@pytest.fixture(scope="module")
def programs():
    """What `to_break` finds, and what each program does when it is not checked."""
    return to_break(), {program: outcome(program)[0] for program in PROGRAMS}


FUNCTIONS = functions_in(*MODULES)
BROKEN = [name for name in FUNCTIONS if not any(name in some for some in NOT_BROKEN.values())]


def test_every_function_is_broken_below_or_said_why_not(programs):
    """A new function needs a program that reaches it, or a reason."""
    named = {name for some in NOT_BROKEN.values() for name in some}
    assert named <= FUNCTIONS.keys()
    assert FUNCTIONS.keys() - programs[0].keys() <= named


def by_version(name):
    """What stands in JAX's places, or reads what JAX keeps, is broken with every JAX; the rest with one."""
    is_ours = not name.startswith(
        (
            "instrument.hooks",
            "jax_compat.internals",
            "jax_compat.patch_points",
            "retracing.retrace",
            "introspect.unwrap",
        )
    )
    return pytest.param(name, marks=[pytest.mark.any_jax] * is_ours)


@pytest.mark.parametrize("name", [by_version(name) for name in BROKEN])
def test_a_fault_is_one_note_and_nothing_else(programs, name, capsys):
    """Value, exception, traceback and output are the program's own, JAX is as before, and the next check is clean."""
    found, plain = programs
    before = standing()
    for program in found[name]:
        with broken(FUNCTIONS[name]):
            got, report = outcome(program, **options_of(program))
        assert got == plain[program]
        assert standing() == before
        assert [FAULT in note for note in report.notes] == [True], report.notes
    said = capsys.readouterr()
    assert (said.out.replace("said\n", ""), said.err) == ("", "")
    got, report = outcome(right, verify=False)
    assert got == plain[right]
    assert report.notes == ()
    assert len(report.calls) == 2
