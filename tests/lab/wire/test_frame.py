"""Datagrams in frames on a socket, against frames of the real kernel."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import captures
from dissectors.icrc import ICRC_OK
from dissectors.packet import Packet
from lab.engine.burst import Burst
from lab.wire.ethernet import datagram_of
from lab.wire.frame import FrameWire

SAMPLES = Path("captures/samples")
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")


def roce(name: str) -> list[bytes]:
    with captures.open(SAMPLES / name) as capture:
        return [frame.data for frame in capture.frames() if datagram_of(frame.data)]


V4, V6 = roce("rxe61_pyverbs_rc.pcap"), roce("rxe61_ibv_rc_pingpong_ipv6gid0.pcap")


def datagram(frame: bytes) -> Burst:
    found = datagram_of(frame)
    assert found is not None
    return found[0]


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        here.settimeout(10)
        yield here, there


def wire(there: socket.socket, address: bytes) -> FrameWire:
    return FrameWire(str(ipaddress.ip_address(address)), there.detach(), *MACS)


@pytest.mark.parametrize("frames", [V4, V6], ids=["ipv4", "ipv6"])
def test_a_datagram_leaves_in_a_frame_with_the_right_icrc(
    link: tuple[socket.socket, socket.socket], frames: list[bytes]
) -> None:
    here, there = link
    first = datagram(frames[0])
    ours = wire(there, first.path.source)
    ours.send(first, 0)
    frame = here.recv(65536)
    ours.close()
    assert frame[:12].hex(":", 1) == f"{MACS[1]}:{MACS[0]}"
    sent = Packet.parse(frame)
    assert sent.damage is None
    assert sent.icrc_status == ICRC_OK
    assert datagram(frame).data == first.data
    assert datagram(frame).path == first.path


@pytest.mark.parametrize("frames", [V4, V6], ids=["ipv4", "ipv6"])
def test_it_takes_what_is_for_its_address(
    link: tuple[socket.socket, socket.socket], frames: list[bytes]
) -> None:
    here, there = link
    address = datagram(frames[0]).path.destination
    ours = wire(there, address)
    expected = [datagram(f) for f in frames if datagram(f).path.destination == address]
    assert 0 < len(expected) < len(frames)
    arrived: list[Burst] = []
    for frame in (b"", b"\0" * 60, *frames):
        here.send(frame)
        arrived += ours.receive(0)
    ours.close()
    assert arrived == expected


def test_a_train_leaves_in_frames(link: tuple[socket.socket, socket.socket]) -> None:
    here, there = link
    first = datagram(V4[0])
    ours = wire(there, first.path.source)
    ours.send(first._replace(data=bytes(first.data) * 3, segment=len(first.data)), 0)
    sent = [datagram(here.recv(65536)).data for _ in range(3)]
    ours.close()
    assert sent == [first.data] * 3


def test_a_link_that_is_gone_is_an_error_of_the_send(
    link: tuple[socket.socket, socket.socket],
) -> None:
    here, there = link
    first = datagram(V4[0])
    ours = wire(there, first.path.source)
    here.close()
    with pytest.raises(OSError, match=r"refused|reset|pipe|connected"):
        ours.send(first, 0)
    ours.close()
