"""The CM datagrams that made and unmade a connection (rdma_cm), as rungs of a ladder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from analysis.figures.ladder import Step
from analysis.figures.tcp_steps import Told, told
from dissectors.bth import BTH
from dissectors.cm import MESSAGES
from dissectors.deth import DETH
from dissectors.header import Header
from dissectors.table import PacketTable

LIMIT = 2000
"""Datagrams looked at."""
QP1 = 1
CM_HEADERS = tuple(MESSAGES.values())


def steps(table: PacketTable, a: str | None, announced: Mapping[int, Told]) -> list[Step]:
    """Rungs of the dialogue that the frames of `announced` belong to; `a` is end A's address."""
    messages = list(_messages(table))
    ids = {
        identity
        for row, message in messages
        if int(table["frame"][row]) in announced
        for identity in _ids(message)
    }
    rungs = []
    for row, message in messages:
        if ids & _ids(message):
            frame = int(table["frame"][row])
            sender = "a" if table.source(row) == a else "b"
            label = type(message).__name__.replace("_", " ", 1)
            step = Step(frame, int(table["time_ns"][row]), sender, "tcp", label)
            rungs.append(told(step, announced.get(frame, Told())))
    return rungs


def _messages(table: PacketTable) -> Iterator[tuple[int, Header]]:
    rows = np.flatnonzero(table.has(BTH) & table.has(DETH) & (table["bth_dest_qp"] == QP1))
    for row in rows[:LIMIT].tolist():
        message = next(
            (h for _, h in table.packet(row).management if isinstance(h, CM_HEADERS)), None
        )
        if message is not None:
            yield row, message


def _ids(message: Header) -> set[int]:
    """The communication IDs a message names; 0 is none."""
    values = message.as_dict()
    return {values.get(name, 0) for name in ("local_comm_id", "remote_comm_id")} - {0}
