"""Takes facts while the user's program runs, merges equal ones as they come, and returns a `Record`.

A call is a path through a tree of states: where it started (function, line,
types of the arguments), then one state for each event. Equal calls walk the same
path, so a million of them cost as much memory as one. A call holds one pointer to
its state, and `add` moves it on; an event that it has had already moves nothing,
so a pullback called in a loop costs nothing either.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
from typing import TYPE_CHECKING, Any

from jaxvjp_magic.introspect.avals import Types
from jaxvjp_magic.introspect.stack import caller, describe_error
from jaxvjp_magic.introspect.static_attributes import name_of
from jaxvjp_magic.record.calls import Event, Failed
from jaxvjp_magic.record.notes import could_not
from jaxvjp_magic.record.record import Record

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from jaxvjp_magic.record.calls import CallFact
    from jaxvjp_magic.record.facts import Fact
    from jaxvjp_magic.record.record import NotChecked

MOST_NOTES = 20
MOST_NOT_CHECKED = 200
MOST_KNOWN = 4096
SHOWN_RECURSION = 3


class Origin:
    """Where equal calls start; the root of their states."""

    __slots__ = ("calls", "children", "fact", "key", "parent", "root")

    def __init__(self, key: Hashable, fact: CallFact, parent: Origin | None) -> None:
        """An origin with no calls yet; `fact` has all but id, parent, count and events."""
        self.key, self.fact, self.parent = key, fact, parent
        self.children: dict[Hashable, Origin] = {}
        self.calls: dict[Hashable, tuple[Origin, Any]] = {}
        self.root = State(self, None, None)


class State:
    """What a call has done so far: the path from its root.

    `later` has the next states by event; `steps` has them by a key that is
    known before the event is made.
    """

    __slots__ = ("before", "count", "event", "later", "origin", "said", "steps")

    def __init__(self, origin: Origin, before: State | None, event: Event | None) -> None:
        """The state after `event`."""
        self.origin, self.before, self.event = origin, before, event
        self.said: frozenset[Event] = before.said | {event} if before and event else frozenset()
        self.later: dict[Event, State] = {}
        self.steps: dict[Hashable, tuple[State, Any]] = {}
        self.count = 0

    def events(self) -> tuple[Event, ...]:
        """All events up to here, oldest first."""
        state: State | None = self
        found = []
        while state is not None and state.event is not None:
            found.append(state.event)
            state = state.before
        return tuple(reversed(found))


class Collector:
    """Everything one check records. After `close` it takes nothing more and holds nothing."""

    def __init__(self) -> None:
        """A collector that is ready for calls, from any thread."""
        self.types = Types()
        self.active = True
        self._tops: dict[Hashable, Origin] = {}
        self._calls: dict[Hashable, tuple[Origin, Any]] = {}
        self._facts: dict[Fact, None] = {}
        self._notes: dict[str, None] = {}
        self._not_checked: dict[NotChecked, None] = {}
        self._more_not_checked: set[NotChecked] = set()
        self._faults: set[str] = set()
        self._lock = threading.RLock()  # a finalizer may call JAX while it is held
        self.here = _Local()  # this thread's state

    @property
    def listening(self) -> bool:
        """Whether calls are recorded now in this thread: neither closed nor paused."""
        return self.active and not self.here.paused

    def listening_here(self) -> _Local | None:
        """This thread's state, or None if nothing is recorded."""
        here = self.here
        return here if self.active and not here.paused else None

    def begun(self, step: Hashable) -> Origin | None:
        """The origin of an earlier call with this `step`, which now counts this call, too; None if there is none."""
        enclosing = self.here.calls
        entry = (enclosing[-1].calls if enclosing else self._calls).get(step)
        if entry is None:
            return None
        origin = entry[0]
        with self._lock:
            origin.root.count += 1
        return origin

    def begin(self, fact: CallFact, step: Hashable, pinned: Any) -> Origin:
        """The origin of a call with this fact. Equal calls find it by `step`; `pinned` keeps what `step` has ids of."""
        enclosing = self.here.calls
        parent = enclosing[-1] if enclosing else None
        key = _key(fact)
        with self._lock:
            origin = _recursion(parent, key)
            if origin is None:
                siblings = parent.children if parent else self._tops
                origin = siblings.get(key) or siblings.setdefault(key, Origin(key, fact, parent))
            origin.root.count += 1
            calls = parent.calls if parent else self._calls
            if len(calls) >= MOST_KNOWN:
                calls.clear()
            calls[step] = origin, pinned
        return origin

    def fact(self, fact: Fact) -> None:
        """Record a fact that is no part of a call."""
        self._facts[fact] = None

    def not_checked(self, entry: NotChecked) -> None:
        """Record that something was not checked; the same entry once."""
        if len(self._not_checked) < MOST_NOT_CHECKED:
            self._not_checked[entry] = None
        elif entry not in self._not_checked:
            self._more_not_checked.add(entry)

    def note(self, text: str) -> None:
        """Add a line to the report's notes."""
        if len(self._notes) < MOST_NOTES:
            self._notes[text] = None

    def could_not(self, action: str, error: BaseException) -> None:
        """Note an exception of the check's own; not at Python's recursion limit, which is the program's doing."""
        if isinstance(error, RecursionError):
            return
        note = could_not(action, error, _first_line(error))
        if note.fault not in self._faults:  # the same fault may show in many places: it is one note
            self._faults.add(note.fault)
            self.note(note)

    def noting(self, action: str, about: Any = None) -> _Noting:
        """A context for the check's own work on `about`: an exception in it becomes a note, and goes no further."""
        return _Noting(self, action, about)

    def paused(self) -> _Paused:
        """A context for the check's own work: nothing is recorded in this thread."""
        return _Paused(self.here)

    def first_to_see(self, error: BaseException) -> bool:
        """Whether this exception reaches a hook for the first time on its way out."""
        if self.here.in_flight is error:
            return False
        self.here.in_flight = error if self.here.calls else None
        return True

    def so_far(self, jax_version: str) -> Record:
        """The record so far; may be called from any thread."""
        rows: list[CallFact] = []
        numbers = itertools.count(1)
        with self._lock:
            for origin in list(self._tops.values()):
                _collect(origin, 0, rows, numbers)
        facts, notes = tuple(self._facts.copy()), tuple(self._notes.copy())
        not_checked = tuple(self._not_checked.copy())
        more = len(self._more_not_checked)
        return Record(jax_version, tuple(rows), facts, notes, not_checked, more_not_checked=more)

    # In a forked child ---------------------------------------------------------------------------

    def begin_anew(self) -> None:
        """In a child: forget what the parent recorded, so that `found` gives what the child adds."""
        self._tops, self._calls, self._lock = {}, {}, threading.RLock()
        self._facts, self._notes, self._not_checked = {}, {}, {}
        self.here.calls = []

    def found(self) -> tuple[Any, ...]:
        """What was recorded since `begin_anew`, as plain data."""
        calls = [_branch(origin) for origin in self._tops.values()]
        return calls, tuple(self._facts), tuple(self._notes), tuple(self._not_checked)

    def take_in(self, found: tuple[Any, ...]) -> None:
        """Add what a child `found`, below the call that is running in this thread."""
        calls, facts, notes, not_checked = found
        enclosing = self.here.calls[-1] if self.here.calls else None
        with self._lock:
            rules = {origin.fact.rule: origin.fact.rule for origin in _all_origins(self._tops)}
            for branch in calls:
                self._graft(branch, enclosing, rules)
        self._facts.update(dict.fromkeys(facts))
        for note in notes:
            self.note(note)
        for entry in not_checked:
            self.not_checked(entry)

    def _graft(self, branch: Any, parent: Origin | None, rules: dict[Any, Any]) -> None:
        fact, states, children = branch
        fact = dataclasses.replace(fact, rule=rules.setdefault(fact.rule, fact.rule))
        key, siblings = _key(fact), parent.children if parent else self._tops
        origin = siblings.get(key)
        if origin is None:
            origin = siblings[key] = Origin(key, fact, parent)
        _graft_states(states, origin.root)
        for child in children:
            self._graft(child, origin, rules)

    def close(self, jax_version: str) -> Record:
        """Stop recording, release everything, and return the facts."""
        self.active = False
        record = self.so_far(jax_version)
        self._tops, self._calls, self.types, self.here = {}, {}, Types(), _Local()
        return record


