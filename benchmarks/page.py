"""Turn figures into lines of text, and write them into docs/speed.md."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Figure, machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = Path(__file__).resolve().parent.parent / "docs" / "speed.md"
PEERS = ("jax-shape-tracker", "jaxtyping + beartype", "jax.checking_leaks")


def lines(name: str, figure: Figure) -> Iterator[str]:
    """One row for the terminal, with its remark and the other tools below."""
    bound = "" if figure.bound is None else f"  at most {figure.text(figure.bound)}"
    yield f"{'ok  ' if figure.is_within else 'over'}  {figure.text(figure.value):>9}{bound:<18}  {name}"
    if figure.beside:
        yield f"{'':17}{figure.beside}"
    if figure.peers:
        yield f"{'':17}" + "; ".join(f"{peer} {ratio:.2f}" for peer, ratio in figure.peers.items())


def profile_lines(profile: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Where the time of one eager call goes."""
    yield "where the time of one eager gradient goes, in microseconds:"
    for part, seconds in profile:
        yield f"{seconds * 1e6:8.1f}  {part}"


def write(figures: Sequence[tuple[str, Figure]], profile: Sequence[tuple[str, float]]) -> None:
    """Write docs/speed.md: replace the table and the profile between their marks."""
    text = PAGE.read_text(encoding="utf-8")
    for mark, part in (("table", _table(figures)), ("profile", _profile(profile))):
        before, rest = text.split(f"<!-- {mark} -->\n", 1)
        after = rest.split(f"<!-- end of {mark} -->", 1)[1]
        text = f"{before}<!-- {mark} -->\n" + "\n".join(part) + f"\n<!-- end of {mark} -->{after}"
    PAGE.write_text(text, encoding="utf-8")


def _table(figures: Sequence[tuple[str, Figure]]) -> Iterator[str]:
    yield from (*textwrap.wrap(machine().replace("\n", ". ") + ".", 110), "")
    yield f"| work | measured | bound | beside | {' | '.join(PEERS)} |"
    yield "|---" * (4 + len(PEERS)) + "|"
    for name, figure in figures:
        bound = "" if figure.bound is None else f"at most {figure.text(figure.bound)}"
        peers = (f"{figure.peers[peer]:.2f}" if peer in figure.peers else "" for peer in PEERS)
        measured = figure.text(figure.value) if figure.is_within else f"**{figure.text(figure.value)}**"
        yield f"| {name} | {measured} | {bound} | {figure.beside} | {' | '.join(peers)} |"


def _profile(profile: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield from ("| µs | part |", "|---:|---|")
    yield from (f"| {seconds * 1e6:.1f} | {part} |" for part, seconds in profile)
