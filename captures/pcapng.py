"""pcapng files, read (draft-ietf-opsawg-pcapng): sections, interfaces, packets, secrets."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from captures.model import MAX_FRAME, MAX_TEXT, CaptureError, Contents, Frame, Interface
from captures.pcapng_writer import Writer
from captures.stream import Stream

__all__ = ["Writer", "read"]

SECTION, INTERFACE, OBSOLETE_PACKET, SIMPLE_PACKET = 0x0A0D0D0A, 1, 2, 3
STATISTICS, ENHANCED_PACKET, SECRETS = 5, 6, 10

MAGICS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
"""Byte-order magic of a section header block as the file holds it -> byte order."""

TLS_KEY_LOG = 0x544C534B
MAX_BLOCK = 1 << 24
"""Longest block kept in memory, bytes (Wireshark's limit); unknown ones are skipped unread."""

MIN_BLOCK = 12
"""Type, length, and the length again."""


@dataclass(slots=True)
class Section:
    """The section being read: its byte order, and where its interfaces start in the file's."""

    contents: Contents
    order: str
    first_interface: int

    def interface(self, number: int, offset: int) -> int | None:
        """Index into `contents.interfaces` of the section's interface `number`; None is damage."""
        index = self.first_interface + number
        if index < len(self.contents.interfaces):
            return index
        count = len(self.contents.interfaces) - self.first_interface
        self.contents.add_damage(
            offset, f"expected one of {count} interfaces, found interface {number}"
        )
        return None

    def options(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Each (code, value) up to the end, or up to where a length lies."""
        at = 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from(self.order + "HH", data, at)
            if code == 0 or at + 4 + length > len(data):
                return
            yield code, data[at + 4 : at + 4 + length]
            at += 4 + (length + 3 & ~3)

    def comment(self, options: bytes) -> str:
        """The comments among a packet's options, a line each."""
        return "\n".join(_text(value) for code, value in self.options(options) if code == 1)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _resolution(value: bytes) -> int:
    return 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]


def _read_interface(section: Section, body: bytes, offset: int) -> None:
    if len(body) < 8:
        section.contents.add_damage(*_too_small(offset, "an interface description", len(body)))
        return
    link_type, _reserved, snap = struct.unpack_from(section.order + "HHI", body)
    found = dict(section.options(body[8:]))
    section.contents.add_interface(
        Interface(
            link_type=link_type,
            name=_text(found.get(2, b""))[:MAX_TEXT],
            description=_text(found.get(3, b""))[:MAX_TEXT],
            # The first byte of a filter is its kind: 0 is a libpcap string.
            filter=_text(found.get(11, b"\0")[1:])[:MAX_TEXT]
            if found.get(11, b"\0")[:1] == b"\0"
            else "",
            snap_length=snap,
            ticks_per_second=_resolution(found.get(9) or b"\6"),
            offset_seconds=struct.unpack(section.order + "q", found[14])[0]
            if len(found.get(14, b"")) == 8
            else 0,
        ),
        offset,
    )


def _read_statistics(section: Section, body: bytes, offset: int) -> None:
    if len(body) < 12:
        section.contents.add_damage(*_too_small(offset, "interface statistics", len(body)))
        return
    (number,) = struct.unpack_from(section.order + "I", body)
    index = section.interface(number, offset)
    if index is None:
        return
    counts = {
        code: struct.unpack(section.order + "Q", value)[0]
        for code, value in section.options(body[12:])
        if len(value) == 8
    }
    interfaces = section.contents.interfaces
    interfaces[index] = replace(
        interfaces[index], received=counts.get(4), dropped=counts.get(5, counts.get(7))
    )


def _read_secrets(section: Section, body: bytes, offset: int) -> None:
    kind, length = struct.unpack_from(section.order + "II", body.ljust(8, b"\0"))
    if kind != TLS_KEY_LOG:
        return
    if 8 + length > len(body):
        section.contents.add_damage(
            offset, f"expected {length} bytes of secrets, found {max(len(body) - 8, 0)}"
        )
        return
    section.contents.add_secrets(_text(body[8 : 8 + length]), offset)


def _too_small(offset: int, what: str, found: int) -> tuple[int, str]:
    return offset, f"expected {what} block, found a body of only {found} bytes"


NOTED: dict[int, Callable[[Section, bytes, int], None]] = {
    INTERFACE: _read_interface,
    STATISTICS: _read_statistics,
    SECRETS: _read_secrets,
}
"""Blocks that are not packets but say something about them."""


# Block type -> format of what stands before the packet's bytes.
PACKETS = {ENHANCED_PACKET: "IIIII", OBSOLETE_PACKET: "HHIIII", SIMPLE_PACKET: "I"}


def read_packet(section: Section, kind: int, body: bytes, start: int, number: int) -> Frame | None:
    """The frame in a packet block whose `body` starts at `start` of the file.

    None, and damage noted, where its lengths lie or its interface was never described.
    """
    layout = struct.Struct(section.order + PACKETS[kind])
    if len(body) < layout.size:
        section.contents.add_damage(*_too_small(start - 8, "a packet", len(body)))
        return None
    values = layout.unpack_from(body)
    index = section.interface(0 if kind == SIMPLE_PACKET else values[0], start - 8)
    if index is None:
        return None
    interface = section.contents.interfaces[index]
    room = len(body) - layout.size
    if kind == SIMPLE_PACKET:
        original, time_ns = values[0], 0
        captured = min(original, interface.snap_length or original)
        # The block has no captured length: what is there is padded to 4 bytes.
        captured = min(captured, room)
    else:
        high, low, captured, original = values[-4:]
        time_ns = interface.time_ns(high << 32 | low)
    if captured > min(room, MAX_FRAME):
        section.contents.add_damage(
            start - 8,
            f"expected a frame of at most {min(room, MAX_FRAME)} bytes,"
            f" found a length of {captured}",
        )
        return None
    data = body[layout.size : layout.size + captured]
    after = body[layout.size + (captured + 3 & ~3) :]
    return Frame(
        number,
        time_ns,
        data,
        original,
        index,
        interface.link_type,
        start + layout.size,
        section.comment(after) if after and kind != SIMPLE_PACKET else "",
    )


def read_section(stream: Stream, contents: Contents, start: int, length: bytes) -> Section | None:
    """Start a section: its header block at `start` has been read up to and with its length.

    None, and damage noted, where its byte order or version is unknown.
    """
    magic = stream.peek(8)
    order = MAGICS.get(magic[:4])
    if order is None:
        contents.add_damage(
            start, f"expected a byte-order magic number, found {magic[:4].hex() or 'end'}"
        )
        return None
    (major,) = struct.unpack_from(order + "H", magic.ljust(8, b"\0"), 4)
    if major != 1:
        contents.add_damage(start, f"expected pcapng version 1, found {major}")
        return None
    section = Section(contents, order, len(contents.interfaces))
    (total,) = struct.unpack(order + "I", length)
    return section if read_body(stream, section, SECTION, total, start) is not None else None


def read_body(stream: Stream, section: Section, kind: int, total: int, start: int) -> bytes | None:
    """Body of the block at `start` (its type and length are read); None where the file ends.

    The body of a block that says nothing here is skipped and given as b"". Damage is noted.
    """
    contents = section.contents
    wanted = kind in NOTED or kind in PACKETS
    if total < MIN_BLOCK or total % 4 or (wanted and total > MAX_BLOCK):
        contents.add_damage(
            start,
            f"expected a block length from {MIN_BLOCK} to {MAX_BLOCK} in steps of 4,"
            f" found {total}; the rest of the file was not read",
        )
        return None
    size = total - MIN_BLOCK
    body = stream.read(size) if wanted else b""
    got = len(body) if wanted else stream.skip(size)
    tail = stream.read(4)
    if got < size or len(tail) < 4:
        contents.add_damage(
            start,
            f"expected a block of {total} bytes, found {8 + got + len(tail)} before the end"
            f" of the file{stream.failure and f' ({stream.failure})'}",
        )
        return None
    (again,) = struct.unpack(section.order + "I", tail)
    if again != total:
        contents.add_damage(
            start,
            f"expected the block length {total} again at its end, found {again};"
            " the rest of the file was not read",
        )
        return None
    return body


def step(
    stream: Stream, contents: Contents, section: Section | None, number: int
) -> Section | Frame | None:
    """Read one block: the section that is read on, the frame `number` it holds, or None where the
    file ends, damage being noted.

    Raises CaptureError if the file does not even start with a whole section header.
    """
    start = stream.offset
    head = stream.read(8)
    if len(head) < 8:
        if head or stream.failure or section is None:
            contents.add_damage(start, f"expected a block, found {len(head)} bytes before the end")
        found = None
    elif section is None or struct.unpack(section.order + "I", head[:4])[0] == SECTION:
        found = read_section(stream, contents, start, head[4:])
    else:
        return read_block(stream, section, head, start, number)
    if found is None and section is None:
        raise CaptureError(
            stream.file,
            0,
            "a pcapng section header",
            contents.damage[0].message,
            "the file was cut off or is not a capture; record or copy it again",
        )
    return found


def read_block(
    stream: Stream, section: Section, head: bytes, start: int, number: int
) -> Section | Frame | None:
    """As `step`, of any block but a section's whose first 8 bytes, `head`, have been read."""
    kind, total = struct.unpack(section.order + "II", head)
    body = read_body(stream, section, kind, total, start)
    if body is None:
        return None
    if kind in PACKETS:
        return read_packet(section, kind, body, start + 8, number)
    if kind in NOTED:
        NOTED[kind](section, body, start)
    return section


def read(stream: Stream, contents: Contents) -> Iterator[Frame]:
    """Frames of a pcapng file in order; all else it says goes into `contents`.

    Raises CaptureError if the file does not even start with a whole section header.
    """
    section: Section | None = None
    number = 1
    while (found := step(stream, contents, section, number)) is not None:
        if isinstance(found, Frame):
            number += 1
            yield found
        else:
            section = found
