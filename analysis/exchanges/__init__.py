"""What was negotiated, one source a module.

To add a source: a module whose docstring says where it is seen and whose PSN is whose, a function
that gives `Negotiated` statements, and a line in one of the tables here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from analysis.dialogue import Dialogue
from analysis.exchanges import perftest, pingpong, rdma_cm, rdma_multi_client, rocelab
from analysis.negotiated import Negotiated

Reader = Callable[[Dialogue], list[Negotiated]]
TableReader = Callable[[Any], list[Negotiated]]
LogReader = Callable[[str, str], list[Negotiated]]

DIALOGUES: tuple[Reader, ...] = (
    rocelab.read,
    pingpong.read,
    perftest.read,
    rdma_multi_client.read,
)
"""Exchanges over TCP, recognised by their content; the first that understands it wins."""

TABLES: tuple[TableReader, ...] = (rdma_cm.read,)
"""Exchanges in RDMA datagrams."""

LOGS: tuple[LogReader, ...] = (pingpong.read_log, perftest.read_log)
"""What programs print, recognised by its content; called with text and name."""


def from_dialogues(dialogues: Iterable[Dialogue]) -> list[Negotiated]:
    """What was negotiated in each of `dialogues` that is an exchange."""
    found = []
    for dialogue in dialogues:
        found += next((said for read in DIALOGUES if (said := read(dialogue))), [])
    return found


def from_table(table: Any) -> list[Negotiated]:
    """What was negotiated in RDMA datagrams of a PacketTable."""
    return [said for read in TABLES for said in read(table)]


def from_log(text: str, observer: str) -> list[Negotiated]:
    """What a program's output says was negotiated; empty where nobody understands it."""
    return next((said for read in LOGS if (said := read(text, observer))), [])
