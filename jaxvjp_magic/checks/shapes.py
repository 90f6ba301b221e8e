"""VJP101 to VJP106 and VJP114: findings about pytrees, shapes and dtypes that rules and pullbacks take and return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxvjp_magic.checks import wording
from jaxvjp_magic.checks.register import check
from jaxvjp_magic.checks.view import NO_FIX
from jaxvjp_magic.results.model import Fix, Severity
from jaxvjp_magic.source import rule_ast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxvjp_magic.checks.view import CallView, Found
    from jaxvjp_magic.record.calls import Bwd, Pullback
    from jaxvjp_magic.record.trees import ArrayType, Structure, Tree

ERROR, WARNING = Severity.ERROR, Severity.WARNING


@check("VJP102", of_each_call=True)
def fwd_returns_a_pair(view: CallView) -> Iterator[Found]:
    """VJP102: fwd does not return a pair of output and residuals."""
    for fwd in view.fwds:
        if fwd.output is not None or view.fwd is None:
            continue
        yield view.finding(
            "VJP102", ERROR, view.program.returning(view.fwd.code),
            f"{view.fwd_name} returns {fwd.got}, not a pair (output, residuals)",
            f"When JAX differentiates, it calls {view.fwd_name} instead of {view.name}. The first element of the pair "
            f"is {view.name}'s output, the second is saved for {view.bwd_name}.",
            fix=Fix("return both, with None if bwd needs no residuals", "return output, residuals"),
            phase="fwd", expected="(output, residuals)", got=fwd.got,
        )  # fmt: skip
        return


@check("VJP101", of_each_call=True)
def fwd_fits_primal(view: CallView) -> Iterator[Found]:
    """VJP101: fwd's output does not have the type of the function's output."""
    expected = view.expected_output
    for fwd in view.fwds:
        if fwd.output is None or expected is None or view.fwd is None:
            continue
        path, difference = tree_difference(expected, fwd.output)
        if not difference:
            continue
        yield view.finding(
            "VJP101", ERROR, view.program.returning(view.fwd.code),
            f"{view.fwd_name} returns {fwd.output}, but {view.name} returns {expected}",
            f"The first element of the pair that {view.fwd_name} returns replaces {view.name}'s output; "
            f"{_at_path('it', path)} {difference}."
            + ("" if view.has_one_rule else f" JAX compares the two only if {view.name} itself has run, too."),
            fix=Fix(f"return from {view.fwd_name} what {view.name} returns", _first_of_pair(view)),
            phase="fwd", path=path, expected=str(expected), got=str(fwd.output),
        )  # fmt: skip
        return


def _first_of_pair(view: CallView) -> str:
    """`return f(x, y), residuals`, with what fwd returns as residuals; "" if its text does not show them."""
    rule, fwd = view.call.rule, view.program.rule_text(view.fwd.code if view.fwd else None)
    elements = rule_ast.elements(fwd) if fwd is not None else ()
    if rule is None or fwd is None or rule.symbolic_zeros or len(elements) != len(("output", "residuals")):
        return ""
    if rule_ast.reads(fwd, view.name):  # it calls the function already
        return ""
    return f"return {view.name}({', '.join(rule_ast.parameters(fwd))}), {elements[1]}"


@check("VJP103", "VJP104", "VJP105", of_each_call=True)
def bwd_fits_arguments(view: CallView) -> Iterator[Found]:
    """VJP103 to VJP105: bwd's result does not have the structure, shapes or dtypes of the arguments."""
    primals = view.call.primals
    if primals is None or view.bwd is None:
        return
    for bwd in view.bwds:
        if bwd.result is None:
            continue
        found = list(_bwd_structure(view, primals, bwd)) or list(_bwd_leaves(view, primals, bwd))
        if found:
            yield from found
            return


