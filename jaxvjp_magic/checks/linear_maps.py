"""VAL301 and VAL306: from the promises and vmap rules that `--verify` tried to findings about what does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import found
from jaxvjp_magic.record.facts import LinearFact
from jaxvjp_magic.results.model import Fix, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import Found, RecordView

_TITLES = {
    "constant": "{f} is not linear: it adds a constant",
    "nonlinear": "{f} is not linear",
    "symmetric": "{f} is not symmetric",
    "tangent_solve": "{rule} does not solve the tangent system of {f}",
    "transpose_solve": "{rule} does not solve the transposed system of {f}",
    "transpose": "{rule} is not the transpose of the primitive {f}",
}
_WHY = {
    "constant": (
        "{f} of zeros is not zero. jax.linear_transpose takes {f} for linear, and silently drops the constant."
    ),
    "nonlinear": "{f}(x + y) differs from {f}(x) + {f}(y) at random x and y. jax.linear_transpose takes it for linear.",
    "symmetric": (
        "With symmetric=True, JAX uses the same solve in the backward pass. At random u and v, the inner product of u "
        "and A v is not that of A u and v. A is {f}."
    ),
    "tangent_solve": (
        "It takes a linear function g and a vector y, and must return the x with g(x) = y. For a random y, g(x) "
        "differs from y."
    ),
    "transpose_solve": (
        "It takes the transpose of {f} and a vector y, and must return the x that the transpose maps to y. For a "
        "random y, it returns another x."
    ),
    "transpose": (
        "At random x and g, the inner product of {f}(x) and g is not that of x and what {rule} returns for g. "
        "Gradients through {f} are wrong."
    ),
}
_FIXES = {
    "constant": Fix("transpose the part without the constant, or use the pullback", "jax.vjp({f}, x)[1]"),
    "nonlinear": Fix("use the pullback at a point", "jax.vjp({f}, x)[1]"),
    "symmetric": Fix("remove symmetric=True, and pass transpose_solve"),
    "tangent_solve": Fix("solve g(x) = y; for scalars that is", "return {y} / {g}(1.0)"),
    "transpose_solve": Fix("solve with the function that it is given"),
    "transpose": Fix("return the cotangents that the transposed linear map gives"),
}


@check("VAL301")
def vmap_rules(record: RecordView) -> Iterator[Found]:
    """VAL301: the rule of a custom_vmap function gives another value than `jax.vmap` of the function."""
    for fact in record.facts:
        if not isinstance(fact, LinearFact) or fact.broken != "vmap" or fact.rule is None:
            continue
        view = next((view for view in record.of_function(fact.function) if view.call.kind == fact.kind), None)
        yield found(
            "VAL301", Severity.WARNING, record.program.returning(fact.rule.code),
            f"{fact.rule.name} gives another value than jax.vmap of {fact.function.name}",
            "Both ran at values of the program, or at random ones of the same types where there were none. The "
            "program's result depends on whether the function is mapped.",
            view=view, fix=Fix(f"return what jax.vmap of {fact.function.name} returns"),
            function=fact.function.name, phase="fwd",
        )  # fmt: skip


@check("VAL306")
def broken_promises(record: RecordView) -> Iterator[Found]:
    """VAL306: what JAX was told to be linear, symmetric or a solution is not."""
    for fact in record.facts:
        if not isinstance(fact, LinearFact) or fact.broken == "vmap":
            continue
        names = {"f": fact.function.name, "rule": fact.rule.name if fact.rule is not None else "", "g": "g", "y": "y"}
        if fact.rule is not None and len(fact.rule.arguments) == len("gy"):
            names["g"], names["y"] = fact.rule.arguments
        if names["f"] == "<lambda>":
            names["f"] = "the function"
        program, is_of_rule = record.program, "{rule}" in _TITLES[fact.broken]
        code = fact.rule.code if is_of_rule and fact.rule is not None else fact.function.code
        is_of_the_call = fact.broken == "symmetric" or code is None
        spot = program.spot(fact.place) if is_of_the_call else program.returning(code)
        fix = _FIXES[fact.broken]
        view = next((view for view in record.of_function(fact.function) if view.call.kind == fact.kind), None)
        yield found(
            "VAL306", Severity.WARNING, spot, _TITLES[fact.broken].format(**names),
            _WHY[fact.broken].format(**names), view=view,
            fix=Fix(fix.words, fix.code.format(**names)), function=fact.function.name, phase="bwd",
        )  # fmt: skip
