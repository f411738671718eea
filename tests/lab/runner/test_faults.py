"""A fault plan on the userspace backend: the ends are on a link that is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import captures
from captures.model import Frame
from captures.run import Run
from captures.run import load as load_run
from captures.truth import read
from dissectors.bth import BTH
from dissectors.icrc import ICRC_BAD
from dissectors.ip import IPv4
from dissectors.opcode import BY_VALUE, Opcode
from dissectors.packet import Packet
from dissectors.psn import forward
from lab.hosts.model import HostsError, Kind
from lab.runner.options import Options
from lab.runner.run import execute
from lab.scenario import load
from tests.lab.leaks import held

PLAN = """
[[fault]]
from = "client"
action = "drop"
offset = 2

[[fault]]
from = "server"
action = "corrupt"
offset = 1
bit = 300
"""


MARK = """
[[fault]]
from = "client"
action = "ce-mark"
offset = 100
"""


def run(
    out: Path,
    hosts: Kind | None = None,
    *,
    name: str = "secure-flow",
    faults: str = PLAN,
    settings: tuple[str, ...] = (),
    dcqcn: int | None = None,
) -> Run:
    scenario = load(name).with_arguments(settings)
    plan = out.with_suffix(".toml")
    plan.write_text(faults)
    options = Options(scenario, scenario.defaults, hosts=hosts, out=out, faults=plan, dcqcn=dcqcn)
    execute(options, lambda _: None)
    return load_run(out)


def requests(frames: list[Frame], interface: int, source: str, sq_psn: int) -> list[int]:
    """The PSNs of the requests from `source` at one side of the link, from its sq_psn on."""
    found = []
    for frame in frames:
        packet = Packet.parse(frame.data)
        bth = packet.get(BTH)
        if frame.interface != interface or bth is None or packet.icrc_status == ICRC_BAD:
            continue
        opcode = BY_VALUE[bth.opcode]
        if (
            opcode is not None
            and opcode.is_request
            and packet[IPv4].src == int(IPv4Address(source))
        ):
            found.append(forward(sq_psn, bth.psn))
    return found


@pytest.mark.parametrize("hosts", ["netns", "userns"])
def test_the_plan_is_carried_out(tmp_path: Path, hosts: Kind) -> None:
    if hosts == "netns" and os.geteuid() != 0:
        pytest.skip("takes root")
    before = held()
    done = run(tmp_path / "run", hosts)
    assert (done.status, done.reason) == ("complete", "")
    assert done.hosts["kind"] == hosts
    assert (done.capture["method"], done.capture["dropped"]) == ("relay", 0)
    assert held() == before
    (event,) = read(tmp_path / "run" / "truth-client.jsonl").named("negotiated")
    with captures.open(tmp_path / "run" / "capture.pcapng") as capture:
        frames = list(capture.frames())
        names = [interface.name for interface in capture.interfaces]
    ends = {"client": event["local"], "server": event["remote"]}
    sides = {
        (name, at): requests(frames, names.index(at), ends[name]["ip"], ends[name]["sq_psn"])
        for name in names
        for at in names
    }
    assert sides["client", "client"].count(2) == 2  # lost, and sent again
    assert sides["client", "server"].count(2) == 1
    assert sides["server", "server"].count(1) == 2
    assert sides["server", "client"].count(1) == 1


def test_a_marked_packet_draws_a_cnp_that_slows_its_sender_down(tmp_path: Path) -> None:
    """From the mark on the link to the rate, with the CNP on the wire between them."""
    size = ("size=262144",)
    done = run(tmp_path / "run", name="bulk", faults=MARK, settings=size, dcqcn=20)
    assert (done.status, done.reason) == ("complete", "")
    logs = {
        name: [
            json.loads(line)
            for line in (tmp_path / f"run/log-{name}.jsonl").read_text().splitlines()
        ]
        for name in ("client", "server")
    }
    assert [line["event"] for line in logs["server"]].count("cnp_sent") == 1
    rates = [line for line in logs["client"] if line["event"] == "rate"]
    assert [rates[0][key] for key in ("why", "from", "to")] == ["CNP", 20_000_000, 10_000_000]
    with captures.open(tmp_path / "run" / "capture.pcapng") as capture:
        sent = [Packet.parse(frame.data) for frame in capture.frames()]
    cnps = [one for one in sent if BTH in one and one[BTH].opcode == Opcode.CNP]
    assert len(cnps) == 2  # once at each side of the link
    assert {(one[BTH].becn, one[BTH].psn, len(one.payload)) for one in cnps} == {(1, 0, 16)}
    capable = [one[IPv4].ecn for one in sent if BTH in one and one[BTH].opcode != Opcode.CNP]
    assert capable.count(3) == 1
    assert set(capable) == {2, 3}


def test_loopback_has_no_such_link(tmp_path: Path) -> None:
    with pytest.raises(HostsError, match="loopback: its packets cross no link"):
        run(tmp_path / "run", "loopback")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--backend", "vm", "--capture", "tcpdump"), "expected no --capture with guests"),
        (("--faults", "PLAN", "--capture", "tap"), "expected no --capture with guests or a fault"),
        (("--backend", "vm", "--hosts", "userns"), "expected no --hosts with the vm backend"),
        (("--compare", "userspace,nic"), "--compare: expected some of userspace, "),
        (("--compare", "userspace,userspace"), "--compare: expected each backend once"),
    ],
)
def test_options_that_do_not_go_together(
    tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    given = [str(plan) if word == "PLAN" else word for word in words]
    command = [sys.executable, "-m", "lab.cli", "run", *given, "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert reason in done.stderr
    assert not (tmp_path / "run").exists()