def _bwd_structure(view: CallView, primals: Tree, bwd: Bwd) -> Iterator[Found]:
    result, arguments = bwd.result, primals.structure
    if result is None or view.bwd is None:
        return
    got = result.structure
    count = len(arguments.children)
    needed = wording.listed(primals.names) or "none"
    fix = NO_FIX
    if got.kind not in ("tuple", "list") or (got.kind == "list" and len(got.children) != count):
        problem = f"{view.bwd_name} returns {got.described}, not a tuple with one cotangent per argument"
        reason = f"{view.name} takes {wording.number(count, 'argument')} ({needed})."
        fix = Fix("mind the comma of a tuple of one", "return (cotangent,)") if count == 1 else Fix("return a tuple")
    elif _is_one_level_too_deep(arguments, got):
        problem = (
            f"{view.bwd_name} returns one tuple level too many: a tuple of 1, and in it {got.children[0].described}"
        )
        reason = f"{view.name} takes {wording.number(count, 'argument')} ({needed}), and bwd returns one for each."
        fix = Fix("remove the outer parentheses")
    elif len(got.children) != count:
        problem = f"{view.bwd_name} returns {wording.number(len(got.children), 'cotangent')}, but {view.name} takes "
        problem += f"{wording.number(count, 'argument')}: {needed}"
        reason, fix = _about_count(view, primals, got)
    else:
        difference = wording.structure_difference(_as_tuple(arguments), _as_tuple(got))
        if difference is None:
            return
        argument = _argument(primals, difference[0])
        problem = f"{view.bwd_name} returns another structure for {argument}: it {difference[1]}"
        reason = f"A cotangent has the pytree structure of its argument, {arguments.children[_index(difference[0])]}."
        fix = Fix(f"return the same structure as {argument}, with zeros or None where there is no gradient")
    yield view.finding(
        "VJP103", ERROR, view.program.returning(view.bwd.code), problem, reason, fix=fix,
        phase="bwd", expected=str(arguments), got=str(got),
    )  # fmt: skip


def _is_one_level_too_deep(arguments: Structure, got: Structure) -> bool:
    """Whether a tuple of 1 wraps the right tuple, unless that is the structure of the first argument."""
    inner, count = got.children[0] if len(got.children) == 1 else None, len(arguments.children)
    return (
        inner is not None
        and inner.kind == "tuple"
        and len(inner.children) == count > 1
        and inner != arguments.children[0]
    )


def _about_count(view: CallView, primals: Tree, got: Structure) -> tuple[str, Fix]:
    names = list(primals.names)
    if len(got.children) < len(names):
        missing = names[len(got.children) :]
        reason = "Arguments with defaults count too; those in nondiff_argnums do not."
        rule = view.program.rule_text(view.bwd.code) if view.bwd else None
        elements = rule_ast.elements(rule) if rule is not None else ()
        code = f"return {', '.join([*elements, *(['None'] * len(missing))])}" if elements else ""
        return reason, Fix("return one for each argument, None where there is no gradient", code)
    if view.call.nondiff:
        static = wording.listed(name for name, _ in view.call.nondiff)
        return (
            f"{static} is in nondiff_argnums and gets no cotangent.",
            Fix(f"return only those of {wording.listed(names)}"),
        )
    return "There is one for each argument, no more.", Fix(f"return only those of {wording.listed(names)}")


def _as_tuple(structure: Structure) -> Structure:
    return type(structure)("tuple", (), structure.children)


def _index(path: str) -> int:
    return int(path[1 : path.index("]")])


def _argument(primals: Tree, path: str) -> str:
    index = _index(path)
    return (primals.names[index] if index < len(primals.names) else f"argument {index}") + path[path.index("]") + 1 :]


def _bwd_leaves(view: CallView, primals: Tree, bwd: Bwd) -> Iterator[Found]:
    if bwd.result is None or view.bwd is None:
        return
    leaves = dict(bwd.result.leaves)
    for path, argument in primals.leaves:
        got = _leaf_for(leaves, path)
        if got is None or got.note in ("None", "symbolic zero") or got.shape is None:
            continue
        if argument.shape is None or got.is_float0 or not _is_inexact(argument):
            continue
        name, spot = path or "the argument", view.returned(path)
        if got.shape != argument.shape:
            hint = wording.near_fit(argument.shape, got.shape)
            yield view.finding(
                "VJP104", ERROR, spot,
                f"{view.bwd_name} returns {got.text} for {name}, which is {argument.text}",
                "A cotangent has the shape of its argument" + (f"; {hint}." if hint else "."),
                fix=Fix(
                    f"return {argument.text} for {name}", wording.fitting(argument.shape, got.shape, view.made(path))
                ),
                phase="bwd", path=path,
                expected=argument.text, got=got.text,
            )  # fmt: skip
        elif got.dtype != argument.dtype:
            dtypes = (got.dtype, argument.dtype)
            raised = next(
                (error for error, message in view.record.uncaught if all(dtype in message for dtype in dtypes)), ""
            )
            yield view.finding(
                "VJP105", ERROR if raised else WARNING, spot,
                f"{view.bwd_name} returns {got.text} for {name}, which is {argument.text}",
                f"JAX accepts a cotangent of another dtype without a word, and raised {raised} where it was used."
                if raised else
                "JAX silently accepts a cotangent of another dtype, and returns it as the gradient.",
                fix=Fix(f"return it as {argument.dtype}", f'{view.made(path)}.astype("{argument.dtype}")'),
                phase="bwd", path=path,
                expected=argument.text, got=got.text,
            )  # fmt: skip


