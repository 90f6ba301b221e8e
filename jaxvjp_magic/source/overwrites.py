"""What a program's text says of its custom_vjp functions: where they are defined, registered and overwritten."""

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

    `in_loop` where a loop repeats it, beside other statements that use the name.
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
    """A custom_vjp function with a fwd or bwd rule (`phase`) that looks the function's name up."""

    rule: str
    phase: str
    rule_text: int
    rule_line: int


def overwritings(text: str) -> list[Overwriting]:
    """The statements that overwrite a name by what a transformation makes of it, in order."""
    found: list[Overwriting] = []
    for node in _top_level(text):
        if isinstance(node, (ast.For, ast.While)):
            for inner in node.body:
                others = [ast.unparse(statement) for statement in node.body if statement is not inner]
                found.extend(
                    dataclasses.replace(one, in_loop=True)
                    for one in _overwriting(inner, text)
                    if any(bindings.uses(other, one.name) for other in others)
                )
        found.extend(_overwriting(node, text))
    return found


def _overwriting(node: ast.stmt, text: str) -> Iterator[Overwriting]:
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and isinstance(node.value, ast.Call):
        made_by = _last_part(node.value.func)
        if made_by and any(isinstance(one, ast.Name) and one.id == target.id for one in node.value.args):
            value = ast.get_source_segment(text, node.value) or ""
            at = target.lineno, target.col_offset, target.end_col_offset or 0
            yield Overwriting(target.id, made_by, value, *at)


def registered(texts: Sequence[str], name: str) -> Registered | None:
    """The rule of the custom_vjp function `name` that calls it by its name; None where there is no such rule."""
    makers = [text for text in texts if "custom_vjp" in text and bindings.may_name(text, name)]
    if not any(_is_custom(node, name) for text in makers for node in _top_level(text)):
        return None
    for number, text in reversed(list(enumerate(texts))):
        for node in _top_level(text) if "defvjp" in text and bindings.may_name(text, name) else ():
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and ast.unparse(call.func) == f"{name}.defvjp":
                return _looking_up(texts, number, call, name)
    return None


def imported_over(text: str) -> Iterator[tuple[str, str, int, int, int]]:
    """The custom_vjp functions whose name a later import takes: name, another import, line and columns of the first."""
    nodes = list(_top_level(text))
    for node in nodes:
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for alias in node.names:
            name = alias.asname or alias.name
            if any(one.lineno < node.lineno and _is_custom(one, name) for one in nodes):
                another = copy.copy(node)
                another.names = [ast.alias(alias.name, f"imported_{name}")]
                yield name, ast.unparse(another), alias.lineno, alias.col_offset, alias.end_col_offset or 0


def repeated_pullbacks(text: str) -> Iterator[tuple[str, str, int, int, int]]:
    """`2 * pullback(...)`, with a pullback that `y, pullback = jax.vjp(...)` made: name, text, line and columns."""
    nodes = bindings.nodes(text)
    assigned = [node for node in nodes if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)]
    made = {
        target.elts[1].id
        for node in assigned
        for target in node.targets
        if isinstance(target, ast.Tuple) and len(target.elts) > 1 and isinstance(target.elts[1], ast.Name)
        and isinstance(node.value, ast.Call) and _last_part(node.value.func) == "vjp"
    }  # fmt: skip
    for node in nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Add)):
            for side, other in ((node.left, node.right), (node.right, node.left)):
                is_call = isinstance(side, ast.Call) and isinstance(side.func, ast.Name) and side.func.id in made
                whole = isinstance(other, ast.Constant) and isinstance(other.value, int)
                if is_call and whole and isinstance(side, ast.Call):
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


def _looking_up(texts: Sequence[str], number: int, call: ast.Call, name: str) -> Registered | None:
    for phase, rule in zip(("fwd", "bwd"), call.args, strict=False):
        if isinstance(rule, ast.Lambda) and _calls(rule, name):
            return Registered(f"the {phase} rule of {name}", phase, number, rule.lineno)
        if isinstance(rule, ast.Name):
            at, function = _definition(texts, rule.id)
            if function is not None and _calls(function, name):
                return Registered(rule.id, phase, at, function.lineno)
    return None


def _definition(texts: Sequence[str], name: str) -> tuple[int, ast.stmt | None]:
    """The last function of this name, and the number of its text."""
    for number, text in reversed(list(enumerate(texts))):
        defines = any(binding.is_definition for binding in bindings.bindings(text, name))
        for node in reversed(list(_top_level(text))) if defines else ():
            if isinstance(node, _FUNCTIONS) and node.name == name:
                return number, node
    return 0, None


def _calls(function: ast.AST, name: str) -> bool:
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(isinstance(call.func, ast.Name) and call.func.id == name for call in calls)
