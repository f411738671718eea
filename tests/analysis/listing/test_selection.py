"""Filters: tshark's display filters of the same meaning select the same frames."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import captures
from analysis.listing.errors import ListingError
from analysis.listing.names import column
from analysis.listing.selection import select
from dissectors.decode import FEW
from dissectors.table import PacketTable
from tests.dissectors.samples import SAMPLES
from tests.requires import tool

RC, V6 = SAMPLES / "rxe61_pyverbs_rc.pcap", SAMPLES / "rxe61_ibv_rc_pingpong_ipv6gid0.pcap"
CM = SAMPLES / "rxe61_cm_rping.pcap"

SAME = [
    (RC, "bth", "infiniband.bth"),
    (RC, "not bth", "not infiniband.bth"),
    (RC, "bth.opcode == RDMA_WRITE_FIRST and bth.psn > 0x100",
     "infiniband.bth.opcode == 6 and infiniband.bth.psn > 0x100"),
    (RC, "bth.opcode == RC_ACKNOWLEDGE or reth", "infiniband.bth.opcode == 17 or infiniband.reth"),
    (RC, "reth.dma_len >= 3000 and not bth.ack_req",
     "infiniband.reth.dmalen >= 3000 and infiniband.bth.a == 0"),
    (RC, "infiniband.bth.psn == 12648430", "infiniband.bth.psn == 12648430"),
    (RC, "reth.va & 0x600 != 0", "infiniband.reth.va & 0x600"),
    (RC, "frame & 1 == 1", "frame.number & 1 == 1"),
    (RC, "bth.psn & 1 == 1", "infiniband.bth.psn & 1"),
    (RC, 'src == "10.77.0.2" and bth', "ip.src == 10.77.0.2 and infiniband.bth"),
    (RC, 'ip.src == "10.77.0.2"', "ip.src == 10.77.0.2"),
    (RC, 'ip.dst != "10.77.0.2" and udp', "ip.dst != 10.77.0.2 and udp"),
    (RC, 'ethernet.src == "52:54:00:00:00:01"', "eth.src == 52:54:00:00:00:01"),
    (RC, "bth.psn in (0xC0FFEE, 0xC0FFF3)", "infiniband.bth.psn in {0xC0FFEE, 0xC0FFF3}"),
    (RC, "0xC0FFEF <= bth.psn < 0xC0FFF2",
     "infiniband.bth.psn >= 0xC0FFEF and infiniband.bth.psn < 0xC0FFF2"),
    (RC, "aeth.syndrome != 31", "infiniband.aeth.syndrome != 31"),
    (CM, "cm.req", "infiniband.mad.attributeid == 0x10"),
    (CM, "mad and mad.attribute_id != 0x10",
     "infiniband.mad && infiniband.mad.attributeid != 0x10"),
    (CM, "cm.rep.starting_psn == 783012", "infiniband.cm.rep.startpsn == 783012"),
    (CM, "cm_req.primary_local_gid == '10.77.0.2'", "infiniband.mad.attributeid == 0x10"),
    (CM, "infiniband.cm.req.startpsn > 0", "infiniband.cm.req.startpsn > 0"),
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
        ("bth.opcode == ATOMIC", "did you mean RC_ATOMIC_ACKNOWLEDGE"),
        ('ethernet.src == "10.0.0.1"', "different kinds"),
        ("__import__('os').system('true')", "expected a field or a number"),
        ("bth.psn == 1.5", "whole number"),
        ("src == 5", "different kinds"),
        ('cm.req.private_data == "10.0.0.1"', "different lengths"),
        ('src < "10.0.0.1"', "only by == and !="),
        ('src == "nowhere"', "expected an IP or MAC address"),
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


REPEATED = 14
MIXED = [frame for path in (RC, V6, CM) for frame in captures.open(path).frames()]
TERMS = st.one_of(
    st.sampled_from(["bth", "aeth", "not reth", "cm.req", "mad", "ipv6", "udp", "icrc_status == 1",
                     "bth.opcode == RC_ACKNOWLEDGE", 'src == "10.77.0.2"', "damage"]),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["bth.psn", "bth.dest_qp", "aeth.msn", "reth.dma_len", "mad.attribute_id",
                         "payload_length", "cm.rep.local_qpn", "deth.q_key", "frame"]),
        st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "& 1 =="]),
        st.one_of(st.sampled_from([0, 1, 17, 25, 783012, 0xC0FFEE]), st.integers(0, 1 << 24)),
    ),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(TERMS, min_size=1, max_size=3), st.sampled_from([" and ", " or "]))
def test_compiled_columns_select_what_rows_one_by_one_do(terms: list[str], join: str) -> None:
    expression = join.join(terms)
    whole = PacketTable.from_frames(MIXED * REPEATED)
    alone = [bool(select(PacketTable.from_frames([frame]), expression)[0]) for frame in MIXED]
    assert len(whole) > FEW
    assert select(whole, expression).tolist() == alone * REPEATED


PAGE = Path(__file__).parents[3] / "docs" / "decoding.md"
SHOWN = re.findall(r"rocelab decode trace.pcap (.*)", PAGE.read_text())


@pytest.mark.parametrize("arguments", SHOWN)
def test_what_the_page_shows_can_be_typed(arguments: str) -> None:
    asked = dict(pairwise(shlex.split(arguments)))
    table = captures.open(RC).table()
    assert len(select(table, asked["--filter"])) == len(table)
    for name in asked.get("--fields", "frame").split(","):
        assert column(name)
