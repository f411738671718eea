"""Filters: tshark's display filters of the same meaning select the same frames."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import captures
from analysis.listing.errors import ListingError
from analysis.listing.selection import select
from tests.dissectors.samples import SAMPLES
from tests.requires import tool

RC, V6 = SAMPLES / "rxe61_pyverbs_rc.pcap", SAMPLES / "rxe61_ibv_rc_pingpong_ipv6gid0.pcap"

SAME = [
    (RC, "bth", "infiniband.bth"),
    (RC, "not bth", "not infiniband.bth"),
    (RC, "bth.opcode == RDMA_WRITE_FIRST and bth.psn > 0x100",
     "infiniband.bth.opcode == 6 and infiniband.bth.psn > 0x100"),
    (RC, "bth.opcode == RC_ACKNOWLEDGE or reth", "infiniband.bth.opcode == 17 or infiniband.reth"),
    (RC, "reth.dma_len >= 3000 and not bth.ack_req",
     "infiniband.reth.dmalen >= 3000 and infiniband.bth.a == 0"),
    (RC, "infiniband.bth.psn == 12648430", "infiniband.bth.psn == 12648430"),
    (RC, "bth.psn & 1 == 1", "infiniband.bth.psn & 1"),
    (RC, 'src == "10.77.0.2" and bth', "ip.src == 10.77.0.2 and infiniband.bth"),
    (RC, "bth.psn in (0xC0FFEE, 0xC0FFF3)", "infiniband.bth.psn in {0xC0FFEE, 0xC0FFF3}"),
    (RC, "0xC0FFEF <= bth.psn < 0xC0FFF2",
     "infiniband.bth.psn >= 0xC0FFEF and infiniband.bth.psn < 0xC0FFF2"),
    (RC, "aeth.syndrome != 31", "infiniband.aeth.syndrome != 31"),
    (V6, "ipv6 and bth.opcode != SEND_MIDDLE", "ipv6 and infiniband.bth.opcode != 1"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "ours", "theirs"), SAME, ids=[row[1] for row in SAME])
def test_as_tshark(path: Path, ours: str, theirs: str) -> None:
    tool("tshark")
    command = ["tshark", "-n", "-r", str(path), "-Y", theirs, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table = captures.open(path).table()
    assert table["frame"][select(table, ours)].tolist() == [int(n) for n in done.stdout.split()]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "expected comparisons"),
        ("bth.psn ===", "invalid syntax"),
        ("psn == 1", "did you mean bth.psn"),
        ("__import__('os').system('true')", "expected a field or a number"),
        ("bth.psn == 1.5", "whole number"),
        ("src == 5", "different kinds"),
        ('src < "10.0.0.1"', "only by == and !="),
        ('src == "nowhere"', "expected an IP address"),
        ("bth.psn == -1", "expected a field or a number"),
        ("bth.psn % 0 == 1", "division by zero"),
        ("bth.opcode < SEND_ONLY", "by == or !="),
        ("bth.psn == 1 << 999999999", "expected a field or a number"),
        ("bth.psn == " + "9" * 40, "64 bits"),
        ("(" * 300 + "bth" + ")" * 300, "expected comparisons"),
        ("bth" + " and bth" * 400, "at most 2000"),
    ],
)
def test_what_is_no_filter_is_refused(expression: str, message: str) -> None:
    table = captures.open(RC).table()
    with pytest.raises(ListingError, match=message):
        select(table, expression)


@given(st.text(max_size=60))
def test_no_text_does_worse_than_being_refused(expression: str) -> None:
    table = captures.open(RC).table()
    with contextlib.suppress(ListingError):
        assert len(select(table, expression)) == len(table)
