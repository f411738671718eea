"""A link recorded at both its ends: which of a packet's two frames is the one that left.

A capture with several interfaces may hold every packet twice, or once where it was lost between
them. To judge what a host did its packets are taken where they left it, that is at the interface
that saw that host first; to judge what reached it, at the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors.table import PacketTable

Rows = np.ndarray[Any, np.dtype[np.intp]]
_SAME = ("dst", "original_length", "bth_psn", "bth_opcode", "bth_dest_qp", "tcp_sequence")
_HALF = 0.5
_SAMPLE = 5000


def leaving(table: PacketTable) -> Rows:
    """The rows in which packets leave; all rows where no link was recorded twice."""
    return _without(table, [elsewhere for _, elsewhere in links(table)])


def arriving(table: PacketTable) -> Rows:
    """The rows in which packets arrive; all rows where no link was recorded twice."""
    return _without(table, [at_first for at_first, _ in links(table)])


def _without(table: PacketTable, left_out: list[Rows]) -> Rows:
    keep = np.ones(len(table), bool)
    for rows in left_out:
        keep[rows] = False
    return np.flatnonzero(keep)


def links(table: PacketTable) -> list[tuple[Rows, Rows]]:
    """By source address: its rows at the interface it was seen at first, and those elsewhere.

    Only of sources most of whose packets were seen twice.
    """
    interface = table["interface"]
    if not len(interface) or interface.min() == interface.max():
        return []
    found = []
    sources, which = np.unique(table["src"].view("S16"), return_inverse=True)
    for number, source in enumerate(sources.tolist()):
        if not source:
            continue  # no IP packet
        rows = np.flatnonzero(which == number)
        here = interface[rows] == interface[rows[np.argmin(table["time_ns"][rows])]]
        first, others = rows[here], rows[~here]
        if len(others) and _alike(table, first[:_SAMPLE], others[:_SAMPLE]):
            found.append((first, others))
    return found


def _alike(table: PacketTable, some: Rows, others: Rows) -> bool:
    """Whether at least half of `others` are packets that `some` are too."""
    records = [
        set(zip(*(table[name][rows].tolist() for name in _SAME), strict=True))
        for rows in (some, others)
    ]
    return len(records[0] & records[1]) >= _HALF * len(records[1])