class Handle:
    """One call that is running, or whose pullback may still be called."""

    __slots__ = ("__weakref__", "collector", "state")

    collector: Collector
    state: State

    def add(self, event: Event, step: Hashable = None, pinned: Any = None) -> None:
        """Record an event. Equal calls recognise it by `step`, if given; `pinned` keeps what `step` has ids of."""
        state = self.state
        if not self.collector.active:
            return
        if event not in state.said:
            with self.collector._lock:  # noqa: SLF001 (the two classes are one mechanism)
                later = state.later.get(event) or state.later.setdefault(event, State(state.origin, state, event))
                state.count -= 1
                later.count += 1
                self.state = later
        if step is not None:
            self.leads(state, step, pinned)

    def leads(self, before: State, step: Hashable, pinned: Any = None) -> None:
        """Remember that this step leads from an earlier state to the current one."""
        if len(before.steps) >= MOST_KNOWN:
            before.steps.clear()
        before.steps[step] = self.state, pinned

    def repeats(self, step: Hashable) -> bool:
        """Whether an equal call took this step from this state before; if so, this call takes it too."""
        state = self.state
        entry = state.steps.get(step)
        if entry is None or not self.collector.active:
            return False
        later = entry[0]
        if later is not state:
            with self.collector._lock:  # noqa: SLF001 (as above)
                state.count -= 1
                later.count += 1
                self.state = later
        return True

    def failed(self, phase: str, error: BaseException) -> None:
        """An exception leaves a phase of this call; the innermost phase that sees it keeps it."""
        if self.collector.first_to_see(error):
            self.add(Failed(phase, describe_error(error, caller(1))))


