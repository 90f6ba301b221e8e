"""Notes on what the check itself could not do: a sentence each, with the exception behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


class Note(str):
    """A sentence, and `fault`, the exception inside the check that it is about; "" if there is none."""

    __slots__ = ("fault",)
    fault: str

    def __new__(cls, text: str, fault: str = "") -> Self:
        """A note with this text, as it is shown."""
        note = super().__new__(cls, text)
        note.fault = fault
        return note


def could_not(action: str, error: BaseException, detail: str = "") -> Note:
    """`could not trace JAX: ValueError: ...`; `detail` in place of the exception's message."""
    fault = f"{type(error).__name__}: {detail or error}"
    return Note(f"could not {action}: {fault}", fault)


def one_per_fault(notes: Iterable[str]) -> tuple[str, ...]:
    """The notes, but only the first of those with the same fault."""
    first_notes: dict[str, str] = {}
    for note in notes:
        first_notes.setdefault(getattr(note, "fault", "") or note, note)
    return tuple(first_notes.values())
