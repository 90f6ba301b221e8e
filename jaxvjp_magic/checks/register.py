"""The register of checks: a check takes a view and yields findings, and names the codes that it may find."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxvjp_magic.checks.view import Found

F = TypeVar("F", bound="Callable[..., Iterator[Found]]")


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """A check: `function` takes a `CallView` if it is `of_each_call`, else a `RecordView`.

    With `only_unexplained`, its findings are dropped where another finding explains them.
    """

    function: Callable[[Any], Iterator[Found]]
    codes: tuple[str, ...]
    of_each_call: bool
    only_unexplained: bool


CHECKS: list[Check] = []


def check(*codes: str, of_each_call: bool = False, only_unexplained: bool = False) -> Callable[[F], F]:
    """Register the decorated function as a check: `@check("VJP102", of_each_call=True)`."""

    def register(function: F) -> F:
        CHECKS.append(Check(function, codes, of_each_call, only_unexplained))
        return function

    return register
