"""Every function of the tracing is made to raise, one at a time: the program does not notice, and one note tells."""

from __future__ import annotations

import jax
import pytest
from fault_programs import PROGRAMS, options_of, outcome, raising, right, wrong
from faults import FAULT, broken, functions_in, reaching

from jaxvjp_magic.tracing import jax_internals

MODULES = (
    "tracing.hooks", "tracing.listener", "tracing.recorder", "tracing.looks", "tracing.names", "tracing.functions",
    "tracing.helpers", "tracing.array_types", "tracing.frames", "tracing.probes", "tracing.verify",
    "tracing.nan", "tracing.precision", "tracing.closeness", "tracing.values", "tracing.retrace", "tracing.tracer",
    "tracing.namespace", "tracing.snapshot", "tracing.jax_internals", "tracing.twins", "tracing.again",
    "tracing.compilation", "tracing.calls", "tracing.watched", "tracing.wrappers", "tracing.slots",
    "tracing.static_attributes",
)  # fmt: skip
NOT_BROKEN = {
    "the guard itself": {
        "hooks.Hooks.fault", "hooks._said", "hooks._Stay.current", "watched.tell",
        "recorder.Recorder.noting", "recorder._Noting.__init__", "recorder._Noting.__enter__",
        "recorder._Noting.__exit__", "listener.Listener._unseen", "recorder.Recorder.note",
        "recorder.Recorder.could_not", "recorder._first_line", "tracer.Tracer._could_not",
        "listener.Listener._could_not",
    },
    "a hook, or what stands for a rule: it is the program's own call that fails": {
        "watched._Watched.__bool__", "watched._Watched.__call__", "watched._Watched.__doc__",
        "watched._Watched.__getattr__", "watched._Watched.__repr__",
    },
    "called by Python when a pullback is gone, and takes one entry out of a dictionary": {"calls.forget"},
    "takes our frames off tracebacks, which are longer without it": {"frames.drop_own_frames"},
    "tells our faults from what the program cannot do": {
        "frames.is_own_fault", "frames.Elsewhere.__enter__", "frames.Elsewhere.__exit__",
    },
    "what puts JAX back, which nothing else can": {
        "hooks.Hooks.forget", "hooks.Hooks._restore", "slots.Slot.restore",
        "tracer.Tracer.abandon",
    },
    "runs once in a process, or at its import": {
        "hooks.Hooks.__init__", "hooks._Stay.__init__", "tracer._hooks", "tracer._the_hooks", "retrace._Here.__init__",
        "jax_internals._Gone.__init__", "jax_internals._Gone.__getattr__", "jax_internals._module",
        "jax_internals._inside_boundary",
    },
    "counts who is inside a cache of JAX's, under a lock": {
        "retrace._Inside.__enter__", "retrace._Inside.__exit__", "retrace._Inside.__init__", "retrace._Inside.alone",
    },
    "runs in a forked child, whose faults come back as the reason": {
        "recorder.Recorder.found", "recorder.Recorder.begin_anew", "recorder._branch", "recorder._states_of",
        "again.packed", "again._Pickler.reducer_override", "jax_internals.run_rules_in",
        "jax_internals.is_differentiating", "jax_internals.accelerators", "jax_internals.forbid_compiling",
    },
    "stands for print": {"retrace._say_nothing"},
    "asked where there are several checks": {"recorder.Recorder.listening", "hooks.Hooks.current"},
    "where there are hundreds of pullbacks": {"listener.Listener._forget_the_dead"},
    "of %vjpcheck cache, or where compiling takes long": {"compilation.keep_in", "compilation.kept_in"},
    "JAX calls it, and it adds two numbers": {"compilation.Compilation._listen"},
    "no part of a check's run: when the extension is loaded, or while a cell runs": {
        "tracer.about_jax", "hooks.not_seen", "tracer.Tracer.so_far",
    },
}  # fmt: skip
if jax.__version_info__ >= (0, 9):
    NOT_BROKEN["for JAX 0.8"] = {"hooks.partial_pullback_hook"}
if hasattr(jax_internals.api, "_vjp"):
    NOT_BROKEN["for JAX 0.10 and later"] = {"wrappers._selection", "wrappers._is_custom_gradient"}


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
BROKEN = [name for name in FUNCTIONS if not any(name.removeprefix("tracing.") in some for some in NOT_BROKEN.values())]


def test_every_function_is_broken_below_or_said_why_not(programs):
    """A new function needs a program that reaches it, or a reason."""
    named = {f"tracing.{name}" for some in NOT_BROKEN.values() for name in some}
    assert named <= FUNCTIONS.keys()
    assert FUNCTIONS.keys() - programs[0].keys() <= named


def by_version(name):
    """What stands in JAX's places, or reads what JAX keeps, is broken with every JAX; the rest with one."""
    is_ours = not name.startswith(("tracing.hooks", "tracing.jax_internals", "tracing.retrace", "tracing.wrappers"))
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


def standing():
    """What stands in JAX's places."""
    slots = (
        jax_internals.custom_vjp_slot(), jax_internals.vjp_slot(), jax_internals.pullback_slot(),
        jax_internals.partial_pullback_slot(),
    )  # fmt: skip
    return [slot and slot.original for slot in slots]
