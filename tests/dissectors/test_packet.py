"""Packets put together and read, against scapy and by mutation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissectors import icrc
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.damage import DamageCode
from dissectors.ethernet import VLAN, Ethernet
from dissectors.grh import GRH
from dissectors.header import Header
from dissectors.icrc import ICRC_BAD, ICRC_NOT_ROCE, ICRC_OK, ICRC_UNCHECKABLE
from dissectors.ip import IPv4, IPv6
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.reth import RETH
from dissectors.transport import parse_transport, transport_bytes
from dissectors.udp import UDP
from tests.dissectors.samples import SAMPLES, frames

A6, B6 = bytes.fromhex("fe80" + "00" * 13 + "01"), bytes.fromhex("fe80" + "00" * 13 + "02")
CARRIERS: dict[str, tuple[Header, ...]] = {
    "ipv4": (Ethernet(), IPv4(src=0x0A4D0001, dst=0x0A4D0002), UDP(src_port=49152)),
    "ipv4-options": (Ethernet(), IPv4(src=1, dst=2, options=b"\x94\x04\x00\x00"), UDP()),
    "ipv6": (Ethernet(), IPv6(src=A6, dst=B6), UDP(src_port=49152)),
    "vlan": (Ethernet(type=0x8100), VLAN(id=5), IPv4(src=1, dst=2), UDP()),
    "roce-v1": (Ethernet(), GRH(sgid=A6, dgid=B6)),
}


def built(row: Opcode, carrier: tuple[Header, ...], payload: bytes) -> Packet:
    bth = BTH(opcode=row, dest_qp=0x12, psn=0xFFFFFE)
    headers = (*carrier, bth, *(kind() for kind in row.headers))
    return Packet(headers, payload if row.has_payload else b"")


@pytest.mark.parametrize("carrier", CARRIERS)
def test_every_opcode_over_every_carrier(carrier: str) -> None:
    for row in Opcode:
        check_round_trip(row, carrier)


def check_round_trip(row: Opcode, carrier: str) -> None:
    packet = built(row, CARRIERS[carrier], b"13 bytes long")
    frame = packet.build()
    parsed = Packet.parse(frame)
    assert parsed.damage is None
    assert parsed.icrc_status == ICRC_OK
    assert parsed.payload == packet.payload
    kinds = [type(header) for header in packet.headers]
    assert [type(header) for header in parsed.headers] == kinds
    assert parsed.build() == frame
    assert parsed[BTH].pad_count == -len(packet.payload) % 4


@pytest.mark.parametrize("carrier", ["ipv4", "ipv4-options", "ipv6", "vlan"])
def test_lengths_checksums_and_icrc_are_those_of_scapy(carrier: str) -> None:
    import scapy.layers.inet6  # noqa: F401
    from scapy.contrib.roce import BTH as TheirBTH  # noqa: N811
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether

    frame = built(Opcode.RC_SEND_ONLY, CARRIERS[carrier], b"twelve bytes").build()
    theirs = Ether(frame)
    if IP in theirs:
        del theirs[IP].chksum, theirs[IP].len
    theirs[TheirBTH].icrc = None
    assert bytes(theirs) == frame


@pytest.mark.parametrize("name", ["rxe61_pyverbs_rc", "rxe61_ibv_rc_pingpong_ipv6gid0"])
def test_transport_alone_gives_what_the_frame_gives(name: str) -> None:
    for _, _, frame in frames(SAMPLES / f"{name}.pcap"):
        packet = Packet.parse(frame)
        if BTH not in packet:
            continue
        start = packet.headers.index(packet[BTH])
        udp_payload = frame[sum(header.header_length for header in packet.headers[:start]) :]
        found = parse_transport(udp_payload)
        assert found.headers == packet.headers[start:]
        payload = udp_payload[found.payload_offset :][: found.payload_length]
        assert payload == packet.payload
        again = transport_bytes(found.headers, payload, packet[BTH].pad_count)
        assert again == udp_payload[:-4]
        network = frame[14 : -len(udp_payload)]
        assert icrc.icrc(network + again) == icrc.from_wire(udp_payload[-4:])


def roce(payload: bytes = b"data") -> bytes:
    return built(Opcode.RC_RDMA_WRITE_ONLY, CARRIERS["ipv4"], payload).build()


def test_a_changed_bit_is_noticed_unless_the_icrc_leaves_it_out() -> None:
    frame = roce()
    # Ethernet; IPv4 TOS, TTL, checksum; UDP checksum; BTH byte 4
    left_out = {*range(14), 15, 22, 24, 25, 40, 41, 46}
    for offset in range(len(frame)):
        changed = bytearray(frame)
        changed[offset] ^= 1
        packet = Packet.parse(bytes(changed))
        assert (packet.icrc_status == ICRC_OK) == (offset in left_out - {12, 13}), offset


def test_damage_is_named_with_its_place() -> None:
    frame, empty = roce(), roce(b"")
    cases = [
        (frame[:42] + b"\xff" + frame[43:], DamageCode.OPCODE, "opcode 0xff at offset 42"),
        (empty[:43] + b"\x30" + empty[44:], DamageCode.PAD, "pad (3 bytes) and ICRC at offset 70"),
    ]
    short = bytearray(empty)
    short[16:18] = (20 + 8 + 20).to_bytes(2, "big")
    short[38:40] = (8 + 20).to_bytes(2, "big")
    cases.append((bytes(short), DamageCode.LENGTH, "RETH at offset 54 takes 16 bytes, 8 are left"))
    for data, code, text in cases:
        damage = Packet.parse(data).damage
        assert damage is not None
        assert damage.code == code
        assert text in str(damage)


def test_a_cut_frame_gives_the_headers_that_are_there() -> None:
    frame = roce(bytes(400))
    packet = Packet.parse(frame[:96], original_length=len(frame))
    assert packet.damage is not None
    assert packet.damage.code == DamageCode.CUT
    assert packet[RETH] == Packet.parse(frame)[RETH]
    assert packet.icrc_status == ICRC_UNCHECKABLE
    assert packet.build() == frame[:96]


def test_not_roce() -> None:
    packet = Packet.parse(bytes(60))
    assert packet.icrc_status == ICRC_NOT_ROCE
    assert AETH not in packet
    with pytest.raises(KeyError, match="no AETH"):
        packet[AETH]


def test_a_wrong_icrc_can_be_built() -> None:
    good = Packet.parse(roce())
    bad = Packet(good.headers, good.payload, good.pad, icrc=1)
    assert Packet.parse(bad.build()).icrc_status == ICRC_BAD


def test_layout_covers_the_headers_without_gap() -> None:
    packet = Packet.parse(roce())
    at = 0
    for place in packet.layout():
        assert place.bit_offset == at
        at += place.bits
    assert at == 8 * sum(header.header_length for header in packet.headers)


SEEDS = [frame for _, _, frame in frames(SAMPLES / "rxe61_pyverbs_rc.pcap")][20:30]


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.sampled_from(SEEDS)), st.data())
def test_no_bytes_raise(frame: bytes, data: st.DataObject) -> None:
    mutated = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 6))):
        if mutated:
            mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(mutated[: data.draw(st.integers(0, len(mutated)))])
    packet = Packet.parse(cut)
    assert packet.build() == cut
    assert str(packet)
    assert packet.tree() is not None
    assert packet.icrc_status in range(4)
    assert all(place.bit_offset + place.bits <= 8 * len(cut) for place in packet.layout())


def test_a_bad_header_longer_than_what_carries_it_is_kept_once() -> None:
    outer = IPv4(src=1, dst=2, protocol=4, total_length=20 + 28, checksum=0, ihl=5)
    bad = b"\xff" + bytes(27)
    frame = Ethernet(type=0x0800).pack() + outer.pack() + bad + bytes(range(100))
    packet = Packet.parse(frame)
    assert packet.damage is not None
    assert packet.damage.code == DamageCode.VALUE
    assert packet.build() == frame
