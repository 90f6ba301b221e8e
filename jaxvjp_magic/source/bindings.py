"""What the source text says: where a name is bound, where a function returns."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import dis
import functools
import io
import tokenize
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_SCOPES = (*_FUNCTIONS, ast.ClassDef, ast.Lambda)


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """A place where a name gets a value.

    `value` is the text of the expression that it gets, `whole` that of the one
    that it gets all or a part of.
    """

    name: str
    line: int
    start: int
    end: int
    value: str = ""
    whole: str = ""
    is_definition: bool = False
    first_line: int = 0  # of a definition: that of its first decorator


@functools.lru_cache(maxsize=64)
def parse(text: str) -> ast.Module | None:
    """The syntax tree, None if the text is not Python."""
    try:
        try:
            return ast.parse(text)
        except SystemError:
            # Python miscounts its levels where a garbage collection comes in between and switches stacks.
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=64)
def nodes(text: str) -> tuple[ast.AST, ...]:
    """Every node of the syntax tree, the outer ones first; none if the text is not Python."""
    tree = parse(text)
    return () if tree is None else tuple(ast.walk(tree))


def comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments of a text with their lines, up to where it is not Python."""
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def may_name(text: str, name: str) -> bool:
    """Whether the text can have this name: where it cannot, there is no need to parse it.

    A session has many cells, and few of them have the name that is asked for.
    """
    plain = name.partition("[")[0]  # what is in brackets may be written in other ways
    # Python takes letters that look alike for the same: what has others than ASCII has to be read.
    return not text.isascii() or all(word in text for word in plain.split("."))


def bindings(text: str, name: str, inside_line: int | None = None) -> tuple[Binding, ...]:
    """Where `name` is bound at the top level, or in the function around `inside_line`, in order.

    Blocks (if, for, try, with) are looked into, functions and classes are not;
    for an attribute, `self.f`, and an item, `table['f']`, everything is.
    """
    return _found_bindings(text, name, inside_line) if may_name(text, name) else ()


# Cells that have a name and do not bind it are asked again in each check of a session; a tree takes far more memory.
@functools.lru_cache(maxsize=2048)
def _found_bindings(text: str, name: str, inside_line: int | None) -> tuple[Binding, ...]:
    tree = parse(text)
    if tree is None:
        return ()
    scope: ast.AST = tree
    if inside_line is not None:
        scope = _function_around(tree, inside_line) or tree
    places = nodes(text) if _is_item(name) and not name.startswith(".") else statements(scope)
    found = [binding for node in places for binding in _bindings_of(node, name, text)]
    return tuple(sorted(found, key=lambda binding: (binding.line, binding.start)))


def statements(scope: ast.AST) -> Iterator[ast.AST]:
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
            if _is_stored(part, name):
                source = (ast.get_source_segment(text, value) or "") if value is not None else ""
                at = part.lineno, part.col_offset, part.end_col_offset or 0
                yield Binding(name, *at, source if part is target else "", source)


def _is_item(name: str) -> bool:
    """Whether a name is what something holds: `Layer.norm`, `table['norm']`."""
    return "." in name or name.endswith("]")


def _stands_for(node: ast.AST, name: str) -> bool:
    """Whether a node is this name; what something holds is a name, too."""
    if isinstance(node, ast.Name):
        return node.id == name
    return isinstance(node, (ast.Attribute, ast.Subscript)) and _is_item(name) and ast.unparse(node) == name


def _is_stored(node: ast.AST, name: str) -> TypeGuard[ast.Name | ast.Attribute | ast.Subscript]:
    """Whether this gives the name a value, or, of `.norm`, that attribute of anything."""
    if not isinstance(getattr(node, "ctx", None), ast.Store):
        return False
    return _stands_for(node, name) or (isinstance(node, ast.Attribute) and f".{node.attr}" == name)


