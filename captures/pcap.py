"""pcap files (libpcap, draft-ietf-opsawg-pcap): both byte orders, micro- and nanoseconds."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from captures.model import MAX_FRAME, NANOSECONDS, CaptureError, Contents, Damage, Frame, Interface
from captures.stream import Stream

HEADER_SIZE = 24
RECORD_SIZE = 16

# Magic number as the file holds it: byte order, units of the fraction in a second.
MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1_000_000),
    b"\xa1\xb2\xc3\xd4": (">", 1_000_000),
    b"\x4d\x3c\xb2\xa1": ("<", 1_000_000_000),
    b"\xa1\xb2\x3c\x4d": (">", 1_000_000_000),
}


def read_header(stream: Stream, contents: Contents) -> str:
    """Read the file header into `contents.interfaces`; its byte order ("<" or ">").

    Raises CaptureError when the header is cut short or of an unknown version.
    """
    header = stream.read(HEADER_SIZE)
    if len(header) < HEADER_SIZE:
        raise CaptureError(
            stream.file,
            0,
            f"a pcap header of {HEADER_SIZE} bytes",
            f"{len(header)} bytes{stream.failure and f' ({stream.failure})'}",
            "the file was cut off; record or copy it again",
        )
    order, ticks_per_second = MAGICS[header[:4]]
    major, _minor, _zone, _accuracy, snap, network = struct.unpack(order + "HHiIII", header[4:])
    if major != 2:
        raise CaptureError(
            stream.file, 4, "pcap version 2", f"version {major}", "convert it with editcap"
        )
    # The upper 16 bits say how long a frame check sequence is; no header depends on it.
    contents.interfaces.append(
        Interface(link_type=network & 0xFFFF, snap_length=snap, ticks_per_second=ticks_per_second)
    )
    return order


def record_damage(offset: int, captured: int, left: int, failure: str = "") -> Damage:
    """What is wrong with a record at `offset` claiming `captured` bytes with `left` in the file."""
    if captured > MAX_FRAME:
        return Damage(
            offset,
            f"expected a frame of at most {MAX_FRAME} bytes, found a length of {captured};"
            " the rest of the file was not read",
        )
    return Damage(
        offset,
        f"expected a frame of {captured} bytes, found {left} before the end of the file"
        + (f" ({failure})" if failure else ""),
    )


def header_damage(offset: int, left: int, failure: str = "") -> Damage:
    """What is wrong where a record header should stand and `left` bytes do."""
    return Damage(
        offset,
        f"expected a record header of {RECORD_SIZE} bytes, found {left} before the end of the file"
        + (f" ({failure})" if failure else ""),
    )


def read_record(stream: Stream, contents: Contents, order: str, number: int) -> Frame | None:
    """Read the frame `number`; None where the file ends, damage being noted."""
    start = stream.offset
    head = stream.read(RECORD_SIZE)
    if len(head) < RECORD_SIZE:
        if head or stream.failure:
            contents.damage.append(header_damage(start, len(head), stream.failure))
        return None
    seconds, fraction, captured, original = struct.unpack(order + "IIII", head)
    data = stream.read(captured) if captured <= MAX_FRAME else b""
    if len(data) < captured:
        contents.damage.append(record_damage(start, captured, len(data), stream.failure))
        return None
    interface = contents.interfaces[0]
    time_ns = seconds * NANOSECONDS + fraction * (NANOSECONDS // interface.ticks_per_second)
    return Frame(number, time_ns, data, original, 0, interface.link_type, start + RECORD_SIZE)


def read(stream: Stream, contents: Contents) -> Iterator[Frame]:
    """Frames of a pcap file in order; what is wrong goes into `contents.damage`."""
    order = read_header(stream, contents)
    number = 1
    while (frame := read_record(stream, contents, order, number)) is not None:
        number += 1
        yield frame


class Writer:
    """Writes a little-endian nanosecond pcap file to a binary stream, which it does not close."""

    def __init__(self, stream: BinaryIO, *, link_type: int = 1, snap_length: int = MAX_FRAME):
        self._stream = stream
        stream.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snap_length, link_type))

    def packet(self, data: bytes, time_ns: int, *, original_length: int | None = None) -> None:
        """Append one frame received or sent at `time_ns` (UTC nanoseconds since 1970)."""
        seconds, fraction = divmod(time_ns, NANOSECONDS)
        length = len(data) if original_length is None else original_length
        self._stream.write(struct.pack("<IIII", seconds, fraction, len(data), length) + data)
