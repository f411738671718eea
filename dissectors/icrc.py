"""Invariant CRC (IBTA vol. 1, 7.8.1; RoCEv1 A16.5.2; RoCEv2 A17.3.3).

CRC-32 (zlib's) over everything that no router may change: what may change is taken as ones, and a
local route header of ones goes before. On the wire the CRC stands least significant byte first.
"""

from __future__ import annotations

from zlib import crc32

from dissectors.header import Buffer

SIZE = 4

ICRC_NOT_ROCE = 0
ICRC_OK = 1
ICRC_BAD = 2
ICRC_UNCHECKABLE = 3
"""Result of checking a packet's ICRC."""

_ROUTE_OF_ONES = crc32(b"\xff" * 8)


def ipv4_state(ip: Buffer) -> int:
    """CRC state after an IPv4 header, options included (TOS, TTL and checksum masked)."""
    masked = bytearray(ip)
    masked[1] = masked[8] = masked[10] = masked[11] = 0xFF
    return crc32(masked, _ROUTE_OF_ONES)


def ipv6_state(ip: Buffer) -> int:
    """CRC state after an IPv6 header and its extension headers, or after a GRH (class, label, hop
    limit masked).
    """
    masked = bytearray(ip)
    masked[0] |= 0x0F
    masked[1:4] = b"\xff\xff\xff"
    masked[7] = 0xFF
    return crc32(masked, _ROUTE_OF_ONES)


def lrh_state(lrh: Buffer) -> int:
    """CRC state after a local route header that no GRH follows (virtual lane masked)."""
    masked = bytearray(lrh)
    masked[0] |= 0xF0
    return crc32(masked)


def udp_state(udp: Buffer, state: int) -> int:
    """CRC state after a UDP header (checksum masked)."""
    return crc32(b"\xff\xff", crc32(udp[:6], state))


def over_transport(transport: Buffer, state: int) -> int:
    """The ICRC: `state` continued over BTH up to and with the pad (BTH's byte 4 masked)."""
    state = crc32(b"\xff", crc32(transport[:4], state))
    return crc32(memoryview(transport)[5:], state)


def icrc(packet: Buffer) -> int:
    """ICRC of a packet from its IPv4, IPv6 or GRH header up to and with the pad (20 + 8 or 40 + 8
    or 40 bytes of headers).

    For headers of other lengths put the states together from the functions above.
    """
    view = memoryview(packet)
    if view[0] >> 4 == 4:
        size = 4 * (view[0] & 15)
        return over_transport(
            view[size + 8 :], udp_state(view[size : size + 8], ipv4_state(view[:size]))
        )
    state = ipv6_state(view[:40])
    if view[6] == 0x1B:
        return over_transport(view[40:], state)
    return over_transport(view[48:], udp_state(view[40:48], state))


def to_wire(value: int) -> bytes:
    """The four bytes that end a packet."""
    return value.to_bytes(SIZE, "little")


def from_wire(data: Buffer) -> int:
    """The CRC that four bytes on the wire stand for."""
    return int.from_bytes(data, "little")
