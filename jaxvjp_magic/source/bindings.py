"""From a program's text to where a name is bound, used or deleted, and where a function returns."""

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

    `value` is the text of the assigned expression, "" if the name gets only a
    part of it, as in an unpacking; `whole` is that text in both cases.
    """

    name: str
    line: int
    start: int
    end: int
    value: str = ""
    whole: str = ""
    is_definition: bool = False
    first_line: int = 0  # of a definition: the line of its first decorator


@functools.lru_cache(maxsize=64)
def parse(text: str) -> ast.Module | None:
    """The syntax tree, None if the text is not Python."""
    try:
        try:
            return ast.parse(text)
        except SystemError:
            # Python miscounts its recursion depth if a garbage collection that switches stacks runs meanwhile.
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


@functools.lru_cache(maxsize=64)
def nodes(text: str) -> tuple[ast.AST, ...]:
    """Every node of the syntax tree, the outer ones first; none if the text is not Python."""
    tree = parse(text)
    return () if tree is None else tuple(ast.walk(tree))


def comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments of a text with their lines, up to the first error in its syntax."""
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def may_name(text: str, name: str) -> bool:
    """Whether the text may contain this name: if not, there is no need to parse it.

    A session has many cells, and few of them contain a given name.
    """
    plain = name.partition("[")[0]  # a key may be written in several ways
    # Python normalises identifiers (NFKC), so a text that is not ASCII has to be parsed.
    return not text.isascii() or all(word in text for word in plain.split("."))


def bindings(text: str, name: str, inside_line: int | None = None) -> tuple[Binding, ...]:
    """Where `name` is bound at the top level, or in the function around `inside_line`, in order.

    Blocks (if, for, try, with) are searched, functions and classes are not; for
    an attribute, `self.f`, and an item, `table['f']`, everything is searched.
    """
    return _found_bindings(text, name, inside_line) if may_name(text, name) else ()