def _leaf_for(leaves: dict[str, ArrayType], path: str) -> ArrayType | None:
    """The leaf at this key path, or the leaf that replaces a subtree around it."""
    ends = [len(path), *(i for i in range(len(path) - 1, -1, -1) if path[i] in "[.")]
    return next((leaves[path[:end]] for end in ends if path[:end] in leaves), None)


def _is_inexact(array_type: ArrayType) -> bool:
    return array_type.dtype.startswith(("float", "bfloat", "complex")) and not array_type.is_float0


@check("VJP106", of_each_call=True)
def pullback_fits_output(view: CallView) -> Iterator[Found]:
    """VJP106: the cotangent passed to a pullback does not have the type of the output."""
    for forward in view.forwards:
        for pullback in view.pullbacks:
            if pullback.result is None:
                yield from _cotangent_mismatch(view, forward.output, pullback)
                return


def _cotangent_mismatch(view: CallView, output: Tree, pullback: Pullback) -> Iterator[Found]:
    got = pullback.cotangents
    path, difference = tree_difference(output, got, cotangent=True)
    if not difference:
        return
    raised = next((failed.raised for failed in view.failures if failed.phase == "pullback"), None)
    if raised is None:
        return
    yield view.finding(
        "VJP106", view.record.severity_of(raised), view.program.spot(raised.place or view.call.place),
        f"the pullback of {view.name} was given {got}, but the output is {output}",
        f"A pullback takes a cotangent of the output's type; {_at_path('this one', path)} {difference}.",
        fix=Fix(f"call it with a cotangent like the output: {output}"),
        phase="pullback", path=path, expected=str(output), got=str(got),
    )  # fmt: skip


@check("VJP114", of_each_call=True)
def primals_have_gradients(view: CallView) -> Iterator[Found]:
    """VJP114: all primals are integers, so every gradient is float0."""
    primals = view.call.primals
    if (
        primals is None
        or not primals.leaves
        or not view.call.is_direct
        or not any(pullback.result for pullback in view.pullbacks)
    ):
        return
    outputs = [leaf for forward in view.forwards for leaf in forward.output.leaves]
    if any(_is_inexact(array_type) for _, array_type in primals.leaves) or not any(
        _is_inexact(array_type) for _, array_type in outputs
    ):
        return
    if view.call.kind != "vjp":  # grad and its like raise, unless allow_int=True: then float0 is intended
        return
    path, array_type = primals.leaves[0]
    if not array_type.is_integer:
        return
    yield view.finding(
        "VJP114", WARNING, view.program.spot(view.call.place),
        f"the gradient of {view.name} with respect to {path} is float0, because {path} is {array_type.text}",
        "An integer has no derivative, so the pullback returns a float0 for it, which no arithmetic accepts. jax.grad "
        "raises here, jax.vjp does not.",
        fix=Fix("differentiate with respect to floats", f"{path}.astype(jnp.float32)"),
        phase="pullback", path=path, got=array_type.text,
    )  # fmt: skip


def tree_difference(expected: Tree, got: Tree, *, cotangent: bool = False) -> tuple[str, str]:
    """The key path of the first leaf that differs, and how; ("", "") if none does."""
    if expected.structure != got.structure:
        difference = wording.structure_difference(expected.structure, got.structure)
        return difference or ("", f"is {got.structure.described}, not {expected.structure.described}")
    for (path, e), (_, g) in zip(expected.leaves, got.leaves, strict=True):
        if e.shape is None or g.shape is None:
            continue
        wanted = "float0" if cotangent and not _is_inexact(e) else e.dtype
        if e.shape != g.shape or (wanted != g.dtype and not g.is_float0):
            hint = wording.near_fit(e.shape, g.shape)
            return path, f"has {wording.difference(e, g)}" + (f" ({hint})" if hint else "")
    return "", ""


def _at_path(subject: str, path: str) -> str:
    return f"its leaf {path}" if path else subject
