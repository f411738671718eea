"""Reliable connection between two engines without a clock: happy path, loss, errors."""

from __future__ import annotations

import random

import pytest

from lab.engine.states import QPState
from lab.engine.work import WCOpcode, WCStatus, WROpcode
from tests.pair import drop, make_pair, roundtrip_until_done, transfer

SUCCESS = WCStatus.SUCCESS


@pytest.mark.parametrize("path_mtu", [256, 512, 1024, 2048, 4096])
@pytest.mark.parametrize("length", [0, 1, 255, 4096, 50_001])
def test_send_write_read(path_mtu: int, length: int) -> None:
    pair = make_pair(path_mtu=path_mtu, sq_psns=(0xFFFFFF, 0xFFFFFE))
    data = random.Random(length).randbytes(length)
    pair.a.memory[:length] = data
    pair.b.receive(length, 100_000)
    pair.a.post(WROpcode.SEND, pair.b, length)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, length, remote=200_000)
    pair.a.post(WROpcode.RDMA_READ, pair.b, length, 300_000, remote=200_000)
    roundtrip_until_done(pair)
    assert [c.status for c in pair.a.completions()] == [SUCCESS] * 3
    (received,) = pair.b.completions()
    assert (received.opcode, received.byte_length) == (WCOpcode.RECV, length)
    assert pair.b.memory[100_000 : 100_000 + length] == data
    assert pair.b.memory[200_000 : 200_000 + length] == data
    assert pair.a.memory[300_000 : 300_000 + length] == data


def test_lost_request_is_sent_again_after_the_timeout() -> None:
    pair = make_pair()
    pair.a.memory[:5] = b"hello"
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 5)
    assert len(drop(pair, pair.a)) == 1
    assert pair.a.device.next_timer() == 4096 << 14
    roundtrip_until_done(pair)
    assert pair.now >= 4096 << 14
    assert pair.b.memory[:5] == b"hello"
    assert len(pair.a.completions()) == 1
    assert [d.data["why"] for d in pair.a.events("go_back")] == ["timeout"]


def test_gap_is_answered_by_one_nak_and_go_back() -> None:
    pair = make_pair(path_mtu=256)
    for number in range(4):
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, 256, remote=256 * number)
    for burst in drop(pair, pair.a)[1:]:
        pair.b.device.receive(burst, 0)
    assert len(transfer(pair, pair.b)) == 1
    assert pair.a.device.counters["rcvd_seq_err"] == 1
    # As rxe counts them: gaps that drew a NAK, not the packets behind.
    assert pair.b.device.counters["out_of_seq_request"] == 1
    assert len(transfer(pair, pair.a)) == 4
    roundtrip_until_done(pair)
    assert [c.status for c in pair.a.completions()] == [SUCCESS] * 4
    assert pair.now < 4096 << 14


def test_retries_run_out() -> None:
    pair = make_pair(retry_cnt=3)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 5)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 5)
    pair.a.receive(10)
    while pair.a.qp.state is QPState.RTS:
        drop(pair, pair.a)
        timer = pair.a.device.next_timer()
        assert timer is not None
        pair.now = timer
        pair.a.device.handle_timer(pair.now)
    assert pair.a.qp.state is QPState.ERR
    assert [c.status for c in pair.a.completions()] == [
        WCStatus.RETRY_EXC_ERR,
        WCStatus.WR_FLUSH_ERR,
        WCStatus.WR_FLUSH_ERR,
    ]
    assert len(pair.a.events("go_back")) == 3
