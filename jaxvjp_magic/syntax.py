"""What the source text says: where a name is bound, where a function returns."""

from __future__ import annotations

import ast
import dataclasses
import dis
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """A place where a name gets a value. `value` is the text of an assigned expression."""

    name: str
    line: int
    start: int
    end: int
    value: str = ""
    is_definition: bool = False
    first_line: int = 0  # of a definition: that of its first decorator


@functools.lru_cache(maxsize=64)
def parse(text: str) -> ast.Module | None:
    """The syntax tree, None where the text is no Python."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def bindings(text: str, name: str, inside_line: int | None = None) -> list[Binding]:
    """Where `name` is bound at the top level, or in the function around `inside_line`, in order.

    Blocks (if, for, try, with) are looked into, functions and classes are not.
    """
    tree = parse(text)
    if tree is None:
        return []
    scope: ast.AST = tree
    if inside_line is not None:
        scope = _function_around(tree, inside_line) or tree
    found = [binding for node in _statements(scope) for binding in _bindings_of(node, name, text)]
    return sorted(found, key=lambda binding: (binding.line, binding.start))


def _statements(scope: ast.AST) -> Iterator[ast.AST]:
    """Every node of a scope, without what is inside other scopes."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def _function_around(tree: ast.AST, line: int) -> ast.AST | None:
    """The innermost function around the function that begins at this line."""
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, _FUNCTIONS) and first_line(node) < line <= (node.end_lineno or 0)
    ]
    return max(around, key=lambda node: node.lineno, default=None)


def _bindings_of(node: ast.AST, name: str, text: str) -> Iterator[Binding]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node.name == name:
        at = node.col_offset
        yield Binding(name, node.lineno, at, at + 3, is_definition=True, first_line=first_line(node))
    elif isinstance(node, ast.alias) and (node.asname or node.name.split(".")[0]) == name:
        yield Binding(name, node.lineno, node.col_offset, node.end_col_offset or 0)
    elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For, ast.withitem)):
        yield from _assignments(node, name, text)


def _assignments(node: ast.AST, name: str, text: str) -> Iterator[Binding]:
    value = getattr(node, "value", None)
    targets = getattr(node, "targets", None) or [getattr(node, "target", None) or getattr(node, "optional_vars", None)]
    for target in targets:
        for part in ast.walk(target) if target is not None else ():
            if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Store):
                is_whole = part is target
                source = ast.get_source_segment(text, value) if value is not None and is_whole else None
                yield Binding(name, part.lineno, part.col_offset, part.end_col_offset or 0, source or "")


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """The line that a code object gives as its first: that of the first decorator, if any."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def def_line(text: str, line: int) -> int:
    """The line of the `def` whose first decorator stands at `line`."""
    for node in ast.walk(parse(text) or ast.Module([], [])):
        if isinstance(node, _FUNCTIONS) and first_line(node) == line:
            return node.lineno
    return line


@functools.lru_cache(maxsize=256)
def return_line(code: types.CodeType) -> int | None:
    """The line of the only `return` of a function; None where there are several."""
    lines = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("RETURN_") and instruction.opname != "RETURN_GENERATOR":
            positions = instruction.positions
            if positions is not None and positions.lineno is not None:
                lines.add(positions.lineno)
    return lines.pop() if len(lines) == 1 else None


def called_names(text: str, line: int) -> list[str]:
    """The plain names that a line calls, the innermost call last."""
    calls = (node for node in _nodes_at(text, line) if isinstance(node, ast.Call))
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]


def names_with_attribute(text: str, line: int, attribute: str) -> list[str]:
    """The plain names whose attribute a line asks for."""
    found = (node for node in _nodes_at(text, line) if isinstance(node, ast.Attribute) and node.attr == attribute)
    return [node.value.id for node in found if isinstance(node.value, ast.Name)]


def _nodes_at(text: str, line: int) -> Iterator[ast.AST]:
    for node in ast.walk(parse(text) or ast.Module([], [])):
        if getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", None) or 0):
            yield node


def uses(text: str, name: str) -> bool:
    """Whether a name stands anywhere in the text."""
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(parse(text) or ast.Module([], [])))
