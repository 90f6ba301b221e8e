"""Takes the bytecode of one function and abstract arguments, and gives what it may return, over every path.

This is an abstract interpreter for the opcodes of Python 3.11 to 3.13. Each has
CPython's effect on the stack: `tests/test_purity.py` compares that with
`dis.stack_effect` over the code of whole packages. The `Follower`
(`operations.py`) says what an operation means.
"""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxvjp_magic.introspect.purity.abstract_values import (
    ANY_DATA,
    DATA,
    NULL,
    CellVariable,
    Closure,
    Concrete,
    IteratorValue,
    NotKnownError,
    TupleValue,
    Value,
    joined,
    singleton,
)
from jaxvjp_magic.record.calls import Place

if TYPE_CHECKING:
    import types
    from collections.abc import Callable

    from jaxvjp_magic.introspect.purity.operations import Follower

    Operation = Callable[["Frame", dis.Instruction], None]

NULL_IS_BELOW = sys.version_info < (3, 13)  # below the function that is called; later versions have it above
_LIST_TO_TUPLE = 6  # the operand of CALL_INTRINSIC_1
_MOST_STEPS = 20_000  # instructions that are interpreted in one function
_MOST_ROUNDS = 40  # in which one offset is reached with something new
_JUMPS_ONLY = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD", "JUMP_BACKWARD",
               "JUMP_BACKWARD_NO_INTERRUPT", "INTERPRETER_EXIT"}  # fmt: skip


class Handler(NamedTuple):
    """The handler of exceptions between two offsets; `depth` values of the stack stay."""

    start: int
    end: int
    target: int
    depth: int
    keeps_offset: bool


class Code(NamedTuple):
    """A disassembled code object."""

    instructions: tuple[dis.Instruction, ...]
    at: dict[int, int]  # the index of an instruction by its offset
    handlers: tuple[Handler, ...]
    targets: frozenset[int]


@functools.lru_cache(maxsize=2048)
def _taken_apart(_: int, code: types.CodeType) -> Code:
    instructions = tuple(dis.get_instructions(code))
    at = {instruction.offset: i for i, instruction in enumerate(instructions)}
    handlers = tuple(_handlers(code.co_exceptiontable))
    jumps = (op for op in instructions if op.opcode in dis.hasjrel or op.opcode in dis.hasjabs)
    targets = {jump.argval for jump in jumps}
    return Code(instructions, at, handlers, frozenset(targets | {handler.target for handler in handlers}))


def taken_apart(code: types.CodeType) -> Code:
    """The instructions of a function, its jump targets and its exception handlers."""
    return _taken_apart(id(code), code)


def _handlers(table: bytes) -> list[Handler]:
    """The parsed exception table; CPython's Objects/exception_handling_notes.txt describes the format."""
    handlers, data = [], iter(table)

    def number(first: int) -> int:
        value = first & 63
        while first & 64:
            first = next(data)
            value = (value << 6) | (first & 63)
        return value

    for first in data:
        start = number(first) * 2
        end = start + number(next(data)) * 2
        target = number(next(data)) * 2
        depth_and_lasti = number(next(data))
        handlers.append(Handler(start, end, target, depth_and_lasti >> 1, bool(depth_and_lasti & 1)))
    return handlers


class State:
    """The stack and the variables at one point."""

    __slots__ = ("stack", "variables")

    def __init__(self, stack: list[Value], variables: dict[str, Value]) -> None:
        """Take ownership of both: they are changed in place."""
        self.stack, self.variables = stack, variables

    def copy(self) -> State:
        """A copy that can be changed alone."""
        return State(list(self.stack), dict(self.variables))

    def join(self, other: State) -> bool:
        """Join another state into this one; return whether that changed anything."""
        changed = False
        if len(self.stack) != len(other.stack):
            message = "its bytecode is unknown{at}"
            raise NotKnownError(message)
        for i, value in enumerate(other.stack):
            if not value <= self.stack[i]:
                self.stack[i] = joined(self.stack[i], value)
                changed = True
        for name, value in other.variables.items():
            before = self.variables.get(name)
            if before is None or not value <= before:
                self.variables[name] = value if before is None else joined(before, value)
                changed = True
        return changed


