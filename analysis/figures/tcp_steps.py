"""The TCP connection that carried an exchange as rungs: TLS records, opening, closing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.figures.ladder import Step
from dissectors.tcp import TCP

LIMIT = 400
"""Frames of a TCP connection looked at."""

RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 22: "Handshake", 23: "encrypted record"}
"""TLS record type (RFC 8446, 5.1) -> name; from 23 on nobody without keys can read."""
HELLOS = {1: "ClientHello", 2: "ServerHello"}
"""TLS handshake message type (RFC 8446, 4) -> name, for the ones sent in clear."""
FLAGS = ("syn", "fin", "rst", "ack")


@dataclass(frozen=True, slots=True)
class Told:
    """What a frame of the exchange announces once decrypted: `psn` as the sq_psn of end `owner`."""

    psn: int
    owner: str


def flow_rows(table: Any, frame: int) -> Any:
    """Rows of the TCP connection that `frame` belongs to; none where it is no TCP frame."""
    rows = np.flatnonzero(table.has(TCP))
    at = rows[table["frame"][rows] == frame]
    if not len(at):
        return at
    ports = (table["tcp_src_port"], table["tcp_dst_port"])
    here = at[0]
    same = _matches(table, rows, here, ports, ("src", "dst"))
    back = _matches(table, rows, here, ports[::-1], ("dst", "src"))
    return rows[same | back]


def _matches(table: Any, rows: Any, here: int, ports: Any, ends: tuple[str, str]) -> Any:
    source, destination = table[ends[0]], table[ends[1]]
    same_ports = (ports[0][rows] == table["tcp_src_port"][here]) & (
        ports[1][rows] == table["tcp_dst_port"][here]
    )
    same_ends = (source[rows] == table["src"][here]) & (destination[rows] == table["dst"][here])
    return same_ports & same_ends


def steps(table: Any, rows: Any, opener: str, told: Mapping[int, Told]) -> list[Step]:
    """Rungs of the TCP frames `rows`, bare ACKs left out; end `opener` sent the first."""
    rungs: list[Step] = []
    if not len(rows):
        return rungs
    other = {"a": "b", "b": "a"}[opener]
    first = table.source(int(rows[0])), int(table["tcp_src_port"][rows[0]])
    for row in map(int, rows[:LIMIT]):
        packet = table.packet(row)
        tcp = packet[TCP]
        sender = opener if (table.source(row), tcp.src_port) == first else other
        frame, time_ns = int(table["frame"][row]), int(table["time_ns"][row])
        said = told.get(frame)
        flags = [flag.upper() for flag in FLAGS if getattr(tcp, flag)]
        if packet.payload:
            label = " + ".join(dict.fromkeys(records(packet.payload))) or "TCP data"
            detail = "" if said else f"{len(packet.payload)} B"
            step = Step(frame, time_ns, sender, "tls", label, detail)
            if said:
                words = f"once decrypted: {said.owner.upper()} announces its sq_psn"
                step = Step(frame, time_ns, sender, "tls", label, "", said.psn, said.owner, words)
            rungs.append(step)
        elif flags != ["ACK"]:
            rungs.append(Step(frame, time_ns, sender, "tcp", f"TCP {' '.join(flags)}"))
    return rungs


def records(payload: bytes) -> Iterator[str]:
    """Names of the TLS records that begin in a segment; nothing where it begins none."""
    at = 0
    while at + 5 <= len(payload) and payload[at] in RECORDS and payload[at + 1] == 3:
        kind = payload[at]
        hello = HELLOS.get(payload[at + 5]) if kind == 22 and at + 5 < len(payload) else None
        yield f"TLS {hello or RECORDS[kind]}"
        at += 5 + int.from_bytes(payload[at + 3 : at + 5], "big")
