"""Endpoints as real processes: good runs, bad clients, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from captures import truth
from lab.exchange.messages import EndpointInfo, ExchangeError, Hello, Ready
from lab.exchange.session import Role
from lab.exchange.tls import Channel, Identity, connect
from lab.hosts.choose import make
from lab.hosts.model import Hosts, HostsError
from tests.lab.authority import SERVER_NAME
from tests.requires import lacking, tool

LIMITS = {"handshake": 1.0, "message": 1.0, "linger": 0.2}


def ended(process: subprocess.Popen[bytes], seconds: float = 30) -> tuple[int, str]:
    """Exit status and standard error."""
    try:
        _, errors = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, errors.decode()


@dataclass
class Lab:
    """Starts endpoints; addresses are this test process' own."""

    folder: Path
    identities: dict[Role, Identity]
    addresses: dict[Role, str]
    processes: list[subprocess.Popen[bytes]]
    hosts: Hosts | None = None
    port: int = 0
    python: list[str] = field(default_factory=lambda: [sys.executable])

    def start(self, role: Role, **keys: Any) -> subprocess.Popen[bytes]:
        """Start an endpoint; a server has said its port when this returns."""
        identity = self.identities[role]
        config = {
            "role": role,
            "address": self.addresses[role],
            "ca": identity.ca,
            "certificate": identity.certificate,
            "key": identity.key,
            "truth": str(self.folder / f"truth-{role}.jsonl"),
            "log": str(self.folder / f"log-{role}.jsonl"),
            "server_name": SERVER_NAME,
            "server_address": self.addresses["server"],
            "port": self.port,
            **keys,
        }
        file = self.folder / f"{role}.json"
        file.write_text(json.dumps(config))
        command = [*self.python, "-m", "lab.endpoint", "--config", str(file)]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        if self.hosts is None:
            process = subprocess.Popen(command, **pipes)
        else:
            process = self.hosts.start(role, command, **pipes)
        self.processes.append(process)
        if role == "server":
            self.port = said(process, "listening")["port"]
        return process

    def truth(self, role: Role, event: str) -> list[dict[str, Any]]:
        return [
            found.keys for found in truth.read(self.folder / f"truth-{role}.jsonl").named(event)
        ]

    def both(self, **keys: Any) -> None:
        """Run to the end; both must end well."""
        server = self.start("server", **keys)
        client = self.start("client", **keys)
        assert ended(client) == (0, "")
        assert ended(server) == (0, "")

    def connect(self, identity: Identity | None = None) -> Channel:
        identity = identity or self.identities["client"]
        address = self.addresses["server"]
        return connect(address, identity.context("client"), SERVER_NAME, port=self.port)

    def plain(self) -> socket.socket:
        return socket.create_connection((self.addresses["server"], self.port), 5)


def said(process: subprocess.Popen[bytes], event: str) -> dict[str, Any]:
    output: IO[bytes] | None = process.stdout
    assert output is not None
    line = output.readline()
    assert line, process.communicate()[1].decode()
    words: dict[str, Any] = json.loads(line)
    assert words["event"] == event
    return words


@pytest.fixture
def lab(tmp_path: Path, server_identity: Identity, client_identity: Identity) -> Iterator[Lab]:
    pid = os.getpid()
    network = f"127.{1 + pid // 250 % 250}.{pid % 250}"
    lab = Lab(
        tmp_path,
        {"server": server_identity, "client": client_identity},
        {"server": f"{network}.21", "client": f"{network}.22"},
        [],
    )
    yield lab
    for process in lab.processes:
        process.kill()
        process.communicate()


def test_secure_flow(lab: Lab) -> None:
    keylog = lab.folder / "keylog.txt"
    server = lab.start("server", keylog=str(keylog))
    client = lab.start("client")
    assert ended(client) == (0, "")
    assert ended(server) == (0, "")
    assert "CLIENT_TRAFFIC_SECRET_0" in keylog.read_text()
    for role in lab.identities:
        assert [keys["orderly"] for keys in lab.truth(role, "closed")] == [True]
        assert len(lab.truth(role, "checked")) == 11
        (counted,) = lab.truth(role, "counters")
        assert counted["device"] == "roce_0"
        assert counted["counters"]["sent_pkts"] >= 24
        assert counted["counters"]["rcvd_pkts"] >= 24
    (mine,), (theirs,) = (lab.truth(role, "negotiated") for role in lab.identities)
    assert mine["local"] == theirs["remote"]
    assert mine["local"]["ip"] == lab.addresses["server"]


def test_fifty_clients_at_once(lab: Lab) -> None:
    lab.both(clients=50)
    told = [keys for role in lab.identities for keys in lab.truth(role, "negotiated")]
    assert len(told) == 100
    for role in lab.identities:
        own = [keys["local"] for keys in lab.truth(role, "negotiated")]
        for key in ("qpn", "sq_psn", "r_key"):
            assert len({info[key] for info in own}) == 50
        assert [keys["orderly"] for keys in lab.truth(role, "closed")] == [True] * 50
        assert {keys["status"] for keys in lab.truth(role, "work")} == {"IBV_WC_SUCCESS"}
    by_number = {keys["connection"]: keys for keys in lab.truth("server", "negotiated")}
    for keys in lab.truth("client", "negotiated"):
        assert by_number[keys["connection"]]["local"] == keys["remote"]