class Frame:
    """The abstract interpretation of one function with certain arguments."""

    def __init__(
        self, follower: Follower, code: types.CodeType, key: Any, function: Closure | types.FunctionType
    ) -> None:
        """`key` identifies the variables that inner functions share."""
        self.follower, self.code, self.key, self.function = follower, code, key, function
        self.returned: Value = frozenset()
        self.keywords: tuple[str, ...] = ()
        self.state = State([], {})
        self._states: dict[int, State] = {}
        self._rounds: dict[int, int] = {}
        self._waiting: list[int] = []
        self.instruction: dis.Instruction | None = None
        self.dead = False  # whether the next instruction is unreachable from here

    def follow(self, variables: dict[str, Value]) -> Value:
        """Follow every path from the first instruction, and return the value that the function may return."""
        code, steps = taken_apart(self.code), 0
        self._reach(0, State([], variables))
        while self._waiting:
            offset = self._waiting.pop()
            self.state = self._states[offset].copy()
            index = code.at[offset]
            while True:
                steps += 1
                if steps > _MOST_STEPS:
                    message = "it is too long to follow{at}"
                    raise NotKnownError(message, self.place())
                instruction = self.instruction = code.instructions[index]
                for handler in code.handlers:
                    if handler.start <= instruction.offset < handler.end:
                        self._reach_handler(handler)
                        break
                if instruction.opname not in ("CACHE", "EXTENDED_ARG"):
                    self._run(instruction)
                if instruction.opname in _JUMPS_ONLY or self.dead:
                    self.dead = False
                    break
                index += 1
                next_offset = code.instructions[index].offset
                if next_offset in code.targets:
                    self._reach(next_offset, self.state)
                    break
        is_generator = self.code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR)
        return self.returned if not is_generator else singleton(IteratorValue(self.returned or ANY_DATA))

    def place(self) -> Place:
        """The line of the current instruction."""
        positions = self.instruction.positions if self.instruction is not None else None
        return Place(self.code.co_filename, (positions.lineno if positions else None) or self.code.co_firstlineno)

    def _reach(self, offset: int, state: State) -> None:
        earlier = self._states.get(offset)
        if earlier is None:
            self._states[offset] = state.copy()
        elif not earlier.join(state):
            return
        rounds = self._rounds[offset] = self._rounds.get(offset, 0) + 1
        if rounds > _MOST_ROUNDS:
            message = "it has too many branches to follow{at}"
            raise NotKnownError(message, self.place())
        if offset not in self._waiting:
            self._waiting.append(offset)

    def _reach_handler(self, handler: Handler) -> None:
        stack = self.state.stack[: handler.depth] + [ANY_DATA] * handler.keeps_offset + [ANY_DATA]
        self._reach(handler.target, State(stack, self.state.variables))

    def _run(self, instruction: dis.Instruction) -> None:
        name = instruction.opname
        operation = OPERATIONS.get(name)
        if operation is not None:
            operation(self, instruction)
            return
        simple = SIMPLE.get(name)
        if simple is None:
            message = f"it uses {name}{{at}}, which is not followed"
            raise NotKnownError(message)
        taken, left = simple
        if taken:
            del self.state.stack[-taken:]
        self.state.stack += [ANY_DATA] * left

    # Used by the operations below -----------------------------------------------------------------

    def push(self, *values: Value) -> None:
        """Push onto the stack."""
        self.state.stack.extend(values)

    def pop(self, count: int = 1) -> list[Value]:
        """Pop the top `count` values of the stack, the deepest first."""
        if count == 0:
            return []
        values = self.state.stack[-count:]
        del self.state.stack[-count:]
        return values

    def jump(self, instruction: dis.Instruction) -> None:
        """Follow the jump of this instruction, too."""
        self._reach(instruction.argval, self.state)
        if instruction.argval < instruction.offset and instruction.opname != "JUMP_BACKWARD_NO_INTERRUPT":
            code = taken_apart(self.code)  # JUMP_BACKWARD_NO_INTERRUPT belongs to `yield from`
            from_target = code.instructions[code.at[instruction.argval] :]
            target = next(op for op in from_target if op.opname not in ("EXTENDED_ARG", "CACHE"))
            self.follower.is_long = self.follower.is_long or target.opname != "FOR_ITER"  # `while`: no known length

    def site(self, extra: Any = None) -> Any:
        """An allocation site: the same each time that this instruction is followed."""
        assert self.instruction is not None  # noqa: S101 (only called while one is followed)
        return self.key, self.instruction.offset, extra

    def cell(self, name: str) -> Value:
        """The content of the shared variable of this name."""
        return self.follower.contents(self.state.variables.get(name, frozenset()), name)


