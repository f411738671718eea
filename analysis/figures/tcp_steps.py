"""The TCP connection that carried an exchange as rungs: TLS records, opening, closing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.figures.ladder import Step
from analysis.streams import HANDSHAKE, Stream
from dissectors.table import PacketTable
from dissectors.tcp import TCP

LIMIT = 400
"""Frames of a TCP connection looked at."""

RECORDS = {20: "ChangeCipherSpec", 21: "Alert", 22: "Handshake", 23: "encrypted data"}
"""TLS record type (RFC 8446, 5.1) -> name; from 23 on nobody without keys can read."""
HELLOS = {1: "ClientHello", 2: "ServerHello"}
"""TLS handshake message type (RFC 8446, 4) -> name, for the ones sent in clear."""
FLAGS = ("syn", "fin", "rst", "ack")


TITLES = {"hello": "name", "barrier": "name", "error": "message"}
"""Type of a message of our own exchange -> the key that says most about it."""
TITLE_LIMIT = 44


@dataclass(frozen=True, slots=True)
class Told:
    """What a frame of the exchange says once decrypted.

    `words` are the titles of its messages; `psn` is the sq_psn of end `owner` that it announces;
    `how` says how the announcement can be read.
    """

    words: str = ""
    psn: int | None = None
    owner: str = ""
    how: str = "decrypted"


def title(message: Mapping[str, Any]) -> str:
    """A message of our own exchange in a few words."""
    kind = str(message.get("type", "message"))
    more = message.get(TITLES.get(kind, ""))
    text = f"{kind}: {more}" if isinstance(more, str) else kind
    return text if len(text) <= TITLE_LIMIT else f"{text[: TITLE_LIMIT - 1]}…"


def steps(
    table: PacketTable,
    rows: Sequence[int],
    stream: Stream,
    opener: str,
    announced: Mapping[int, Told],
) -> list[Step]:
    """Rungs of `stream`, whose frames are table `rows`; its client is end `opener`.

    Bare acknowledgements are left out; what both ends say one after the other is one rung.
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
            label = names.get(frame, "TLS continued" if stream.is_tls else "TCP data")
            kind = "tls" if stream.is_tls else "tcp"
            step = Step(frame, time_ns, sender, kind, label, f"{len(packet.payload)} B")
            rungs.append(told(step, announced.get(frame, Told())))
        elif flags != ["ACK"]:
            rungs.append(Step(frame, time_ns, sender, "tcp", f"TCP {' '.join(flags)}"))
    return list(_together(rungs))


def told(step: Step, said: Told) -> Step:
    """A rung with what it says written on it."""
    if said.words:
        step = replace(step, label=f"TLS {said.words}", detail="")
    if said.psn is None:
        return step
    mark = f"{said.how}: the sq_psn of {said.owner.upper()}"
    return replace(step, psn=said.psn, owner=said.owner, mark=mark, detail="")


def _together(rungs: Sequence[Step]) -> Iterator[Step]:
    """Two frames that say the same, one from each end, made one."""
    kept: Step | None = None
    for step in rungs:
        if kept is None:
            kept = step
        elif _agree(kept, step):
            yield replace(kept, kind="both", detail="both ends", frames=2)
            kept = None
        else:
            yield kept
            kept = step
    if kept is not None:
        yield kept


def _agree(one: Step, other: Step) -> bool:
    said = one.label.startswith(("TLS ready", "TLS barrier", "TLS bye"))
    return said and one.label == other.label and one.sender != other.sender


def record_names(stream: Stream) -> dict[int, str]:
    """Frame -> the TLS records that begin in it, like ones named once."""
    names: dict[int, dict[str, None]] = {}
    for sent, found in zip((stream.from_client, stream.from_server), stream.tls, strict=True):
        for record in found:
            name = RECORDS.get(record.content, f"record type {record.content}")
            if record.content == HANDSHAKE and record.start + 5 < record.end:
                name = HELLOS.get(sent.data[record.start + 5], name)
            names.setdefault(sent.frame_at(record.start), {})[name] = None
    return {frame: f"TLS {', '.join(here)}" for frame, here in names.items()}
