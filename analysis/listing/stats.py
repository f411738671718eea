"""Counts over a whole capture: hierarchy, conversations, opcodes, ICRC, damage.

A capture is counted part by part, so that memory does not grow with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from captures.capture import Capture
from dissectors import opcode
from dissectors.bth import BTH
from dissectors.census import MOST_FLOWS, Flow, hierarchy, marks
from dissectors.damage import DamageCode
from dissectors.grouping import groups
from dissectors.hierarchy import Path
from dissectors.icrc import ICRC_BAD, ICRC_OK, ICRC_UNCHECKABLE
from dissectors.table import PacketTable

MOST_CONVERSATIONS = 100
"""Conversations listed; the busiest come first."""

KEPT = 1 << 16
"""Conversations counted at a time: of more than twice as many, the least busy are put together."""

Array = np.ndarray[Any, np.dtype[Any]]


class Ends(NamedTuple):
    """Who sends to which queue pair: addresses as text."""

    source: str
    destination: str
    dest_qp: int


@dataclass(slots=True)
class Counts:
    """What was counted in some packets."""

    packets: int = 0
    roce_packets: int = 0
    icrc: Counter[int] = field(default_factory=Counter)
    opcodes: Counter[int] = field(default_factory=Counter)
    paths: Counter[Path] = field(default_factory=Counter)
    marks: Counter[str] = field(default_factory=Counter)
    damage: Counter[int] = field(default_factory=Counter)
    conversations: Counter[Ends] = field(default_factory=Counter)
    payload: Counter[Ends] = field(default_factory=Counter)
    put_together: int = 0
    """Packets of conversations that are no longer told apart."""
    flows: set[Flow] = field(default_factory=set)
    """Streams that carry iWARP."""

    @classmethod
    def of(cls, table: PacketTable) -> Counts:
        """Counts of the packets of `table`."""
        roce = table.has(BTH)
        talk = table if roce.all() else table.select(roce)
        found = cls(
            packets=len(table),
            roce_packets=len(talk),
            icrc=_small(table["icrc_status"]),
            opcodes=_small(talk["bth_opcode"]),
            marks=Counter(marks(table)),
            damage=_small(table["damage"]),
        )
        found.paths = Counter(hierarchy(table, found.flows))
        ends = (*_words(talk["src"]), *_words(talk["dst"]), talk["bth_dest_qp"])
        for rows in groups(ends):
            row = int(rows[0])
            key = Ends(talk.source(row), talk.destination(row), int(talk["bth_dest_qp"][row]))
            found.conversations[key] += len(rows)
            found.payload[key] += int(talk["payload_length"][rows].sum())
        return found

    def add(self, other: Counts) -> None:
        """Count the packets of `other` too."""
        self.packets += other.packets
        self.roce_packets += other.roce_packets
        self.put_together += other.put_together
        if len(self.flows) < MOST_FLOWS:
            self.flows |= other.flows
        for name in ("icrc", "opcodes", "paths", "marks", "damage", "conversations", "payload"):
            getattr(self, name).update(getattr(other, name))
        if len(self.conversations) > 2 * KEPT:
            busiest = dict(self.conversations.most_common(KEPT))
            self.put_together += self.conversations.total() - sum(busiest.values())
            self.conversations = Counter(busiest)
            self.payload = Counter({key: self.payload[key] for key in busiest})


def counts(
    capture: Capture, roce_port: int, choose: Callable[[PacketTable], PacketTable] = lambda t: t
) -> dict[str, Any]:
    """The document of `decode --stats --json`, of what `choose` leaves of every part."""

    def count(table: PacketTable) -> tuple[Counts, PacketTable]:
        chosen = choose(table)
        return Counts.of(chosen), chosen

    found = Counts()
    for part, table in capture.each(count, roce_port):
        if found.flows:
            # Segments of a stream of iWARP that began in an earlier part do not say so themselves.
            part.paths = Counter(hierarchy(table, found.flows))
        found.add(part)
    return {
        "schema": 1,
        "capture": {
            "packets": found.packets,
            "roce_packets": found.roce_packets,
            "icrc_ok": found.icrc[ICRC_OK],
            "icrc_bad": found.icrc[ICRC_BAD],
            "icrc_unchecked": found.icrc[ICRC_UNCHECKABLE],
        },
        "opcodes": {opcode.name(value): count for value, count in sorted(found.opcodes.items())},
        "hierarchy": [
            {"protocols": list(path), "packets": count}
            for path, count in sorted(found.paths.items())
        ],
        "marks": dict(found.marks),
        "conversations": [
            {**ends._asdict(), "packets": count, "payload_bytes": found.payload[ends]}
            for ends, count in found.conversations.most_common(MOST_CONVERSATIONS)
        ],
        "more_conversations": {
            "conversations": max(0, len(found.conversations) - MOST_CONVERSATIONS),
            "packets_not_told_apart": found.put_together,
        },
        "damage": {
            "file": [str(each) for each in capture.seen_damage],
            "frames": {code.name.lower(): found.damage[code]
                       for code in DamageCode if code and found.damage[code]},
        },
    }  # fmt: skip


def _small(values: Array) -> Counter[int]:
    """How often each value of a column of bytes is there."""
    number = np.bincount(values, minlength=1)
    return Counter({int(value): int(number[value]) for value in np.flatnonzero(number)})


def _words(addresses: Array) -> tuple[Array, Array]:
    """Addresses of 16 bytes as two columns of numbers."""
    words = np.ascontiguousarray(addresses).view(np.uint64).reshape(-1, 2)
    return words[:, 0], words[:, 1]


def text(document: dict[str, Any]) -> str:
    """The same for people."""
    capture = document["capture"]
    lines = [
        f"{capture['packets']} packets, {capture['roce_packets']} of them RoCE",
        f"ICRC: {capture['icrc_ok']} right, {capture['icrc_bad']} wrong, "
        f"{capture['icrc_unchecked']} not checkable",
        *_section("protocols", _tree(document["hierarchy"])),
        *_section("marks of congestion", list(document["marks"].items())),
        *_section("opcodes", list(document["opcodes"].items())),
        *_section("conversations", [
            (f"{row['source']} > {row['destination']} QP {row['dest_qp']:#x}", row["packets"])
            for row in document["conversations"]
        ]),
    ]  # fmt: skip
    if document["more_conversations"]["conversations"]:
        lines.append(f"  and {document['more_conversations']['conversations']} more")
    lines += [f"damage in the file {each}" for each in document["damage"]["file"]]
    lines += [f"damaged frames: {n} {code}" for code, n in document["damage"]["frames"].items()]
    return "\n".join(lines)


def _tree(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Every protocol under the one that carries it, with the packets of it and of all within."""
    number: Counter[Path] = Counter()
    for row in rows:
        path = tuple(row["protocols"])
        for depth in range(1, len(path) + 1):
            number[path[:depth]] += row["packets"]
    return [("  " * (len(path) - 1) + path[-1], number[path]) for path in sorted(number)]


def _section(title: str, rows: list[tuple[str, int]]) -> list[str]:
    return ["", title, *(f"  {count:9}  {name}" for name, count in rows)] if rows else []
