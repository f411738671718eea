"""Protocol paths: named, against tshark's on samples, and counted as they are named."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path as FilePath
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissectors.arp import ARP
from dissectors.bth import BTH
from dissectors.census import hierarchy, marks
from dissectors.ethernet import Ethernet
from dissectors.header import Header
from dissectors.hierarchy import path
from dissectors.ip import IPv4, IPv6
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.pause import PFC, MACControl, Pause
from dissectors.table import PacketTable
from dissectors.tcp import TCP
from dissectors.udp import UDP
from dissectors.vxlan import VXLAN
from tests.dissectors import matrix, tshark
from tests.dissectors.matrix import MAC, ROCE, V4, V6
from tests.dissectors.samples import FILES, frames
from tests.requires import tool

MPA_REQUEST = b"MPA ID Req Frame" + bytes(4)
TLS_RECORD = b"\x16\x03\x01\x00\x05hello"
V4_TCP = V4.replace(protocol=6)


class Frame(NamedTuple):
    number: int
    data: bytes
    original_length: int
    link_type: int = 1
    time_ns: int = 0
    interface: int = 0
    offset: int = 0


def table(*built: bytes, link_type: int = 1) -> PacketTable:
    return PacketTable.from_frames(
        Frame(number, data, len(data), link_type) for number, data in enumerate(built, 1)
    )


NEIGHBOURS: dict[str, tuple[tuple[Header, ...], bytes]] = {
    "Ethernet / ARP": ((MAC, ARP()), b""),
    "Ethernet / MAC control / PFC": ((MAC, MACControl(), PFC(enabled=8)), bytes(28)),
    "Ethernet / MAC control / pause": ((MAC, MACControl(), Pause(quanta=9)), bytes(42)),
    "Ethernet / LLDP": ((MAC.replace(type=0x88CC),), bytes(46)),
    "Ethernet / LLC": ((MAC.replace(type=38),), bytes(46)),
    "Ethernet": ((MAC.replace(type=0x9999),), bytes(46)),
    "Ethernet / IPv6 / ICMPv6": ((MAC, V6.replace(next_header=58)), bytes(24)),
    "Ethernet / IPv4 / fragment": ((MAC, V4.replace(mf=1, protocol=17)), bytes(24)),
    "Ethernet / IPv4 / UDP / UET": ((MAC, V4, UDP(dst_port=4793)), bytes(24)),
    "Ethernet / IPv4 / UDP / DNS": ((MAC, V4, UDP(dst_port=53)), bytes(24)),
    "Ethernet / IPv4 / UDP": ((MAC, V4, UDP(dst_port=5)), bytes(24)),
    "Ethernet / IPv4 / TCP": ((MAC, V4_TCP, TCP(dst_port=4433)), b"GET / HTTP/1.1"),
    "Ethernet / IPv4 / TCP / TLS": ((MAC, V4_TCP, TCP(dst_port=4433)), TLS_RECORD),
    "Ethernet / IPv6 / TCP / iWARP MPA": (
        (MAC, V6.replace(next_header=6), TCP(dst_port=7)),
        MPA_REQUEST,
    ),
}


@pytest.mark.parametrize("expected", NEIGHBOURS)
def test_neighbours(expected: str) -> None:
    headers, payload = NEIGHBOURS[expected]
    frame = Packet(headers, payload).build()
    assert " / ".join(path(Packet.parse(frame))) == expected
    assert hierarchy(table(frame)) == {tuple(expected.split(" / ")): 1}


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [
        ("ipv4", "Ethernet / IPv4 / UDP / RoCEv2"),
        ("roce-v1", "Ethernet / RoCEv1"),
        ("qinq", "Ethernet / VLAN / VLAN / IPv6 / UDP / RoCEv2"),
        ("vxlan", "Ethernet / IPv4 / UDP / VXLAN / Ethernet / IPv4 / UDP / RoCEv2"),
        ("gre-key", "Ethernet / IPv4 / GRE / IPv6 / UDP / RoCEv2"),
        ("infiniband", "InfiniBand"),
        ("infiniband-grh", "InfiniBand"),
        ("erf-infiniband", "ERF / InfiniBand"),
        ("sll2", "Linux cooked / IPv6 / UDP / RoCEv2"),
    ],
)
def test_carriers(carrier: str, expected: str) -> None:
    link_type, headers, trailer = matrix.CARRIERS[carrier]
    frame = matrix.recorded(matrix.roce(Opcode.RC_SEND_ONLY, headers, trailer))
    found = Packet.parse(frame, link_type)
    assert " / ".join(path(found)) == f"{expected} / RC SEND Only"


def test_management_is_named() -> None:
    found = {what: path(Packet.parse(frame))[5:] for what, frame in matrix.management()}
    assert found["CM_REQ"] == ("MAD", "CM REQ", "IP CM")
    assert found["PathRecord"] == ("MAD", "SA", "PathRecord")


def test_what_is_wrong_is_named() -> None:
    frame = bytearray(matrix.roce(Opcode.RC_SEND_ONLY, (MAC, V4, ROCE)).build())
    frame[42] = 0xFF
    assert path(Packet.parse(bytes(frame)))[-2:] == ("opcode 0xff", "malformed")
    assert path(Packet.parse(b"", 1)) == ("malformed",)
    assert path(Packet.parse(bytes(9), 9999)) == ("unknown",)


TSHARK = {"eth": "Ethernet", "vlan": "VLAN", "ip": "IPv4", "ipv6": "IPv6", "udp": "UDP",
          "tcp": "TCP", "arp": "ARP", "icmpv6": "ICMPv6", "icmp": "ICMP", "tls": "TLS",
          "infiniband": "RoCEv2", "igmp": "IGMP", "dhcp": "DHCP", "mdns": "mDNS"}  # fmt: skip
FURTHER = ("TLS", "mDNS", "DHCP")
"""TLS: tshark follows streams, and names their segments by the record that ends there."""


def test_samples_as_tshark_sees_them(tmp_path: FilePath) -> None:
    tool("tshark")
    known = [(file.stem, *frame) for file in FILES for frame in frames(file)]
    joined = tmp_path / "samples.pcap"
    tshark.write_pcap(joined, 1, (frame for *_, frame in known))
    command = ["tshark", "-n", "-r", str(joined), "-T", "fields", "-e", "frame.protocols"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line, (stem, number, length, frame) in zip(said.splitlines(), known, strict=True):
        theirs = [TSHARK[name] for name in line.split(":") if name in TSHARK]
        packet = Packet.parse(frame, original_length=length)
        ours = [name for name in path(packet) if name in TSHARK.values()]
        if BTH in packet:
            theirs = theirs[: theirs.index("RoCEv2") + 1]
        strip = [name for name in theirs if name not in FURTHER]
        assert [name for name in ours if name not in FURTHER] == strip, (stem, number)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_counted_as_named(file: FilePath) -> None:
    packets = [frame for _, _, frame in frames(file)]
    expected = Counter(path(Packet.parse(frame)) for frame in packets)
    assert hierarchy(table(*packets)) == dict(sorted(expected.items()))


@pytest.mark.parametrize("link_type", sorted(matrix.by_link_type()))
def test_the_matrix_counted_as_named(link_type: int) -> None:
    packets = [frame for _, frame in matrix.by_link_type()[link_type]]
    expected = Counter(path(Packet.parse(frame, link_type)) for frame in packets)
    found = hierarchy(table(*packets, link_type=link_type))
    assert found == dict(sorted(expected.items()))


MANY = [frame for _, frame in matrix.by_link_type()[1]] + [
    Packet(headers, payload).build() for headers, payload in NEIGHBOURS.values()
    if b"MPA" not in payload
]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(MANY), st.lists(st.tuples(
    st.integers(0, 90), st.integers(0, 255)), max_size=3), st.integers(0, 200))))  # fmt: skip
def test_mutated_frames_are_counted_as_named(
    drawn: list[tuple[bytes, list[tuple[int, int]], int]],
) -> None:
    packets = []
    for frame, changes, end in drawn:
        mutated = bytearray(frame)
        for at, value in changes:
            mutated[at % len(mutated)] = value
        packets.append(bytes(mutated[: max(1, end)]))
    expected = Counter(path(Packet.parse(frame)) for frame in packets)
    assert hierarchy(table(*packets)) == dict(sorted(expected.items()))


def test_what_stands_behind_the_packet_is_none_of_it() -> None:
    whole = Packet((MAC, V4_TCP, TCP()), TLS_RECORD).build()
    short = Packet((MAC, V4_TCP, TCP()), TLS_RECORD[:3], trailer=TLS_RECORD[3:]).build()
    tcp = ("Ethernet", "IPv4", "TCP")
    assert hierarchy(table(whole, short)) == {tcp: 1, (*tcp, "TLS"): 1}


def test_what_follows_an_mpa_handshake_is_iwarp() -> None:
    there, back = TCP(src_port=9, dst_port=7), TCP(src_port=7, dst_port=9)
    other = TCP(src_port=10, dst_port=7)
    returning = V4_TCP.replace(src=V4.dst, dst=V4.src)
    built = [
        Packet((MAC, V4_TCP, there), MPA_REQUEST).build(),
        Packet((MAC, returning, back), b"MPA ID Rep Frame" + bytes(4)).build(),
        Packet((MAC, V4_TCP, there), bytes(40)).build(),
        Packet((MAC, V4_TCP, other), bytes(40)).build(),
    ]
    tcp = ("Ethernet", "IPv4", "TCP")
    found = hierarchy(table(*built))
    assert found == {tcp: 1, (*tcp, "iWARP MPA"): 2, (*tcp, "iWARP MPA", "FPDU"): 1}


def test_marks() -> None:
    marked = matrix.roce(Opcode.CNP, (Ethernet(), IPv4(src=1, dst=2, ecn=3), ROCE))
    headers = tuple(h.replace(becn=1, fecn=1) if isinstance(h, BTH) else h for h in marked.headers)
    plain = matrix.roce(Opcode.CNP, (Ethernet(), IPv6(ecn=2), ROCE))
    found = table(Packet(headers, bytes(16)).build(), plain.build(), marked.build())
    assert marks(found) == {"ECN CE": 2, "FECN": 1, "BECN": 1}
    assert marks(table(plain.build())) == {}


def test_headers_in_another_order_are_counted_apart() -> None:
    inner = (V6, ROCE.replace(dst_port=4789), VXLAN(vni=7))
    there = Packet((MAC, *inner), bytes(4)).build()
    within = Packet((*inner, MAC.replace(type=0x0800)), bytes(4)).build()
    named = [path(Packet.parse(there)), path(Packet.parse(within, 101))]
    frames = [Frame(1, there, len(there)), Frame(2, within, len(within), 101)]
    assert hierarchy(PacketTable.from_frames(frames)) == Counter(named)


def test_a_bad_header_within_its_like_is_counted() -> None:
    # The inner header says 60 bytes; 40 are there, as many as make both 60 together.
    bad = b"\xff" + bytes(39)
    twice = Packet((MAC, V4.replace(protocol=4)), bad).build()
    once = Packet((MAC.replace(type=0x0800),), b"\xf5" + bytes(39)).build()
    expected = Counter(path(Packet.parse(frame)) for frame in (once, twice))
    assert len(expected) == 2
    assert hierarchy(table(once, twice)) == expected
