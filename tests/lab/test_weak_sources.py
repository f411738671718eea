"""A survey of our own: many clients, a weak source, and what `rocelab run` finds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.endpoint.psn_source import SOURCES
from tests.requires import tool

ROCELAB = [sys.executable, "-m", "lab.cli"]
CLIENTS = 30

# Source -> the fingerprint found, bits left to guess, how many times, what is said of it.
EXPECTED = {
    "csprng": None,
    "odd": ("stuck-bits", 23, 1, r"bit 0 is 1 \(`\| 1`, as rdma-multi-client does\)"),
    "lrand48": ("lrand48", 0, 2, r"drawn in a row; seeded by srand48 .*: pid \d+ times 20"),
    "counter": ("counter", 0, 2, r"30 starting PSNs of 10\.0\.0\.\d|29 of 29"),
    "qpn": ("equals-qpn", 0, 1, "all 60 starting PSNs equal the queue pair's number"),
    "constant": ("constant", 0, 1, r"are 0x000c71 = 3185 \(as DrTM"),
}


def test_every_source_has_its_line():
    assert list(EXPECTED) == list(SOURCES)


@pytest.mark.parametrize("source", EXPECTED)
def test_what_is_found_of_each_source(source: str, tmp_path: Path) -> None:
    tool("tcpdump", "tshark")
    options = ["--clients", str(CLIENTS), "--psn-source", source, "--json", "--out", "run"]
    command = [*ROCELAB, "run", "connect-only", *options]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    document = json.loads(done.stdout)
    found = document["psn_source"]
    assert found["count"] == 2 * CLIENTS
    verdict = next(one for one in document["passes"] if one["id"] == "psn-source")["verdict"]
    expected = EXPECTED[source]
    if expected is None:
        assert (done.returncode, document["verdict"], verdict) == (3, "inconclusive", "pass")
        assert found["sources"] == []
        return
    name, bits, times, says = expected
    assert (done.returncode, document["verdict"], verdict) == (1, "fail", "fail")
    assert [match["name"] for match in found["sources"]] == [name] * times
    assert [match["bits_left"] for match in found["sources"]] == [bits] * times
    assert all(re.search(says, match["says"]) for match in found["sources"]), found["sources"]
    codes = {finding["code"] for finding in document["findings"] if finding["severity"] == "error"}
    assert codes == {"psn-predictable"}
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The starting PSNs are not random." in page
