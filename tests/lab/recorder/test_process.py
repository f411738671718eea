from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapNgReader, RawPcapReader

from lab.hosts.choose import make
from lab.hosts.model import Hosts, HostsError
from lab.recorder.model import RecorderError
from lab.recorder.process import ProcessRecorder
from tests.requires import lacking, tool

Method = Literal["tcpdump", "scapy"]
METHODS: tuple[Method, ...] = ("tcpdump", "scapy")


@pytest.fixture(params=["netns", "userns", "loopback"])
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    if os.geteuid() != 0 and request.param != "userns":
        pytest.skip("recording here takes root")
    try:
        made = make(request.param, mtu=9000)
    except HostsError as error:
        lacking(str(error))
    yield made
    made.close()


def record(hosts: Hosts, method: Method, path: Path) -> ProcessRecorder:
    if method == "tcpdump":
        tool("tcpdump")
    start = functools.partial(hosts.start, "server")
    ours = f"host {hosts.server.ipv4} and host {hosts.client.ipv4}"
    expression = f"{ours} and (udp port 4791 or tcp port 4433)"
    return ProcessRecorder(method, start, hosts.server.interface, path, expression=expression)


def frames(path: Path) -> list[bytes]:
    with RawPcapReader(str(path)) as reader:
        assert not isinstance(reader, RawPcapNgReader)
        assert reader.nano
        return [bytes(frame) for frame, _ in reader]


SENDER = """
import socket, sys
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.bind((source, 4791))
    for number in range(count):
        client.sendto(number.to_bytes(4, "big") * 256, (target, 4791))
"""


@pytest.mark.parametrize("method", METHODS)
def test_the_first_and_the_last_datagram_are_in_the_file(
    hosts: Hosts, method: Method, tmp_path: Path
) -> None:
    recorder = record(hosts, method, tmp_path / "capture.pcap")
    count = 200
    arguments = [hosts.client.ipv4, hosts.server.ipv4, str(count)]
    sender = hosts.start("client", [sys.executable, "-c", SENDER, *arguments])
    assert sender.wait(20) == 0
    counts = recorder.stop()
    (path,) = recorder.parts
    payloads = [frame[42:] for frame in frames(path)]
    assert payloads == [number.to_bytes(4, "big") * 256 for number in range(count)]
    assert (counts.received, counts.dropped) == (count, 0)


@pytest.mark.parametrize("method", METHODS)
def test_an_interface_that_is_not_there(hosts: Hosts, method: Method, tmp_path: Path) -> None:
    start = functools.partial(hosts.start, "server")
    with pytest.raises(RecorderError, match="nonesuch"):
        ProcessRecorder(method, start, "nonesuch", tmp_path / "capture.pcap")


@pytest.mark.parametrize("method", METHODS)
def test_a_recorder_that_dies_says_so_and_leaves_what_it_has(
    hosts: Hosts, method: Method, tmp_path: Path
) -> None:
    recorder = record(hosts, method, tmp_path / "capture.pcap")
    arguments = [hosts.client.ipv4, hosts.server.ipv4, "5"]
    sender = hosts.start("client", [sys.executable, "-c", SENDER, *arguments])
    assert sender.wait(20) == 0
    process = recorder._program._process
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with pytest.raises(RecorderError, match=method):
        recorder.stop()
    assert len(frames(recorder.parts[0])) <= 5


BULK = """
import socket, sys
source, target, role = sys.argv[1:]
if role == "server":
    with socket.create_server((target, 4433)) as listener:
        print("bound", flush=True)
        peer, _ = listener.accept()
        with peer:
            while peer.recv(1 << 20):
                pass
else:
    with socket.create_connection((target, 4433), 10, (source, 0)) as client:
        client.sendall(bytes(400_000))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.IPPROTO_UDP, 103, 1000)  # UDP_SEGMENT
        client.bind((source, 4791))
        client.sendto(bytes(20_500), (target, 4791))
"""


def test_what_is_recorded_on_a_veth_is_what_a_wire_would_carry(tmp_path: Path) -> None:
    """Segments of a large send, each within the MTU and with a checksum scapy agrees with."""
    try:
        hosts = make("userns", mtu=1500)
    except HostsError as error:
        lacking(str(error))
    recorder = record(hosts, "tcpdump", tmp_path / "capture.pcap")
    words = [sys.executable, "-c", BULK, hosts.client.ipv4, hosts.server.ipv4]
    server = hosts.start("server", [*words, "server"], stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    assert hosts.start("client", [*words, "client"]).wait(20) == 0
    server.communicate(timeout=20)
    recorder.stop()
    hosts.close()
    recorded = frames(recorder.parts[0])
    assert max(map(len, recorded)) <= 1514
    udp = [packet for packet in map(Ether, recorded) if UDP in packet]
    assert [len(packet[UDP].payload) for packet in udp] == [1000] * 20 + [500]
    assert sum(len(bytes(p[TCP].payload)) for p in map(Ether, recorded) if TCP in p) >= 400_000
    for frame in recorded:
        assert checksum_of(frame) == recomputed(frame)


def checksum_of(frame: bytes) -> int:
    packet = Ether(frame)
    layer = packet[TCP] if TCP in packet else packet[UDP]
    return int(layer.chksum)


def recomputed(frame: bytes) -> int:
    packet = Ether(frame)
    layer = packet[TCP] if TCP in packet else packet[UDP]
    del layer.chksum
    return checksum_of(bytes(packet))


def test_without_the_right_to_capture_the_reason_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may capture")
    with socket.socket() as probe:
        probe.close()
    with pytest.raises(RecorderError, match="ermi"):
        record(make("loopback", mtu=1500), "tcpdump", tmp_path / "capture.pcap")
