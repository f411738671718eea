"""Packets put together and read, against scapy and by mutation."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissectors import icrc
from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.carriers import LINK_TYPES, RAW_IP
from dissectors.damage import DamageCode
from dissectors.ethernet import Ethernet
from dissectors.header import Tail
from dissectors.icrc import ICRC_BAD, ICRC_NOT_ROCE, ICRC_OK
from dissectors.ip import IPv4
from dissectors.opcode import Opcode
from dissectors.packet import Packet
from dissectors.transport import parse_transport, transport_bytes
from dissectors.udp import UDP
from tests.dissectors import matrix
from tests.dissectors.samples import SAMPLES, frames

ROWS = list({row.headers: row for row in Opcode}.values())
"""One opcode for each list of headers."""


@pytest.mark.parametrize("carrier", matrix.CARRIERS)
def test_every_opcode_over_every_carrier(carrier: str) -> None:
    link_type, headers, trailer = matrix.CARRIERS[carrier]
    for row in Opcode:
        packet = matrix.roce(row, headers, trailer)
        frame = packet.build()
        parsed = Packet.parse(frame, link_type)
        assert parsed.damage is None
        assert parsed.icrc_status == ICRC_OK
        assert (parsed.payload, parsed.trailer) == (packet.payload, trailer)
        assert list(map(type, parsed.headers)) == list(map(type, packet.headers))
        assert parsed.build() == frame
        assert parsed[BTH].pad_count == -len(packet.payload) % 4


@pytest.mark.parametrize("carrier", matrix.CARRIERS)
def test_a_cut_frame_gives_every_field_that_is_there(carrier: str) -> None:
    link_type, headers, trailer = matrix.CARRIERS[carrier]
    for row in ROWS:
        frame = matrix.roce(row, headers, trailer).build()
        whole = fixed_fields(Packet.parse(frame, link_type))
        for there in range(len(frame)):
            packet = Packet.parse(frame[:there], link_type, len(frame))
            assert packet.damage is not None
            assert packet.icrc_status != ICRC_OK
            assert packet.build() == frame[:there]
            fields = fixed_fields(packet)
            assert fields == [field for field in whole if ends(field) <= 8 * there], (row, there)


def fixed_fields(packet: Packet) -> list[tuple[str, int, int, object]]:
    """(name, bit offset, bits, value) of all but the tails, of which there may be a part."""
    return [
        (place.field.path, place.bit_offset, place.bits, place.value)
        for place in packet.layout()
        if not isinstance(place.field, Tail)
    ]


def ends(field: tuple[str, int, int, object]) -> int:
    return field[1] + field[2]


def test_a_cut_management_datagram_gives_every_field_that_is_there() -> None:
    for what, frame in matrix.management():
        whole = fixed_fields(Packet.parse(frame))
        plain = [field for field in whole if not field[0].startswith("ip_cm.")]
        for there in range(len(frame)):
            packet = Packet.parse(frame[:there], original_length=len(frame))
            fields = fixed_fields(packet)
            expected = [field for field in plain if ends(field) <= 8 * there]
            assert [f for f in fields if not f[0].startswith("ip_cm.")] == expected, (what, there)


def test_a_fragment_is_not_misread() -> None:
    found = {what: Packet.parse(packet.build()) for what, packet in matrix.neighbours()}
    for what, packet in found.items():
        if what.startswith("fragment"):
            assert packet.damage is not None
            assert packet.damage.code == DamageCode.FRAGMENT
            assert UDP not in packet


def test_a_port_of_the_user_s() -> None:
    frame = roce()
    moved = frame[:36] + (18515).to_bytes(2, "big") + frame[38:]
    assert BTH not in Packet.parse(moved)
    assert Packet.parse(moved, roce_port=18515)[BTH] == Packet.parse(frame)[BTH]


SCAPY_READS = ["ipv4", "ipv4-options", "ipv6", "vlan", "qinq", "vxlan", "gre"]


@pytest.mark.parametrize("carrier", SCAPY_READS)
def test_lengths_checksums_and_icrc_are_those_of_scapy(carrier: str) -> None:
    import scapy.layers.inet6
    import scapy.layers.vxlan  # noqa: F401
    from scapy.contrib.roce import BTH as TheirBTH  # noqa: N811
    from scapy.layers.inet import IP
    from scapy.layers.l2 import Ether

    packet = matrix.roce(Opcode.RC_SEND_ONLY, matrix.CARRIERS[carrier][1])
    frame = Packet(packet.headers, b"twelve bytes").build()
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
    packet = matrix.roce(Opcode.RC_RDMA_WRITE_ONLY, matrix.CARRIERS["ipv4"][1])
    return Packet(packet.headers, payload).build()


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
        (empty[:43] + b"\x30" + empty[44:], DamageCode.PAD, "pad (3 bytes) and ICRC at"),
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


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from([*LINK_TYPES, RAW_IP, 9999]), st.integers(0, 300))
def test_noise_does_not_raise(frame: bytes, link_type: int, more: int) -> None:
    # Mangled frames that mean something: tests/fuzz.
    packet = Packet.parse(frame, link_type, len(frame) + more)
    assert packet.build() == frame
    assert str(packet)
    assert packet.tree() is not None


def test_a_bad_header_longer_than_what_carries_it_is_kept_once() -> None:
    outer = IPv4(src=1, dst=2, protocol=4, total_length=20 + 28, checksum=0, ihl=5)
    bad = b"\xff" + bytes(27)
    frame = Ethernet(type=0x0800).pack() + outer.pack() + bad + bytes(range(100))
    packet = Packet.parse(frame)
    assert packet.damage is not None
    assert packet.damage.code == DamageCode.VALUE
    assert packet.build() == frame
