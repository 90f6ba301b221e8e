"""From a program's text to the statements that define, register and overwrite its custom_vjp functions."""

from __future__ import annotations

import ast
import copy
import dataclasses
from typing import TYPE_CHECKING

from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclasses.dataclass(frozen=True, slots=True)
class Overwriting:
    """`name = transformation(name, ...)` at the top level of a text.

    `in_loop` is True if a loop repeats it, and other statements of the loop use
    the name.
    """

    name: str
    transformation: str
    value: str
    line: int
    start: int
    end: int
    in_loop: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Registered:
    """A fwd or bwd rule (`phase`) of a custom_vjp function that calls the function by its name.

    `rule_text` is the index of the text that defines the rule.
    """

    rule: str
    phase: str
    rule_text: int
    rule_line: int


def overwritings(text: str) -> list[Overwriting]:
    """The statements that overwrite a name with its own transformation, in order."""
    found: list[Overwriting] = []
    for node in _top_level(text):
        if isinstance(node, (ast.For, ast.While)):
            for inner in node.body:
                others = [ast.unparse(statement) for statement in node.body if statement is not inner]
                found.extend(
                    dataclasses.replace(overwriting, in_loop=True)
                    for overwriting in _overwriting(inner, text)
                    if any(bindings.uses(other, overwriting.name) for other in others)
                )
        found.extend(_overwriting(node, text))
    return found


def _overwriting(node: ast.stmt, text: str) -> Iterator[Overwriting]:
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
        made_by = _last_part(node.value.func)
        if made_by and any(isinstance(argument, ast.Name) and argument.id == target.id for argument in node.value.args):
            value = ast.get_source_segment(text, node.value) or ""
            position = target.lineno, target.col_offset, target.end_col_offset or 0
            yield Overwriting(target.id, made_by, value, *position)


def registered(texts: Sequence[str], name: str) -> Registered | None:
    """The rule of the custom_vjp function `name` that calls it by this name; None if no rule does."""
    candidates = [text for text in texts if "custom_vjp" in text and bindings.may_name(text, name)]
    if not any(_is_custom(node, name) for text in candidates for node in _top_level(text)):
        return None
    for index, text in reversed(list(enumerate(texts))):
        for node in _top_level(text) if "defvjp" in text and bindings.may_name(text, name) else ():
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and ast.unparse(call.func) == f"{name}.defvjp":
                return _rule_that_calls(texts, index, call, name)
    return None


def imported_over(text: str) -> Iterator[tuple[str, str, int, int, int]]:
    """The custom_vjp functions that a later import overwrites: name, a better import, line and columns."""
    nodes = list(_top_level(text))
    for node in nodes:
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for alias in node.names:
            name = alias.asname or alias.name
            if any(statement.lineno < node.lineno and _is_custom(statement, name) for statement in nodes):
                renamed = copy.copy(node)
                renamed.names = [ast.alias(alias.name, f"imported_{name}")]
                yield name, ast.unparse(renamed), alias.lineno, alias.col_offset, alias.end_col_offset or 0


def repeated_pullbacks(text: str) -> Iterator[tuple[str, str, int, int, int]]:
    """`2 * pullback(...)`, with a pullback that `y, pullback = jax.vjp(...)` made: name, text, line and columns."""
    nodes = bindings.nodes(text)
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    pullbacks = {
        target.elts[1].id
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Tuple) and len(target.elts) > 1 and isinstance(target.elts[1], ast.Name)
        and isinstance(node.value, ast.Call) and _last_part(node.value.func) == "vjp"
    }  # fmt: skip
    for node in nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for side, other in ((node.left, node.right), (node.right, node.left)):
                is_call = isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id in pullbacks
                is_integer = isinstance(other, ast.Constant) and isinstance(other.value, int)
                if is_call and is_integer and isinstance(side, ast.Call):
                    yield (
                        ast.unparse(side.func),
                        ast.unparse(node),
                        node.lineno,
                        node.col_offset,
                        node.end_col_offset or 0,
                    )


def is_bound_before(text: str, name: str, line: int) -> bool:
    """Whether the name is bound above this line of the same text."""
    return any(binding.line < line for binding in bindings.bindings(text, name))


def _top_level(text: str) -> Iterator[ast.stmt]:
    yield from (bindings.parse(text) or ast.Module([], [])).body


def _last_part(function: ast.expr) -> str:
    """`vmap` for `jax.vmap`."""
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def _is_custom(node: ast.stmt, name: str) -> bool:
    """Whether a statement makes a custom_vjp function of this name, by a decorator or by a call."""
    if isinstance(node, _FUNCTIONS):
        return node.name == name and any("custom_vjp" in ast.unparse(decorator) for decorator in node.decorator_list)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return name in names and "custom_vjp" in ast.unparse(node.value.func)
    return False


def _rule_that_calls(texts: Sequence[str], index: int, call: ast.Call, name: str) -> Registered | None:
    for phase, rule in zip(("fwd", "bwd"), call.args, strict=False):
        if isinstance(rule, ast.Lambda) and _calls(rule, name):
            return Registered(f"the {phase} rule of {name}", phase, index, rule.lineno)
        if isinstance(rule, ast.Name):
            rule_index, function = _definition(texts, rule.id)
            if function is not None and _calls(function, name):
                return Registered(rule.id, phase, rule_index, function.lineno)
    return None


def _definition(texts: Sequence[str], name: str) -> tuple[int, ast.stmt | None]:
    """The last function of this name, and the index of its text."""
    for index, text in reversed(list(enumerate(texts))):
        defines = any(binding.is_definition for binding in bindings.bindings(text, name))
        for node in reversed(list(_top_level(text))) if defines else ():
            if isinstance(node, _FUNCTIONS) and node.name == name:
                return index, node
    return 0, None


def _calls(function: ast.AST, name: str) -> bool:
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == name for call in calls)
