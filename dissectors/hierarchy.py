"""The protocols of a packet as a path: Ethernet / IPv4 / UDP / RoCEv2 / RC SEND Only.

Protocols beside RDMA are named, by what the last header we read says of what follows it or by how
a TCP payload begins, and not decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissectors import opcode
from dissectors.bth import BTH
from dissectors.damage import DamageCode
from dissectors.ethernet import SMALLEST_ETHERTYPE, VLAN, Ethernet
from dissectors.gre import GRE
from dissectors.grh import GRH
from dissectors.header import Buffer, Header
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.lrh import LRH
from dissectors.pause import MACControl, Pause
from dissectors.sa import RMPP
from dissectors.sll import SLL, SLL2
from dissectors.tcp import TCP
from dissectors.udp import UDP

if TYPE_CHECKING:
    from dissectors.packet import Packet

Path = tuple[str, ...]

NAMES: dict[type[Header], str] = {
    SLL: "Linux cooked",
    SLL2: "Linux cooked",
    LRH: "InfiniBand",
    GRH: "RoCEv1",
    MACControl: "MAC control",
    Pause: "pause",
    IPv6Extension: "IPv6 extension",
    IPv6Authentication: "AH",
    IPv6Fragment: "IPv6 fragment",
}
"""Headers whose name in a path is not that of their class."""

ETHERTYPES = {
    0x8809: "slow protocols (LACP)",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88F7: "PTP",
    0x8906: "FCoE",
}
PROTOCOLS = {
    1: "ICMP",
    2: "IGMP",
    50: "ESP",
    58: "ICMPv6",
    89: "OSPF",
    103: "PIM",
    132: "SCTP",
}
PORTS = {
    53: "DNS",
    67: "DHCP",
    68: "DHCP",
    123: "NTP",
    319: "PTP",
    320: "PTP",
    443: "QUIC",
    4793: "UET",
    5353: "mDNS",
    6081: "Geneve",
}
"""UDP destination ports (IANA; 4793: Ultra Ethernet 1.0)."""

LEAVES: dict[type[Header], tuple[str, dict[int, str]]] = {
    Ethernet: ("type", ETHERTYPES),
    VLAN: ("type", ETHERTYPES),
    SLL: ("protocol", ETHERTYPES),
    SLL2: ("protocol", ETHERTYPES),
    GRE: ("protocol", ETHERTYPES),
    IPv4: ("protocol", PROTOCOLS),
    IPv6: ("next_header", PROTOCOLS),
    IPv6Extension: ("next_header", PROTOCOLS),
    IPv6Authentication: ("next_header", PROTOCOLS),
    IPv6Fragment: ("next_header", PROTOCOLS),
    UDP: ("dst_port", PORTS),
}
"""Header -> the field that names what follows, and names of what we do not read."""

MPA: Path = ("iWARP MPA",)
FPDU: Path = (*MPA, "FPDU")
TLS: Path = ("TLS",)

MPA_KEYS = (b"MPA ID Req Frame", b"MPA ID Rep Frame")
"""How a TCP stream that will carry iWARP begins, from either end (RFC 5044, 7.1)."""

MALFORMED = (DamageCode.LENGTH, DamageCode.VALUE, DamageCode.OPCODE, DamageCode.PAD)


def path(packet: Packet) -> Path:
    """The packet's protocols, outermost first; ("unknown",) where nothing of it is read."""
    names: list[str] = []
    for before, header in zip((None, *packet.headers), packet.headers, strict=False):
        kind = type(header)
        if isinstance(header, BTH):
            names += ["RoCEv2"] if isinstance(before, UDP) else []
            names.append(opcode.name(header.opcode))
            said = [type(h) for _, h in packet.management]
            names += [_name(kind) for kind in said if kind is not RMPP]
            break
        if not (kind is GRH and isinstance(before, LRH)):
            names.append(_name(kind))
    return (*names, *_after(packet)) or ("unknown",)


def _name(kind: type[Header]) -> str:
    return NAMES.get(kind, kind.__name__.replace("_", " "))


def _after(packet: Packet) -> Path:
    """What follows the headers we read."""
    if packet.damage is not None and packet.damage.code in MALFORMED:
        return ("malformed",)
    if packet.damage is not None and packet.damage.code == DamageCode.FRAGMENT:
        return ("fragment",)
    last = packet.headers[-1] if packet.headers else None
    if isinstance(last, TCP):
        return content(packet.payload)
    if last is None or type(last) not in LEAVES:
        return ()
    field, names = LEAVES[type(last)]
    value = getattr(last, field)
    if value < SMALLEST_ETHERTYPE and isinstance(last, Ethernet):
        return ("LLC",)
    return (names[value],) if value in names else ()


def content(payload: Buffer) -> Path:
    """What the payload of one TCP segment begins with; () where that cannot be told."""
    start = bytes(payload[:16])
    if start in MPA_KEYS:
        return MPA
    # A TLS record: type, version 3.x, at most 2^14 + 2048 bytes (RFC 5246, 6.2.3).
    if len(start) >= 5 and 20 <= start[0] <= 23 and start[1] == 3 and start[2] <= 4:
        return TLS if int.from_bytes(start[3:5]) <= (1 << 14) + 2048 else ()
    return ()
