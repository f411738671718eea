"""The relay as a process: real frames between two sockets, with faults, recorded on both sides."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import captures
from dissectors.icrc import ICRC_BAD, ICRC_OK
from dissectors.packet import Packet

SAMPLES = Path("captures/samples")
SERVER_MAC = bytes.fromhex("525400000001")


def exchanged(name: str = "rxe61_pyverbs_rc.pcap") -> list[bytes]:
    with captures.open(SAMPLES / name) as capture:
        return [frame.data for frame in capture.frames()]


ROCE = [frame for frame in exchanged() if frame[36:38] == (4791).to_bytes(2, "big")]
FROM_CLIENT = [frame for frame in ROCE if frame[6:12] != SERVER_MAC]


class Ends:
    """Both ends of a wire that a relay carries."""

    def __init__(self, server: socket.socket, client: socket.socket) -> None:
        self.server, self.client = server, client
        for end in (server, client):
            end.settimeout(10)


@contextmanager
def relay(file: Path, *options: str, stack_there: socket.socket | None = None) -> Iterator[Ends]:
    """`stack_there` is the relay's end of another socket to the server: of its network stack."""
    server, server_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    client, client_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    stack_fds = [stack_there.fileno()] if stack_there else []
    fds = [*stack_fds, server_there.fileno(), client_there.fileno()]
    words = [",".join(map(str, fds[:-1])), str(fds[-1])]
    command = [sys.executable, "-m", "lab.wire.relay", "--file", str(file), *options, *words]
    with (
        server,
        client,
        subprocess.Popen(command, pass_fds=fds, stderr=subprocess.PIPE, text=True) as process,
    ):
        server_there.close()
        client_there.close()
        assert process.stderr is not None
        assert process.stderr.readline().startswith("listening on")
        yield Ends(server, client)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, process.stderr.read()


def recorded(file: Path) -> dict[str, list[bytes]]:
    with captures.open(file) as capture:
        assert not capture.damage
        frames = list(capture.frames())
        names = [interface.name for interface in capture.interfaces]
    return {
        name: [frame.data for frame in frames if frame.interface == number]
        for number, name in enumerate(names)
    }


def plan(folder: Path, *faults: str) -> list[str]:
    path = folder / "plan.toml"
    path.write_text("".join(f"[[fault]]\nfrom = 'client'\n{fault}\n" for fault in faults))
    return ["--plan", str(path)]


def test_all_frames_arrive_and_stand_on_both_sides(tmp_path: Path) -> None:
    file = tmp_path / "link.pcapng"
    frames = exchanged()
    with relay(file) as ends:
        for frame in frames:
            here, there = (
                (ends.server, ends.client)
                if frame[6:12] == SERVER_MAC
                else (ends.client, ends.server)
            )
            here.send(frame)
            assert there.recv(65536) == frame
    assert recorded(file) == {"server": frames, "client": frames}


def test_a_lost_frame_stands_on_its_senders_side_alone(tmp_path: Path) -> None:
    file = tmp_path / "link.pcapng"
    with relay(file, *plan(tmp_path, "action = 'drop'\noffset = 0")) as ends:
        for frame in FROM_CLIENT[:2]:
            ends.client.send(frame)
        assert ends.server.recv(65536) == FROM_CLIENT[1]
    assert recorded(file) == {"server": FROM_CLIENT[1:2], "client": FROM_CLIENT[:2]}


@pytest.mark.parametrize(
    ("action", "order"),
    [("duplicate", [0, 0, 1, 2]), ("reorder", [1, 0, 2]), ("delay", [1, 2, 0])],
)
def test_frames_arrive_as_planned(tmp_path: Path, action: str, order: list[int]) -> None:
    options = plan(tmp_path, f"action = '{action}'\noffset = 0\ndelay_us = 200000")
    with relay(tmp_path / "link.pcapng", *options) as ends:
        for frame in FROM_CLIENT[:3]:
            ends.client.send(frame)
        arrived = [ends.server.recv(65536) for _ in order]
    assert [FROM_CLIENT.index(frame) for frame in arrived] == order


