"""What the check itself could not do: one sentence each, and the exception behind it as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


class Note(str):
    """A sentence, and `fault`, the exception of ours that it is about; "" where there is none."""

    __slots__ = ("fault",)
    fault: str

    def __new__(cls, text: str, fault: str = "") -> Self:
        """The sentence as it is shown."""
        note = super().__new__(cls, text)
        note.fault = fault
        return note


def could_not(what: str, error: BaseException, detail: str = "") -> Note:
    """`could not trace JAX: ValueError: ...`; `detail` in place of the exception's message."""
    fault = f"{type(error).__name__}: {detail or error}"
    return Note(f"could not {what}: {fault}", fault)


def one_per_fault(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes, and of those about the same exception of ours the first."""
    kept: dict[str, str] = {}
    for note in notes:
        kept.setdefault(getattr(note, "fault", "") or note, note)
    return tuple(kept.values())
