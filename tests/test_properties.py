"""Properties: a right rule gets no warning, whatever its arguments and its use; one fault in it is found, and its leaf.

Hypothesis writes small programs. Each has a random pytree of arguments, a
random smooth function of them, and a rule that `jax.vjp` makes, so it is right;
or is not, for one fault was planted in what bwd returns. What is drawn is the
text of the program: a failing example is a program to run.

`HYPOTHESIS_PROFILE=thorough` draws many more, and other ones each time.
"""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st
from programs import check_program

from jaxvjp_magic import Severity

pytestmark = pytest.mark.any_jax

IS_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
NAMES = "abc"
DEPTH = 2


def examples(number):
    """The settings of a property; in CI the same examples each time."""
    return settings(
        max_examples=10 * number if IS_THOROUGH else number,
        derandomize=not IS_THOROUGH,
        database=None,
        deadline=None,
        phases=tuple(Phase) if IS_THOROUGH else (Phase.generate,),  # a smaller program is not worth minutes each time
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


# What is drawn ------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An array: where it is in the arguments, and its type."""

    path: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self):
        return "float" in self.dtype


@dataclasses.dataclass(frozen=True)
class Node:
    """A container of leaves and containers; `keys` are those of a dict, () of a tuple or a list."""

    path: str
    kind: str
    children: tuple
    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Planted:
    """One fault: what stands in the place of what, and what the report must say."""

    paths: tuple[str, ...]
    code: str
    instead: dict[str, str]
    dropped: str = ""
    says: str = ""


FEW = [(), (3,), (2, 2), (3, 1), (2, 3), (3, 3)]  # so that two leaves are alike often enough to be exchanged
shapes = st.one_of(st.sampled_from(FEW), st.sampled_from(FEW), st.lists(st.integers(1, 3), max_size=3).map(tuple))
float_dtypes = st.sampled_from(["float32"] * 4 + ["bfloat16", "float16"])


@st.composite
def trees(draw, path, depth=DEPTH):
    """A random pytree whose leaves know where they are."""
    kind = draw(st.sampled_from(["leaf"] * 3 + ["dict", "tuple", "list"])) if depth else "leaf"
    if kind == "leaf":
        dtype = draw(st.sampled_from(["float"] * 5 + ["int32"]))
        return Leaf(path, draw(shapes), dtype if dtype == "int32" else draw(float_dtypes))
    number = draw(st.integers(1, 2 + (depth == DEPTH)))
    keys = tuple(sorted(draw(st.permutations(["w", "bias", "k"]))[:number])) if kind == "dict" else ()
    steps = [f"[{key!r}]" for key in keys] or [f"[{i}]" for i in range(number)]
    return Node(path, kind, tuple(draw(trees(path + step, depth - 1)) for step in steps), keys)


def leaves_of(*all_trees):
    """The leaves, in JAX's order."""
    for tree in all_trees:
        yield from [tree] if isinstance(tree, Leaf) else leaves_of(*tree.children)


def nodes_of(*all_trees):
    """The containers."""
    for tree in all_trees:
        if isinstance(tree, Node):
            yield tree
            yield from nodes_of(*tree.children)


def written(tree, write, dropped=""):
    """A pytree as text, with what `write` gives for each leaf; what has the path `dropped` is left out."""
    if isinstance(tree, Leaf):
        return write(tree)
    keys = tree.keys or tree.children
    inside = [(k, written(child, write, dropped)) for k, child in zip(keys, tree.children, strict=True)
              if child.path != dropped]  # fmt: skip
    if tree.kind == "dict":
        return "{" + ", ".join(f"{key!r}: {text}" for key, text in inside) + "}"
    texts = [text for _, text in inside]
    return f"[{', '.join(texts)}]" if tree.kind == "list" else as_tuple(texts)


def as_tuple(texts):
    return f"({', '.join(texts)}{',' if len(texts) == 1 else ''})"


SMOOTH = ["jnp.sin({})", "{} ** 2", "jnp.tanh({})", "jnp.exp(0.5 * {})", "{0} / (1 + {0} ** 2)"]
TOGETHER = [
    "jnp.sum(jnp.outer(jnp.ravel({0}), jnp.ravel({1})))",
    "jnp.dot(jnp.ravel({0})[:1], jnp.ravel({1})[-1:])",
    "jnp.mean({0}) * {1}",
    "{0} + jnp.sum({1})",
    "jnp.broadcast_to(jnp.mean({0}), (2, 3)) * jnp.size({1})",
]


@st.composite
def functions(draw, leaves):
    """The expressions of the outputs: the first depends on every leaf, so each has a gradient."""
    smooth = [draw(st.sampled_from(SMOOTH)).format(leaf.path) for leaf in leaves]
    outputs = [" + ".join(f"{i + 2} * jnp.sum({one})" for i, one in enumerate(smooth))]
    for _ in range(draw(st.integers(0, 2))):
        one, other = draw(st.sampled_from(smooth)), draw(st.sampled_from(smooth))
        outputs.append(draw(st.sampled_from(TOGETHER)).format(f"({one})", f"({other})"))
    if len(outputs) == 1:
        return draw(st.sampled_from(["{}", "({},)"])).format(outputs[0])
    return draw(st.sampled_from(["({1},)", "[{1}]", "dict(y={0}, z=({1},))"])).format(outputs[-1], ", ".join(outputs))


