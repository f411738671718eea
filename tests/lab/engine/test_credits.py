"""End-to-end credits (IBTA vol. 1, 9.7.7.2): what an ACK grants, and what waits for it."""

from __future__ import annotations

import pytest

from dissectors.aeth import AETH
from lab.engine.credits import Credits, code
from lab.engine.queues import ReceiveQueue
from lab.engine.work import SendWork, WCStatus, WROpcode
from tests.lab.engine.test_requester import acknowledge, runs
from tests.pair import Pair, drop, make_pair, roundtrip_until_done, transfer

SEND = SendWork(1, WROpcode.SEND)
WRITE = SendWork(1, WROpcode.RDMA_WRITE)
UNLIMITED = 0x1F

# IBTA vol. 1, table 45: credit count, code.
TABLE_45 = [
    (0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (6, 5), (8, 6), (12, 7), (16, 8), (24, 9), (32, 10),
    (48, 11), (64, 12), (96, 13), (128, 14), (192, 15), (256, 16), (384, 17), (512, 18), (768, 19),
    (1024, 20), (1536, 21), (2048, 22), (3072, 23), (4096, 24), (6144, 25), (8192, 26),
    (12288, 27), (16384, 28), (24576, 29), (32768, 30),
]  # fmt: skip


@pytest.mark.parametrize(("count", "expected"), TABLE_45)
def test_code_of_a_count(count: int, expected: int) -> None:
    assert code(count) == expected


@pytest.mark.parametrize(("count", "expected"), [(5, 4), (7, 5), (1023, 19), (40_000, 30)])
def test_a_count_between_two_codes_is_told_as_the_smaller(count: int, expected: int) -> None:
    assert code(count) == expected


@pytest.fixture
def pair() -> Pair:
    return make_pair(path_mtu=256, sq_psns=(100, 200), flow_control=True)


def send(pair: Pair, count: int) -> None:
    for number in range(count):
        pair.a.post(WROpcode.SEND, pair.b, 4, wr_id=number)


def test_rxe_tells_no_credits_and_so_do_we_unless_asked() -> None:
    plain = make_pair()
    plain.b.receive(100)
    plain.b.receive(100)
    send(plain, 1)
    transfer(plain, plain.a)
    (ack,) = runs(drop(plain, plain.b))
    assert ack.header(AETH).syndrome == UNLIMITED


@pytest.mark.parametrize(("posted", "told"), [(1, 0), (2, 1), (8, 5), (100, 13)])
def test_an_ack_tells_the_receives_left(pair: Pair, posted: int, told: int) -> None:
    for _ in range(posted):
        pair.b.receive(100)
    send(pair, 1)
    transfer(pair, pair.a)
    (ack,) = runs(drop(pair, pair.b))
    assert (ack.header(AETH).syndrome, ack.header(AETH).msn) == (told, 1)


def test_a_shared_receive_queue_tells_none(pair: Pair) -> None:
    pair.b.qp.receives = ReceiveQueue(10, 1, number=5)
    assert pair.b.qp.credit_code == UNLIMITED


def test_one_send_goes_out_beyond_the_limit(pair: Pair) -> None:
    """The first, of whose receive nothing is known; then as many as were granted, and one more."""
    send(pair, 10)
    assert len(drop(pair, pair.a)) == 1
    acknowledge(pair, 100, 3)  # its MSN is 0: a limit of 3, so 4 may have begun
    assert len(drop(pair, pair.a)) == 3
    acknowledge(pair, 103, 0)
    assert not drop(pair, pair.a)
    assert [d.data["ssn"] for d in pair.a.events("credit_wait")] == [2, 5]


def test_no_limit_lifts_it_for_good(pair: Pair) -> None:
    send(pair, 10)
    drop(pair, pair.a)
    acknowledge(pair, 100, UNLIMITED)
    assert len(drop(pair, pair.a)) == 9


@pytest.mark.parametrize(
    "opcode", [WROpcode.RDMA_WRITE, WROpcode.RDMA_READ, WROpcode.ATOMIC_FETCH_AND_ADD]
)
def test_what_takes_no_receive_needs_no_credit(pair: Pair, opcode: WROpcode) -> None:
    send(pair, 1)
    for _ in range(5):
        pair.a.post(opcode, pair.b, 8)
    send(pair, 1)
    assert len(drop(pair, pair.a)) == 6, "the second SEND waits"


def test_a_message_without_a_receive_moves_the_limit_along() -> None:
    """It has an SSN, its end raises the responder's MSN, and it leaves the receives as they are."""
    own = Credits(counted=True)
    for work in (SEND, WRITE, WRITE):
        assert own.allows(work)
        own.begin(work)
    assert (own.ssn, own.lsn) == (3, 2)
    assert not own.allows(SEND)
    own.grant(AETH(syndrome=1, msn=3))
    assert own.lsn == 4


@pytest.mark.parametrize("syndrome", [0x20, 0x61, 0x9F, 0x5F])
def test_only_an_ack_grants(syndrome: int) -> None:
    own = Credits(counted=True)
    own.grant(AETH(syndrome=syndrome, msn=9))
    assert own.lsn == 0


def test_an_older_ack_takes_nothing_back() -> None:
    own = Credits(counted=True)
    own.grant(AETH(syndrome=5, msn=2))
    own.grant(AETH(syndrome=2, msn=1))
    assert own.lsn == 8


def test_numbers_wrap() -> None:
    own = Credits(counted=True)
    own.ssn = own.lsn = 0xFFFFFE
    own.begin(SEND)
    assert not own.allows(SEND)
    own.grant(AETH(syndrome=4, msn=0xFFFFFF))
    assert own.lsn == 3
    assert own.allows(SEND)


def slow_receiver(pair: Pair) -> tuple[int, int]:
    """(RNR NAKs, packets) of 20 SENDs to an end that posts a receive only now and then."""
    send(pair, 20)
    for number in range(20):
        pair.b.receive(100)
        if number >= 3:
            transfer(pair, pair.a)
            transfer(pair, pair.b)
    roundtrip_until_done(pair)
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS] * 20
    return pair.b.device.counters["send_rnr_err"], pair.a.device.counters["sent_pkts"]


def test_a_slow_receiver_is_not_overrun_where_its_credits_are_heeded() -> None:
    naks, packets = slow_receiver(make_pair(path_mtu=256))
    assert naks > 0
    assert packets > 20
    assert slow_receiver(make_pair(path_mtu=256, flow_control=True)) == (0, 20)


def test_the_limited_message_finds_out_about_new_receives(pair: Pair) -> None:
    """With no credit at all one message goes out, draws an RNR NAK, and comes again."""
    pair.b.receive(100)
    send(pair, 2)
    transfer(pair, pair.a)
    transfer(pair, pair.b)
    transfer(pair, pair.a)
    assert pair.b.device.counters["send_rnr_err"] == 1
    pair.b.receive(100)
    roundtrip_until_done(pair)
    assert len(pair.a.completions()) == 2