def test_damage_breaks_the_icrc_and_a_mark_does_not(tmp_path: Path) -> None:
    faults = ("action = 'corrupt'\noffset = 0\nbit = 200", "action = 'ce-mark'\noffset = 1")
    with relay(tmp_path / "link.pcapng", *plan(tmp_path, *faults)) as ends:
        for frame in FROM_CLIENT[:2]:
            ends.client.send(frame)
        damaged, marked = (Packet.parse(ends.server.recv(65536)) for _ in range(2))
    assert damaged.icrc_status == ICRC_BAD
    assert marked.icrc_status == ICRC_OK
    assert marked.headers[1].ecn == 3


def test_psns_count_from_those_negotiated(tmp_path: Path) -> None:
    """With a truth log a response can be meant too, and the first packet need not be the first."""
    first = Packet.parse(FROM_CLIENT[0]).headers[3]
    truth = tmp_path / "truth-client.jsonl"
    ends_of = {"qpn": 999, "sq_psn": 5}, {"qpn": first.dest_qp, "sq_psn": 0}
    event = {"time_ns": 1, "event": "negotiated", "local": ends_of[0], "remote": ends_of[1]}
    event["local"]["sq_psn"] = first.psn - 7
    options = plan(tmp_path, "action = 'drop'\noffset = 7")
    with relay(tmp_path / "link.pcapng", *options, "--truth", str(truth)) as ends:
        truth.write_text(json.dumps(event) + "\n")
        for frame in FROM_CLIENT[:2]:
            ends.client.send(frame)
        assert ends.server.recv(65536) == FROM_CLIENT[1]


def test_what_came_before_it_is_forgotten_and_a_dead_end_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "link.pcapng"
    with relay(file) as ends:
        ends.server.close()
        for frame in FROM_CLIENT[:5]:
            ends.client.send(frame)
    assert recorded(file) == {"server": [], "client": FROM_CLIENT[:5]}


def test_a_plan_that_is_none(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lab.wire.relay", "--file", str(tmp_path / "x")),
            *("--plan", str(tmp_path / "no.toml"), "0", "1"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no.toml: cannot be read" in done.stderr


MANY = 1500  # more than the sockets and the relay's queue hold


def send_while_it_is_taken(end: socket.socket, frames: list[bytes]) -> int:
    """How many of `frames` the relay took before it no longer listened."""
    end.settimeout(0.5)
    for number, frame in enumerate(frames):
        try:
            end.send(frame)
        except TimeoutError:
            return number
    return len(frames)


def test_an_end_that_takes_nothing_holds_its_peer_up_and_nobody_else(tmp_path: Path) -> None:
    file = tmp_path / "link.pcapng"
    frames = [FROM_CLIENT[0]] * MANY
    with relay(file) as ends:
        taken = send_while_it_is_taken(ends.client, frames)
        assert taken < MANY
        ends.server.send(FROM_CLIENT[1])
        assert ends.client.recv(65536) == FROM_CLIENT[1]
        assert [ends.server.recv(65536) for _ in range(taken)] == frames[:taken]
    sides = recorded(file)
    assert len(sides["server"]) == len(sides["client"]) == taken + 1


def test_two_ends_that_take_nothing_do_not_stop_the_link(tmp_path: Path) -> None:
    with relay(tmp_path / "link.pcapng") as ends:
        for end in (ends.client, ends.server):
            send_while_it_is_taken(end, [FROM_CLIENT[0]] * MANY)
        ends.client.settimeout(10)
        ends.client.send(FROM_CLIENT[1])
        while ends.server.recv(65536) != FROM_CLIENT[1]:
            pass


def test_of_two_sockets_roce_goes_to_the_second(tmp_path: Path) -> None:
    other = b"\xff" * 6 + FROM_CLIENT[0][6:12] + b"\x08\x06" + bytes(46)  # ARP
    stack, stack_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with stack, stack_there, relay(tmp_path / "link.pcapng", stack_there=stack_there) as ends:
        stack.settimeout(10)
        for frame in (FROM_CLIENT[0], other):
            ends.client.send(frame)
        assert stack.recv(65536) == other
        assert ends.server.recv(65536) == FROM_CLIENT[0]
        stack.send(other)
        ends.server.send(FROM_CLIENT[1])
        assert {ends.client.recv(65536) for _ in range(2)} == {other, FROM_CLIENT[1]}
