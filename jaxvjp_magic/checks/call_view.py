"""One call as the checks see it: its facts sorted by phase, and how to say where they are."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, TypeVar

from jaxvjp_magic.record.calls import Bwd, CallFact, Failed, Forward, Fwd, Primal, Pullback
from jaxvjp_magic.results.model import Finding, Severity
from jaxvjp_magic.source import rule_ast

if TYPE_CHECKING:
    from jaxvjp_magic.record.calls import Event, Function, Raised
    from jaxvjp_magic.record.trees import Tree
    from jaxvjp_magic.source.program import Program, Spot

E = TypeVar("E", bound="Event")


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What all cases of one record share. `uncaught` are the exceptions that ended the program."""

    program: Program
    calls: dict[int, CallFact]
    uncaught: frozenset[tuple[str, str]] = frozenset()

    @property
    def has_leaked(self) -> bool:
        """Whether the program ended because a tracer was used outside of its trace."""
        return any(kind == "UnexpectedTracerError" for kind, _ in self.uncaught)

    def severity_of(self, raised: Raised) -> Severity:
        """An exception that the program handles is only worth knowing."""
        return Severity.ERROR if (raised.type, raised.message) in self.uncaught else Severity.NOTE


def role(rule: Function, phase: str, function: Function) -> str:
    """A rule's name, or what it is: `f_fwd`, `the fwd rule of f`."""
    return f"the {phase} rule of {function.name}" if rule.name == "<lambda>" and phase != "primal" else rule.name


class Case:
    """A row of the record, for one check."""

    def __init__(self, call: CallFact, context: Context) -> None:
        """One row of the record that `context` is about."""
        self.call, self.context, self.program = call, context, context.program
        self.primals = self._all(Primal)
        self.forwards = self._all(Forward)
        self.fwds = self._all(Fwd)
        self.bwds = self._all(Bwd)
        self.pullbacks = self._all(Pullback)
        self.failures = self._all(Failed)

    def _all(self, kind: type[E]) -> list[E]:
        return [event for event in self.call.events if isinstance(event, kind)]

    @property
    def uncaught(self) -> list[Failed]:
        """The exceptions that left this call and ended the program."""
        return [one for one in self.failures if self.context.severity_of(one.raised) is Severity.ERROR]

    @property
    def is_part_of_an_error(self) -> bool:
        """Whether an exception that nobody handled left this call or one around it."""
        around = [self.call.id, *self.ancestors()]
        failed = (event for id_ in around for event in self.context.calls[id_].events if isinstance(event, Failed))
        return any(self.context.severity_of(one.raised) is Severity.ERROR for one in failed)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.call.function.name

    @property
    def is_custom(self) -> bool:
        """Whether this is a call of a custom_vjp function."""
        return self.call.rule is not None

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
        """`f_fwd`, or `f` for the primal function; a lambda is called by what it is."""
        rule = {"fwd": self.fwd, "bwd": self.bwd}.get(phase)
        return role(rule, phase, self.call.function) if rule else self.name

    def returned(self, path: str) -> Spot:
        """Where bwd makes the cotangent for the argument of this key path."""
        code = self.bwd.code if self.bwd else None
        names = self.call.primals.names if self.call.primals else ()
        argument = re.split(r"[.\[]", path, maxsplit=1)[0]
        return self.program.returned(code, names.index(argument)) if argument in names else self.program.returning(code)

    def made(self, path: str) -> str:
        """The expression in bwd for the cotangent of an argument, to go on with; `cotangent` where it has none."""
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
            root = self.context.calls[root.parent]
        return root

    def ancestors(self) -> set[int]:
        """The ids of the calls around this one."""
        found, parent = set(), self.call.parent
        while parent:
            found.add(parent)
            parent = self.context.calls[parent].parent
        return found

    def finding(
        self,
        code: str,
        severity: Severity,
        spot: Spot,
        title: str,
        message: str,
        *,
        fix: str = "",
        phase: str = "",
        path: str = "",
        expected: str = "",
        got: str = "",
    ) -> Found:
        """A finding about this call."""
        finding = Finding(
            code, severity, title, message, fix, self.name, spot.line, spot.source, phase, path, expected, got,
            spot.snippet, (self.call.id,), in_library=spot.in_library,
        )  # fmt: skip
        return Found(finding, self)


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A finding, and what it was found in: that decides what it explains."""

    finding: Finding
    case: Case | None
