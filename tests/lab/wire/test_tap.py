"""What the tap writes is what independent decoders read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scapy.contrib.roce import BTH
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from lab.engine.work import WROpcode
from lab.wire.tap import Tap
from tests.pair import Pair, make_pair, roundtrip_until_done
from tests.requires import tool

ADDRESSES = {
    "ipv4": (bytes([10, 77, 0, 2]), bytes([10, 77, 0, 1])),
    "ipv6": (bytes.fromhex("fd00" + "0" * 27 + "2"), bytes.fromhex("fd00" + "0" * 27 + "1")),
}


def tapped(addresses: tuple[bytes, bytes]) -> tuple[Pair, list[bytes]]:
    """A conversation of every kind of packet, and its frames."""
    frames: list[bytes] = []
    pair = make_pair(path_mtu=512, addresses=addresses)
    ends = [Tap(wire, lambda frame, _: frames.append(frame)) for wire in pair.wires]
    pair.wires = (ends[0], ends[1])
    pair.b.receive(5000)
    pair.a.memory[:1401] = bytes(range(1, 128)) * 11 + bytes(4)
    pair.a.post(WROpcode.SEND_WITH_IMM, pair.b, 1401, immediate=7)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 1024)
    pair.a.post(WROpcode.RDMA_READ, pair.b, 1024)
    pair.a.post(WROpcode.ATOMIC_FETCH_AND_ADD, pair.b, 8, compare_add=1)
    roundtrip_until_done(pair)
    return pair, frames


@pytest.mark.parametrize("family", ADDRESSES)
def test_scapy_agrees_on_icrc_and_checksums(family: str) -> None:
    _, frames = tapped(ADDRESSES[family])
    assert len(frames) >= 10
    for frame in frames:
        packet = Ether(frame)
        ip = packet[IP] if family == "ipv4" else packet[IPv6]
        icrc = frame[-4:]
        bth = ip[BTH]
        assert bth.compute_icrc(bytes(bth)[:-4]) == icrc
        again = Ether(frame)
        del again[UDP].chksum
        assert Ether(bytes(again))[UDP].chksum == packet[UDP].chksum != 0


@pytest.mark.parametrize("family", ADDRESSES)
def test_tshark_reads_every_frame(tmp_path: Path, family: str) -> None:
    tool("tshark")
    pair, frames = tapped(ADDRESSES[family])
    wrpcap(str(tmp_path / "tap.pcap"), [Ether(frame) for frame in frames])
    command = ["tshark", "-r", str(tmp_path / "tap.pcap"), "-T", "fields", "-o"]
    command += ["udp.check_checksum:TRUE", "-e", "infiniband.bth.psn", "-e", "udp.checksum.status"]
    command += ["-e", "_ws.malformed"]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) == len(frames)
    fields = [row.split("\t") for row in rows]
    assert int(fields[0][0]) == pair.a.sq_psn
    assert {status for _, status, _ in fields} == {"1"}
    assert not any(malformed for *_, malformed in fields)
