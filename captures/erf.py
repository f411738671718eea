"""ERF files of Endace capture cards (ERF types reference): records one after the other, no header.

A frame is a record, its ERF header included (LINKTYPE_ERF), without the bytes that align it. Frames
are numbered as Wireshark does: records of metadata count, padding does not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from captures.model import NANOSECONDS, Contents, Damage, Frame, Interface
from captures.stream import Stream
from dissectors.erf import EXTENSION_SIZE, SUBHEADERS, TYPE_PAD, TYPES

LINK_TYPE = 197
HEADER = struct.Struct("<QBB")
"""Time, type, flags; the big-endian rest is LENGTHS."""
LENGTHS = struct.Struct(">HHH")
"""Of the record, packets lost, of the packet on the wire."""
SIZE = HEADER.size + LENGTHS.size

MORE = 0x80
"""In the type, and in the first byte of each extension header: an extension header follows."""

PORT = 0x03
"""In the flags: the capture port."""

CHECKED = 3
"""Records that must make sense for a file to be taken for ERF, if it has so many."""

YEAR = 366 * 24 * 3600 << 32
"""Longest time between records of one file, forwards or back, in units of 2^-32 s."""


def looks_like(stream: Stream) -> bool:
    """Whether the file may be ERF: there is no magic number to tell by, so its first records do."""
    at, before = 0, None
    for _ in range(CHECKED):
        head = stream.peek(at + SIZE)[at:]
        if not head:
            break
        if len(head) < SIZE:
            return before is not None
        ticks, kind, _flags = HEADER.unpack_from(head)
        (length, _lost, _wire) = LENGTHS.unpack_from(head, HEADER.size)
        if kind & ~MORE not in TYPES or length < SIZE:
            return False
        if len(stream.peek(at + length)) < at + length:
            return before is not None
        if kind & ~MORE != TYPE_PAD:
            if length == SIZE or (before is not None and abs(ticks - before) > YEAR):
                return False
            before = ticks
        at += length
    return before is not None


def time_ns(ticks: int) -> int:
    """Nanoseconds since 1970 of a time in units of 2^-32 s, rounded as Wireshark does."""
    return (ticks >> 32) * NANOSECONDS + ((ticks & 0xFFFFFFFF) * NANOSECONDS + (1 << 31) >> 32)


def packet_start(record: bytes) -> int:
    """Where the packet begins in a record: behind extension headers, and what its type adds."""
    at, more = SIZE, record[8] & MORE
    while more and at < len(record):
        more = record[at] & MORE
        at += EXTENSION_SIZE
    return at + SUBHEADERS.get(record[8] & ~MORE, 0)


def read_record(stream: Stream, contents: Contents) -> bytes | None:
    """The next record; None where the file ends, damage being noted."""
    start = stream.offset
    head = stream.read(SIZE)
    if not head and not stream.failure:
        return None
    length = LENGTHS.unpack_from(head, HEADER.size)[0] if len(head) == SIZE else SIZE
    record = head + stream.read(length - SIZE) if length > SIZE else head
    if SIZE <= length == len(record):
        return record
    if length < SIZE:
        wrong = f"of at least {SIZE} bytes, found a length of {length}; the rest was not read"
    else:
        wrong = f"of {length} bytes, found {len(record)} before the end of the file"
        wrong += f" ({stream.failure})" if stream.failure else ""
    contents.damage.append(Damage(start, f"expected an ERF record {wrong}"))
    return None


def read_frame(
    stream: Stream, contents: Contents, ports: dict[int, int], number: int
) -> Frame | None:
    """Read the frame `number`, padding before it passed over; None where the file ends.

    `ports` has the interface of each capture port; a new one is added to it and `contents`.
    """
    while (record := read_record(stream, contents)) is not None:
        ticks, kind, flags = HEADER.unpack_from(record)
        (_length, _lost, wire) = LENGTHS.unpack_from(record, HEADER.size)
        if kind == TYPE_PAD:
            continue
        port = flags & PORT
        if port not in ports:
            ports[port] = len(contents.interfaces)
            name = f"Port {'ABCD'[port]}"
            contents.interfaces.append(Interface(LINK_TYPE, name, ticks_per_second=1 << 32))
        before = packet_start(record)
        return Frame(
            number,
            time_ns(ticks),
            record[: before + wire],
            before + wire,
            ports[port],
            LINK_TYPE,
            stream.offset - len(record),
        )
    return None


def read(stream: Stream, contents: Contents) -> Iterator[Frame]:
    """Frames of an ERF file in order; its ports become interfaces as they come."""
    ports: dict[int, int] = {}
    number = 1
    while (frame := read_frame(stream, contents, ports, number)) is not None:
        number += 1
        yield frame
