"""Frames of the real kernel, taken apart and put together again."""

from __future__ import annotations

from pathlib import Path

import pytest

import captures
from dissectors.icrc import ICRC_BAD, ICRC_OK
from dissectors.ip import internet_checksum
from dissectors.packet import Packet
from lab.wire.ethernet import Frames

SAMPLES = Path("captures/samples")
V4, V6 = "rxe61_pyverbs_rc.pcap", "rxe61_ibv_rc_pingpong_ipv6gid0.pcap"


def frames(name: str) -> list[bytes]:
    with captures.open(SAMPLES / name) as capture:
        return [frame.data for frame in capture.frames()]


@pytest.mark.parametrize("name", [V4, V6])
def test_a_datagram_goes_on_in_the_frame_it_came_in(name: str) -> None:
    headers = Frames()
    roce = 0
    for frame in frames(name):
        datagram = headers.datagram(frame)
        parsed = Packet.parse(frame)
        assert (datagram is not None) == (parsed.icrc is not None)
        if datagram is not None:
            roce += 1
            assert headers.frame(datagram) == frame
    assert roce > 10


@pytest.mark.parametrize("name", [V4, V6])
def test_a_mark_leaves_checksum_and_icrc_right(name: str) -> None:
    headers = Frames()
    datagram = next(d for d in map(headers.datagram, frames(name)) if d)
    marked = datagram._replace(path=datagram.path._replace(traffic_class=0b1011_1011))
    frame = headers.frame(marked)
    parsed = Packet.parse(frame)
    assert parsed.icrc_status == ICRC_OK
    ip = parsed.headers[1]
    assert (ip.dscp, ip.ecn) == (0b101110, 3)
    if frame[14] >> 4 == 4:
        assert internet_checksum(frame[14:34]) == 0


def test_damage_stays_in_the_datagram() -> None:
    headers = Frames()
    frame = next(f for f in frames(V4) if headers.datagram(f))
    datagram = headers.datagram(frame)
    assert datagram is not None
    spoiled = bytearray(datagram.data)
    spoiled[-1] ^= 1
    changed = headers.frame(datagram._replace(data=spoiled))
    assert Packet.parse(changed).icrc_status == ICRC_BAD
    assert [i for i, (a, b) in enumerate(zip(frame, changed, strict=True)) if a != b] == [
        len(frame) - 1
    ]


def test_what_is_no_roce_is_let_be() -> None:
    headers = Frames()
    frame = next(f for f in frames(V4) if headers.datagram(f))
    for size in range(len(frame)):
        headers.datagram(frame[:size])
    tagged = frame[:12] + bytes.fromhex("81000005") + frame[12:]
    fragment = frame[:20] + bytes.fromhex("2000") + frame[22:]
    elsewhere = frame[:36] + (4790).to_bytes(2, "big") + frame[38:]
    liar = frame[:38] + (65535).to_bytes(2, "big") + frame[40:]
    assert [headers.datagram(f) for f in (b"", tagged, fragment, elsewhere, liar)] == [None] * 5
