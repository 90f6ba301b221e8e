"""Views of a record and of its calls, which checks take, and the function that makes the findings they yield."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict, TypeVar, Unpack

from jaxvjp_magic.checks import wording
from jaxvjp_magic.record.calls import Bwd, CallFact, Failed, Forward, Fwd, Primal, Pullback
from jaxvjp_magic.results.model import Finding, Fix, Severity
from jaxvjp_magic.source import rule_ast

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Event, Function, Raised
    from jaxvjp_magic.record.record import ErrorFact, Record
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.source.program import Program, Spot

E = TypeVar("E", bound="Event")
NO_FIX = Fix()


class RecordView:
    """A record, for the checks: its calls, its facts, the exception that ended the program, and the program's text.

    `uncaught` has type and message of that exception, and of those that it was raised from.
    """

    def __init__(
        self,
        record: Record,
        program: Program,
        uncaught: frozenset[tuple[str, str]] = frozenset(),
        error: ErrorFact | None = None,
    ) -> None:
        """Make a view of each call; all checks share them."""
        self.program, self.uncaught, self.error, self.facts = program, uncaught, error, record.facts
        self.call_facts = {call.id: call for call in record.calls}
        self.calls = [CallView(call, self) for call in record.calls]
        self._of_function: dict[int, list[CallView]] = {}
        for view in self.calls:
            self._of_function.setdefault(id(view.call.function), []).append(view)

    @property
    def has_leaked(self) -> bool:
        """Whether the program ended because a tracer was used outside of its trace."""
        return any(error_type == "UnexpectedTracerError" for error_type, _ in self.uncaught)

    def severity_of(self, raised: Raised) -> Severity:
        """ERROR for an exception that ended the program, NOTE for one that the program handled."""
        return Severity.ERROR if (raised.type, raised.message) in self.uncaught else Severity.NOTE

    def of_function(self, function: Function) -> list[CallView]:
        """The calls of one function."""
        return self._of_function.get(id(function), [])


def role(rule: Function, phase: str, function: Function) -> str:
    """A rule's name, or what it is: `f_fwd`, `the fwd rule of f`."""
    return f"the {phase} rule of {function.name}" if rule.name == "<lambda>" and phase != "primal" else rule.name


class CallView:
    """One call of the record, for the checks."""

    def __init__(self, call: CallFact, record: RecordView) -> None:
        """A call of this record."""
        self.call, self.record, self.program = call, record, record.program
        self.primals = self._events(Primal)
        self.forwards = self._events(Forward)
        self.fwds = self._events(Fwd)
        self.bwds = self._events(Bwd)
        self.pullbacks = self._events(Pullback)
        self.failures = self._events(Failed)

    def _events(self, event_type: type[E]) -> list[E]:
        return [event for event in self.call.events if isinstance(event, event_type)]

    @property
    def uncaught(self) -> list[Failed]:
        """The exceptions that left this call and ended the program."""
        return [failure for failure in self.failures if self.record.severity_of(failure.raised) is Severity.ERROR]

    @property
    def is_part_of_an_error(self) -> bool:
        """Whether an uncaught exception left this call or one around it."""
        ids = [self.call.id, *self.ancestors()]
        failures = (event for id_ in ids for event in self.record.call_facts[id_].events if isinstance(event, Failed))
        return any(self.record.severity_of(failure.raised) is Severity.ERROR for failure in failures)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.call.function.name

    @property
    def is_custom(self) -> bool:
        """Whether this is a call of a custom_vjp function."""
        return self.call.rule is not None

    @property
    def has_one_rule(self) -> bool:
        """Whether this is a call of a custom_jvp or custom_vmap function: its one rule is its fwd and its bwd rule."""
        return self.call.kind in ("custom_jvp", "custom_vmap")

    @property
    def fwd(self) -> Function | None:
        """The fwd rule."""
        return self.call.rule.fwd if self.call.rule else None

    @property
    def bwd(self) -> Function | None:
        """The bwd rule."""
        return self.call.rule.bwd if self.call.rule else None

    @property
    def expected_output(self) -> Tree | None:
        """What the primal function returns for these arguments."""
        return self.primals[0].output if self.primals else None

    def rule_name(self, phase: str) -> str:
        """`f_fwd`, or `the fwd rule of f` for a lambda; `f` for the primal function."""
        rule = {"fwd": self.fwd, "bwd": self.bwd}.get(phase)
        return role(rule, phase, self.call.function) if rule else self.name

    def returned(self, path: str) -> Spot:
        """Where bwd makes the cotangent for the argument of this key path."""
        code = self.bwd.code if self.bwd else None
        names = self.call.primals.names if self.call.primals else ()
        argument = wording.argument(path)
        return self.program.returned(code, names.index(argument)) if argument in names else self.program.returning(code)

    def made(self, path: str) -> str:
        """The expression in bwd for the cotangent of an argument, for use in a fix; `cotangent` if it is not found."""
        names = self.call.primals.names if self.call.primals else ()
        rule = self.program.rule_text(self.bwd.code) if self.bwd else None
        elements = rule_ast.elements(rule) if rule is not None else ()
        if len(elements) != len(names) or path not in names:
            return "cotangent"
        return rule_ast.as_operand(elements[names.index(path)])

    @property
    def fwd_name(self) -> str:
        """What the fwd rule is called."""
        return self.rule_name("fwd")

    @property
    def bwd_name(self) -> str:
        """What the bwd rule is called."""
        return self.rule_name("bwd")

    @property
    def root(self) -> CallFact:
        """The outermost call around this one."""
        root = self.call
        while root.parent:
            root = self.record.call_facts[root.parent]
        return root

    def ancestors(self) -> set[int]:
        """The ids of the calls around this one."""
        found, parent = set(), self.call.parent
        while parent:
            found.add(parent)
            parent = self.record.call_facts[parent].parent
        return found

    def finding(
        self, code: str, severity: Severity, spot: Spot, title: str, message: str, **fields: Unpack[_FindingFields]
    ) -> Found:
        """A finding about this call."""
        return found(code, severity, spot, title, message, view=self, calls=(self.call.id,), **fields)


class _FindingFields(TypedDict, total=False):
    fix: Fix
    function: str
    phase: str
    path: str
    expected: str
    got: str
    new_name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A finding, and the call that it was found in, which decides what it explains."""

    finding: Finding
    view: CallView | None


def found(
    code: str,
    severity: Severity,
    spot: Spot,
    title: str,
    message: str,
    *,
    view: CallView | None = None,
    fix: Fix = NO_FIX,
    function: str = "",
    phase: str = "",
    path: str = "",
    expected: str = "",
    got: str = "",
    new_name: str = "",
    calls: tuple[int, ...] = (),
) -> Found:
    """A finding at a place of the program. Code of its fix is dropped if it does not parse, as with a lambda's name."""
    fix = fix if wording.is_code(fix.code) else Fix(fix.words)
    message = f"T{message[1:]}" if message.startswith("the ") else message  # "the fwd rule of f", for a lambda
    function = function or (view.name if view is not None else "")
    return Found(
        Finding(
            code, severity, title, message, str(fix), function, spot.line, spot.source, phase, path, expected, got,
            spot.snippet, calls, new_name=new_name, in_library=spot.in_library, fix_code=fix.code,
        ),
        view,
    )  # fmt: skip