USES = {
    "grad": "jax.grad(loss, which, allow_int=True)(*args)",
    "jit of grad": "jax.jit(jax.grad(loss, which, allow_int=True))(*args)",
    "grad of jit": "jax.grad(jax.jit(loss), which, allow_int=True)(*args)",
    "vjp": "out, pullback = jax.vjp(call, *args); pullback(jax.tree.map(jnp.ones_like, out))",
    "vmap of grad": "jax.vmap(jax.grad(loss, which, allow_int=True))(*batch)",
    "jit of vmap of grad": "jax.jit(jax.vmap(jax.grad(loss, which, allow_int=True)))(*batch)",
    "grad of vmap": "jax.grad(lambda *batch: jax.vmap(loss)(*batch).sum(), which, allow_int=True)(*batch)",
    "scan": "jax.grad(lambda *a: jax.lax.scan(lambda c, _: (c + loss(*a), None), 0.0, None, length=2)[0], which, "
    "allow_int=True)(*args)",
    "checkpoint": "jax.grad(jax.checkpoint(loss), which, allow_int=True)(*args)",
}
PROGRAM = """
{plain_is}
def plain({parameters}):
    return {function}

@partial(jax.custom_vjp, nondiff_argnums={static})
def f({parameters}):
    return plain({parameters})

def fwd({parameters}):
    {fwd}

def bwd({bwd_parameters}):
    {bwd}
    return {returned}

f.defvjp(fwd, bwd)

def call({names}):
    return f({given})

def loss(*args):
    return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(call(*args)))

import numpy as np
random = np.random.default_rng(0)
def array(shape, dtype):
    return jnp.asarray(random.uniform(0.3, 1.3, shape) * (3 if dtype == "int32" else 1), dtype)

args = {arguments}
batch = jax.tree.map(lambda leaf: jnp.asarray(np.stack([leaf, leaf + 1])), args)
which = tuple(range(len(args)))
{use}
"""
RETURN_LINE = PROGRAM.split("\n").index("    return {returned}") + 1  # line 1 is the prelude of check_program


@dataclasses.dataclass(frozen=True)
class Written:
    """A program, and what is needed to plant a fault in it."""

    trees: tuple
    values: dict[str, str]

    def text(self, fault=None):
        """The program; bwd's cotangents are `da`, `db`, ... and what it returns is written leaf by leaf."""
        instead, dropped = (fault.instead, fault.dropped) if fault else ({}, "")
        cotangents = [
            written(tree, lambda leaf: instead.get(leaf.path, f"d{leaf.path}"), dropped)
            for tree in self.trees
            if tree.path != dropped
        ]
        return PROGRAM.format(**self.values, returned=as_tuple(cotangents))

    @property
    def float_leaves(self):
        return [leaf for leaf in leaves_of(*self.trees) if leaf.is_float]


@st.composite
def programs(draw):
    """A function, a right rule, a use of it."""
    all_trees = tuple(draw(trees(name)) for name in NAMES[: draw(st.sampled_from([1, 2, 2, 3]))])
    leaves = list(leaves_of(*all_trees))
    assume(any(leaf.is_float for leaf in leaves))
    names = [tree.path for tree in all_trees]
    parameters, given_names, static = list(names), list(names), ()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(names)))
        static = (at,)
        parameters.insert(at, "n")
        given_names.insert(at, draw(st.sampled_from(["3", "'text'", "jnp.sin"])))
    parameter_text, name_text = ", ".join(parameters), ", ".join(names)
    without_static = f"lambda {name_text}: plain({parameter_text})"
    again = f"_, pullback = jax.vjp({without_static}, *res)"
    unpacked = f"{', '.join(f'd{name}' for name in names)}, = {{}}(g)"
    if draw(st.booleans()):
        fwd, bwd = f"return f({parameter_text}), ({name_text},)", f"{again}; {unpacked.format('pullback')}"
    else:
        fwd, bwd = f"return jax.vjp({without_static}, {name_text})", unpacked.format("res")
    write = lambda leaf: f"array({leaf.shape}, {leaf.dtype!r})"
    return Written(
        all_trees,
        {
            "plain_is": draw(st.sampled_from([f"@partial(jax.jit, static_argnums={static})"] * 4 + ["# eager"])),
            "parameters": parameter_text,
            "function": draw(functions(leaves)),
            "static": str(static),
            "fwd": fwd,
            "bwd_parameters": "n, res, g" if static else "res, g",
            "bwd": bwd,
            "names": name_text,
            "given": ", ".join(given_names),
            "arguments": as_tuple([written(tree, write) for tree in all_trees]),
            "use": draw(st.sampled_from(sorted(USES.values()))),
        },
    )