# The opcodes ------------------------------------------------------------------------------------------


# How many values an opcode pops, and how many data values it pushes.
SIMPLE: dict[str, tuple[int, int]] = {
    "NOP": (0, 0), "RESUME": (0, 0), "CACHE": (0, 0), "PRECALL": (0, 0), "EXTENDED_ARG": (0, 0), "POP_TOP": (1, 0),
    "COPY_FREE_VARS": (0, 0), "RETURN_GENERATOR": (0, 1), "END_FOR": (1, 0), "JUMP_BACKWARD_NO_INTERRUPT": (0, 0),
    "UNARY_NOT": (1, 1), "TO_BOOL": (1, 1), "IS_OP": (2, 1), "CONTAINS_OP": (2, 1), "GET_LEN": (0, 1),
    "LOAD_ASSERTION_ERROR": (0, 1), "POP_EXCEPT": (1, 0), "RERAISE": (0, 0), "PUSH_EXC_INFO": (0, 1),
    "CHECK_EXC_MATCH": (1, 1), "BUILD_STRING": (0, 0), "MATCH_SEQUENCE": (0, 1),
    "MATCH_MAPPING": (0, 1), "MATCH_KEYS": (0, 1), "DELETE_FAST": (0, 0), "FORMAT_SIMPLE": (1, 1),
    "FORMAT_WITH_SPEC": (2, 1), "CONVERT_VALUE": (1, 1), "UNARY_POSITIVE": (1, 1), "UNARY_NEGATIVE": (1, 1),
    "UNARY_INVERT": (1, 1), "WITH_EXCEPT_START": (0, 1), "END_SEND": (2, 1),
}  # fmt: skip
if sys.version_info < (3, 13):
    SIMPLE["END_FOR"] = (2, 0)  # the iterator, too

OPERATIONS: dict[str, Callable[[Frame, dis.Instruction], None]] = {}


def _is(*names: str) -> Callable[[Operation], Operation]:
    def register(operation: Operation) -> Operation:
        for name in names:
            OPERATIONS[name] = operation
        return operation

    return register


@_is("LOAD_CONST")
def _load_const(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.follower.constant(instruction.argval))


@_is("RETURN_CONST")
def _return_const(frame: Frame, instruction: dis.Instruction) -> None:
    frame.returned = joined(frame.returned, frame.follower.constant(instruction.argval))


@_is("RETURN_VALUE")
def _return_value(frame: Frame, _: dis.Instruction) -> None:
    (value,) = frame.pop()
    if not frame.code.co_flags & inspect.CO_GENERATOR:
        frame.returned = joined(frame.returned, value)