# Each check of a session asks again for cells that use a name and do not bind it; a tree takes far more memory.
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
    """Every node of a scope, without those in inner scopes."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _SCOPES):
            waiting.extend(ast.iter_child_nodes(node))


def _function_around(tree: ast.AST, line: int) -> ast.AST | None:
    """The innermost function around the function that begins at this line."""
    functions = [
        node
        for node in ast.walk(tree)
        if isinstance(node, _FUNCTIONS) and first_line(node) < line <= (node.end_lineno or 0)
    ]
    return max(functions, key=lambda node: node.lineno, default=None)


def _bindings_of(node: ast.AST, name: str, text: str) -> Iterator[Binding]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and node.name == name:
        column = node.col_offset
        yield Binding(name, node.lineno, column, column + 3, is_definition=True, first_line=first_line(node))
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
                position = part.lineno, part.col_offset, part.end_col_offset or 0
                yield Binding(name, *position, source if part is target else "", source)


def _is_item(name: str) -> bool:
    """Whether a name is an attribute or an item: `Layer.norm`, `table['norm']`."""
    return "." in name or name.endswith("]")


def _is_name(node: ast.AST, name: str) -> bool:
    """Whether a node is this name, which may be an attribute or an item."""
    if isinstance(node, ast.Name):
        return node.id == name
    return isinstance(node, (ast.Attribute, ast.Subscript)) and _is_item(name) and ast.unparse(node) == name


def _is_stored(node: ast.AST, name: str) -> TypeGuard[ast.Name | ast.Attribute | ast.Subscript]:
    """Whether the node assigns to the name; `.norm` is that attribute of any object."""
    if not isinstance(getattr(node, "ctx", None), ast.Store):
        return False
    return _is_name(node, name) or (isinstance(node, ast.Attribute) and f".{node.attr}" == name)


def deletions(text: str, name: str) -> list[tuple[int, int, int | None]]:
    """Where a name is deleted at the top level: line and columns."""
    targets = (
        target
        for node in statements(parse(text) or ast.Module([], []) if may_name(text, name) else ast.Module([], []))
        if isinstance(node, ast.Delete)
        for target in node.targets
    )
    return sorted(
        (target.lineno, target.col_offset, target.end_col_offset)
        for target in targets
        if isinstance(target, ast.Name) and target.id == name
    )


def keywords_of_partial(value: str) -> set[str]:
    """The keywords that `partial(f, beta=5.0)` binds; none if it binds positional arguments too."""
    tree = parse(value)
    call = tree.body[0].value if tree and tree.body and isinstance(tree.body[0], ast.Expr) else None
    if not isinstance(call, ast.Call) or ast.unparse(call.func).split(".")[-1] != "partial" or len(call.args) != 1:
        return set()
    return {keyword.arg for keyword in call.keywords if keyword.arg}


def first_line(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> int:
    """What a code object has as `co_firstlineno`: the line of the first decorator, if any."""
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def def_line(text: str, line: int) -> int:
    """The line of the `def` whose first decorator is at `line`."""
    for node in nodes(text):
        if isinstance(node, _FUNCTIONS) and first_line(node) == line:
            return node.lineno
    return line


@functools.lru_cache(maxsize=256)
def return_line(code: types.CodeType) -> int | None:
    """The line of the only `return` of a function; None if it has several."""
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
        positions = instruction.positions
        if (
            instruction.opname.startswith("LOAD_")
            and instruction.argval == name
            and positions is not None
            and positions.lineno
        ):
            return positions.lineno, positions.col_offset, positions.end_col_offset
    return None


def method_call(text: str, method: str, names: set[str]) -> int | None:
    """The line of the last `f.method(g)` in which `f` or `g` is one of these names."""
    calls = (node for node in (nodes(text) if method in text else ()) if isinstance(node, ast.Call))
    lines = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == method
        and any(isinstance(operand, ast.Name) and operand.id in names for operand in (call.func.value, *call.args))
    ]
    return max(lines, default=None)


def first_argument(text: str, line: int, function: str) -> str:
    """The first argument of a call of `function`, or `module.function`, on a line; "" unless it is a plain name."""
    for node in _nodes_at(text, line):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function and node.args:
            return node.args[0].id if isinstance(node.args[0], ast.Name) else ""
    return ""


def names_on(text: str, line: int) -> set[str]:
    """The names on a line."""
    return {node.id for node in _nodes_at(text, line) if isinstance(node, ast.Name) and node.lineno == line}


def loops_around(text: str, line: int) -> Iterator[tuple[set[str], int, int]]:
    """The loops around a line in its scope: the names that change with each iteration, first and last line."""
    tree = parse(text)
    scope = tree and (_function_around(tree, line) or tree)
    for node in statements(scope) if scope else ():
        if isinstance(node, (ast.For, ast.AsyncFor)) and node.lineno < line <= (node.end_lineno or 0):
            changing = _stored(node.target)
            for inner in statements(node):  # what is computed from a changing name changes too
                if isinstance(inner, ast.Assign) and any(uses(ast.unparse(inner.value), name) for name in changing):
                    changing |= set().union(*map(_stored, inner.targets))
            yield changing, node.lineno, node.end_lineno or node.lineno
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp)) and node.lineno <= line <= (
            node.end_lineno or 0
        ):
            yield (
                set().union(*(_stored(generator.target) for generator in node.generators)),
                node.lineno,
                node.end_lineno or 0,
            )


def _stored(target: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def called_names(text: str, line: int) -> list[str]:
    """The plain names that are called on a line, the innermost call last."""
    calls = (node for node in _nodes_at(text, line) if isinstance(node, ast.Call))
    return [call.func.id for call in calls if isinstance(call.func, ast.Name)]


def names_with_attribute(text: str, line: int, attribute: str) -> list[str]:
    """The plain names whose attribute is used on a line."""
    found = (node for node in _nodes_at(text, line) if isinstance(node, ast.Attribute) and node.attr == attribute)
    return [node.value.id for node in found if isinstance(node.value, ast.Name)]


def _nodes_at(text: str, line: int) -> Iterator[ast.AST]:
    for node in nodes(text):
        if getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", None) or 0):
            yield node


def strings(text: str, value: str) -> Iterator[tuple[int, int, int]]:
    """Line and columns of each string with this value."""
    for node in nodes(text):
        if isinstance(node, ast.Constant) and node.value == value:
            yield node.lineno, node.col_offset, node.end_col_offset or 0


def uses(text: str, name: str) -> bool:
    """Whether a name, or `Layer.norm` or `table['norm']`, is anywhere in the text."""
    return any(_is_name(node, name) for node in nodes(text))
