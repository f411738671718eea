"""`rocelab run` from the command line to verdict and report, as a user calls it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.requires import tool

ROCELAB = [sys.executable, "-m", "lab.cli"]


def rocelab(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ROCELAB, *map(str, words)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("options", [[], ["--capture", "tap", "--hosts", "loopback"]])
def test_the_secure_flow_passes_and_is_reported(options: list[str], tmp_path: Path) -> None:
    tool("tcpdump", "tshark")
    done = rocelab("run", "--out", tmp_path / "run", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("PASS")
    assert f"report: {tmp_path}/run/report.html" in done.stdout
    assert done.stderr == ""  # progress is for terminals
    assert "<html" in (tmp_path / "run/report.html").read_text()[:200]


def test_the_document_of_a_run(tmp_path: Path) -> None:
    tool("tcpdump", "tshark")
    options = ["--json", "--clients", "2", "--family", "6", "--mtu", "4096"]
    done = rocelab("run", *options, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["verdict"]) == (1, "pass")
    assert document["run"] == str(tmp_path / "run")
    assert document["capture"]["icrc_ok"] == document["capture"]["roce_packets"] > 0
    assert len(document["connections"]) == 2
    verdicts = [way["verdict"] for c in document["connections"] for way in c["directions"]]
    assert verdicts == ["match"] * 4
    again = rocelab("verify", tmp_path / "run", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["connections"] == document["connections"]
    assert json.loads((tmp_path / "run/results.json").read_text()) == json.loads(again.stdout)
    capture = str(tmp_path / "run/capture.pcapng")
    command = ["tshark", "-r", capture, "-Y", "_ws.malformed"]
    seen = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (seen.returncode, seen.stdout) == (0, "")


def test_what_cannot_be_read_has_a_document_too(tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcapng"
    capture.write_bytes(b"nothing of the kind")
    done = rocelab("verify", capture, "--json")
    assert done.returncode == 2
    assert "expected a pcap, pcapng or ERF file" in done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["verdict"]) == (1, "inconclusive")
    assert [finding["code"] for finding in document["findings"]] == ["unreadable"]
    assert document["capture"]["packets"] == 0


def test_a_full_disk_is_said_in_a_line(tmp_path: Path) -> None:
    command = f"mount -t tmpfs -o size=16k none {tmp_path} && exec {' '.join(ROCELAB)} run --json "
    command += f"--hosts loopback --capture tap --out {tmp_path}/run"
    root = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*root, "true"], capture_output=True, check=False).returncode:
        pytest.skip("nobody may mount here")
    done = subprocess.run(
        [*root, command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "run.json cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_without_rdma_packets_is_inconclusive(tmp_path: Path) -> None:
    assert rocelab("run", "connect-only", "--out", tmp_path / "run").returncode == 3


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = [*ROCELAB, "run", "connect-only", "--out", str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how a terminal says that the other end is closed
            pass
        os.close(ours)
        process.wait(60)
    assert b"making hosts..." in shown
    assert b"starting the capture..." in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "nope"], "expected a scenario"),
        (["run", "--mtu", "1500"], "expected 256, 512, 1024, 2048, 4096; found 1500"),
        (["run", "--clients", "0"], "clients: expected 1 to 10000; found 0"),
        (["run", "--family", "5"], "family: expected 4, 6; found 5"),
        (["run", "--set", "size=1"], "expected only the keys (none); found size"),
        (["run", "--hosts", "loopback", "--family", "6"], "use --family 4"),
        (["run", "--backend", "nope"], "nope"),
        (["run", "--out", "/proc/nope"], "cannot be written"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_line(words: list[str], complaint: str) -> None:
    done = rocelab(*words)
    assert done.returncode == 2
    assert complaint in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
