"""The transport part of a packet: BTH, the headers its opcode calls for, payload, pad, ICRC.

For the engine, which sees UDP payloads, and for Packet, which sees frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dissectors import icrc
from dissectors.bth import BTH
from dissectors.damage import Damage, DamageCode
from dissectors.header import Buffer, Header
from dissectors.opcode import BY_VALUE


class Transport(NamedTuple):
    """A parsed transport packet; the payload's place is within the parsed buffer.

    `payload_length` is that of the packet on the wire, even where the buffer holds less of it.
    """

    headers: tuple[Header, ...]
    payload_offset: int
    payload_length: int
    damage: Damage | None


def parse_transport(buffer: Buffer, offset: int = 0, end: int | None = None) -> Transport:
    """Parse BTH onwards from `offset`, the ICRC being the last bytes before `end`; never raises.

    `end` is the buffer's by default and beyond it for a packet that was cut. The order survives
    hostile input: room for BTH, known opcode, headers fit, pad and ICRC fit. On damage the
    headers before it are there, the payload is the rest, and `damage` says what and at which
    offset.
    """
    end = len(buffer) if end is None else end
    there = min(end, len(buffer))
    if offset + BTH.size > there:
        return Transport((), offset, max(0, end - offset), _short(BTH, offset, end, there))
    bth = BTH.parse(buffer, offset)
    opcode = BY_VALUE[bth.opcode]
    start = offset + BTH.size
    if opcode is None:
        text = f"opcode 0x{bth.opcode:02x} at offset {offset} is not assigned"
        return Transport((bth,), start, end - start, Damage(DamageCode.OPCODE, text))
    headers: list[Header] = [bth]
    for kind in opcode.headers:
        if start + kind.size > there:
            damage = _short(kind, start, end, there)
            return Transport(tuple(headers), start, end - start, damage)
        headers.append(kind.parse(buffer, start))
        start += kind.size
    length = end - start - icrc.SIZE - bth.pad_count
    if length < 0:
        need = f"pad ({bth.pad_count} bytes) and ICRC at offset {start}"
        text = f"{need}: {end - start} bytes are left"
        damage = Damage(DamageCode.PAD, text)
        return Transport(tuple(headers), start, end - start, damage)
    return Transport(tuple(headers), start, length, None)


def _short(kind: type[Header], start: int, end: int, there: int) -> Damage:
    text = f"{kind.__name__} at offset {start} takes {kind.size} bytes"
    if start + kind.size <= end:
        return Damage(DamageCode.CUT, f"{text}, {max(0, there - start)} were captured")
    return Damage(DamageCode.LENGTH, f"{text}, {max(0, end - start)} are left")


def transport_bytes(headers: Iterable[Header], payload: Buffer = b"", pad: int = 0) -> bytes:
    """BTH and extended headers, payload and `pad` zero bytes: what the ICRC follows."""
    return b"".join([*(header.pack() for header in headers), payload, bytes(pad)])
