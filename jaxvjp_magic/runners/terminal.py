"""Print text in characters that the terminal can encode."""

from __future__ import annotations

import contextlib
import os
import sys

_PLAIN = str.maketrans({"×": "x", "│": "|", "└": "`", "·": "-", "→": "->", "…": "...", "−": "-"})  # noqa: RUF001


def said(text: str, end: str = "\n", *, errors: bool = False) -> None:
    """Print to standard output, or to standard error, in characters that it can encode.

    A closed pipe is not an error: `head` closes it once it has read enough.
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
        with contextlib.suppress(OSError):  # discard later output, so that Python does not complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
