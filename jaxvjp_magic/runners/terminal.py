"""What is printed, in letters that the terminal can write."""

from __future__ import annotations

import contextlib
import os
import sys

_PLAIN = str.maketrans({"×": "x", "│": "|", "└": "`", "·": "-", "→": "->", "…": "...", "−": "-"})  # noqa: RUF001


def said(text: str, end: str = "\n", *, errors: bool = False) -> None:
    """To standard output, or to that of errors, in letters that it can write.

    Its reader may have gone: `head` has seen enough, which is not a mistake.
    """
    stream = sys.stderr if errors else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    try:
        print(text, end=end, file=stream, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(OSError):  # what is still to be printed goes nowhere, and Python says nothing of it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