class _Local(threading.local):
    """State of each thread: its running calls, outermost first, and the exception that is on its way out."""

    def __init__(self) -> None:
        self.calls: list[Origin] = []
        self.paused = 0
        self.in_flight: BaseException | None = None
        self.traced: tuple[Any, tuple[Any, ...]] | None = None  # a custom_vjp3 call whose primal is about to be traced


NOBODY = _Local()  # for a call that is not recorded


class _Paused:
    __slots__ = ("_local",)

    def __init__(self, local: _Local) -> None:
        self._local = local

    def __enter__(self) -> None:
        self._local.paused += 1

    def __exit__(self, *_: object) -> None:
        self._local.paused -= 1


class _Noting:
    __slots__ = ("_about", "_action", "_collector")

    def __init__(self, collector: Collector, action: str, about: Any) -> None:
        self._collector, self._action, self._about = collector, action, about

    def __enter__(self) -> None:
        return

    def __exit__(self, error_type: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, Exception):  # not KeyboardInterrupt: that is the user's
            self._collector.could_not(self._action.format(name_of(self._about) or "a function"), error)
            return True
        return False


def _key(fact: CallFact) -> Hashable:
    """What equal calls have in common."""
    return (
        fact.kind, fact.function, fact.primals, fact.place, id(fact.rule), fact.nondiff, fact.arrays,
        fact.differentiated, fact.vmap,
    )  # fmt: skip


def _all_origins(origins: dict[Hashable, Origin]) -> Iterator[Origin]:
    for origin in origins.values():
        yield origin
        yield from _all_origins(origin.children)


def _branch(origin: Origin) -> tuple[Any, ...]:
    """An origin with its states and the origins below it, as plain data."""
    return origin.fact, _states_of(origin.root), [_branch(child) for child in origin.children.values()]


def _states_of(state: State) -> tuple[Any, ...]:
    return state.count, [(event, _states_of(later)) for event, later in state.later.items()]


def _graft_states(found: Any, state: State) -> None:
    count, later = found
    state.count += count
    for event, below in later:
        next_state = state.later.get(event)
        if next_state is None:
            next_state = state.later[event] = State(state.origin, state, event)
        _graft_states(below, next_state)


def _first_line(error: BaseException) -> str:
    try:
        return str(error).split("\n", 1)[0][:200]
    except Exception:  # noqa: BLE001 (an exception whose own __str__ raises)
        return ""


def _recursion(parent: Origin | None, key: Hashable) -> Origin | None:
    """The enclosing call that this one repeats, if it is nested deeply: deep recursion is one row with a count."""
    repeated = []
    while parent is not None:
        if parent.key == key:
            repeated.append(parent)
        parent = parent.parent
    return repeated[0] if len(repeated) >= SHOWN_RECURSION else None


def _collect(origin: Origin, parent: int, rows: list[CallFact], numbers: Iterator[int]) -> None:
    first = 0
    for state in _states(origin.root):
        if state.count <= 0:
            continue
        row = _row(origin.fact, next(numbers), parent, state)
        first = first or row.id
        rows.append(row)
    for child in list(origin.children.values()):
        _collect(child, first or parent, rows, numbers)


def _states(root: State) -> Iterator[State]:
    waiting = [root]
    while waiting:
        state = waiting.pop()
        yield state
        waiting.extend(reversed(state.later.values()))


def _row(fact: CallFact, number: int, parent: int, state: State) -> CallFact:
    return dataclasses.replace(fact, id=number, parent=parent, count=state.count, events=state.events())
