"""The packet table's bytes: each packet's fields by place and value, shapes told once.

Packets of one kind have their fields at the same places, so a *shape* (which field of which header
at which bit) is written once, and a packet holds its bytes and its fields' values in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from dissectors import icrc, opcode
from dissectors.bth import BTH
from dissectors.header import Field as HeaderField
from dissectors.packet import Packet, Place

WHOLE = 400
"""Bytes of a frame up to which it is shown whole; of a longer one HEAD and TAIL are."""
HEAD = 192
TAIL = 16

KINDS = {
    **dict.fromkeys(("Ethernet", "VLAN"), "link"),
    **dict.fromkeys(("IPv4", "IPv6", "GRH"), "ip"),
    **dict.fromkeys(("UDP", "TCP"), "udp"),
    **dict.fromkeys(("Payload", "Pad"), "data"),
    "BTH": "bth",
    "ICRC": "icrc",
}
"""Header name -> its colour in the byte view; what is not here is an extended header."""

MEANINGS: dict[HeaderField, Callable[[int], str]] = {BTH.opcode: opcode.name, BTH.psn: str}
"""Fields shown in hexadecimal, with what their value means."""

ICRC_WORDS = {
    icrc.ICRC_OK: "correct",
    icrc.ICRC_BAD: "wrong",
    icrc.ICRC_UNCHECKABLE: "not checkable",
}

Shape = tuple[tuple[int, str, int, int], ...]


def data(frames: Iterable[tuple[bytes, int, Packet]]) -> dict[str, Any]:
    """What packets.js reads, of (frame bytes, original length, packet) in the table's order."""
    headers: dict[tuple[str, int], int] = {}
    described: list[dict[str, Any]] = []
    shapes: dict[Shape, int] = {}
    packets = []
    for frame, original_length, packet in frames:
        shape: list[tuple[int, str, int, int]] = []
        values: list[tuple[str, str]] = []
        for name, doc, size, fields in _sections(packet, len(frame)):
            number = headers.setdefault((name, size), len(headers))
            if number == len(described):
                kind = KINDS.get(name, "ext")
                words = "1 byte" if size == 1 else f"{size} bytes"
                described.append(
                    {"name": name, "kind": kind, "size": words, "doc": doc, "fields": {}}
                )
            for field, meaning, bit, bits, value, means in fields:
                described[number]["fields"][field] = meaning
                shape.append((number, field, bit, bits))
                values.append((value, means))
        cut = len(frame) > WHOLE
        packets.append(
            {
                "shape": shapes.setdefault(tuple(shape), len(shapes)),
                "length": len(frame),
                "original": original_length,
                "head": (frame[:HEAD] if cut else frame).hex(),
                "tail": frame[-TAIL:].hex() if cut else "",
                "values": values,
            }
        )
    return {"headers": described, "shapes": list(shapes), "packets": packets}


Field = tuple[str, str, int, int, str, str]
"""Name, meaning, first bit, bits, value, what the value means."""
Section = tuple[str, str, int, list[Field]]
"""Name, meaning, bytes, fields."""


def _sections(packet: Packet, length: int) -> Iterator[Section]:
    """The headers of a packet, then what follows them, as far as the frame's `length` bytes go."""
    for _, group in groupby(packet.layout(), key=lambda place: id(place.header)):
        places = list(group)
        kind = type(places[0].header)
        doc = (kind.__doc__ or "").partition("\n")[0]
        size = (places[-1].bit_offset + places[-1].bits - places[0].bit_offset) // 8
        yield kind.__name__, doc, size, [_field(place) for place in places]
    start = sum(len(header.pack()) for header in packet.headers)
    for name, doc, size, value, means in _behind(packet):
        told = name == "Payload" and packet.management
        if size and start + size <= length and not told:
            yield name, doc, size, [(name.lower(), doc, 8 * start, 8 * size, value, means)]
        start += size


def _field(place: Place) -> Field:
    _, field, bit, bits, raw = place
    value, means = _value(field, raw)
    return field.name, field.doc, bit, bits, value, means


def _behind(packet: Packet) -> Iterator[tuple[str, str, int, str, str]]:
    payload, pad = len(packet.payload), len(packet.pad or b"")
    yield "Payload", "What the program sent", payload, f"{payload:,} bytes", ""
    yield "Pad", "Zeros up to a multiple of four bytes (BTH pad_count)", pad, f"{pad} bytes", ""
    if packet.icrc is not None:
        words = ICRC_WORDS.get(packet.icrc_status, "")
        doc = "Invariant CRC: CRC-32 over all that no router changes (IBTA vol. 1, 7.8.1)"
        yield "ICRC", doc, icrc.SIZE, f"0x{packet.icrc:08x}", words


def _value(field: HeaderField, value: Any) -> tuple[str, str]:
    """A field's value as people compare it, and what it means or the same in decimal."""
    if field in MEANINGS:
        return f"0x{value:0{field.bits // 4}x}", MEANINGS[field](value)
    text = field.text(value)
    plain = value.hex() if isinstance(value, bytes) else str(value)
    if text != plain:
        return text, plain if text.startswith("0x") and isinstance(value, int) else ""
    return text, ""
