from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import captures
from captures.run import Run, edited
from captures.run import load as load_run
from captures.truth import read
from dissectors.icrc import ICRC_NOT_ROCE, ICRC_OK
from lab.hosts.choose import make
from lab.hosts.model import HostsError, Kind
from lab.runner.options import CaptureMethod, Options
from lab.runner.run import RunnerError, execute
from lab.scenario import load
from tests.lab.leaks import children, held, namespaces
from tests.requires import lacking, tool

FLOWING = """
name = "flowing"
title = "Goes on until it is ended"
flow = "pingpong"

[arguments]
iterations = 1000000
"""
RUNNER = """
import sys
from pathlib import Path
from lab.runner.options import Options
from lab.runner.run import execute
from lab.scenario import load
scenario = load(sys.argv[1])
execute(Options(scenario, scenario.defaults, out=Path(sys.argv[2])), print)
"""


def run(
    out: Path, hosts: Kind | None = None, capture: CaptureMethod = "auto", **defaults: int
) -> Run:
    if hosts is not None:
        try:
            make(hosts, mtu=1500).close()
        except HostsError as error:
            lacking(str(error))
    scenario = load("secure-flow")
    chosen = replace(scenario.defaults, **defaults)
    options = Options(scenario, chosen, capture=capture, hosts=hosts, out=out)
    assert execute(options, lambda _: None) == out
    return load_run(out)


def negotiated(directory: Path, role: str) -> list[dict[str, Any]]:
    return [event.keys for event in read(directory / f"truth-{role}.jsonl").named("negotiated")]


@pytest.mark.parametrize(
    ("hosts", "options"),
    [
        ("userns", {"family": 4, "mtu": 1024}),
        ("userns", {"family": 6, "mtu": 256}),
        ("userns", {"family": 4, "mtu": 512}),
        ("userns", {"family": 6, "mtu": 2048}),
        ("userns", {"family": 4, "mtu": 4096}),
        pytest.param(
            "netns",
            {"family": 6, "mtu": 4096},
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="takes root"),
        ),
    ],
)
def test_a_run_leaves_complete_evidence(
    hosts: Kind, options: dict[str, int], tmp_path: Path
) -> None:
    tool("tcpdump")
    done = run(tmp_path, hosts, **options)
    assert (done.status, done.reason) == ("complete", "")
    assert done.hosts["kind"] == hosts
    assert done.capture["method"] == "tcpdump"
    assert done.capture["dropped"] == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "run.json",
        "scenario.toml",
        "capture.pcapng",
        "keylog.txt",
        *(f"{kind}-{role}.jsonl" for kind in ("truth", "log") for role in ("server", "client")),
    }
    assert edited(tmp_path, done) == []
    with captures.open(tmp_path / "capture.pcapng") as capture:
        assert "CLIENT_TRAFFIC_SECRET_0" in capture.secrets
        assert capture.damage == ()
        table = capture.table()
    assert len(table) == done.capture["received"]
    status = table["icrc_status"]
    roce = status != ICRC_NOT_ROCE
    assert roce.sum() > 30
    assert (status[roce] == ICRC_OK).all()
    psns = {int(psn) for psn in table["bth_psn"][roce]}
    for role in ("server", "client"):
        (announced,) = negotiated(tmp_path, role)
        assert announced["local"]["sq_psn"] in psns
        assert announced["local"]["ip"] == done.hosts[role]["ip"]


def test_private_keys_are_nowhere_in_the_run(tmp_path: Path) -> None:
    run(tmp_path)
    for path in tmp_path.iterdir():
        assert b"PRIVATE KEY" not in path.read_bytes()


@pytest.mark.slow
def test_fifty_clients_leave_nothing_behind(tmp_path: Path) -> None:
    run(tmp_path / "first")  # what Python keeps for good is there after one
    before, inside = held(), namespaces("self")
    done = run(tmp_path / "many", clients=50)
    assert held() == before
    assert namespaces("self") == inside
    assert done.status == "complete", done.reason
    psns = [
        announced["local"]["sq_psn"]
        for role in ("server", "client")
        for announced in negotiated(tmp_path / "many", role)
    ]
    assert len(psns) == 100
    assert len(set(psns)) == 100
    with captures.open(tmp_path / "many/capture.pcapng") as capture:
        table = capture.table()
    roce = table["icrc_status"] != ICRC_NOT_ROCE
    assert set(psns) <= {int(psn) for psn in table["bth_psn"][roce]}


