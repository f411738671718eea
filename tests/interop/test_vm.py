"""`rocelab run --backend vm`: the same flows on the kernel's transport, judged from the link."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import captures
from captures.run import edited
from captures.run import load as load_run
from tests.guests import guest_image
from tests.interop.plans import PLAN
from tests.requires import tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LOST_RESPONSE = "server's 8 RDMA READ RESPONSE MIDDLE lost"


def rocelab(*words: object) -> subprocess.CompletedProcess[str]:
    guest_image()
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )


def judged(out: Path, *words: object) -> dict[str, Any]:
    """The judgement of a run that must have ended well."""
    # PSNs from a seed: three random bytes can stand in the payload by chance.
    options = ("--backend", "vm", "--seed", 1, "--out", out, "--json")
    done = rocelab("run", *words, *options)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    return document


def test_secure_flow_on_the_kernel(tmp_path: Path) -> None:
    tool("tshark")
    document = judged(tmp_path, "secure-flow")
    capture = document["capture"]
    assert capture["icrc_ok"] == capture["roce_packets"] > 40
    assert capture["icrc_bad"] == 0
    (connection,) = document["connections"]
    assert connection["transport"] == "RC"
    assert [d["verdict"] for d in connection["directions"]] == ["match", "match"]
    run = load_run(tmp_path)
    assert (run.status, run.backend, run.hosts["kind"]) == ("complete", "vm", "vm")
    assert run.hosts["server"]["provider"] == run.hosts["client"]["provider"] == "kernel"
    assert edited(tmp_path, run) == []
    assert "console-server.log" in run.sha256
    with captures.open(tmp_path / "capture.pcapng") as opened:
        sides = {opened.interfaces[frame.interface].name for frame in opened.frames()}
    assert sides == {"server", "client"}
    assert (tmp_path / "report.html").exists()
    assert rocelab("verify", tmp_path).returncode == 0


@pytest.mark.parametrize(("family", "mtu", "clients"), [(6, 4096, 1), (4, 1024, 4)])
def test_families_mtus_and_clients(tmp_path: Path, family: int, mtu: int, clients: int) -> None:
    options = ("--family", family, "--mtu", mtu, "--clients", clients)
    document = judged(tmp_path, "secure-flow", *options)
    assert len(document["connections"]) == clients
    assert all(
        direction["verdict"] == "match"
        for connection in document["connections"]
        for direction in connection["directions"]
    )
    assert all(
        (":" in connection["a"]["ip"]) == (family == 6) for connection in document["connections"]
    )


def test_the_same_plan_gives_the_same_recovery(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN)
    out = tmp_path / "runs"
    words = ("--compare", "userspace,vm", "--faults", plan, "--seed", 1, "--out", out, "--json")
    done = rocelab("run", "secure-flow", *words)
    assert done.returncode == 1, done.stderr + done.stdout[-2000:]  # they differ, as below
    document = json.loads(done.stdout)
    assert [run["name"] for run in document["runs"]] == ["userspace", "vm"]
    ours, theirs = ([r["departures"] for r in document["runs"]][n] for n in (0, 1))
    # How far it goes after a NAK depends on how much had been sent when the NAK came.
    told = {
        fault["text"]: [re.sub("-[45] again", "-5 again", r["text"]) for r in fault["reactions"]]
        for fault in document["faults"]
    }
    expected = {
        "client's 1 RDMA WRITE ONLY duplicated": ["nothing"] * 2,
        "client's 3 RDMA WRITE MIDDLE lost": ["NAK 3; 3-5 again"] * 2,
        LOST_RESPONSE: [
            "gap, 8-10 again; answered again 8-10",
            "timeout, 8-10 again; answered again 8-10",
        ],
        "client's 11 RDMA WRITE FIRST reordered": ["NAK 11; 11-12 again"] * 2,
        "server's 13 ATOMIC ACKNOWLEDGE lost": ["timeout, 13 again; answered again 13"] * 2,
        "server's 0 SEND ONLY lost": ["timeout, 0 again"] * 2,
        "server's 3 RDMA WRITE MIDDLE damaged": ["NAK 3; 3-5 again"] * 2,
        "server's 5 RDMA WRITE LAST marked": ["nothing"] * 2,
    }
    # rxe's timer may strike at any time, and then that is what is seen.
    early = {each["fault"] for each in theirs if "before its timer" in each["text"]}
    assert told.keys() == expected.keys()
    assert {name: said[0] for name, said in told.items()} == {
        name: said[0] for name, said in expected.items()
    }
    for name in told.keys() - early:
        assert told[name] == expected[name]
    different = {fault["text"] for fault in document["faults"] if not fault["same"]}
    assert LOST_RESPONSE in different <= {LOST_RESPONSE, *early}
    assert ours == []
    named = {(departure["end"], departure["fault"]) for departure in theirs}
    assert named >= {("client", LOST_RESPONSE), ("server", LOST_RESPONSE)}
    assert (out / "vm" / "capture.pcapng").exists()


def test_a_fault_plan_that_is_wrong_begins_nothing(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[[fault]]\n")
    out = tmp_path / "run"
    done = rocelab("run", "--backend", "vm", "--faults", plan, "--out", out)
    assert done.returncode == 2
    assert "fault 1: from: expected one of client, server" in done.stderr
    assert not out.exists()


def test_without_the_image_it_says_how_to_get_it(tmp_path: Path) -> None:
    done = rocelab("run", "--backend", "vm", "--kernel", "1.0", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "run: rocelab vm build --kernel 1.0" in done.stderr
    assert not (tmp_path / "run").exists()
