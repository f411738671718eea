"""Trains to datagrams and back; runs joined and split."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import roce
from scapy.layers.inet import IP

from dissectors import icrc
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from lab.engine.burst import MAX_BYTES, Burst, Path
from lab.engine.decode import FAMILY, Refused, Run, decode
from lab.engine.encode import encode
from lab.engine.outer import outer_headers, outer_state
from lab.engine.segment import READ_RESPONSE, SHAPES, Train
from lab.engine.states import QPType
from lab.engine.work import WROpcode
from tests.strategies import path_mtus, sq_psns

PATH = Path(bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]))
WRITE = SHAPES[QPType.RC, WROpcode.RDMA_WRITE]


def train(path_mtu: int, length: int, psn: int, shape: object = WRITE) -> Train:
    total = max(1, -(-length // path_mtu))
    opcodes = shape.opcodes(0, total, total)  # type: ignore[attr-defined]
    payload = bytes(index % 251 for index in range(length))
    return Train(PATH, 0x123456, psn, opcodes, payload, path_mtu, bytes(16), ack_req=True)


@given(path_mtus, st.integers(0, 20_000), sq_psns, st.sampled_from([1, 3, 64]))
def test_round_trip(path_mtu: int, length: int, psn: int, burst: int) -> None:
    sent = train(path_mtu, length, psn)
    bursts = encode(sent, 4791, burst)
    assert all(b.datagram_count <= burst and len(b.data) <= MAX_BYTES for b in bursts)
    assert sum(b.datagram_count for b in bursts) == len(sent.opcodes)
    runs = [run for b in bursts for run in decode(b)]
    assert all(isinstance(run, Run) for run in runs)
    chunks = [bytes(chunk) for run in runs for chunk in run.chunks]  # type: ignore[union-attr]
    assert b"".join(chunks) == sent.payload
    assert [len(chunk) for chunk in chunks[:-1]] == [path_mtu] * (len(chunks) - 1)
    last = runs[-1]
    assert isinstance(last, Run)
    assert last.ack_req
    assert last.last_psn == (psn + len(sent.opcodes) - 1) % (1 << 24)


@given(st.integers(2, 30), st.data())
def test_split_runs_join_again(packets: int, data: st.DataObject) -> None:
    (burst,) = encode(train(256, 256 * packets, 0xFFFFF0, READ_RESPONSE), 4791, 64)[:1]
    whole = next(iter(decode(burst)))
    assert isinstance(whole, Run)
    if whole.packet_count > 1:
        head, tail = whole.split(data.draw(st.integers(1, whole.packet_count - 1)))
        assert head.chunks + tail.chunks == whole.chunks
        assert tail.first_psn == (head.last_psn + 1) % (1 << 24)
        assert (head.first, tail.last) == (whole.first, whole.last)
        assert not head.ack_req


@given(st.binary(max_size=120))
def test_any_bytes_decode_to_something(data: bytes) -> None:
    (found,) = decode(Burst(PATH, 4791, data, max(1, len(data))))
    assert isinstance(found, Refused)


def test_segmented_packets_carry_their_identification() -> None:
    """Under UDP_SEGMENT Linux numbers the segments from 0; scapy computes each one's ICRC."""
    (_, rest) = encode(train(1024, 5000, 7), 4791, 64)
    assert rest.datagram_count == 3
    for index, datagram in enumerate(rest.datagrams()):
        data = bytes(datagram.data)
        packet = IP(outer_headers(PATH, 4791, len(data), index) + data)
        assert packet.id == index
        assert packet[roce.BTH].compute_icrc(bytes(packet[roce.BTH])[:-4]) == data[-4:]


def test_one_flipped_bit_is_refused_unless_the_icrc_masks_it() -> None:
    (burst,) = encode(train(256, 8, 7), 4791, 1)
    for bit in range(8 * len(burst.data)):
        data = bytearray(burst.data)
        data[bit // 8] ^= 1 << bit % 8
        (found,) = decode(Burst(PATH, 4791, data, len(data)))
        # BTH's fifth byte (FECN, BECN, reserved) is not covered (IBTA A17.3.3).
        assert isinstance(found, Run) == (bit // 8 == 4)


def test_another_transport_version_is_refused() -> None:
    """IBTA 9.6.1.1: TVer is 0."""
    body = BTH(opcode=int(Opcode.RC_ACKNOWLEDGE), tver=1, dest_qp=5).pack() + bytes(4)
    state = outer_state(PATH, 4791, len(body) + icrc.SIZE, 0)
    data = body + icrc.to_wire(icrc.over_transport(body, state))
    (found,) = decode(Burst(PATH, 4791, data, len(data)))
    assert isinstance(found, Refused)
    assert "version 1" in found.reason


def test_families() -> None:
    assert FAMILY[Opcode.RC_RDMA_WRITE_LAST_WITH_IMMEDIATE] == "RC_RDMA_WRITE"
    assert FAMILY[Opcode.RC_RDMA_READ_RESPONSE_ONLY] == "RC_RDMA_READ_RESPONSE"
    assert FAMILY[Opcode.UC_SEND_ONLY_WITH_IMMEDIATE] == "UC_SEND"
