"""Frames in a buffer -> what a PacketTable holds of them: compiled for many, parsed one by one for
few.

Both ways give the same (a test holds them to it). The compiled way leaves to `Packet.parse` the
frames that it calls hard: a header that does more than declare.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from dissectors.bth import BTH
from dissectors.carriers import carriers, first_header
from dissectors.header import Header
from dissectors.ip import IPv4
from dissectors.packet import Packet
from dissectors.rules import ADDRESSES, HEADERS, NUMBERS, Array, Found, Frames, Spread, rules
from dissectors.transport import parse_transport

FEW = 2000
"""Frames up to which parsing one by one is done before compiled code is even loaded."""

V4_MAPPED = bytes(10) + b"\xff\xff"


def decode(
    data: Array,
    frames: Frames,
    link_types: list[int],
    *,
    roce_port: int,
    few: int = FEW,
    spread: Spread = map,
) -> Found:
    """All `frames` of `data` (bytes); `frames.link` indexes `link_types` (LINKTYPE_ numbers)."""
    found = _nothing(len(frames.position), roce_port)
    if len(frames.position) <= few:
        hard: Iterable[Any] = range(len(frames.position))
    else:
        # Imported here: compiled code takes longer to load than few frames to parse.
        from dissectors.walk import walk  # noqa: PLC0415

        walk(data, frames, link_types, rules(roce_port), found, spread)
        hard = np.flatnonzero(found.hard)
    for row in hard:
        _parse(data, frames, link_types, found, row=int(row), roce_port=roce_port)
    return found


def _nothing(rows: int, roce_port: int) -> Found:
    return Found(
        store=np.zeros(rows * int(rules(roce_port).size.sum()), np.uint8),
        headers=np.zeros(rows, np.uint64),
        src=np.zeros((rows, 16), np.uint8),
        dst=np.zeros((rows, 16), np.uint8),
        payload_offset=np.zeros(rows, np.uint32),
        payload_length=np.zeros(rows, np.uint32),
        icrc_status=np.zeros(rows, np.uint8),
        covered=np.zeros(rows, np.uint64),
        damage=np.zeros(rows, np.uint8),
        hard=np.zeros(rows, np.uint8),
    )


def _parse(
    data: Array, frames: Frames, link_types: list[int], found: Found, *, row: int, roce_port: int
) -> None:
    """Fill `row` of `found` with what `Packet.parse` says."""
    start = int(frames.position[row])
    frame = data[start : start + int(frames.captured[row])].tobytes()
    link_type, original = link_types[frames.link[row]], int(frames.original[row])
    packet = Packet.parse(frame, link_type, original, roce_port)
    store = rules(roce_port).store
    mask = 0
    for header in packet.headers:
        number = NUMBERS[type(header)]
        mask |= 1 << number
        at = len(found.headers) * int(store[number]) + row * header.size
        found.store[at : at + header.size] = np.frombuffer(header.pack()[: header.size], np.uint8)
        if type(header) in ADDRESSES:
            found.src[row], found.dst[row] = (np.frombuffer(a, np.uint8) for a in _ends(header))
    found.headers[row] = mask
    found.payload_offset[row], found.payload_length[row] = _payload(
        frame, link_type, original, roce_port
    )
    found.icrc_status[row] = packet.icrc_status
    found.damage[row] = packet.damage.code if packet.damage else 0


def _ends(header: Header) -> tuple[bytes, bytes]:
    """Source and destination address, 16 bytes each."""
    source = ADDRESSES[type(header)]
    place = header.fields.index(source)
    if isinstance(header, IPv4):
        return V4_MAPPED + header.src.to_bytes(4), V4_MAPPED + header.dst.to_bytes(4)
    return header[place], header[place + 1]


def _payload(frame: bytes, link_type: int, original: int, roce_port: int) -> tuple[int, int]:
    """Place and length (on the wire) of what no header covers."""
    length = max(len(frame), original)
    carried = carriers(frame, first_header(link_type, frame), length, roce_port)
    if carried.follows is not BTH:
        return carried.start, max(0, carried.end - carried.start)
    transport = parse_transport(frame, carried.start, carried.end)
    return transport.payload_offset, transport.payload_length


def header_bytes(found: Found, roce_port: int) -> dict[type[Header], Array]:
    """The bytes of each header that any row carries, shape (rows, header size)."""
    rows = len(found.headers)
    carried = int(np.bitwise_or.reduce(found.headers)) if rows else 0
    at = rules(roce_port).store * rows
    return {
        kind: found.store[at[number] : at[number] + rows * kind.size].reshape(rows, kind.size)
        for number, kind in enumerate(HEADERS)
        if carried >> number & 1
    }
