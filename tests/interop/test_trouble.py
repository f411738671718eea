"""Runs with a guest that are ended, starved or broken: what they say, and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import captures
from captures.run import edited
from captures.run import load as load_run
from lab.hosts.linked import LinkedHosts
from lab.hosts.vm.end import GuestEnd
from lab.runner.backends import make
from lab.runner.options import Options
from lab.runner.run import execute
from lab.scenario import load
from tests.guests import guest_image, quiet
from tests.lab.leaks import children, held
from tests.requires import tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FLOWING = """
name = "flowing"
title = "Goes on until it is ended"
flow = "pingpong"

[arguments]
iterations = 1000000
"""
COMMAND = (sys.executable, "-m", "lab.cli", "run")


def wait_until(condition: Callable[[], bool], runner: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if runner.poll() is not None:
            pytest.fail(f"the runner ended: {runner.communicate()}")
        assert time.monotonic() < deadline, "waited for two minutes"
        time.sleep(0.02)


@contextmanager
def flowing(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[int, str]]]:
    """A runner with a guest in mid flow, and its processes; its own /tmp must stay empty."""
    guest_image()
    scenario = folder / "flowing.toml"
    scenario.write_text(FLOWING)
    (folder / "tmp").mkdir()
    command = [*COMMAND, str(scenario), "--backend", "interop", "--out", str(folder / "run")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "TMPDIR": str(folder / "tmp")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as runner:
        try:
            log = folder / "run/truth-client.jsonl"
            wait_until(lambda: log.exists() and b'"negotiated"' in log.read_bytes(), runner)
            yield runner, children(runner.pid)
        finally:
            runner.kill()
    assert list((folder / "tmp").iterdir()) == []


def gone(pids: dict[int, str]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def named(pids: dict[int, str], word: str) -> int:
    """The process with `word` in its command line; of programs in the guest only the guest."""
    (found,) = [pid for pid, words in pids.items() if word in words and "remote.py" not in words]
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run(tmp_path: Path, number: signal.Signals) -> None:
    with flowing(tmp_path) as (runner, pids):
        assert any("qemu" in words for words in pids.values())
        runner.send_signal(number)
        assert runner.wait(60) == 130
        assert gone(pids)
    done = load_run(tmp_path / "run")
    assert (done.status, done.reason) == ("interrupted", "interrupted by a signal")
    assert edited(tmp_path / "run", done) == []
    assert "console-server.log" in done.sha256
    with captures.open(tmp_path / "run/capture.pcapng") as capture:
        assert sum(1 for _ in capture.frames()) > 0
        assert not capture.damage


def test_a_killed_runner(tmp_path: Path) -> None:
    with flowing(tmp_path) as (runner, pids):
        runner.kill()
        runner.wait(30)
        deadline = time.monotonic() + 30
        while not gone(pids):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert not (tmp_path / "run/run.json").exists()


@pytest.mark.parametrize(
    ("victim", "reason"),
    [
        ("qemu", "server ended with status 1: the guest ended while this program ran in it"),
        ("lab.wire.relay", "client ended with status 1"),
    ],
)
def test_a_part_that_is_killed(tmp_path: Path, victim: str, reason: str) -> None:
    with flowing(tmp_path) as (runner, pids):
        os.kill(named(pids, victim), signal.SIGKILL)
        if victim != "qemu":
            os.kill(named(pids, "lab.endpoint"), signal.SIGTERM)
        assert runner.wait(120) == 1
        assert gone(pids)
    done = load_run(tmp_path / "run")
    assert done.status == "failed"
    assert reason in done.reason


def test_a_guest_that_panics(tmp_path: Path) -> None:
    guest_image()
    before = held()
    scenario = load("secure-flow")
    options = Options(scenario, scenario.defaults, backend="interop")
    setting = make(options, tmp_path, quiet)
    try:
        assert isinstance(setting.hosts, LinkedHosts)
        guest = setting.hosts.ends["server"]
        assert isinstance(guest, GuestEnd)

        def panic(step: str) -> None:
            if step.startswith("running"):
                script = "echo c >/proc/sysrq-trigger"
                with guest.start(["sh", "-c", script], stderr=subprocess.DEVNULL):
                    guest.guest.process.wait(60)

        execute(replace(options, out=tmp_path / "run"), panic, setting)
    finally:
        setting.hosts.close()
    done = load_run(tmp_path / "run")
    assert done.status == "failed"
    assert "the guest ended" in done.reason
    assert "Kernel panic" in (tmp_path / "console-server.log").read_text(errors="replace")
    assert held() == before


def test_a_full_disk_is_said_in_a_line(tmp_path: Path) -> None:
    tool("unshare")
    guest_image()
    out = tmp_path / "small"
    out.mkdir()
    words = " ".join((*COMMAND, "bulk", "--set", "size=4000000", "--backend", "interop"))
    command = f"mount -t tmpfs -o size=200k none {out} && exec {words} --out {out}/run"
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", command],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode in {1, 2}, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
