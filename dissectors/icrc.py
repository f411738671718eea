"""Invariant CRC (IBTA vol. 1, 7.8.1; RoCEv1 A16.5.2; RoCEv2 A17.3.3).

CRC-32 (zlib's) over everything that no router may change: what may change is taken as ones, and a
local route header of ones goes before. On the wire the CRC stands least significant byte first.
"""

from __future__ import annotations

from zlib import crc32

from dissectors.header import Buffer, Header
from dissectors.ip import IPv4, IPv6
from dissectors.lrh import LRH
from dissectors.udp import UDP

SIZE = 4

ICRC_NOT_ROCE = 0
ICRC_OK = 1
ICRC_BAD = 2
ICRC_UNCHECKABLE = 3
"""Result of checking a packet's ICRC."""

_ROUTE_OF_ONES = crc32(b"\xff" * 8)


def ones(kind: type[Header]) -> bytes:
    """`kind.size` bytes with the bits set that the ICRC takes as ones: the variant fields'."""
    bits = 0
    for field in kind.fields:
        if field.variant:
            bits |= ((1 << field.bits) - 1) << (8 * kind.size - field.bit_offset - field.bits)
    return bits.to_bytes(kind.size)


_IPV4, _IPV6, _LRH, _UDP = (int.from_bytes(ones(kind)) for kind in (IPv4, IPv6, LRH, UDP))


def _masked(header: Buffer, size: int, mask: int) -> bytes:
    """`header`, of at least `size` bytes, with the bits of the `size`-byte `mask` set."""
    length = len(header)
    return (int.from_bytes(header) | mask << 8 * (length - size)).to_bytes(length)


def ipv4_state(ip: Buffer) -> int:
    """CRC state after an IPv4 header, options included."""
    return crc32(_masked(ip, IPv4.size, _IPV4), _ROUTE_OF_ONES)


def ipv6_state(ip: Buffer) -> int:
    """CRC state after an IPv6 header and its extension headers, or after a GRH."""
    return crc32(_masked(ip, IPv6.size, _IPV6), _ROUTE_OF_ONES)


def lrh_state(lrh: Buffer) -> int:
    """CRC state after a local route header that no GRH follows (virtual lane masked)."""
    return crc32(_masked(lrh, LRH.size, _LRH))


def udp_state(udp: Buffer, state: int) -> int:
    """CRC state after a UDP header."""
    return crc32(_masked(udp, UDP.size, _UDP), state)


def over_transport(transport: Buffer, state: int) -> int:
    """The ICRC: `state` continued over BTH up to and with the pad."""
    # BTH's variant fields are its fifth byte: said outright, since an engine runs this per packet.
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
