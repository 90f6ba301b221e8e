"""What every code says, word by word: titles, messages and fixes of all wrong programs that the tests know.

Facts are tested elsewhere. `python -m pytest --renew-snapshots` writes the words again.
"""

from __future__ import annotations

import pytest
from recorded import recorded, report_of

from jaxvjp_magic.record.calls import Failed

pytestmark = [pytest.mark.any_jax, pytest.mark.xdist_group("recorded")]


def test_the_words_are_those_of_the_snapshot(snapshot):
    snapshot("messages.txt", "\n\n".join(_section(name, *kept) for name, kept in recorded().items()) + "\n")


def _section(name, record, sources, error):
    lines = [f"== {name}"]
    for finding in report_of((record, sources, error)).findings:
        lines += [f"{finding.code}  {finding.title}", f"    {finding.message}"]
        lines += [f"    fix: {finding.fix}"] * bool(finding.fix)
    text = "\n".join(lines)
    for message in _messages_of_jax(record, error):  # another JAX says it in other words
        text = text.replace(message, "MESSAGE")
    return text


def _messages_of_jax(record, error):
    raised = [event.raised.message for call in record.calls for event in call.events if isinstance(event, Failed)]
    whole = {" ".join(message.split()) for message in [*raised, str(error or "")]}
    last_lines = {message.strip().rsplit("\n", 1)[-1] for message in raised}
    return sorted(filter(None, whole | last_lines), key=len, reverse=True)
