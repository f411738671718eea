from __future__ import annotations

import functools
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

import captures
from captures.convert import to_pcapng
from captures.pcapng_writer import Writer
from lab.hosts.choose import make
from lab.recorder.merge import merge
from lab.recorder.model import RecorderError
from lab.recorder.tap import PORT, TapRecorder
from lab.recorder.tcp import MSS, Connection, Side
from tests.requires import tool


@pytest.mark.parametrize(("client", "server"), [("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1")])
def test_a_rebuilt_connection_reads_as_tcp_to_tshark(
    client: str, server: str, tmp_path: Path
) -> None:
    tool("tshark")
    connection = Connection(Side(client, 40000, 2**32 - 2), Side(server, PORT, 7))
    frames = connection.opened()
    frames += connection.data(0, b"q" * (2 * MSS + 1))
    frames += connection.data(1, b"answer")
    frames += connection.closed(0)
    frames += connection.closed(1)
    path = tmp_path / "tcp.pcapng"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.interface("x")
        for number, frame in enumerate(frames):
            writer.packet(frame, 1_000 * number)
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    fields = ["tcp.stream", "tcp.len", "tcp.analysis.flags", "tcp.checksum.status", "_ws.malformed"]
    words = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-r", str(path), *checks, "-T", "fields", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == ["0"] * len(frames)
    lengths = [0, 0, 0, MSS, MSS, 1, 6, 0, 0, 0, 0]
    assert [int(row[1]) for row in rows] == lengths
    assert {tuple(row[2:]) for row in rows} == {("", "1", "")}  # no complaint, checksum good
    payload = b"".join(bytes(Ether(frame)[TCP].payload) for frame in frames[3:6])
    assert payload == b"q" * (2 * MSS + 1)
    assert all((IP if "." in client else IPv6) in Ether(frame) for frame in frames)


class Talk:
    """A TLS server that answers in capitals, on a loopback address."""

    def __init__(self, address: str) -> None:
        authority = trustme.CA()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("server.test").configure_cert(self.server)
        self.client = ssl.create_default_context()
        authority.configure_trust(self.client)
        self.listener = socket.create_server((address, PORT))
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while True:
            peer, _ = self.listener.accept()
            with peer:
                first = peer.recv(1, socket.MSG_PEEK)
                if first == b"!":
                    return
                with self.server.wrap_socket(peer, server_side=True) as tls:
                    while data := tls.recv(65536):
                        tls.sendall(data.upper())

    def close(self) -> None:
        with socket.create_connection(self.listener.getsockname()) as last:
            last.sendall(b"!")
            self.thread.join()
        self.listener.close()


@pytest.fixture
def addresses() -> tuple[str, str]:
    hosts = make("loopback", mtu=1500)
    return hosts.server.ipv4, hosts.client.ipv4


@pytest.fixture
def talk(addresses: tuple[str, str]) -> Iterator[Talk]:
    made = Talk(addresses[0])
    yield made
    made.close()


@pytest.fixture
def tap(addresses: tuple[str, str], tmp_path: Path) -> Iterator[TapRecorder]:
    start = functools.partial(make("loopback", mtu=1500).start, "client")
    made = TapRecorder(start, *addresses, tmp_path, why="a test")
    yield made
    made.kill()


def test_tls_through_the_relay_decrypts_in_tshark(
    talk: Talk, tap: TapRecorder, addresses: tuple[str, str], tmp_path: Path
) -> None:
    tool("tshark")
    _, client = addresses
    keylog = tmp_path / "keys"
    talk.client.keylog_filename = str(keylog)
    sent = b"sq_psn 1234 " * 1000
    answer = b""
    with (
        socket.create_connection((client, PORT), 10, (client, 0)) as plain,
        talk.client.wrap_socket(plain, server_hostname="server.test") as tls,
    ):
        tls.sendall(sent)
        while len(answer) < len(sent):
            answer += tls.recv(65536)
    assert answer == sent.upper()
    assert tap.stop() is None
    to_pcapng(tap.whole(), tmp_path / "capture.pcapng", key_log=keylog.read_text())
    words = ["tshark", "-r", str(tmp_path / "capture.pcapng"), "-d", f"tcp.port=={PORT},tls"]
    done = subprocess.run(
        [*words, "-q", "-z", "follow,tls,raw,0"], capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stdout.splitlines() if line.strip("\t ").isalnum()]
    hexes = [line for line in lines if len(line.strip()) % 2 == 0]
    ours = b"".join(bytes.fromhex(h) for h in hexes if not h.startswith("\t"))
    theirs = b"".join(bytes.fromhex(h.strip()) for h in hexes if h.startswith("\t"))
    assert {ours, theirs} == {sent, sent.upper()}


def test_a_server_that_is_not_there(tap: TapRecorder, addresses: tuple[str, str]) -> None:
    with socket.create_connection((addresses[1], PORT), 10) as plain:
        plain.settimeout(10)
        assert plain.recv(1) == b""
    tap.stop()
    with captures.open(tap.whole()) as capture:
        assert list(capture.frames()) == []


def test_an_address_in_use_is_named(addresses: tuple[str, str], tmp_path: Path) -> None:
    server, client = addresses
    start = functools.partial(make("loopback", mtu=1500).start, "client")
    with socket.create_server((client, PORT)), pytest.raises(RecorderError, match="in use"):
        TapRecorder(start, server, client, tmp_path, why="a test")


def test_merging_orders_by_time_and_keeps_what_a_torn_part_has(tmp_path: Path) -> None:
    parts = [tmp_path / f"{name}.pcapng" for name in ("a", "b", "torn", "empty", "missing")]
    for part, times in zip(parts, [(10, 30, 50), (20, 30, 40), (25, 45)], strict=False):
        with part.open("wb") as stream:
            writer = Writer(stream)
            writer.interface("x")
            for time_ns in times:
                writer.packet(f"{part.stem}{time_ns}".encode().ljust(60), time_ns)
    parts[2].write_bytes(parts[2].read_bytes()[:-7])
    parts[3].touch()
    merge(parts, tmp_path / "all.pcapng")
    with captures.open(tmp_path / "all.pcapng") as capture:
        found = [(frame.time_ns, frame.data.split()[0].decode()) for frame in capture.frames()]
        assert [interface.name for interface in capture.interfaces] == ["a", "b", "torn"]
    assert found == [
        (10, "a10"),
        (20, "b20"),
        (25, "torn25"),
        (30, "a30"),
        (30, "b30"),
        (40, "b40"),
        (50, "a50"),
    ]


def test_a_relay_that_died_is_named(tap: TapRecorder, addresses: tuple[str, str]) -> None:
    tap.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((addresses[1], PORT), 10)
    with pytest.raises(RecorderError, match="ended before its time"):
        tap.stop()
