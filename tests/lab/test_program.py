from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from lab.command import check_program
from lab.endpoint import program
from lab.endpoint.program import Config, ProgramError
from lab.scenario import Defaults, ScenarioError, load

GIVEN = {"backend": "vm", "faults": None, "seed": None, "psn_source": "csprng"}


def test_words_are_filled() -> None:
    words = ["ib_write_bw", "-d", "{device}", "--size={size}", "{", "{}", "{server_address}"]
    filled = program.fill(words, {"device": "rxe0", "size": 9, "server_address": "fd00::1"})
    assert filled == ["ib_write_bw", "-d", "rxe0", "--size=9", "{", "{}", "fd00::1"]


def test_a_word_without_a_value_is_named() -> None:
    with pytest.raises(ProgramError, match=r"\{size\}: expected one of device, found size"):
        program.fill(["{size}"], {"device": "rxe0"})


def test_an_address_of_no_device_is_named() -> None:
    with pytest.raises(ProgramError, match=r"RoCEv2 GID of 203\.0\.113\.9, found"):
        program.find_gid("203.0.113.9")
    config = Config("server", "203.0.113.9", "203.0.113.9", ["true"], "/dev/null", 1024, {})
    with pytest.raises(ProgramError):
        program.run(config)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_is_seen_by_its_process(family: socket.AddressFamily) -> None:
    script = (
        "import socket, sys\n"
        f"s = socket.socket({int(family)})\n"
        "s.bind(('', 0))\n"
        "print('bound', flush=True); sys.stdin.readline()\n"
        "s.listen()\n"
        "print('listening', flush=True); sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "bound\n"
        assert not program._listens_on_tcp(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "listening\n"
        assert program._listens_on_tcp(process.pid)
    assert not program._listens_on_tcp(process.pid)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"backend": "userspace"}, "kernels with RDMA.* found userspace; run: .*--backend vm"),
        ({"backend": "interop"}, "kernels with RDMA.* found interop"),
        ({"seed": 1}, "found --seed"),
        ({"psn_source": "qpn"}, "found --psn-source"),
        ({"faults": "plan.toml"}, "found --faults"),
    ],
)
def test_what_programs_cannot_do_is_refused(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        check_program(load("rping"), Defaults(), GIVEN | changed)


def test_programs_are_run_once() -> None:
    check_program(load("rping"), Defaults(), GIVEN)
    with pytest.raises(ScenarioError, match="found --clients"):
        check_program(load("rping"), Defaults(clients=2), GIVEN)
