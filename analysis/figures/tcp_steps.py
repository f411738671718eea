"""The TCP connection that carried an exchange as rungs: TLS records, opening, closing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.figures.ladder import Step
from analysis.streams import HANDSHAKE, Stream
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


def steps(
    table: Any, rows: Sequence[int], stream: Stream, opener: str, told: Mapping[int, Told]
) -> list[Step]:
    """Rungs of `stream`, whose frames are table `rows`; its client is end `opener`.

    Bare acknowledgements are left out.
    """
    names = record_names(stream)
    other = {"a": "b", "b": "a"}[opener]
    rungs: list[Step] = []
    for row in rows[:LIMIT]:
        packet = table.packet(row)
        tcp = packet[TCP]
        sender = opener if (packet.ends[0], tcp.src_port) == stream.client else other
        frame, time_ns = int(table["frame"][row]), int(table["time_ns"][row])
        flags = [flag.upper() for flag in FLAGS if getattr(tcp, flag)]
        if packet.payload:
            label = " + ".join(names.get(frame, ["TCP data, continued"]))
            step = Step(frame, time_ns, sender, "tls", label)
            rungs.append(_told(step, told.get(frame), len(packet.payload)))
        elif flags != ["ACK"]:
            rungs.append(Step(frame, time_ns, sender, "tcp", f"TCP {' '.join(flags)}"))
    return rungs


def _told(step: Step, said: Told | None, length: int) -> Step:
    if said is None:
        return replace(step, detail=f"{length} B")
    mark = f"decrypted: {said.owner.upper()} announces its sq_psn"
    return replace(step, psn=said.psn, owner=said.owner, mark=mark)


def record_names(stream: Stream) -> dict[int, list[str]]:
    """Frame -> names of the TLS records that begin in it, like ones once."""
    names: dict[int, list[str]] = {}
    for sent, found in zip((stream.from_client, stream.from_server), stream.tls, strict=True):
        for record in found:
            name = RECORDS.get(record.content, f"record type {record.content}")
            if record.content == HANDSHAKE and record.start + 5 < record.end:
                name = HELLOS.get(sent.data[record.start + 5], name)
            here = names.setdefault(sent.frame_at(record.start), [])
            if f"TLS {name}" not in here:
                here.append(f"TLS {name}")
    return names
