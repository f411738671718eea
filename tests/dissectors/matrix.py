"""Frames of every opcode over every carrier, and of management and neighbours, as link type ->
frames.
"""

from __future__ import annotations

from collections.abc import Iterator

from dissectors.arp import ARP
from dissectors.bth import BTH
from dissectors.cm import CM_REQ, MESSAGES
from dissectors.deth import DETH
from dissectors.erf import ERF, TYPE_ETHERNET, TYPE_INFINIBAND
from dissectors.ethernet import VLAN, Ethernet
from dissectors.gre import GRE
from dissectors.grh import GRH
from dissectors.header import Data, Header
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.loopback import Loopback
from dissectors.lrh import LRH
from dissectors.mad import CLASS_CM, CLASS_SA, MAD, Q_KEY
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.pause import PFC, MACControl, Pause
from dissectors.sa import ATTRIBUTE_PATH_RECORD, RMPP, SA, PathRecord
from dissectors.sll import SLL, SLL2
from dissectors.tcp import TCP
from dissectors.udp import UDP
from dissectors.vxlan import VXLAN

A6, B6 = bytes.fromhex("fe80" + "00" * 13 + "01"), bytes.fromhex("fe80" + "00" * 13 + "02")
MAC = Ethernet(dst=0x525400000001, src=0x525400000002)
V4 = IPv4(src=0x0A4D0001, dst=0x0A4D0002, id=7, dscp=26, ecn=1)
V6 = IPv6(src=A6, dst=B6, dscp=26, ecn=2, flow_label=0x12345)
ROCE = UDP(src_port=49152)
TUNNEL = (MAC, IPv4(src=0x0A000001, dst=0x0A000002))
FCS = bytes(4)
VCRC = bytes(2)

CARRIERS: dict[str, tuple[int, tuple[Header, ...], bytes]] = {
    "ipv4": (1, (MAC, V4, ROCE), b""),
    "ipv6": (1, (MAC, V6, ROCE), b""),
    "roce-v1": (1, (MAC, GRH(sgid=A6, dgid=B6, flow_label=9)), b""),
    "vlan": (1, (MAC, VLAN(id=5, priority=3), V4, ROCE), b""),
    "qinq": (1, (MAC.replace(type=0x88A8), VLAN(id=6), VLAN(id=5), V6, ROCE), b""),
    "ipv4-options": (1, (MAC, V4.replace(options=b"\x94\x04\x00\x00"), ROCE), b""),
    "ipv6-extension": (
        1,
        (MAC, V6, IPv6Extension(body=bytes.fromhex("010400000000")), ROCE),
        b"",
    ),
    "ipv6-authentication": (
        1,
        (MAC, V6, IPv6Authentication(body=bytes(22)), ROCE),
        b"",
    ),
    "ipv6-atomic-fragment": (1, (MAC, V6, IPv6Fragment(id=7), ROCE), b""),
    "vxlan": (1, (*TUNNEL, UDP(src_port=50000), VXLAN(vni=77), MAC, V4, ROCE), b""),
    "vxlan-v1": (1, (*TUNNEL, UDP(src_port=50000), VXLAN(vni=7), MAC, GRH(sgid=A6, dgid=B6)), b""),
    "gre": (1, (*TUNNEL, GRE(), V4, ROCE), b""),
    "gre-key": (1, (*TUNNEL, GRE(k=1, optional=bytes(4)), V6, ROCE), b""),
    "ethernet-padding": (1, (MAC, V4, ROCE), bytes(18)),
    "sll": (113, (SLL(address=b"\x52\x54\0\0\0\x02\0\0"), V4, ROCE), b""),
    "sll2": (276, (SLL2(interface=3), V6, ROCE), b""),
    "raw-ipv4": (101, (V4, ROCE), b""),
    "raw-ipv6": (101, (V6, ROCE), b""),
    "null": (0, (Loopback(family=0x02000000), V4, ROCE), b""),
    "loop": (108, (Loopback(family=24), V6, ROCE), b""),
    "infiniband": (247, (LRH(slid=4, dlid=5, vl=1, sl=2),), VCRC),
    "infiniband-grh": (247, (LRH(slid=4, dlid=5, vl=1), GRH(sgid=A6, dgid=B6)), VCRC),
    "erf-infiniband": (197, (ERF(type=TYPE_INFINIBAND), LRH(slid=4, dlid=5)), VCRC),
    "erf-ethernet": (197, (ERF(type=TYPE_ETHERNET, extensions=bytes(2)), MAC, V4, ROCE), FCS),
}


