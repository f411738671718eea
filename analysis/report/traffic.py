"""Who talked to whom, how much, and with which opcodes."""

from __future__ import annotations

import numpy as np

from analysis.conversations import SIDES
from analysis.figures.opcode_counts import OpcodeCount
from analysis.report.material import Material
from analysis.report.view import Column, OpcodeRow, TableView
from dissectors import opcode

LIMIT = 100
"""Conversations listed."""
BAR = 200
"""Width of the longest bar."""


def conversations(material: Material) -> TableView:
    """A line per connection, in the order of their numbers."""
    connections = material.context.conversations.connections
    payload = material.table["payload_length"]
    rows = []
    for connection in connections[:LIMIT]:
        sent = [material.context.conversations.rows(connection.number, side) for side in SIDES]
        rows.append(
            (
                material.name(connection.number),
                connection.transport,
                str(connection.a),
                str(connection.b),
                f"{len(sent[0]):,}",
                f"{int(payload[sent[0]].sum()):,}",
                f"{len(sent[1]):,}",
                f"{int(payload[sent[1]].sum()):,}",
            )
        )
    left = len(connections) - len(rows)
    return TableView(
        "Conversations: pairs of queue pairs, and the payload bytes each end sent.",
        (
            Column("Conversation"),
            Column("Transport"),
            Column("A", "mono a"),
            Column("B", "mono b"),
            Column("A → B packets", "num"),
            Column("bytes", "num"),
            Column("B → A packets", "num"),
            Column("bytes", "num"),
        ),
        rows,
        f"{left:,} more conversations are not listed." if left > 0 else "",
    )


def opcode_counts(material: Material) -> list[OpcodeCount]:
    """Packets of each opcode there is, by opcode."""
    table = material.table
    counts = np.bincount(table["bth_opcode"][material.context.roce], minlength=256)
    members = ((code, opcode.BY_VALUE[code]) for code in map(int, np.flatnonzero(counts)))
    return [
        OpcodeCount(
            opcode.name(code), code, int(counts[code]), member is not None and member.is_request
        )
        for code, member in members
    ]


def opcodes(material: Material) -> list[OpcodeRow]:
    """The same, with a bar each."""
    counts = opcode_counts(material)
    most = max((row.packets for row in counts), default=1)
    return [
        OpcodeRow(row.name, row.code, row.packets, row.request, BAR * row.packets / most)
        for row in counts
    ]
