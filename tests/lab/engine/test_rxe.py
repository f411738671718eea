"""The same bytes as a kernel's: conversations captured from Soft-RoCE, done again; where ours
differ docs/transport.md says so, and why.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from dissectors.opcode import Opcode
from lab.engine.states import QPState
from lab.engine.work import WCStatus
from tests.documents import table
from tests.lab.engine.reenact import SAMPLES, Captured, reenact

KERNEL = bytes([10, 77, 0, 1])


@dataclass(frozen=True)
class Conversation:
    """One connection of a sample (of several: that to `queue_pairs`; QP 1 is the CM's), how to do
    it again, and the status its last request ended with.
    """

    sample: str
    queue_pairs: frozenset[int] = frozenset()
    options: dict[str, int] = field(default_factory=dict)
    status: WCStatus = WCStatus.SUCCESS
    ends: tuple[bytes, ...] = ()
    """Whose packets are a kernel's; empty: both ends'."""

    def __str__(self) -> str:
        return "-".join([self.sample, *map(str, self.queue_pairs)])


RNR = {"receive": 0, "rnr_retry": 3, "min_rnr_timer": 14}
CONVERSATIONS = [
    *map(
        Conversation,
        [
            "rxe61_pyverbs_rc",
            "rxe61_pyverbs_wrap",
            "rxe61_pyverbs_srq",
            "rxe61_pyverbs_uc",
            "rxe61_pyverbs_ud",
            "rxe612_pyverbs_rc",
            "rxe612_pyverbs_srq",
            "rxe612_rc_pingpong_mtu4096",
            "rxe61j_rc_pingpong_mtu4096",
            "rxe61_ibv_rc_pingpong",
            "rxe61_ibv_rc_pingpong_ipv6gid0",
            "rxe61_ibv_uc_pingpong",
            "rxe61_ibv_ud_pingpong",
            "rxe61_single_guest_veth_ipv6ll_rc_pingpong",
            "rxe61_single_guest_veth_policyroute_rc_pingpong",
            "rxe61_perftest_atomic_lat",
            "umlrxe61_rc_pingpong",
            "umlrxe61_pyverbs_rc",
        ],
    ),
    *(
        Conversation(sample, frozenset({queue_pair}))
        for sample, queue_pair in [
            ("rxe61_ibv_srq_pingpong", 20),
            ("rxe61_ibv_srq_pingpong", 21),
            ("rxe61_ibv_srq_pingpong", 22),
            ("rxe61_ibv_srq_pingpong", 23),
            ("rxe61_cm_pyverbs_cmid", 17),
            ("rxe61_cm_rdma_client_server", 28),
            ("rxe61_cm_rping", 25),
            ("rxe61_cm_ucmatose", 26),
            ("rxe61_cm_udaddy", 27),
        ]
    ),
    # The other end was a program of its capturer's, which sets BTH's M bit.
    Conversation("rxe61_interop_host_frame", ends=(KERNEL,)),
    Conversation("rxe61_interop_host_tap", ends=(KERNEL,)),
    *(
        Conversation(sample, options=options, status=WCStatus(status))
        for sample, options, status in [
            ("rxe61_err_badrkey", {"memory": False}, 10),
            ("rxe61_err_noaccess", {"memory": False}, 10),
            ("rxe61_err_oob", {"memory": False}, 10),
            ("rxe61_err_short", {"receive": 100}, 11),
            ("rxe61_err_rnr", RNR, 13),
            ("rxe61_err_rnrlate", RNR, 13),
            ("rxe61_err_psnahead", {"rq_psn_shift": -5, "retry_cnt": 2}, 12),
            ("rxe61_err_psnskew", {"rq_psn_shift": 5, "retry_cnt": 2}, 12),
        ]
    ),
]

Difference = tuple[str, str, str, str]
"""Field, rxe's value, ours, in how many packets."""


def test_every_sample_of_a_kernel_is_done_again() -> None:
    kernels = {path.stem for path in SAMPLES.glob("*rxe6*.pcap")}
    assert {conversation.sample for conversation in CONVERSATIONS} == kernels


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=str)
def test_same_bytes_but_for_what_is_documented(conversation: Conversation) -> None:
    captured, pair, sent = reenact(
        conversation.sample, queue_pairs=conversation.queue_pairs, **conversation.options
    )
    found: Counter[tuple[str, str, str]] = Counter()
    for theirs, ours in zip(
        by_sender(captured, conversation.ends), by_sender(sent, conversation.ends), strict=True
    ):
        repeated, whole = without_repeats(theirs, len(ours))
        found["packets sent twice", str(repeated), "0"] += repeated
        for one, other in zip(whole, ours, strict=True):
            found.update(differing(one, other))
    failed = [c for c in pair.a.completions() if c.status]
    assert (pair.a.qp.state is QPState.ERR) == bool(failed)
    status = failed[0].status if failed else WCStatus.SUCCESS
    if status != conversation.status:
        found["completion", conversation.status.name, status.name] += 1
    differences = {(*key, str(count)) for key, count in found.items() if count}
    assert differences == documented(conversation.sample)


def by_sender(packets: list[Captured], ends: tuple[bytes, ...]) -> list[list[Captured]]:
    """Each end's requests and its responses, in order: which of the two comes first is open."""
    found: dict[tuple[bytes, bool], list[Captured]] = {}
    for one in packets:
        if not ends or one.source in ends:
            found.setdefault((one.source, one.opcode.is_response), []).append(one)
    return [found[key] for key in sorted(found)]


def without_repeats(packets: list[Captured], count: int) -> tuple[int, list[Captured]]:
    """(how many were left out, packets): later copies of a packet go until `count` are left."""
    kept: list[Captured] = []
    seen: set[bytes] = set()
    surplus = len(packets) - count
    for one in packets:
        if surplus and one.data in seen:
            surplus -= 1
        else:
            kept.append(one)
            seen.add(one.data)
    return len(packets) - len(kept), kept


def differing(theirs: Captured, ours: Captured) -> list[tuple[str, str, str]]:
    """The fields that two packets differ in, which are the same otherwise."""
    if theirs.data == ours.data:
        return []
    assert (theirs.opcode, theirs.packet.payload) == (ours.opcode, ours.packet.payload)
    found = []
    for kind in (type(theirs.bth), *Opcode(theirs.opcode).headers):
        one, other = theirs.packet[kind], ours.packet[kind]
        for each in kind.fields:
            values = getattr(one, each.name), getattr(other, each.name)
            if values[0] != values[1]:
                found.append((f"{kind.__name__} {each.name}", *(f"0x{v:x}" for v in values)))
    return found


def documented(sample: str) -> set[Difference]:
    """What docs/transport.md says of a sample."""
    rows = table("transport.md", "Different in the captures")
    return {
        (row["field"], row["rxe"], row["ours"], row["packets"])
        for row in rows
        if row["sample"] == sample
    }
