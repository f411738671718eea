"""The packet table's bytes: each packet's fields by place and value, shapes told once.

Packets of one kind have their fields at the same places, so a *shape* (which field of which header
at which bit) is written once, and a packet holds its bytes and its fields' values in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dissectors import icrc, opcode
from dissectors.bth import BTH
from dissectors.header import Field
from dissectors.packet import Packet

HEAD = 192
"""Bytes of a frame shown from its start."""
TAIL = 16
"""Bytes shown from its end, where more than HEAD + TAIL were captured."""

KINDS = {
    **dict.fromkeys(("Ethernet", "VLAN"), "link"),
    **dict.fromkeys(("IPv4", "IPv6", "GRH"), "ip"),
    **dict.fromkeys(("UDP", "TCP"), "udp"),
    "BTH": "bth",
    "ICRC": "icrc",
}
"""Header name -> its colour in the byte view; what is not here is an extended header."""

MEANINGS: dict[Field, Callable[[int], str]] = {BTH.opcode: opcode.name, BTH.psn: str}
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
        cut = len(frame) > HEAD + TAIL
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


Section = tuple[str, str, int, list[tuple[str, str, int, int, str, str]]]


def _sections(packet: Packet, length: int) -> list[Section]:
    """(name, meaning, bytes, fields) of each header, then of the ICRC.

    A field is (name, meaning, first bit, bits, value, what the value means).
    """
    sections: list[Section] = []
    current: Any = None
    end = 0
    for header, field, bit, bits, value in packet.layout():
        end = max(end, bit + bits)
        if header is not current:
            current = header
            doc = (type(header).__doc__ or "").partition("\n")[0]
            sections.append((type(header).__name__, doc, len(header.pack()), []))
        sections[-1][3].append((field.name, field.doc, bit, bits, *_value(field, value)))
    if packet.icrc is not None:
        at = 8 * (end // 8 + len(packet.payload) + len(packet.pad or b""))
        words = ICRC_WORDS.get(packet.icrc_status, "")
        meaning = "CRC-32 over all that no router changes"
        place = ("icrc", meaning, at, 8 * icrc.SIZE, f"0x{packet.icrc:08x}", words)
        if at // 8 + icrc.SIZE <= length:
            sections.append(("ICRC", "Invariant CRC (IBTA vol. 1, 7.8.1)", icrc.SIZE, [place]))
    return sections


def _value(field: Field, value: Any) -> tuple[str, str]:
    """A field's value as people compare it, and what it means or the same in decimal."""
    if field in MEANINGS:
        return f"0x{value:0{field.bits // 4}x}", MEANINGS[field](value)
    text = field.text(value)
    plain = value.hex() if isinstance(value, bytes) else str(value)
    if text != plain:
        return text, plain if text.startswith("0x") and isinstance(value, int) else ""
    return text, ""
