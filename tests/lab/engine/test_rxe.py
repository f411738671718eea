"""The same bytes as a kernel's: conversations captured from Soft-RoCE, done again."""

from __future__ import annotations

import pytest

from dissectors.aeth import AETH
from lab.engine.states import QPState
from lab.engine.work import WCStatus
from tests.lab.engine.reenact import Captured, reenact

WHOLE = [
    "rxe61_pyverbs_rc",
    "rxe61_pyverbs_wrap",
    "rxe61_pyverbs_srq",
    "rxe612_pyverbs_rc",
    "rxe612_pyverbs_srq",
    "umlrxe61_rc_pingpong",
    "rxe61_ibv_rc_pingpong_ipv6gid0",
    "rxe61_single_guest_veth_ipv6ll_rc_pingpong",
    "rxe61j_rc_pingpong_mtu4096",
    "rxe612_rc_pingpong_mtu4096",
    "rxe61_perftest_atomic_lat",
    "rxe61_pyverbs_uc",
    "rxe61_ibv_uc_pingpong",
    "rxe61_pyverbs_ud",
    "rxe61_ibv_ud_pingpong",
]


def by_sender(packets: list[Captured], *, response: bool) -> dict[bytes, list[str]]:
    """Each end's requests, or its responses, byte for byte from BTH to pad."""
    found: dict[bytes, list[str]] = {}
    for one in packets:
        if one.opcode.is_response == response:
            found.setdefault(one.source, []).append(one.data.hex())
    return found


@pytest.mark.parametrize("sample", WHOLE)
def test_same_bytes(sample: str) -> None:
    captured, _, sent = reenact(sample)
    for response in (False, True):
        assert by_sender(sent, response=response) == by_sender(captured, response=response)


def test_same_bytes_but_for_what_rxe_repeats() -> None:
    """rxe's timer is not restarted with each packet, so that it sent one SEND twice
    without a loss.
    """
    captured, _, sent = reenact("rxe61_ibv_rc_pingpong")
    for response in (False, True):
        theirs = by_sender(captured, response=response)
        assert by_sender(sent, response=response) == {
            source: list(dict.fromkeys(packets)) for source, packets in theirs.items()
        }
    assert len(captured) == len(sent) + 2


def test_same_bytes_but_for_what_rxe_leaves_in_fetch_add() -> None:
    """rxe does not write the compare field of a FETCH_ADD: what its buffer held
    goes out. Ours is 0.
    """
    captured, _, sent = reenact("umlrxe61_pyverbs_rc")
    differing = [
        (ours, theirs)
        for response in (False, True)
        for source, packets in by_sender(captured, response=response).items()
        for ours, theirs in zip(by_sender(sent, response=response)[source], packets, strict=True)
        if ours != theirs
    ]
    ((ours, theirs),) = differing
    assert ours[:-16] == theirs[:-16]
    assert (ours[-16:], theirs[-16:]) == ("0" * 16, b"hello fr".hex())


def story(packets: list[Captured]) -> list[tuple[bytes, str, int, int | None, int | None]]:
    """(sender, opcode, PSN, syndrome, MSN) of each packet."""
    found = []
    for one in packets:
        aeth = one.packet.get(AETH)
        answer = (aeth.syndrome, aeth.msn) if aeth else (None, None)
        found.append((one.source, one.opcode.name, one.bth.psn, *answer))
    return found


FAILURES = {
    "rxe61_err_badrkey": {"memory": False},
    "rxe61_err_noaccess": {"memory": False},
    "rxe61_err_oob": {"memory": False},
    "rxe61_err_rnr": {"receive": 0, "rnr_retry": 3, "min_rnr_timer": 14},
    "rxe61_err_rnrlate": {"receive": 0, "rnr_retry": 3, "min_rnr_timer": 14},
    "rxe61_err_psnahead": {"rq_psn_shift": -5, "retry_cnt": 2},
}


@pytest.mark.parametrize("sample", FAILURES)
def test_same_failure(sample: str) -> None:
    captured, pair, sent = reenact(sample, **FAILURES[sample])
    assert story(sent) == story(captured)
    assert pair.a.qp.state is QPState.ERR


def test_too_long_send_is_an_invalid_request() -> None:
    """rxe answers 0x63, remote operational error; IBTA 9.7.4.1.7 and table 56 say
    invalid request.
    """
    captured, pair, sent = reenact("rxe61_err_short", receive=100)
    theirs, ours = story(captured), story(sent)
    assert theirs[0] == ours[0]
    assert (theirs[1][3], ours[1][3]) == (0x63, 0x61)
    assert pair.b.completions()[0].status is WCStatus.LOC_LEN_ERR
    assert pair.a.completions()[0].status is WCStatus.REM_INV_REQ_ERR


def test_old_request_is_acknowledged_with_the_newest_psn() -> None:
    """Before anything was received rxe says 0xffffff for "the PSN before the
    first"; ours is that PSN.
    """
    captured, pair, sent = reenact("rxe61_err_psnskew", rq_psn_shift=5, retry_cnt=2)
    theirs, ours = story(captured), story(sent)
    assert [row[:2] for row in theirs] == [row[:2] for row in ours]
    assert {row[2] for row in theirs if row[3] is not None} == {0xFFFFFF}
    assert {row[2] for row in ours if row[3] is not None} == {pair.b.qp.attributes.rq_psn - 1}
