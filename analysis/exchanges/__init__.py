"""What was negotiated, one source a module.

To add a source: a module with a `read` that gives `Negotiated` statements, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.dialogue import Dialogue
from analysis.exchanges import rocelab
from analysis.negotiated import Negotiated

DIALOGUES: tuple[Callable[[Dialogue], list[Negotiated]], ...] = (rocelab.read,)
"""Exchanges over TCP, recognised by their content; the first that understands it wins."""


def from_dialogues(dialogues: Iterable[Dialogue]) -> list[Negotiated]:
    """What was negotiated in each of `dialogues` that is an exchange."""
    found = []
    for dialogue in dialogues:
        found += next((said for read in DIALOGUES if (said := read(dialogue))), [])
    return found
