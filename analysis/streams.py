"""TCP streams of a capture put together, and the TLS records in them.

Only what an exchange needs: the bytes each end sent, in order, each with the frame that carried it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from analysis.addresses import address_pairs
from dissectors.tcp import TCP

STREAM_LIMIT = 1 << 20
"""Bytes kept of each direction of a stream: an exchange of parameters is far shorter."""

MASK, HALF = 0xFFFFFFFF, 1 << 31


@dataclass(slots=True)
class Bytes:
    """What one end of a stream sent: `data` up to the first gap, and which frame carried what.

    `missing` says how many bytes its peer acknowledged, or it sent later, that the capture does not
    hold; `cut` whether there was more than STREAM_LIMIT.
    """

    data: bytes = b""
    offsets: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    missing: int = 0
    cut: bool = False

    def frame_at(self, offset: int) -> int:
        """The frame that carried the byte at `offset`."""
        return self.frames[max(0, bisect_right(self.offsets, offset) - 1)]


@dataclass(frozen=True, slots=True)
class Record:
    """One TLS record: `data[start:end]` with its 5-byte header; `content` is its type."""

    content: int
    start: int
    end: int


@dataclass(frozen=True)
class Stream:
    """One TCP connection. The client is who sent the SYN, or else who was seen first.

    `frames` are all its frames, in order; addresses are (IP, port).
    """

    number: int
    client: tuple[str, int]
    server: tuple[str, int]
    frames: tuple[int, ...]
    from_client: Bytes
    from_server: Bytes

    @cached_property
    def tls(self) -> tuple[list[Record], list[Record]]:
        """TLS records from the client and from the server; empty where it does not speak TLS."""
        return records(self.from_client.data), records(self.from_server.data)

    @property
    def is_tls(self) -> bool:
        """Whether either end spoke TLS from its first byte on."""
        return any(self.tls)

    @cached_property
    def hello(self) -> Mapping[str, Any]:
        """What the hellos say in clear: `client_random` (hex), `version` and `cipher` (numbers)."""
        return _hellos(self)


HANDSHAKE, APPLICATION_DATA = 22, 23
RECORD_TYPES = range(20, 25)
RECORD_LIMIT = (1 << 14) + 2048


def records(data: bytes) -> list[Record]:
    """The TLS records (RFC 8446, 5.1) that `data` starts with, up to what is none or is cut."""
    found = []
    start = 0
    while start + 5 <= len(data):
        length = int.from_bytes(data[start + 3 : start + 5], "big")
        known = data[start] in RECORD_TYPES and data[start + 1] == 3 and data[start + 2] <= 4
        if not known or length > RECORD_LIMIT or start + 5 + length > len(data):
            break
        found.append(Record(data[start], start, start + 5 + length))
        start += 5 + length
    return found


def _hellos(stream: Stream) -> Mapping[str, Any]:
    said: dict[str, Any] = {}
    sides = (("client", stream.from_client, 0), ("server", stream.from_server, 1))
    for who, sent, side in sides:
        for record in stream.tls[side]:
            body = sent.data[record.start + 5 : record.end]
            if record.content == HANDSHAKE and len(body) >= 39:
                if who == "client" and body[0] == 1:
                    said["client_random"] = body[6:38].hex()
                if who == "server" and body[0] == 2:
                    said.update(_server_hello(body))
                break
    return said


def _server_hello(body: bytes) -> dict[str, int]:
    """Version and cipher suite that the server chose (RFC 8446, 4.1.3 and 4.2.1)."""
    at = 39 + body[38]
    said = {"version": int.from_bytes(body[4:6], "big")}
    if at + 5 > len(body):
        return said
    said["cipher"] = int.from_bytes(body[at : at + 2], "big")
    at += 5
    while at + 4 <= len(body):
        kind, size = (
            int.from_bytes(body[at : at + 2], "big"),
            int.from_bytes(body[at + 2 : at + 4], "big"),
        )
        if kind == 43 and size == 2:
            said["version"] = int.from_bytes(body[at + 4 : at + 6], "big")
        at += 4 + size
    return said


class _Segment(NamedTuple):
    src_port: int
    dst_port: int
    sequence: int
    acknowledgement: int
    syn: int
    ack: int
    fin: int
    rst: int


@dataclass(slots=True)
class _Half:
    """One direction while it is being read: sequence numbers count from `start`."""

    start: int | None = None
    segments: list[tuple[int, int, bytes]] = field(default_factory=list)
    kept: int = 0
    end: int = 0
    acknowledged: int = 0

    def place(self, sequence: int) -> int:
        """Distance of `sequence` from the first byte; 32-bit serial arithmetic."""
        if self.start is None:
            self.start = sequence
        return ((sequence - self.start + HALF) & MASK) - HALF


@dataclass(slots=True)
class _Draft:
    client: tuple[str, int]
    server: tuple[str, int]
    frames: list[int] = field(default_factory=list)
    halves: tuple[_Half, _Half] = field(default_factory=lambda: (_Half(), _Half()))
    closed: bool = False


def streams(table: Any) -> list[Stream]:
    """The TCP connections of a PacketTable, in the order of their first segments."""
    rows = np.flatnonzero(table.has(TCP) & (table["damage"] == 0))
    places = [table[name][rows].tolist() for name in ("frame", "payload_offset", "payload_length")]
    segments = map(_Segment, *(table[f"tcp_{name}"][rows].tolist() for name in _Segment._fields))
    drafts: list[_Draft] = []
    current: dict[tuple[tuple[str, int], tuple[str, int]], _Draft] = {}
    for row, (source, target), segment, frame, offset, length in zip(
        rows.tolist(), address_pairs(table, rows), segments, *places, strict=True
    ):
        sender, receiver = (source, segment.src_port), (target, segment.dst_port)
        draft = current.get((sender, receiver))
        opens = segment.syn and not segment.ack
        if draft is None or (opens and (draft.closed or draft.halves[0].kept)):
            answers = segment.syn and segment.ack
            draft = _Draft(*((receiver, sender) if answers else (sender, receiver)))
            current[sender, receiver] = current[receiver, sender] = draft
            drafts.append(draft)
        side = int(sender != draft.client)
        wanted = length and draft.halves[side].kept < STREAM_LIMIT
        payload = table.frame_bytes(row)[offset : offset + length] if wanted else b""
        draft.frames.append(frame)
        draft.closed |= bool(segment.fin or segment.rst)
        mine, other = draft.halves[side], draft.halves[1 - side]
        _take(mine, other, segment, length, (frame, payload))
    current.clear()
    drafts.reverse()  # taken from the end, each is gone before the next stream is made
    return [_finished(number, drafts.pop()) for number in range(len(drafts))]


def _take(
    mine: _Half, other: _Half, segment: _Segment, length: int, content: tuple[int, bytes]
) -> None:
    """Take a segment of `length` bytes; `content` is its frame and what is kept of them."""
    if segment.syn:
        mine.start = (segment.sequence + 1) & MASK
    elif length or segment.fin:
        place = mine.place(segment.sequence)
        mine.end = max(mine.end, place + length + segment.fin)
        mine.kept += length
        if content[1]:
            mine.segments.append((place, *content))
        if segment.fin:
            mine.segments.append((place + length, content[0], b""))
    if segment.ack and other.start is not None:
        other.acknowledged = max(other.acknowledged, other.place(segment.acknowledgement))


def _finished(number: int, draft: _Draft) -> Stream:
    one, other = map(_joined, draft.halves)
    return Stream(number, draft.client, draft.server, tuple(draft.frames), one, other)


def _joined(half: _Half) -> Bytes:
    """Segments in order of their place, what was sent twice kept once, up to the first gap."""
    sent = Bytes(cut=half.kept >= STREAM_LIMIT)
    data = bytearray()
    covered = missing = 0
    for start, frame, payload in sorted(half.segments, key=lambda segment: segment[:2]):
        missing += max(0, start - covered)
        covered = max(covered, start + len(payload))
        new = payload[max(0, len(data) - start) :]
        if new and not missing:
            sent.offsets.append(len(data))
            sent.frames.append(frame)
            data += new
    if not sent.cut:
        # What follows the last byte: a FIN that was seen, or what was only acknowledged.
        sent.missing = missing + max(0, half.acknowledged - max(covered, half.end))
    sent.data = bytes(data)
    return sent