@pytest.mark.parametrize("path_mtu", [256, 4096])
def test_ipv6(lab: Lab, path_mtu: int) -> None:
    try:
        hosts = make("netns", mtu=9000)
    except HostsError as error:
        lacking(str(error))
        raise
    with closing(hosts):
        lab.hosts = hosts
        lab.addresses = {"server": "fd00::1", "client": "fd00::2"}
        lab.both(path_mtu=path_mtu)
    (told,) = lab.truth("server", "negotiated")
    assert told["remote"]["gid"] == "fd00::2"
    assert told["remote"]["path_mtu"] == path_mtu


def test_pingpong_with_arguments(lab: Lab) -> None:
    lab.both(scenario="pingpong", arguments={"iterations": 20, "size": 5000}, path_mtu=4096)
    sent = [keys for keys in lab.truth("client", "work") if keys["opcode"] == "IBV_WR_SEND"]
    assert [keys["length"] for keys in sent] == [5000] * 20


HELLO = Hello(name="client", scenario="secure-flow", connection=0)
ENDPOINT = EndpointInfo(
    qpn=99, sq_psn=1, gid="::ffff:127.0.0.1", path_mtu=1024, addr=0, r_key=0, length=41024
)


def http(lab: Lab) -> None:
    with lab.plain() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sock.recv(1)


def silent(lab: Lab) -> None:
    with lab.plain() as sock:
        assert sock.recv(1) == b""


def says(lab: Lab, data: bytes) -> None:
    """After a good TLS handshake, `data`; then whatever the server answers, to the end."""
    channel = lab.connect()
    channel._sock.sendall(data)
    while channel._sock.recv(4096):
        pass
    channel.close()


def oversized(lab: Lab) -> None:
    says(lab, b"\0\1\0\0")


def garbled(lab: Lab) -> None:
    says(lab, b"\0\0\0\4\0\0\0\0")


def wrong_version(lab: Lab) -> None:
    text = b'{"rocelab": 2, "type": "hello"}'
    says(lab, len(text).to_bytes(4, "big") + text)


def refused_with(lab: Lab, code: str, hello: Hello) -> None:
    channel = lab.connect()
    with pytest.raises(ExchangeError) as caught:
        channel.exchange(hello)
    assert caught.value.code == code
    channel.close()


def other_scenario(lab: Lab) -> None:
    refused_with(lab, "scenario", Hello(name="x", scenario="bulk", connection=0))


def number_too_high(lab: Lab) -> None:
    refused_with(lab, "connection", Hello(name="x", scenario="secure-flow", connection=1))


def silent_after_hello(lab: Lab) -> None:
    channel = lab.connect()
    channel.exchange(HELLO)
    channel.receive(EndpointInfo)
    with pytest.raises(ExchangeError) as caught:
        channel.receive(Ready)
    assert caught.value.code == "silent"
    channel.close()


def number_again(lab: Lab) -> None:
    """The number of a connection that is still going on."""
    first = lab.connect()
    first.exchange(HELLO)
    refused_with(lab, "connection", HELLO)
    first.close()


BAD = {
    "plain-text": http,
    "silent": silent,
    "oversized": oversized,
    "garbled": garbled,
    "version": wrong_version,
    "scenario": other_scenario,
    "connection": number_too_high,
    "silent after hello": silent_after_hello,
    "connection twice": number_again,
}


def test_every_bad_client_is_named_and_the_next_one_served(lab: Lab, stranger: Identity) -> None:
    """Issue: wrong certificate, plain text, wrong version, oversized, garbled, silent."""
    server = lab.start("server", limits=LIMITS)
    for client in BAD.values():
        client(lab)
    channel = lab.connect(stranger)
    with pytest.raises(ExchangeError):
        channel.exchange(HELLO)
    channel.close()
    assert ended(lab.start("client")) == (0, "")
    assert ended(server) == (0, "")
    codes = [keys["code"] for keys in lab.truth("server", "refused")]
    expected = [*(name.split()[0] for name in BAD), "disconnected", "certificate"]
    assert sorted(codes) == sorted(expected)
    assert [keys["orderly"] for keys in lab.truth("server", "closed")] == [True]


def test_buffers_of_different_length(lab: Lab) -> None:
    server = lab.start("server", scenario="pingpong", arguments={"size": 64})
    client = lab.start("client", scenario="pingpong", arguments={"size": 128})
    for process in (client, server):
        status, errors = ended(process)
        assert status == 1
        assert "run the flow with the same arguments" in errors