def deletions(text: str, name: str) -> list[tuple[int, int, int | None]]:
    """Where a name is deleted at the top level: line and columns."""
    nodes = (
        target
        for node in statements(parse(text) or ast.Module([], []) if may_name(text, name) else ast.Module([], []))
        if isinstance(node, ast.Delete)
        for target in node.targets
    )
    return sorted(
        (one.lineno, one.col_offset, one.end_col_offset)
        for one in nodes
        if isinstance(one, ast.Name) and one.id == name
    )


def keywords_of_partial(value: str) -> set[str]:
    """The keywords that `partial(f, beta=5.0)` binds; none where it binds positions too."""
    tree = parse(value)
    call = tree.body[0].value if tree and tree.body and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func).split(".")[-1] != "partial" or len(call.args) != 1:
        return set()
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """The line that a code object gives as its first: that of the first decorator, if any."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def def_line(text: str, line: int) -> int:
    """The line of the `def` whose first decorator is at `line`."""
    for node in nodes(text):
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


@functools.lru_cache(maxsize=256)
def lookup(code: types.CodeType, name: str) -> tuple[int, int | None, int | None] | None:
    """Line and columns of the first place where a function looks up a global or a closure variable."""
    for instruction in dis.get_instructions(code):
        at = instruction.positions
        if instruction.opname.startswith("LOAD_") and instruction.argval == name and at is not None and at.lineno:
            return at.lineno, at.col_offset, at.end_col_offset
    return None


def method_call(text: str, method: str, names: set[str]) -> int | None:
    """The line of the last `f.method(g)` that names one of these, as `f` or as `g`."""
    calls = (node for node in (nodes(text) if method in text else ()) if isinstance(node, ast.Call))
    lines = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == method
        and any(isinstance(one, ast.Name) and one.id in names for one in (call.func.value, *call.args))
    ]
    return max(lines, default=None)


def first_argument(text: str, line: int, function: str) -> str:
    """The plain name that a call of `function`, or of `module.function`, on a line takes first; "" for none."""
    for node in _nodes_at(text, line):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function and node.args:
            return node.args[0].id if isinstance(node.args[0], ast.Name) else ""
    return ""


def names_on(text: str, line: int) -> set[str]:
    """The names that stand on a line."""
    return {node.id for node in _nodes_at(text, line) if isinstance(node, ast.Name) and node.lineno == line}


def loops_around(text: str, line: int) -> Iterator[tuple[set[str], int, int]]:
    """The loops around a line of the same scope: the names that change from turn to turn, first and last line."""
    tree = parse(text)
    scope = tree and (_function_around(tree, line) or tree)
    for node in statements(scope) if scope else ():
        if isinstance(node, (ast.For, ast.AsyncFor)) and node.lineno < line <= (node.end_lineno or 0):
            changing = _stored(node.target)
            for inner in statements(node):  # what is made from a name that changes, changes too
                if isinstance(inner, ast.Assign) and any(uses(ast.unparse(inner.value), one) for one in changing):
                    changing |= set().union(*map(_stored, inner.targets))
            yield changing, node.lineno, node.end_lineno or node.lineno
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp)) and node.lineno <= line <= (
            node.end_lineno or 0
        ):
            yield set().union(*(_stored(one.target) for one in node.generators)), node.lineno, node.end_lineno or 0


def _stored(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def called_names(text: str, line: int) -> list[str]:
    """The plain names that a line calls, the innermost call last."""
    calls = (node for node in _nodes_at(text, line) if isinstance(node, ast.Call))
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]


def names_with_attribute(text: str, line: int, attribute: str) -> list[str]:
    """The plain names whose attribute a line asks for."""
    found = (node for node in _nodes_at(text, line) if isinstance(node, ast.Attribute) and node.attr == attribute)
    return [node.value.id for node in found if isinstance(node.value, ast.Name)]


def _nodes_at(text: str, line: int) -> Iterator[ast.AST]:
    for node in nodes(text):
        if getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", None) or 0):
            yield node


def uses(text: str, name: str) -> bool:
    """Whether a name, `Layer.norm` and `table['norm']` too, is anywhere in the text."""
    return any(_stands_for(node, name) for node in nodes(text))
