"""What carries what: the header that follows another, by the value of one field.

The same table is read forwards to parse and backwards to fill in the field when building.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from dissectors.arp import ARP
from dissectors.bth import BTH
from dissectors.damage import Damage, DamageCode
from dissectors.erf import ERF, ETHERNETS, TYPE_INFINIBAND, TYPE_IPV4, TYPE_IPV6
from dissectors.ethernet import VLAN, Ethernet
from dissectors.gre import GRE
from dissectors.grh import GRH, NEXT_HEADER_IBA
from dissectors.header import Buffer, Header
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.loopback import Loopback
from dissectors.lrh import LRH, NEXT_BTH, NEXT_GRH
from dissectors.pause import OPCODE_PAUSE, OPCODE_PFC, PFC, MACControl, Pause
from dissectors.sll import SLL, SLL2
from dissectors.tcp import TCP
from dissectors.udp import ROCE_PORT, UDP
from dissectors.vxlan import VXLAN, VXLAN_PORT

Kinds = dict[int, type[Header]]

ETHERTYPES: Kinds = {
    0x0800: IPv4,
    0x86DD: IPv6,
    0x8915: GRH,
    0x8100: VLAN,
    0x88A8: VLAN,
    0x9100: VLAN,
    0x0806: ARP,
    0x8808: MACControl,
    0x6558: Ethernet,
}
IPV4_PROTOCOLS: Kinds = {
    17: UDP,
    6: TCP,
    47: GRE,
    4: IPv4,
    41: IPv6,
    51: IPv6Authentication,
}
IPV6_NEXT_HEADERS: Kinds = IPV4_PROTOCOLS | {
    0: IPv6Extension,
    43: IPv6Extension,
    60: IPv6Extension,
    44: IPv6Fragment,
}
FAMILIES: dict[int, type[Header]] = {2: IPv4, 10: IPv6, 24: IPv6, 28: IPv6, 30: IPv6}
"""AF_INET, and AF_INET6 of Linux, OpenBSD and NetBSD, FreeBSD, macOS."""

FOLLOWS: dict[type[Header], tuple[str, Kinds]] = {
    Ethernet: ("type", ETHERTYPES),
    VLAN: ("type", ETHERTYPES),
    SLL: ("protocol", ETHERTYPES),
    SLL2: ("protocol", ETHERTYPES),
    GRE: ("protocol", ETHERTYPES),
    Loopback: ("family", FAMILIES | {family << 24: kind for family, kind in FAMILIES.items()}),
    ERF: (
        "type",
        {
            **dict.fromkeys(ETHERNETS, Ethernet),
            TYPE_INFINIBAND: LRH,
            TYPE_IPV4: IPv4,
            TYPE_IPV6: IPv6,
        },
    ),
    IPv4: ("protocol", IPV4_PROTOCOLS),
    IPv6: ("next_header", IPV6_NEXT_HEADERS),
    IPv6Extension: ("next_header", IPV6_NEXT_HEADERS),
    IPv6Authentication: ("next_header", IPV6_NEXT_HEADERS),
    IPv6Fragment: ("next_header", IPV6_NEXT_HEADERS),
    UDP: ("dst_port", {ROCE_PORT: BTH, VXLAN_PORT: VXLAN}),
    VXLAN: ("i", {1: Ethernet}),
    GRH: ("next_header", {NEXT_HEADER_IBA: BTH}),
    LRH: ("lnh", {NEXT_BTH: BTH, NEXT_GRH: GRH}),
    MACControl: ("opcode", {OPCODE_PAUSE: Pause, OPCODE_PFC: PFC}),
}

RAW_IP = 101
LINK_TYPES: Kinds = {
    0: Loopback,
    1: Ethernet,
    108: Loopback,
    113: SLL,
    197: ERF,
    228: IPv4,
    229: IPv6,
    247: LRH,
    276: SLL2,
}
"""Link type of a capture file (libpcap's LINKTYPE_ numbers) -> its first header."""

RAW_IP_LINK_TYPES = (12, 14, RAW_IP)
"""Link types that begin with IPv4 or IPv6, told apart by the version."""


def first_header(link_type: int, frame: Buffer) -> type[Header] | None:
    """The header that frames of `link_type` begin with; None where we do not read that link
    type.
    """
    if link_type in RAW_IP_LINK_TYPES and frame:
        return {4: IPv4, 6: IPv6}.get(frame[0] >> 4)
    return LINK_TYPES.get(link_type)


class Carried(NamedTuple):
    """The carriers of a frame: their headers, where what they carry starts and ends, and the
    damage.

    `follows` is the header that stands at `start` (BTH, or one that is cut off) or None; `end`
    may lie beyond the captured bytes.
    """

    headers: tuple[Header, ...]
    follows: type[Header] | None
    start: int
    end: int
    damage: Damage | None


def following(header: Header, roce_port: int = ROCE_PORT) -> type[Header] | None:
    """The header that comes after `header`; None where that is unknown or nothing we read."""
    if isinstance(header, UDP) and header.dst_port == roce_port:
        return BTH
    field, kinds = FOLLOWS.get(type(header), ("", {}))
    return kinds.get(getattr(header, field)) if field else None


def carriers(frame: Buffer, kind: type[Header] | None, length: int, roce_port: int) -> Carried:
    """Walk the headers of `frame` from one of class `kind` down to BTH; never raises.

    `length` is the frame's length on the wire, at least that of `frame`.
    """
    headers: list[Header] = []
    start, end = 0, length
    damage: Damage | None = None
    if len(frame) < length:
        damage = Damage(DamageCode.CUT, f"{len(frame)} of the frame's {length} bytes were captured")
    while kind is not None and kind is not BTH:
        if start + kind.size > min(end, len(frame)):
            damage = damage or _no_room(kind, start, min(end, len(frame)))
            break
        header = kind.parse(frame, start)
        headers.append(header)
        name, at = type(header).__name__, f"at offset {start}"
        complaint = header.check()
        if complaint:
            damage = Damage(DamageCode.VALUE, f"{name} {at}: {complaint}")
            # As below: what the buffer has of a variable part, whatever the lengths around it say.
            start += len(header.pack())
            return Carried(tuple(headers), None, start, max(start, end), damage)
        if header.reach is not None and start + header.reach != end:
            if start + header.reach > end:
                what = f"{name} {at} says {header.reach} bytes, the frame has {end - start}"
                damage = damage or Damage(DamageCode.LENGTH, what)
            else:
                end = start + header.reach
        start += header.header_length
        if start > min(end, len(frame)):
            # The variable part is what the buffer has of it, whatever the lengths around it say.
            damage = damage or _no_room(kind, start - header.header_length, min(end, len(frame)))
            return Carried(tuple(headers), None, start, max(start, end), damage)
        kind = following(header, roce_port)
        if isinstance(header, IPv4 | IPv6Fragment) and header.fragment:
            damage = damage or Damage(DamageCode.FRAGMENT, f"{name} {at} is a fragment")
            kind = None
    return Carried(tuple(headers), kind, start, end, damage)


def _no_room(kind: type[Header], start: int, end: int) -> Damage:
    text = f"{kind.__name__} at offset {start} takes more than the {max(0, end - start)} bytes left"
    return Damage(DamageCode.LENGTH, text)


def linked(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """`headers` with the fields that name the following header (EtherType, protocol, port) set
    where AUTO.
    """
    result = list(headers)
    for place, (header, after) in enumerate(pairwise(headers)):
        field, kinds = FOLLOWS.get(type(header), ("", {}))
        if field and getattr(header, field) < 0:
            value = next((value for value, kind in kinds.items() if kind is type(after)), 0)
            result[place] = header.replace(**{field: value})
    return tuple(result)
