"""On a machine that allows neither namespaces nor capturing: the user's own namespace without
any network of its own and with no further namespaces to be had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captures.run import load
from tests.requires import lacking, tool

RESTRICT = (
    "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_net_namespaces && "
)


def restricted(words: str) -> str:
    tool("unshare", "tcpdump", "tshark")
    command = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    if subprocess.run([*command, RESTRICT + "true"], capture_output=True, check=False).returncode:
        lacking("user namespaces are not allowed here")
    done = subprocess.run(
        [*command, f"{RESTRICT} exec {sys.executable} -m lab.cli {words}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_doctor_says_what_is_left_and_how_to_mend_the_rest() -> None:
    report = json.loads(restricted("doctor --json"))
    checks = {(check["area"], check["name"]): check for check in report["checks"]}
    works = {key for key, check in checks.items() if check["works"]}
    assert ("hosts", "loopback") in works
    assert ("capture", "tap") in works
    assert works.isdisjoint({("hosts", "netns"), ("hosts", "userns"), ("capture", "tcpdump")})
    assert "max_net_namespaces" in checks["hosts", "netns"]["mend"]
    assert "max_user_namespaces" in checks["hosts", "userns"]["mend"]
    assert (report["hosts"], report["capture"]) == ("loopback", "tap")


def test_a_run_passes_by_tap_on_loopback(tmp_path: Path) -> None:
    assert restricted(f"run --out {tmp_path}/run").startswith("PASS")
    run = load(tmp_path / "run")
    assert run.hosts["kind"] == "loopback"
    assert "unshare" in run.hosts["why"]
    assert run.capture["method"] == "tap"
    assert "not permitted" in run.capture["why"]
    assert run.capture["dropped"] is None


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unshare: No space left"):
        restricted(f"run --hosts netns --out {tmp_path}/run")
