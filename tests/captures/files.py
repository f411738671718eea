"""Sample captures, and capture files put together byte by byte from the formats' documents."""

from __future__ import annotations

import struct
from pathlib import Path

SAMPLES = sorted((Path(__file__).parents[2] / "captures" / "samples").glob("*.pcap*"))


def pcap(
    *records: tuple[int, int, bytes], order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1
) -> bytes:
    """A pcap file of (seconds, fraction, frame)."""
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack(order + "IIII", sec, frac, len(data), len(data)) + data
        for sec, frac, data in records
    )


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    total = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + total + body + total


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = 1, snap: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link, 0, snap) + options, order)


def enhanced(number: int, ticks: int, data: bytes, options: bytes = b"", order: str = "<") -> bytes:
    lengths = (len(data), len(data))
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, *lengths)
    return block(6, head + data + bytes(-len(data) % 4) + options, order)


def erf(
    kind: int,
    packet: bytes,
    ticks: int = 0,
    *,
    flags: int = 4,
    between: bytes = b"",
    length: int | None = None,
    wire: int | None = None,
) -> bytes:
    """An ERF record aligned to 8 bytes; `between` is what stands before the packet, of `kind` with
    its top bit set extension headers first.
    """
    body = between + packet
    body += bytes(-len(body) % 8)
    lengths = (
        16 + len(body) if length is None else length,
        0,
        len(packet) if wire is None else wire,
    )
    return struct.pack("<QBB", ticks, kind, flags) + struct.pack(">HHH", *lengths) + body
