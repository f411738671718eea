"""What passes see: the capture, what was negotiated, and what the second witness answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from analysis.conversations import Connection, Conversations
from analysis.dialogue import Dialogue
from analysis.merge import AnyCapture
from analysis.negotiated import Negotiated
from analysis.sequences import Sequences
from analysis.streams import Stream
from analysis.witness import SeenBTH
from captures.run import Run
from captures.truth import Event, Truth
from dissectors.bth import BTH
from dissectors.table import PacketTable

SILENT_WORK = {"IBV_WR_RECV", "IBV_WR_LOCAL_INV", "IBV_WR_BIND_MW"}
"""Work requests that put no request on the wire."""
NEVER_SENT = {
    "IBV_WC_WR_FLUSH_ERR",
    "IBV_WC_LOC_LEN_ERR",
    "IBV_WC_LOC_QP_OP_ERR",
    "IBV_WC_LOC_PROT_ERR",
}
"""Statuses of requests that the sending end itself gave up before they left."""


@dataclass(frozen=True, slots=True)
class KeyLog:
    """TLS secrets: the text in NSS format, and where it came from (empty: there is none)."""

    text: str = ""
    origin: str = ""

    @property
    def client_randoms(self) -> frozenset[str]:
        """The sessions it has secrets of, by their client random (lower-case hex)."""
        lines = (line.split() for line in self.text.splitlines())
        return frozenset(line[1].lower() for line in lines if len(line) == 3)


@dataclass(frozen=True, slots=True)
class SecondWitness:
    """What tshark answered.

    `decrypted` are the TLS streams it could read, by number; `undecrypted` says of the others why
    not. `asked` are the frames it was to read BTH of, `bth` what it read there; `absent` says why
    it could not be asked at all.
    """

    decrypted: frozenset[int] = frozenset()
    undecrypted: Mapping[int, str] = field(default_factory=dict)
    asked: frozenset[int] = frozenset()
    bth: Mapping[int, SeenBTH] = field(default_factory=dict)
    absent: str = ""


@dataclass(frozen=True)
class Context:
    """Everything that is known of one capture before it is judged.

    `path` is what the user named, `folder` the run directory (None for a bare capture). `truths`
    are the endpoint logs by name. `whole` has a row per frame; `table` a row per packet, as it left
    its sender: they differ where a link was recorded at both its ends (analysis.vantage).
    """

    path: Path
    capture: AnyCapture
    table: PacketTable
    whole: PacketTable
    streams: Sequence[Stream]
    dialogues: Sequence[Dialogue]
    statements: Sequence[Negotiated]
    conversations: Conversations
    sequences: Sequences
    witness: SecondWitness = SecondWitness()
    key_log: KeyLog = KeyLog()
    truths: Mapping[str, Truth] = field(default_factory=dict)
    folder: Path | None = None
    run: Run | None = None

    @cached_property
    def roce(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which rows are RoCE packets."""
        mask: np.ndarray[Any, np.dtype[np.bool_]] = self.table.has(BTH)
        return mask

    @cached_property
    def _work(self) -> Mapping[tuple[str, object], list[Event]]:
        """Completions of requests that were on the wire, by log and connection number."""
        work: dict[tuple[str, object], list[Event]] = {}
        for name, truth in self.truths.items():
            for event in truth.named("work"):
                number = event.get("connection")
                silent = event.get("opcode") in SILENT_WORK or event.get("status") in NEVER_SENT
                if type(number) is int and not silent:
                    work.setdefault((name, number), []).append(event)
        return work

    def work(self, connection: Connection, side: str) -> list[Event]:
        """Completions that end `side` of `connection` logged of requests it put on the wire."""
        if not self._work:
            return []
        return [
            event
            for said in connection.negotiated
            if said.number is not None and said.local == connection.end(side)
            for event in self._work.get((said.observer, said.number), ())
        ]

    def frame(self, row: int) -> int:
        """Frame number of a table row."""
        return int(self.table["frame"][row])

    def frames(self, rows: Any, limit: int = 20) -> tuple[int, ...]:
        """Frame numbers of the first `limit` of `rows`."""
        return tuple(self.table["frame"][np.sort(rows)[:limit]].tolist())