@contextmanager
def flowing(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    """A runner in the middle of a run that would go on for long, and its children by role."""
    scenario = tmp_path / "flowing.toml"
    scenario.write_text(FLOWING)
    words = [sys.executable, "-c", RUNNER, str(scenario), str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as runner:
        try:
            log = tmp_path / "run/truth-client.jsonl"
            wait_until(lambda: log.exists() and b'"work"' in log.read_bytes(), runner)
            # Its own alone: others on this machine come and go.
            made = namespaces(str(runner.pid)) - namespaces("self")
            if not made:
                lacking("runs here use no namespaces")
            yield runner, roles(runner.pid)
        finally:
            runner.kill()
    wait_until(lambda: not made & namespaces())


def roles(pid: int) -> dict[str, int]:
    """The runner's children: the two endpoints by which truth log they hold open, and tcpdump."""
    found = {}
    for child, words in children(pid).items():
        names = [fd.readlink().name for fd in Path(f"/proc/{child}/fd").iterdir()]
        found |= {role: child for role in ("server", "client") if f"truth-{role}.jsonl" in names}
        if "tcpdump" in words:
            found["tcpdump"] = child
    return found


def wait_until(condition: Any, runner: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if runner is not None and runner.poll() is not None:
            pytest.fail(f"the runner ended: {runner.communicate()}")
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.01)


def gone(pids: dict[str, int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids.values())


def recorded(path: Path) -> int:
    """RoCE packets in a capture that can be read to its end, all with a good ICRC."""
    with captures.open(path) as capture:
        table = capture.table()
    status = table["icrc_status"]
    assert set(status) <= {ICRC_NOT_ROCE, ICRC_OK}
    return int((status == ICRC_OK).sum())


@pytest.mark.parametrize("role", ["server", "client"])
def test_an_end_killed_mid_run(role: str, tmp_path: Path) -> None:
    tool("tcpdump")
    with flowing(tmp_path) as (runner, pids):
        os.kill(pids[role], signal.SIGKILL)
        assert runner.wait(30) == 0
        assert gone(pids)
    done = load_run(tmp_path / "run")
    assert done.status == "failed"
    assert done.reason == f"{role} was killed by SIGKILL"
    assert done.endpoints[role]["exit_status"] == -signal.SIGKILL
    assert edited(tmp_path / "run", done) == []
    assert recorded(tmp_path / "run/capture.pcapng") > 0
    assert not list(tmp_path.glob("run/*part*"))


def test_the_runner_killed_mid_run(tmp_path: Path) -> None:
    tool("tcpdump")
    with flowing(tmp_path) as (runner, pids):
        runner.kill()
        runner.wait(30)
        wait_until(lambda: gone(pids))
    assert not (tmp_path / "run/run.json").exists()
    assert recorded(tmp_path / "run/capture.partial.pcap") > 0


def test_tcpdump_killed_mid_run(tmp_path: Path) -> None:
    tool("tcpdump")
    with flowing(tmp_path) as (runner, pids):
        os.kill(pids["tcpdump"], signal.SIGKILL)
        os.kill(pids["client"], signal.SIGTERM)
        assert runner.wait(30) == 0
        assert gone(pids)
    done = load_run(tmp_path / "run")
    assert done.status == "failed"
    assert recorded(tmp_path / "run/capture.pcapng") > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run(number: signal.Signals, tmp_path: Path) -> None:
    with flowing(tmp_path) as (runner, pids):
        runner.send_signal(number)
        assert runner.wait(30) == 0
        assert gone(pids)
    done = load_run(tmp_path / "run")
    assert (done.status, done.reason) == ("interrupted", "interrupted by a signal")
    assert edited(tmp_path / "run", done) == []
    assert recorded(tmp_path / "run/capture.pcapng") > 0


def test_ends_that_hang_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stopped (SIGSTOP) as soon as they run: nobody says anything any more."""
    monkeypatch.setattr("lab.runner.run.QUIET_SECONDS", 0.5)
    monkeypatch.setattr("lab.runner.ends.GRACE_SECONDS", 0.1)

    def stop_both(step: str) -> None:
        if step.startswith("running"):
            for pid, words in children(os.getpid()).items():
                if "lab.endpoint" in words:
                    os.kill(pid, signal.SIGSTOP)

    scenario = load("secure-flow")
    execute(Options(scenario, scenario.defaults, out=tmp_path), stop_both)
    done = load_run(tmp_path)
    assert (done.status, done.reason) == ("failed", "nothing happened for 0.5 s")
    assert not any("lab.endpoint" in words for words in children(os.getpid()).values())


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(RunnerError, match="new or empty"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_ipv6_on_loopback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostsError, match="--family 4"):
        run(tmp_path / "run", "loopback", family=6)
    assert not (tmp_path / "run").exists()


def test_an_endpoint_that_fails_says_why(tmp_path: Path) -> None:
    scenario = replace(load("secure-flow"), flow="nonesuch")
    execute(Options(scenario, scenario.defaults, out=tmp_path), lambda _: None)
    done = load_run(tmp_path)
    assert done.status == "failed"
    assert "server ended with status 1" in done.reason
    assert "nonesuch" in done.reason
    assert json.loads((tmp_path / "run.json").read_text())["capture"]["method"] in {
        "tcpdump",
        "scapy",
        "tap",
    }
