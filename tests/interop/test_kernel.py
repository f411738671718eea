"""`rocelab run --backend kernel`: a machine's own RDMA devices; the machine is a guest.

Two Soft-RoCE devices on the ends of a veth pair, and the runner itself inside; judged outside.
"""

from __future__ import annotations

import socket
import subprocess
import sysconfig
from pathlib import Path

import pytest

from analysis.verify import verify
from captures.run import load as load_run
from lab.hosts.machine import MachineHosts
from lab.hosts.model import SERVER, HostsError
from lab.hosts.vm.guest import Guest, Machine
from lab.runner.backends import make
from lab.runner.options import Options
from lab.scenario import Defaults, load
from tests.guests import guest_image, quiet
from tests.requires import tool

SETUP = """
/usr/bin/ip link add veth0 type veth peer name veth1
/usr/bin/ip link set veth0 up
/usr/bin/ip link set veth1 up
rdma link add rxe0 type rxe netdev veth0
rdma link add rxe1 type rxe netdev veth1
"""
RUN = """
import sys
from pathlib import Path
from lab.runner.options import Options
from lab.runner.run import execute
from lab.scenario import Defaults, load
options = Options(
    load("secure-flow"), Defaults(family=6), backend="kernel", device=sys.argv[1],
    out=Path(sys.argv[2]),
)
execute(options, lambda step: None)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("devices", "verdict", "directions", "codes"),
    [
        ("rxe0,rxe1", "pass", ["match", "match"], set()),
        ("rxe1", "fail", ["missing", "missing"], {"no-roce", "counters-disagree", "psn-missing"}),
    ],
)
def test_secure_flow_on_a_machines_own_devices(
    tmp_path: Path, devices: str, verdict: str, directions: list[str], codes: set[str]
) -> None:
    """Two devices put RoCE on the wire between them; within one it reaches no wire at all."""
    tool("tshark")
    image = guest_image()
    site = sysconfig.get_paths()["purelib"]
    wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    words = ["python3", "-c", RUN, devices, str(tmp_path / "run")]
    with wire, theirs:
        machine = Machine("server", image, theirs, SERVER.mac)
        guest = Guest(machine, tmp_path / "console.log", [tmp_path, Path(site)])
        try:
            guest.boot(SETUP)
            with guest.start(
                ["env", f"PYTHONPATH=/opt/rocelab:{site}", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process:
                said, _ = process.communicate(timeout=200)
        finally:
            guest.close()
    assert process.returncode == 0, said.decode()
    run = load_run(tmp_path / "run")
    assert (run.status, run.reason, run.backend) == ("complete", "", "kernel")
    results = verify(tmp_path / "run")
    assert results.verdict == verdict
    assert [judgement.verdict for judgement in results.judgements] == directions
    assert {finding.code for finding in results.findings} == codes
    if verdict == "pass":
        assert results.passes["icrc"].verdict == "pass"


def test_a_machine_without_the_device_says_so() -> None:
    with pytest.raises(HostsError, match=r"expected rxe77, found .*rocelab doctor no-device"):
        MachineHosts("rxe77")


def test_a_fault_plan_needs_a_link_of_ours(tmp_path: Path) -> None:
    options = Options(load("uc"), Defaults(), backend="kernel", faults=tmp_path / "plan.toml")
    with pytest.raises(HostsError, match="its link is not ours"):
        make(options, tmp_path, quiet)
