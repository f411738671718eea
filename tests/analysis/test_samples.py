"""Every real capture there is, and the verdict it must get (`expected.toml`)."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from analysis.finding import Status
from analysis.verify import verify
from tests.requires import tool

SAMPLES = Path(__file__).parents[2] / "captures" / "samples"
EXPECTED = tomllib.loads(Path(__file__).with_name("expected.toml").read_text())


def test_no_sample_is_left_out():
    assert {path.stem for path in SAMPLES.glob("*.pcap")} == set(EXPECTED)


def hexadecimal(psn):
    return "-" if psn is None else f"{psn:06x}"


def told(results):
    """Directions in the words of `expected.toml`."""
    lines = []
    for j in results.judgements:
        connection = results.context.conversations.connections[j.connection]
        if j.first is None and j.announced is None:
            continue
        source = connection.negotiated[0].source if connection.negotiated else "-"
        end = connection.end(j.sender)
        psns = f"{hexadecimal(j.announced)} {hexadecimal(j.first)}"
        lines.append(f"{end} {psns} {j.verdict} {source}")
    return lines


@pytest.mark.parametrize("name", EXPECTED)
def test_sample(name, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")  # tshark is asked below, for all at once
    results = verify(SAMPLES / f"{name}.pcap")
    expected = EXPECTED[name]
    assert told(results) == expected["directions"]
    assert sorted({finding.code for finding in results.findings}) == expected["codes"]
    assert results.verdict == expected["verdict"]


@pytest.mark.parametrize("name", ["rxe61_cm_rping", "rxe61_ibv_rc_pingpong_ipv6gid0"])
def test_tshark_agrees_in_every_direction(name):
    tool("tshark")
    for judgement in verify(SAMPLES / f"{name}.pcap").judgements:
        assert judgement.witnesses["tshark"].status is Status.AGREES
        assert judgement.witnesses["clear"].status is Status.AGREES


def test_cm_psns_are_those_that_tshark_reads():
    """rdma_cm: the receiver chooses, so REQ's PSN is the first of the end that sends REP."""
    tool("tshark")
    for path in sorted(SAMPLES.glob("rxe61_cm_*.pcap")):
        command = ["tshark", "-r", str(path), "-T", "fields"]
        for field in ("ip.src", "infiniband.cm.req.startpsn", "infiniband.cm.rep.startpsn"):
            command += ["-e", field]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        rows = [line.split("\t") for line in text.splitlines()]
        expected = {(ip, int(psn, 16)) for ip, *psns in rows for psn in psns if psn}
        seen = set()
        for connection in verify(path).context.conversations.connections:
            for said in connection.negotiated:
                seen |= {(said.a.end.ip, said.b.sq_psn), (said.b.end.ip, said.a.sq_psn)}
        assert seen == expected
