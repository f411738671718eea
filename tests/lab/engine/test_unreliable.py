"""UC and UD: what a gap costs, what is dropped in silence, and SQE (IBTA vol. 1, 9.8, 10.3.1)."""

from __future__ import annotations

import pytest

from lab.engine.burst import Path
from lab.engine.qp import Attributes
from lab.engine.states import Attr, QPState, QPType
from lab.engine.work import SendWork, Sge, WCOpcode, WCStatus, WROpcode
from tests.pair import Pair, drop, make_pair, transfer

MTU = 256
QKEY = 0x1234


@pytest.fixture
def pair() -> Pair:
    made = make_pair(path_mtu=MTU, sq_psns=(0xFFFFFE, 200), kind=QPType.UC)
    made.a.memory[: 4 * MTU] = bytes(range(256)) * (4 * MTU // 256)
    return made


def send(pair: Pair, length: int, **options: object) -> None:
    pair.a.post(WROpcode.SEND, pair.b, length, **options)


def received(pair: Pair) -> list[tuple[int, int]]:
    """(wr_id, bytes) of B's receives."""
    found = pair.b.completions()
    assert {c.status for c in found} <= {WCStatus.SUCCESS}
    return [(c.wr_id, c.byte_length) for c in found]


def test_all_arrives_unanswered(pair: Pair) -> None:
    """No PSN is acknowledged, and a send is complete when it has gone out."""
    for number in range(3):
        pair.b.receive(4 * MTU, 10_000 + number * 4 * MTU, wr_id=number)
        send(pair, 3 * MTU)
    transfer(pair, pair.a)
    assert received(pair) == [(number, 3 * MTU) for number in range(3)]
    assert len(pair.a.completions()) == 3
    assert not drop(pair, pair.b)
    assert pair.a.device.next_timer() is None


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_gap_loses_its_message_and_no_other(pair: Pair, lost: int) -> None:
    """9.8.2.2: the receive that was begun waits for the next message; PSNs follow what comes."""
    for number in range(2):
        pair.b.receive(4 * MTU, wr_id=number)
        send(pair, 3 * MTU)
    bursts = drop(pair, pair.a)
    del bursts[lost]
    for burst in bursts:
        pair.b.device.receive(burst, 0)
    assert received(pair) == [(0, 3 * MTU)]
    assert len(pair.b.qp.receives) == 1
    assert pair.b.qp.state is QPState.RTS
    send(pair, 4)
    transfer(pair, pair.a)
    assert received(pair) == [(1, 4)]


def test_without_a_receive_a_message_is_lost_in_silence(pair: Pair) -> None:
    send(pair, 3 * MTU)
    transfer(pair, pair.a)
    pair.b.receive(MTU, wr_id=5)
    send(pair, 4)
    transfer(pair, pair.a)
    assert received(pair) == [(5, 4)]
    assert not drop(pair, pair.b)


def test_a_message_longer_than_its_receive_is_lost_in_silence(pair: Pair) -> None:
    """Table 59, class D; RC says invalid request here."""
    pair.b.receive(MTU, wr_id=5)
    send(pair, 2 * MTU)
    send(pair, 4)
    transfer(pair, pair.a)
    assert received(pair) == [(5, 4)]
    assert pair.b.qp.state is QPState.RTS


def test_a_write_beyond_the_region_is_dropped(pair: Pair) -> None:
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4, remote=len(pair.b.memory) - 3)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4, offset=1)
    transfer(pair, pair.a)
    assert pair.b.memory[:4] == bytes([1, 2, 3, 4])
    assert not any(pair.b.memory[4:])
    assert pair.b.qp.state is QPState.RTS


@pytest.mark.parametrize("kind", [QPType.UC, QPType.UD])
def test_own_memory_that_is_not_to_be_had_ends_in_sqe(kind: QPType) -> None:
    """10.3.1: the send queue stops and is flushed, receiving goes on, RTS is one modify away."""
    pair = make_pair(path_mtu=MTU, kind=kind, qkey=QKEY)
    to = {"path": Path(pair.a.address, pair.b.address), "remote_qpn": 17, "remote_qkey": QKEY}

    def post(number: int, key: int) -> None:
        sges = (Sge(pair.a.base, 4, key),)
        fields = to if kind is QPType.UD else {}
        pair.a.qp.post_send(SendWork(number, WROpcode.SEND, sges, **fields))  # type: ignore[arg-type]

    for number, key in enumerate((pair.a.key, 0xBAD, pair.a.key)):
        post(number, key)
    transfer(pair, pair.a)
    assert pair.a.qp.state is QPState.SQE
    assert [(c.wr_id, c.status) for c in pair.a.completions()] == [
        (0, WCStatus.SUCCESS),
        (1, WCStatus.LOC_PROT_ERR),
        (2, WCStatus.WR_FLUSH_ERR),
    ]
    post(3, pair.a.key)
    assert [(c.wr_id, c.status) for c in pair.a.completions()] == [(3, WCStatus.WR_FLUSH_ERR)]
    pair.a.receive(100, 5000, wr_id=8)
    back = {**to, "path": Path(pair.b.address, pair.a.address)} if kind is QPType.UD else {}
    pair.b.post(WROpcode.SEND, pair.a, 4, **back)
    transfer(pair, pair.b)
    (arrived,) = pair.a.completions()
    assert (arrived.wr_id, arrived.opcode, arrived.status) == (8, WCOpcode.RECV, WCStatus.SUCCESS)
    pair.a.qp.modify(Attributes(), Attr.CUR_STATE, QPState.RTS, 0)
    post(4, pair.a.key)
    transfer(pair, pair.a)
    assert [(c.wr_id, c.status) for c in pair.a.completions()] == [(4, WCStatus.SUCCESS)]


def test_a_datagram_with_another_queue_key_is_counted_and_dropped() -> None:
    pair = make_pair(path_mtu=MTU, kind=QPType.UD, qkey=QKEY)
    pair.b.receive(1000)
    path = Path(pair.a.address, pair.b.address)
    for key in (QKEY + 1, QKEY):
        pair.a.post(
            WROpcode.SEND,
            pair.b,
            4,
            path=path,
            remote_qpn=17,
            remote_qkey=key,
            sges=(pair.a.sge(0, 4),),
        )
    transfer(pair, pair.a)
    assert received(pair) == [(0, 44)]
    assert pair.b.device.counters["qkey_viol_cntr"] == 1
