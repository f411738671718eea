"""One packet as text: a line, a tree, its bytes, a JSON object, chosen fields."""

from __future__ import annotations

from typing import Any

from captures.model import Frame
from dissectors.icrc import ICRC_BAD, ICRC_NOT_ROCE, ICRC_OK, ICRC_UNCHECKABLE
from dissectors.packet import Packet

SECOND = 1_000_000_000
ICRC_WORDS = {
    ICRC_NOT_ROCE: None,
    ICRC_OK: "ok",
    ICRC_BAD: "bad",
    ICRC_UNCHECKABLE: "unchecked",
}


def line(frame: Frame, packet: Packet, start_ns: int) -> str:
    """Number, seconds since the first frame, and what the packet is."""
    seconds = f"{(frame.time_ns - start_ns) / SECOND:.6f}"
    note = " [ICRC wrong]" if packet.icrc_status == ICRC_BAD else ""
    return f"{frame.number:6} {seconds:>12}  {packet}{note}"


def hexdump(data: bytes) -> str:
    """Sixteen bytes a line: offset, hexadecimal, printable ASCII."""
    return "\n".join(
        f"  {at:04x}  {data[at : at + 16].hex(' '):47}  "
        + "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data[at : at + 16])
        for at in range(0, len(data), 16)
    )


def as_dict(frame: Frame, packet: Packet) -> dict[str, Any]:
    """What the JSON line of a packet holds; headers in wire order, each with its fields."""
    source, destination = packet.ends
    headers = (*packet.headers, *(header for _, header in packet.management))
    return {
        "frame": frame.number,
        "time_ns": frame.time_ns,
        "captured_length": len(frame.data),
        "original_length": frame.original_length,
        "source": source,
        "destination": destination,
        "summary": str(packet),
        "headers": [
            {
                "header": type(header).__name__,
                **{
                    name: value.hex() if isinstance(value, bytes) else value
                    for name, value in header.as_dict().items()
                },
            }
            for header in headers
        ],
        "payload_length": len(packet.payload),
        "icrc": ICRC_WORDS[packet.icrc_status],
        "damage": str(packet.damage) if packet.damage else None,
    }
