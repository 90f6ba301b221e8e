"""From the text of a rule to what it packs, unpacks, returns, and stores outside of its residuals."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING

from jaxvjp_magic.source import bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

    Rule = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_ADDS = {"append", "extend", "insert", "update", "setdefault", "add"}


@functools.lru_cache(maxsize=256)
def rule_at(text: str, line: int, column: int | None = None) -> Rule | None:
    """The function whose first line this is, or the lambda on it; of several lambdas the one around the column."""
    lambdas: list[Rule] = []
    for node in bindings.nodes(text):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and bindings.first_line(node) == line:
            return node
        if isinstance(node, ast.Lambda) and node.lineno == line:
            lambdas.append(node)
    if len(lambdas) > 1 and column is not None:
        lambdas = [node for node in lambdas if node.col_offset <= column < (node.end_col_offset or 0)][-1:]
    return lambdas[0] if len(lambdas) == 1 else None


def parameters(rule: Rule) -> list[str]:
    """The names of a rule's positional arguments."""
    return [argument.arg for argument in (*rule.args.posonlyargs, *rule.args.args)]


@functools.lru_cache(maxsize=256)
def element_line(rule: Rule, index: int) -> int | None:
    """The line of an element of the tuple that a rule returns; of a name, the line of its last assignment."""
    returned = _returned(rule)
    if not isinstance(returned, (ast.Tuple, ast.List)) or not -len(returned.elts) <= index < len(returned.elts):
        return None
    element = returned.elts[index]
    if not isinstance(element, ast.Name):
        return element.lineno
    lines = [node.lineno for node in _assignments(rule) if element.id in _targets(node)]
    return max((line for line in lines if line < returned.lineno), default=None)


@functools.lru_cache(maxsize=256)
def elements(rule: Rule) -> tuple[str, ...]:
    """The text of each element of the tuple that a rule returns; () if it returns another expression."""
    returned = _returned(rule)
    return tuple(map(ast.unparse, returned.elts)) if isinstance(returned, (ast.Tuple, ast.List)) else ()


def as_operand(text: str) -> str:
    """An expression, in parentheses if a method call on it needs them."""
    simple = (ast.Name, ast.Call, ast.Attribute, ast.Subscript)
    return text if isinstance(ast.parse(text, mode="eval").body, simple) else f"({text})"


@functools.lru_cache(maxsize=256)
def packed(rule: Rule) -> tuple[list[str], int] | None:
    """The names that a fwd rule returns as its residuals, in order, and the line; None unless all are plain names."""
    pair = _returned(rule)
    residuals = pair.elts[1] if isinstance(pair, ast.Tuple) and len(pair.elts) == len(("output", "residuals")) else None
    if isinstance(residuals, ast.Name):
        values = [
            node.value for node in _assignments(rule) if isinstance(node, ast.Assign) and residuals.id in _targets(node)
        ]
        residuals = values[-1] if values else None
    names = _plain_names(residuals)
    return (names, residuals.lineno) if names and residuals is not None else None


@functools.lru_cache(maxsize=256)
def unpacked(rule: Rule, parameter: str) -> tuple[list[str], int] | None:
    """The names that a bwd rule unpacks its residuals into, in order, and the line; None if it does not."""
    for node in _assignments(rule):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == parameter:
            names = _plain_names(node.targets[0])
            if names:
                return names, node.lineno
    return None


def _plain_names(node: ast.AST | None) -> list[str]:
    elements = node.elts if isinstance(node, (ast.Tuple, ast.List)) else []
    names = [element.id for element in elements if isinstance(element, ast.Name)]
    return names if len(names) == len(elements) == len(set(names)) else []


@functools.lru_cache(maxsize=256)
def kept_outside(rule: Rule) -> dict[str, int]:
    """Where a rule stores a value that it computes in a global, in a global container, or in `self`: name and line."""
    own, declared = set(parameters(rule)), set()
    for node in ast.walk(rule):
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            declared |= set(node.names)
    local = own | {name for node in _assignments(rule) for name in _targets(node)} - declared
    values = local - {"self"}
    found: dict[str, int] = {}
    for node in ast.walk(rule):
        for target, value in _stores(node):
            holder = _holder(target, declared, local, parameters(rule)[:1])
            if (
                holder
                and any(_is_computed(part, values) for part in ast.walk(value))
                and not _is_cache(rule, node, holder)
            ):
                found.setdefault(holder, target.lineno)
    return found


def _is_computed(node: ast.AST, values: set[str]) -> bool:
    return isinstance(node, ast.Call) or (isinstance(node, ast.Name) and node.id in values)


def _is_cache(rule: Rule, store: ast.AST, holder: str) -> bool:
    """Whether the store is guarded by a test of the container: `if n not in cache: cache[n] = ...`."""
    ifs = (
        node for node in ast.walk(rule) if isinstance(node, ast.If) and bindings.uses(ast.unparse(node.test), holder)
    )
    return any(store is inner for node in ifs for inner in ast.walk(node))


def _stores(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ADDS:
        for argument in node.args:
            yield node.func, argument


def _holder(target: ast.expr, declared: set[str], local: set[str], first_parameter: list[str]) -> str:
    """The global that a target writes to, `self.n` for an attribute of the first parameter, or ""."""
    if isinstance(target, ast.Name):
        return target.id if target.id in declared else ""
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        name = target.value.id
        if name in first_parameter and name == "self":
            return f"self.{target.attr}"
        return "" if name in local else name
    inner = target.value if isinstance(target, ast.Subscript) else None
    if isinstance(inner, ast.Name):
        return "" if inner.id in local else inner.id
    return ast.unparse(inner) if isinstance(inner, ast.Attribute) and ast.unparse(inner).startswith("self.") else ""


@functools.lru_cache(maxsize=256)
def reads(rule: Rule, name: str) -> bool:
    """Whether a rule reads a name, or the attribute `self.n`."""
    for node in ast.walk(rule):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load) and ast.unparse(node) == name:
            return True
    return False


def always_gives(rule: Rule, name: str, keywords: set[str]) -> bool:
    """Whether a rule calls a name, and passes all of these keywords each time."""
    calls = [node for node in ast.walk(rule) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]
    return bool(calls) and all(keywords <= {keyword.arg for keyword in call.keywords} for call in calls)


def _returned(rule: Rule) -> ast.expr | None:
    """The expression that a rule returns; None if it has several returns, or none."""
    if isinstance(rule, ast.Lambda):
        return rule.body
    returns = [node for node in bindings.statements(rule) if isinstance(node, ast.Return)]
    return returns[0].value if len(returns) == 1 else None


def _assignments(rule: Rule) -> Iterator[ast.Assign | ast.AugAssign | ast.AnnAssign]:
    for node in bindings.statements(rule):
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            yield node


def _targets(node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {
        part.id
        for target in targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
    }
