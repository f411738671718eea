from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.choose import KINDS, choose, link_mtu, make
from lab.hosts.model import Hosts, HostsError
from tests.lab.leaks import namespaces
from tests.requires import lacking

ECHO = """
import socket, sys
family, address = (socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET), sys.argv[1]
with socket.socket(family, socket.SOCK_DGRAM) as server:
    server.bind((address, 4791))
    print("bound", flush=True)
    data, peer = server.recvfrom(65536)
    server.sendto(data, peer)
"""
ASK = """
import socket, sys
source, target, length = sys.argv[1], sys.argv[2], int(sys.argv[3])
family = socket.AF_INET6 if ":" in source else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as client:
    client.settimeout(10)
    client.bind((source, 4791))
    client.sendto(bytes(length), (target, 4791))
    data, peer = client.recvfrom(65536)
    print(len(data), peer[0], peer[1])
"""


@pytest.fixture(params=KINDS)
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    if request.param == "netns" and os.geteuid() != 0:
        pytest.skip("takes root")
    try:
        made = make(request.param, mtu=9000)
    except HostsError as error:
        lacking(str(error))
    yield made
    made.close()


def run(hosts: Hosts, host: str, code: str, *arguments: str) -> str:
    process = hosts.start(host, [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE)
    out = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0
    return out


@pytest.mark.parametrize("family", [4, 6])
def test_the_hosts_reach_each_other_with_jumbo_datagrams(hosts: Hosts, family: int) -> None:
    if hosts.kind == "loopback" and family == 6:
        with pytest.raises(HostsError, match="use --family 4"):
            hosts.server.address(6)
        return
    server, client = hosts.server.address(family), hosts.client.address(family)
    echo = hosts.start("server", [sys.executable, "-c", ECHO, server], stdout=subprocess.PIPE)
    assert echo.stdout is not None
    assert echo.stdout.readline() == b"bound\n"
    assert run(hosts, "client", ASK, client, server, "8000") == f"8000 {server} 4791\n"
    echo.communicate(timeout=10)


def test_a_process_has_the_interface_and_not_the_machines(hosts: Hosts) -> None:
    code = "import socket; print(*(name for _, name in socket.if_nameindex()))"
    for host in (hosts.server, hosts.client):
        interfaces = run(hosts, host.name, code).split()
        assert host.interface in interfaces
        if hosts.kind != "loopback":
            assert sorted(interfaces) == sorted(["lo", host.interface])


def open_files() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def test_close_twice_and_nothing_left(hosts: Hosts) -> None:
    before = open_files()
    again = make(hosts.kind, mtu=1500) if hosts.kind != "loopback" else hosts
    made = namespaces("self") - namespaces("1")
    again.close()
    again.close()
    assert open_files() == before
    if hosts.kind != "loopback":
        assert len(made - namespaces("self")) == 2


KILLED = """
import subprocess, sys, time
from lab.hosts.choose import make
hosts = make(sys.argv[1], mtu=1500)
child = hosts.start("client", ["sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def test_nothing_outlives_a_killed_runner(hosts: Hosts) -> None:
    runner = subprocess.Popen([sys.executable, "-c", KILLED, hosts.kind], stdout=subprocess.PIPE)
    assert runner.stdout is not None
    child = int(runner.stdout.readline())
    process = os.pidfd_open(child)
    made = namespaces(str(runner.pid)) - namespaces("self")
    runner.send_signal(signal.SIGKILL)
    runner.communicate()
    assert ended(process)
    assert not made & namespaces()


def ended(pidfd: int, seconds: float = 10) -> bool:
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    done = bool(poll.poll(seconds * 1000))
    os.close(pidfd)
    return done


def test_a_missing_program_is_named(hosts: Hosts) -> None:
    process = hosts.start("server", ["no-such-program-here"], stderr=subprocess.PIPE)
    stderr = process.communicate(timeout=10)[1]
    assert process.returncode == 1
    assert b"cannot run no-such-program-here" in stderr


def test_loopback_hosts_avoid_addresses_in_use() -> None:
    first = make("loopback", mtu=1500)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((first.client.ipv4, 4791))
        second = make("loopback", mtu=1500)
    assert {first.server.ipv4, first.client.ipv4}.isdisjoint(
        {second.server.ipv4, second.client.ipv4}
    )


def test_the_choice_says_why_not_better() -> None:
    hosts = choose()
    assert (hosts.why == "") == (hosts.kind == KINDS[0])
    hosts.close()
    if os.geteuid() != 0:
        with pytest.raises(HostsError, match="takes root"):
            choose("netns")


@pytest.mark.parametrize(
    ("path_mtu", "mtu"), [(256, 1500), (512, 1500), (1024, 1500), (2048, 9000), (4096, 9000)]
)
def test_the_link_carries_the_path_mtu(path_mtu: int, mtu: int) -> None:
    assert link_mtu(path_mtu) == mtu