# Faults -------------------------------------------------------------------------------------------


def wrapped(leaf, code, expression, **more):
    """A fault in one leaf."""
    return Planted((leaf.path,), code, {leaf.path: expression.format(f"d{leaf.path}")}, **more)


def swapped(one, other, code):
    """Each in the other's place."""
    return Planted((one.path, other.path), code, {one.path: f"d{other.path}", other.path: f"d{one.path}"})


def dropped(node, child, position):
    """A child of a container is missing."""
    what = f"lacks the key {node.keys[position]!r}" if node.keys else f"has {elements(len(node.children) - 1)}, not "
    return Planted((), "VJP103", {}, child.path, f"bwd returns another structure for {node.path}: it {what}")


def elements(number):
    return f"{number} element{'' if number == 1 else 's'}"


def shape_faults(program):
    """Every fault that types alone show."""
    leaves = program.float_leaves
    for leaf in leaves:
        yield wrapped(leaf, "VJP104", "jnp.stack([{0}, {0}])", says="it would fit if summed over axis 0")
        yield wrapped(leaf, "VJP104", f"jnp.broadcast_to({{}}, {(2, *leaf.shape)})", says="summed over axis 0")
        yield wrapped(leaf, "VJP105", "{}.astype(jnp.float32)" if leaf.dtype != "float32" else "{}.astype('bfloat16')")
        if len(leaf.shape) == len("mn") and leaf.shape[0] != leaf.shape[1]:
            yield wrapped(leaf, "VJP104", "{}.T", says="it would fit")
    for one, other in pairs(leaves):
        if one.shape != other.shape:
            yield swapped(one, other, "VJP104")
    for node in nodes_of(*program.trees):
        for position, child in enumerate(node.children):
            yield dropped(node, child, position)
    for tree in program.trees:
        number = len(program.trees)
        says = f"bwd returns {number - 1} cotangent{'' if number == len('ab') else 's'}, but f takes"
        yield Planted((), "VJP103", {}, tree.path, says)


def value_faults(program):
    """Every fault that only values show."""
    leaves = program.float_leaves
    for leaf in leaves:
        yield wrapped(leaf, "VAL302", "-{}", says="has the wrong sign")
        yield wrapped(leaf, "VAL302", "3 * {}", says="is 3 times the derivative of f")
        if len(leaf.shape) == len("mn") and leaf.shape[0] == leaf.shape[1] > 1:
            yield wrapped(leaf, "VAL302", "{}.T", says="is transposed")
    for one, other in pairs(leaves):
        if (one.shape, one.dtype) == (other.shape, other.dtype):
            yield swapped(one, other, "VAL302")


def pairs(leaves):
    return [(one, other) for i, one in enumerate(leaves) for other in leaves[:i]]


@st.composite
def faulty(draw, faults):
    """A program and one fault of it, any sort of fault as often as any other."""
    program = draw(programs())
    by_sort = {}
    for fault in faults(program):
        by_sort.setdefault((fault.code, fault.says[:20], len(fault.instead)), []).append(fault)
    assume(by_sort)
    return program, draw(st.sampled_from(draw(st.sampled_from(list(by_sort.values())))))


# The properties -----------------------------------------------------------------------------------


def checked(program, fault=None, **options):
    """The report, and with it all that is needed to see it again."""
    note(program.text(fault))
    report = check_program(program.text(fault), **options)
    note(str(report))
    return report


def worse_than_notes(report):
    return [finding for finding in report.findings if finding.severity is not Severity.NOTE]


@examples(16)
@given(programs())
def test_a_right_rule_gets_no_warning(program):
    """Whatever its arguments, wherever it is used; and the program runs."""
    report = checked(program)
    assert report.error is None
    assert worse_than_notes(report) == []
    assert [call for call in report.calls if call.function == "f"]


@examples(8)
@given(programs())
def test_a_right_rule_gets_no_warning_with_verify(program):
    """In float64 or in its own precision, at the program's values or at random ones."""
    report = checked(program, verify=True)
    assert report.error is None
    assert worse_than_notes(report) == []


@examples(20)
@given(faulty(shape_faults))
def test_a_wrong_structure_shape_or_dtype_is_found_at_its_leaf(drawn):
    """The first finding, and no other leaf is blamed."""
    assert_found(*drawn)


@examples(8)
@given(faulty(value_faults))
def test_a_wrong_value_is_found_at_its_leaf(drawn):
    """With --verify, and nothing else is said."""
    assert_found(*drawn, verify=True)


def assert_found(program, fault, **options):
    found = worse_than_notes(checked(program, fault, **options))
    first = found[0]
    assert {finding.code for finding in found} == {fault.code}
    assert (first.function, first.phase) == ("f", "bwd")
    assert {finding.path for finding in found} <= {*fault.paths} or not fault.paths
    assert fault.says in f"{first.title} {first.message}"
    # Two names in each other's place are made on the line before: that may be the line, too.
    assert first.line == RETURN_LINE or (len(fault.instead) == len("ab") and first.line == RETURN_LINE - 1)