def test_client_killed_in_the_middle(lab: Lab) -> None:
    server = lab.start("server", scenario="pingpong", arguments={"iterations": 1000000})
    client = lab.start("client", scenario="pingpong", arguments={"iterations": 1000000})
    while not lab.truth("server", "work"):
        pass
    client.kill()
    status, errors = ended(server)
    assert status == 1
    assert errors.count("\n") == 1
    assert "connection 0" in errors
    assert [keys["orderly"] for keys in lab.truth("server", "closed")] == [False]


@pytest.mark.parametrize("role", ["server", "client"])
def test_sigterm_in_the_middle(lab: Lab, role: Role) -> None:
    arguments = {"scenario": "pingpong", "arguments": {"iterations": 1000000}}
    processes = {name: lab.start(name, **arguments) for name in ("server", "client")}
    while not lab.truth("server", "work"):
        pass
    processes[role].send_signal(signal.SIGTERM)
    status, errors = ended(processes[role], 10)
    assert (status, errors) == (1, "SIGTERM after 0 of 1 connections\n")
    assert ended(processes["client" if role == "server" else "server"], 10)[0] == 1
    assert lab.truth(role, "counters")


def test_sigterm_ends_an_idle_server(lab: Lab) -> None:
    server = lab.start("server", clients=0)
    assert ended(lab.start("client")) == (0, "")
    server.send_signal(signal.SIGTERM)
    assert ended(server) == (0, "")


def held(process: subprocess.Popen[bytes]) -> dict[str, int]:
    """How many file descriptors and threads the process has."""
    folder = Path("/proc", str(process.pid))
    return {kind: len(list((folder / kind).iterdir())) for kind in ("fd", "task")}


def test_a_server_keeps_nothing_of_its_clients(lab: Lab, stranger: Identity) -> None:
    server = lab.start("server", clients=0, limits=LIMITS)
    before = held(server)
    assert ended(lab.start("client", clients=20)) == (0, "")
    for client in (http, oversized, silent_after_hello):
        client(lab)
    killed = lab.start("client", clients=5)
    while len(lab.truth("server", "negotiated")) < 22:
        pass
    killed.kill()
    deadline = time.monotonic() + 20
    while held(server) != before:
        assert time.monotonic() < deadline, (before, held(server))
    server.send_signal(signal.SIGTERM)
    status, _ = ended(server)
    assert status == 1


def test_out_of_file_descriptors_is_named_and_passes(lab: Lab) -> None:
    """Clients that fill every descriptor the server may have; their time over, one is served."""
    tool("prlimit")
    lab.python = ["prlimit", "--nofile=30:30", sys.executable]
    server = lab.start("server", limits={**LIMITS, "linger": 0.1})
    silent_ones = [lab.plain() for _ in range(40)]
    lab.python = [sys.executable]
    assert ended(lab.start("client", limits={"handshake": 20})) == (0, "")
    assert ended(server) == (0, "")
    for sock in silent_ones:
        sock.close()
    codes = {keys["code"] for keys in lab.truth("server", "refused")}
    assert codes == {"resources", "silent"}


def test_taps_write_what_both_ends_sent(lab: Lab) -> None:
    tool("tshark")
    taps = {role: str(lab.folder / f"tap-{role}.pcapng") for role in lab.identities}
    server = lab.start("server", tap=taps["server"])
    assert ended(lab.start("client", tap=taps["client"])) == (0, "")
    assert ended(server) == (0, "")
    for role, tap in taps.items():
        (told,) = lab.truth(role, "negotiated")
        (counted,) = lab.truth(role, "counters")
        fields = ["-e", "ip.src", "-e", "infiniband.bth.psn", "-e", "infiniband.bth.opcode"]
        command = ["tshark", "-r", tap, "-T", "fields", *fields]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert len(rows) == counted["counters"]["sent_pkts"]
        assert {source for source, _, _ in rows} == {lab.addresses[role]}
        # RC requests are opcodes 0-12, 19 and 20; 13-18 answer.
        requests = [int(psn) for _, psn, opcode in rows if not 13 <= int(opcode) <= 18]
        assert requests[0] == told["local"]["sq_psn"]


def test_needs_the_standard_library_alone(lab: Lab) -> None:
    """As in a bare guest: without site-packages."""
    lab.python = [sys.executable, "-S"]
    lab.both()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"color": "red"}, "color"),
        ({"path_mtu": 1500}, "256, 512, 1024, 2048, 4096, found 1500"),
        ({"clients": "many"}, "clients: expected int, found 'many'"),
        ({"flow": "nothing"}, "secure-flow"),
        ({"arguments": {"size": 1}}, "arguments"),
        ({"limits": {"handshake": -1}}, "expected seconds, found -1"),
        ({"dcqcn": 0}, "1 to 1000000 Mbit/s, found 0"),
        ({"address": "192.0.2.1"}, "roce_0"),
        ({"certificate": "/nowhere.pem"}, "No such file"),
    ],
)
def test_what_is_wrong_in_one_line(lab: Lab, keys: dict[str, Any], text: str) -> None:
    status, errors = ended(lab.start("client", **keys))
    assert status == 1
    assert text in errors
    assert errors.count("\n") == 1