@_is("YIELD_VALUE")
def _yield_value(frame: Frame, _: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.returned = joined(frame.returned, value)
    frame.push(ANY_DATA)  # the value that is sent


@_is("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_CLOSURE")
def _load_fast(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.state.variables.get(instruction.argval, frozenset()))


@_is("LOAD_FAST_AND_CLEAR")
def _load_and_clear(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.state.variables.pop(instruction.argval, frozenset()))


@_is("LOAD_FAST_LOAD_FAST")
def _load_two(frame: Frame, instruction: dis.Instruction) -> None:
    for name in instruction.argval:
        frame.push(frame.state.variables.get(name, frozenset()))


@_is("STORE_FAST")
def _store_fast(frame: Frame, instruction: dis.Instruction) -> None:
    (frame.state.variables[instruction.argval],) = frame.pop()


@_is("STORE_FAST_STORE_FAST")
def _store_two(frame: Frame, instruction: dis.Instruction) -> None:
    for name in instruction.argval:
        (frame.state.variables[name],) = frame.pop()


@_is("STORE_FAST_LOAD_FAST")
def _store_and_load(frame: Frame, instruction: dis.Instruction) -> None:
    first, second = instruction.argval
    (frame.state.variables[first],) = frame.pop()
    frame.push(frame.state.variables.get(second, frozenset()))


@_is("MAKE_CELL")
def _make_cell(frame: Frame, instruction: dis.Instruction) -> None:
    name = instruction.argval
    variable = CellVariable(frame.key, name)
    before = frame.state.variables.get(name)
    if before:
        frame.follower.heap.put(variable, before)
    frame.state.variables[name] = singleton(variable)


@_is("LOAD_DEREF", "LOAD_CLASSDEREF")
def _load_deref(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.cell(instruction.argval))


@_is("STORE_DEREF")
def _store_deref(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    for atom in frame.state.variables.get(instruction.argval, frozenset()):
        if not isinstance(atom, CellVariable):
            message = f"it changes the outer variable {instruction.argval}{{at}}"
            raise NotKnownError(message)
        frame.follower.heap.put(atom, value)


@_is("DELETE_DEREF")
def _delete_deref(frame: Frame, instruction: dis.Instruction) -> None:
    for atom in frame.state.variables.get(instruction.argval, frozenset()):
        if not isinstance(atom, CellVariable):
            message = f"it changes the outer variable {instruction.argval}{{at}}"
            raise NotKnownError(message)


@_is("STORE_GLOBAL", "DELETE_GLOBAL")
def _store_global(_: Frame, instruction: dis.Instruction) -> None:
    message = f"it changes the global {instruction.argval}{{at}}"
    raise NotKnownError(message)


@_is("LOAD_GLOBAL")
def _load_global(frame: Frame, instruction: dis.Instruction) -> None:
    value = frame.follower.global_value(frame.function, instruction.argval)
    with_null = bool((instruction.arg or 0) & 1)
    if with_null and NULL_IS_BELOW:
        frame.push(singleton(NULL))
    frame.push(value)
    if with_null and not NULL_IS_BELOW:
        frame.push(singleton(NULL))


@_is("PUSH_NULL")
def _push_null(frame: Frame, _: dis.Instruction) -> None:
    frame.push(singleton(NULL))


@_is("LOAD_ATTR", "LOAD_METHOD")
def _load_attr(frame: Frame, instruction: dis.Instruction) -> None:
    (owner,) = frame.pop()
    value = frame.follower.attribute(frame, owner, instruction.argval)
    is_method = instruction.opname == "LOAD_METHOD" or (
        sys.version_info >= (3, 12) and bool((instruction.arg or 0) & 1)
    )
    if is_method and NULL_IS_BELOW:
        frame.push(singleton(NULL))
    frame.push(value)
    if is_method and not NULL_IS_BELOW:
        frame.push(singleton(NULL))


@_is("LOAD_SUPER_ATTR")
def _load_super_attr(frame: Frame, instruction: dis.Instruction) -> None:
    _, of_class, own = frame.pop(3)
    value = frame.follower.super_attribute(frame, of_class, own, instruction.argval)
    is_method = bool((instruction.arg or 0) & 1)
    if is_method and NULL_IS_BELOW:
        frame.push(singleton(NULL))
    frame.push(value)
    if is_method and not NULL_IS_BELOW:
        frame.push(singleton(NULL))


@_is("STORE_ATTR")
def _store_attr(frame: Frame, instruction: dis.Instruction) -> None:
    value, owner = frame.pop(2)
    frame.follower.store_attribute(owner, instruction.argval, value)


@_is("DELETE_ATTR")
def _delete_attr(frame: Frame, instruction: dis.Instruction) -> None:
    (owner,) = frame.pop()
    frame.follower.store_attribute(owner, instruction.argval, ANY_DATA)


@_is("BINARY_SUBSCR")
def _subscript(frame: Frame, _: dis.Instruction) -> None:
    owner, key = frame.pop(2)
    frame.push(frame.follower.item(frame, owner, key))


@_is("BINARY_SLICE")
def _binary_slice(frame: Frame, _: dis.Instruction) -> None:
    owner = frame.pop(3)[0]
    frame.push(frame.follower.item(frame, owner, ANY_DATA))


@_is("STORE_SUBSCR")
def _store_subscript(frame: Frame, _: dis.Instruction) -> None:
    value, owner, key = frame.pop(3)
    frame.follower.store_item(owner, joined(value, key))


@_is("STORE_SLICE")
def _store_slice(frame: Frame, _: dis.Instruction) -> None:
    value, owner = frame.pop(4)[:2]
    frame.follower.store_item(owner, frame.follower.elements(frame, value))


@_is("DELETE_SUBSCR")
def _delete_subscript(frame: Frame, _: dis.Instruction) -> None:
    owner = frame.pop(2)[0]
    frame.follower.store_item(owner, frozenset())


@_is("BINARY_OP", "COMPARE_OP")
def _binary(frame: Frame, instruction: dis.Instruction) -> None:
    first, second = frame.pop(2)
    in_place = instruction.opname == "BINARY_OP" and instruction.argrepr.endswith("=")
    frame.push(frame.follower.binary(frame, first, second, instruction.argrepr, in_place=in_place))


@_is("BUILD_TUPLE")
def _build_tuple(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(singleton(TupleValue(tuple(frame.pop(instruction.arg or 0)))))


@_is("BUILD_LIST", "BUILD_SET")
def _build_list(frame: Frame, instruction: dis.Instruction) -> None:
    container = list if instruction.opname == "BUILD_LIST" else set
    frame.push(frame.follower.made(frame, container, *frame.pop(instruction.arg or 0)))


@_is("BUILD_MAP")
def _build_map(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.follower.made(frame, dict, *frame.pop(2 * (instruction.arg or 0))[1::2]))


@_is("BUILD_CONST_KEY_MAP")
def _build_const_key_map(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.follower.made(frame, dict, *frame.pop((instruction.arg or 0) + 1)[:-1]))


@_is("BUILD_SLICE")
def _build_slice(frame: Frame, instruction: dis.Instruction) -> None:
    frame.pop(instruction.arg or 2)
    frame.push(ANY_DATA)


@_is("BUILD_STRING")
def _build_string(frame: Frame, instruction: dis.Instruction) -> None:
    frame.pop(instruction.arg or 0)
    frame.push(ANY_DATA)


@_is("FORMAT_VALUE")
def _format_value(frame: Frame, instruction: dis.Instruction) -> None:
    frame.pop(2 if (instruction.arg or 0) & 4 else 1)
    frame.push(ANY_DATA)


@_is("LIST_APPEND", "SET_ADD")
def _append(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.follower.store_item(frame.state.stack[-(instruction.arg or 1)], value)


@_is("MAP_ADD")
def _map_add(frame: Frame, instruction: dis.Instruction) -> None:
    _, value = frame.pop(2)
    frame.follower.store_item(frame.state.stack[-(instruction.arg or 1)], value)


@_is("LIST_EXTEND", "SET_UPDATE")
def _extend(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.follower.store_item(frame.state.stack[-(instruction.arg or 1)], frame.follower.elements(frame, value))


@_is("DICT_UPDATE", "DICT_MERGE")
def _dict_update(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.follower.store_item(frame.state.stack[-(instruction.arg or 1)], frame.follower.values_of(frame, value))


@_is("LIST_TO_TUPLE")
def _list_to_tuple(frame: Frame, _: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.push(frame.follower.made(frame, tuple, frame.follower.elements(frame, value)))


@_is("UNPACK_SEQUENCE")
def _unpack(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.push(*reversed(frame.follower.unpacked(frame, value, instruction.arg or 0)))


@_is("UNPACK_EX")
def _unpack_rest(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    before, after = (instruction.arg or 0) & 0xFF, (instruction.arg or 0) >> 8
    element = frame.follower.elements(frame, value)
    rest = frame.follower.made(frame, list, element)
    frame.push(*[element] * after, rest, *[element] * before)


@_is("GET_ITER", "GET_YIELD_FROM_ITER")
def _get_iter(frame: Frame, _: dis.Instruction) -> None:
    (value,) = frame.pop()
    frame.follower.iterates(frame, value)
    frame.push(singleton(IteratorValue(frame.follower.elements(frame, value))))


@_is("FOR_ITER")
def _for_iter(frame: Frame, instruction: dis.Instruction) -> None:
    iterator = frame.state.stack[-1]
    at_the_end = frame.state.copy()
    if sys.version_info >= (3, 12):  # END_FOR pops a value above the iterator, and the iterator
        at_the_end.stack.append(ANY_DATA)
    else:
        at_the_end.stack.pop()
    frame._reach(instruction.argval, at_the_end)  # noqa: SLF001 (one mechanism)
    frame.push(frame.follower.elements(frame, iterator))


@_is("SEND")
def _send(frame: Frame, instruction: dis.Instruction) -> None:
    generator, _ = frame.pop(2)
    value = frame.follower.elements(frame, generator)
    if sys.version_info >= (3, 12):
        frame.push(generator, value)
        frame.jump(instruction)
    else:
        frame.push(value)
        frame.jump(instruction)
        frame.pop()
        frame.push(generator, value)


@_is("CALL_INTRINSIC_1")
def _intrinsic(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    if instruction.arg == _LIST_TO_TUPLE:
        frame.push(frame.follower.made(frame, tuple, frame.follower.elements(frame, value)))
    else:
        frame.push(ANY_DATA)


@_is("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump(frame: Frame, instruction: dis.Instruction) -> None:
    frame.jump(instruction)


@_is("JUMP_IF_FALSE_OR_POP", "JUMP_IF_TRUE_OR_POP")
def _jump_or_pop(frame: Frame, instruction: dis.Instruction) -> None:
    frame.jump(instruction)
    frame.pop()


def _pop_and_jump(frame: Frame, instruction: dis.Instruction) -> None:
    (value,) = frame.pop()
    if instruction.opname.endswith("NONE"):
        possible = {atom == Concrete(None) for atom in value}
        jumps = not instruction.opname.endswith("NOT_NONE")
        if not value or DATA in value:
            possible = {True, False}
    else:
        possible, jumps = frame.follower.truth(value), instruction.opname.endswith("TRUE")
    if jumps in possible:
        frame.jump(instruction)
    if (not jumps) not in possible:  # it always jumps
        frame.dead = True


for _direction in ("", "FORWARD_", "BACKWARD_"):
    for _condition in ("FALSE", "TRUE", "NONE", "NOT_NONE"):
        OPERATIONS[f"POP_JUMP_{_direction}IF_{_condition}"] = _pop_and_jump


@_is("SWAP")
def _swap(frame: Frame, instruction: dis.Instruction) -> None:
    stack, depth = frame.state.stack, instruction.arg or 1
    stack[-1], stack[-depth] = stack[-depth], stack[-1]


@_is("COPY")
def _copy(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.state.stack[-(instruction.arg or 1)])


@_is("KW_NAMES")
def _kw_names(frame: Frame, instruction: dis.Instruction) -> None:
    frame.keywords = frame.code.co_consts[instruction.arg or 0]


@_is("CALL", "CALL_KW")
def _call(frame: Frame, instruction: dis.Instruction) -> None:
    keywords = frame.keywords
    frame.keywords = ()
    if instruction.opname == "CALL_KW":
        (names,) = frame.pop()
        items = [item for atom in names if isinstance(atom, TupleValue) for item in atom.items]
        keywords = tuple(atom.obj for item in items for atom in item if isinstance(atom, Concrete))
    arguments = frame.pop(instruction.arg or 0)
    first, second = frame.pop(2)
    if first == singleton(NULL):
        function = second
    elif second == singleton(NULL):
        function = first
    else:
        function, arguments = first, [second, *arguments]
    count = len(arguments) - len(keywords)
    named = dict(zip(keywords, arguments[count:], strict=True))
    frame.push(frame.follower.call(frame, function, arguments[:count], named))


@_is("CALL_FUNCTION_EX")
def _call_with_stars(frame: Frame, instruction: dis.Instruction) -> None:
    keywords: Value = frozenset()
    if (instruction.arg or 0) & 1:
        (keywords,) = frame.pop()
    (starred,) = frame.pop()
    first, second = frame.pop(2)
    function = second if NULL_IS_BELOW else first
    frame.push(frame.follower.call_with_stars(frame, function, starred, keywords))


@_is("MAKE_FUNCTION")
def _make_function(frame: Frame, instruction: dis.Instruction) -> None:
    (code,) = frame.pop()
    flags = (instruction.arg or 0) if sys.version_info < (3, 13) else 0
    cells = frame.pop()[0] if flags & 8 else frozenset()
    if flags & 4:
        frame.pop()  # annotations
    keywords = frame.pop()[0] if flags & 2 else frozenset()
    defaults = frame.pop()[0] if flags & 1 else frozenset()
    frame.push(frame.follower.function(frame, code, cells, defaults, keywords))


@_is("SET_FUNCTION_ATTRIBUTE")
def _set_function_attribute(frame: Frame, instruction: dis.Instruction) -> None:
    value, function = frame.pop(2)
    frame.push(frame.follower.with_attribute(frame, function, instruction.arg or 0, value))


@_is("BEFORE_WITH")
def _before_with(frame: Frame, _: dis.Instruction) -> None:
    (manager,) = frame.pop()
    leave, entered = frame.follower.enter(frame, manager)
    frame.push(leave, entered)


@_is("RAISE_VARARGS")
def _raise(frame: Frame, instruction: dis.Instruction) -> None:
    for value in frame.pop(instruction.arg or 0):
        for atom in value:
            if isinstance(atom, Concrete) and ends_the_program(atom.obj):
                error_type = atom.obj if isinstance(atom.obj, type) else type(atom.obj)
                message = f"it raises {error_type.__name__}{{at}}"
                raise NotKnownError(message)


def ends_the_program(obj: Any) -> bool:
    """Whether this is a BaseException, or a class of them, that is no Exception: SystemExit, KeyboardInterrupt."""
    error_type = obj if isinstance(obj, type) else type(obj)
    return issubclass(error_type, BaseException) and not issubclass(error_type, Exception)


@_is("MATCH_CLASS")
def _match_class(frame: Frame, _: dis.Instruction) -> None:
    frame.pop(3)
    frame.push(ANY_DATA)


@_is("IMPORT_NAME")
def _import_name(frame: Frame, instruction: dis.Instruction) -> None:
    _, names = frame.pop(2)
    frame.push(frame.follower.imported(instruction.argval, names, frame.function))


@_is("IMPORT_FROM")
def _import_from(frame: Frame, instruction: dis.Instruction) -> None:
    frame.push(frame.follower.attribute(frame, frame.state.stack[-1], instruction.argval))