def telling(kind: type[Header], **fixed: int) -> Header:
    """A header whose fields differ from one another and from 0."""
    values: dict[str, int | bytes] = {}
    for number, field in enumerate(kind.fields, 1):
        if field.name.startswith("reserved"):
            continue
        if isinstance(field, Data):
            values[field.name] = bytes((17 * number + i) % 251 for i in range(field.bits // 8))
        else:
            values[field.name] = (0x9E3779B97F4A7C15 * number >> 7) & ((1 << field.bits) - 1)
    return kind(**values | fixed)


def roce(row: Opcode, carrier: tuple[Header, ...], trailer: bytes = b"") -> Packet:
    """A packet of an opcode; what it carries is one pad byte short of whole words."""
    bth = BTH(opcode=row, dest_qp=0x123456, psn=0xFFFFFE, ack_req=1, se=1, m=1, p_key=0x8001)
    fixed = {"AETH": {"syndrome": 0x1F}, "DETH": {"q_key": 0x11111111, "src_qp": 0x77}}
    extended = (telling(kind, **fixed.get(kind.__name__, {})) for kind in row.headers)
    payload = b"\xa5" * 31 if row.has_payload else b""
    return Packet((*carrier, bth, *extended), payload, trailer=trailer)


def recorded(packet: Packet) -> bytes:
    """The frame, an ERF record's lengths filled in as a capture card does."""
    frame = packet.build()
    if isinstance(packet.headers[0], ERF):
        wire = len(frame) - packet.headers[0].header_length
        lengths = len(frame).to_bytes(2) + bytes(2) + wire.to_bytes(2)
        frame = frame[:10] + lengths + frame[16:]
    return frame


def mad(*headers: Header) -> Packet:
    """A management datagram to queue pair 1."""
    body = b"".join(header.pack() for header in headers)
    bth = BTH(opcode=Opcode.UD_SEND_ONLY, dest_qp=1, psn=5)
    deth = DETH(q_key=Q_KEY, src_qp=1)
    return Packet((MAC, V4, ROCE, bth, deth), body.ljust(256, b"\0"))


def management() -> Iterator[tuple[str, bytes]]:
    """Every CM message, and a path record."""
    for attribute, kind in MESSAGES.items():
        common = MAD(mgmt_class=CLASS_CM, class_version=2, method=3, attribute_id=attribute)
        fixed = {"service_id": 0x0000000001060035} if kind is CM_REQ else {}
        yield kind.__name__, mad(common, telling(kind, **fixed)).build()
    common = MAD(
        mgmt_class=CLASS_SA, class_version=2, method=0x81, attribute_id=ATTRIBUTE_PATH_RECORD
    )
    yield "PathRecord", mad(common, RMPP(), telling(SA), telling(PathRecord)).build()


TLS = b"\x17\x03\x03\x00\x05hello"


def neighbours() -> Iterator[tuple[str, Packet]]:
    """What is found beside RDMA, and what must not be taken for it: frames of link type 1."""
    tcp = TCP(src_port=40000, dst_port=4433, sequence=1, acknowledgement=2, psh=1, ack=1)
    rdma = roce(Opcode.RC_SEND_ONLY, (ROCE,)).build()
    yield "TCP", Packet((MAC, V4, tcp))
    yield "TLS", Packet((MAC, V4, tcp), TLS)
    yield "TLS-options", Packet((MAC, V6, tcp.replace(data_offset=6, options=b"\1" * 4)), TLS)
    yield "UET", Packet((MAC, V4, UDP(src_port=49152, dst_port=4793)), bytes(24))
    yield "ARP", Packet((MAC, ARP(operation=1, sender_ip=1, target_ip=2)))
    yield "Pause", Packet((MAC, MACControl(), Pause(quanta=0xFFFF)), bytes(42))
    yield "PFC", Packet((MAC, MACControl(), telling(PFC, enabled=0xFF)), bytes(26))
    yield "ICMP", Packet((MAC, V4.replace(protocol=1)), b"\x08\0\xf7\xff\0\0\0\0")
    yield "LLDP", Packet((MAC.replace(type=0x88CC),), bytes(2))
    yield "fragment", Packet((MAC, V4.replace(mf=1, df=0, protocol=17, id=11)), rdma[:24])
    later = V4.replace(fragment_offset=3, df=0, protocol=17, id=12)
    yield "fragment-later", Packet((MAC, later), rdma[:24])
    fragment = IPv6Fragment(next_header=17, fragment_offset=3, mf=1, id=9)
    yield "fragment-ipv6", Packet((MAC, V6, fragment), rdma[:24])


def by_link_type() -> dict[int, list[tuple[str, bytes]]]:
    """Link type -> (what it is, frame) of the whole matrix."""
    found = {1: [*management(), *((what, packet.build()) for what, packet in neighbours())]}
    for name, (link_type, carrier, trailer) in CARRIERS.items():
        frames = found.setdefault(link_type, [])
        for row in Opcode:
            frames.append((f"{name} {row.name}", recorded(roce(row, carrier, trailer))))
    return found
