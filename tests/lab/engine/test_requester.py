"""What a requester sends, waits for, sends again and gives up on."""

from __future__ import annotations

import pytest

from dissectors.aeth import AETH
from dissectors.header import Header
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from lab.engine.burst import Burst
from lab.engine.decode import Run, decode
from lab.engine.encode import encode
from lab.engine.errors import VerbError
from lab.engine.segment import Train
from lab.engine.states import QPState
from lab.engine.work import SendFlag, SendWork, Sge, WCStatus, WROpcode
from tests.pair import Pair, drop, make_pair, roundtrip_until_done, transfer

MTU = 256
ACK, SEQUENCE = 0x1F, 0x60
TIMEOUT_NS = 4096 << 14


@pytest.fixture
def pair() -> Pair:
    return make_pair(path_mtu=MTU, sq_psns=(100, 200), max_rd_atomic=2)


def runs(bursts: list[Burst]) -> list[Run]:
    found = []
    for burst in bursts:
        for run in decode(burst):
            assert isinstance(run, Run)
            found.append(run)
    return found


def answer(
    pair: Pair, opcode: Opcode, psn: int, headers: list[Header], payload: bytes = b""
) -> None:
    """Give A a response as if from B."""
    path = pair.b.qp.attributes.path
    assert path is not None
    head = b"".join(header.pack() for header in headers)
    train = Train(path, 17, psn, (opcode,), payload, MTU, head)
    for burst in encode(train, 4791, 1):
        pair.a.device.receive(burst, pair.now)


def acknowledge(pair: Pair, psn: int, syndrome: int = ACK) -> None:
    answer(pair, Opcode.RC_ACKNOWLEDGE, psn, [AETH(syndrome=syndrome)])


def write(pair: Pair, length: int, **options: object) -> None:
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, length, **options)


def read(pair: Pair, length: int, **options: object) -> None:
    pair.a.post(WROpcode.RDMA_READ, pair.b, length, **options)


def test_ack_is_asked_for_at_the_end_and_every_64_packets(pair: Pair) -> None:
    write(pair, 70 * MTU)
    sent = drop(pair, pair.a)
    asking = [i for i, burst in enumerate(sent) if runs([burst])[0].ack_req]
    assert len(sent) == 70
    assert asking == [63, 69]


def test_window(pair: Pair) -> None:
    """128 PSNs may be unacknowledged (rxe: RXE_MAX_UNACKED_PSNS); each acknowledged
    one makes room.
    """
    write(pair, 200 * MTU)
    assert len(drop(pair, pair.a)) == 128
    acknowledge(pair, 163)
    assert [run.first_psn for run in runs(drop(pair, pair.a))][::63] == [228, 291]


@pytest.mark.parametrize("psn", [99, 103, 0xFFFFFF, 100 + (1 << 23)])
@pytest.mark.parametrize("syndrome", [ACK, SEQUENCE, 0x2C, 0x62])
def test_ghosts_change_nothing(pair: Pair, psn: int, syndrome: int) -> None:
    write(pair, 3 * MTU)
    drop(pair, pair.a)
    acknowledge(pair, psn, syndrome)
    assert pair.a.qp.requester.unacked == 100
    assert not drop(pair, pair.a)
    assert not pair.a.completions()


@pytest.mark.parametrize("syndrome", [0x40, 0x5F, 0x7F, 0x80, 0xFF])
def test_reserved_syndromes_change_nothing(pair: Pair, syndrome: int) -> None:
    write(pair, 4)
    drop(pair, pair.a)
    acknowledge(pair, 100, syndrome)
    assert pair.a.qp.state is QPState.RTS
    assert not pair.a.completions()


def test_one_ack_covers_all_before_it(pair: Pair) -> None:
    for _ in range(5):
        write(pair, MTU)
    drop(pair, pair.a)
    acknowledge(pair, 103)
    assert len(pair.a.completions()) == 4


def test_acknowledged_while_going_back(pair: Pair) -> None:
    """A late ACK for what a rewind was about to repeat: it is not repeated."""
    for _ in range(5):
        write(pair, MTU)
    drop(pair, pair.a)
    acknowledge(pair, 101, SEQUENCE)
    acknowledge(pair, 103)
    assert [run.first_psn for run in runs(drop(pair, pair.a))] == [104]


@pytest.mark.parametrize(
    ("syndrome", "status"),
    [
        (0x61, WCStatus.REM_INV_REQ_ERR),
        (0x62, WCStatus.REM_ACCESS_ERR),
        (0x63, WCStatus.REM_OP_ERR),
    ],
)
def test_nak_ends_the_request_it_names(pair: Pair, syndrome: int, status: WCStatus) -> None:
    for number in range(3):
        write(pair, 2 * MTU, wr_id=number)
    drop(pair, pair.a)
    acknowledge(pair, 103, syndrome)
    found = [(c.wr_id, c.status) for c in pair.a.completions()]
    assert found == [(0, WCStatus.SUCCESS), (1, status), (2, WCStatus.WR_FLUSH_ERR)]
    assert pair.a.qp.state is QPState.ERR


def test_read_response_acknowledges_writes_before_it(pair: Pair) -> None:
    write(pair, 4)
    read(pair, 4)
    drop(pair, pair.a)
    only = Opcode.RC_RDMA_READ_RESPONSE_ONLY
    answer(pair, only, 101, [AETH(syndrome=ACK)], b"data")
    assert len(pair.a.completions()) == 2
    assert pair.a.memory[:4] == b"data"


def test_read_goes_on_from_the_missing_packet(pair: Pair) -> None:
    """IBTA 9.7.5.1.1: asked again with the address moved and the length reduced, as
    is every later READ.
    """
    pair.b.memory[:2000] = bytes(range(200)) * 10
    read(pair, 1000, remote=7)
    read(pair, 300, offset=1000, remote=1007)
    for burst in drop(pair, pair.a):
        pair.b.device.receive(burst, 0)
    responses = drop(pair, pair.b)
    for burst in responses[:2] + responses[3:]:
        pair.a.device.receive(burst, 0)
    asked = [run.header(RETH) for run in runs(drop(pair, pair.a))]
    assert [(reth.va - pair.b.base, reth.dma_len) for reth in asked] == [
        (7 + 512, 488),
        (1007, 300),
    ]
    roundtrip_until_done(pair)
    assert pair.a.memory[:1300] == pair.b.memory[7:1307]
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS] * 2


def test_lost_last_response_is_asked_for_when_a_later_ack_comes(pair: Pair) -> None:
    """An ACK past a READ that lacks its data is an implied NAK (IBTA 9.7.5.1.3)."""
    read(pair, 4)
    write(pair, 4)
    drop(pair, pair.a)
    acknowledge(pair, 101)
    assert [run.first for run in runs(drop(pair, pair.a))] == [
        Opcode.RC_RDMA_READ_REQUEST,
        Opcode.RC_RDMA_WRITE_ONLY,
    ]
    assert [d.data["why"] for d in pair.a.events("go_back")] == [
        "implied NAK: acknowledged past a missing response"
    ]


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [
        (Opcode.RC_RDMA_READ_RESPONSE_ONLY, b"123"),
        (Opcode.RC_RDMA_READ_RESPONSE_ONLY, b"12345"),
        (Opcode.RC_RDMA_READ_RESPONSE_FIRST, b"1234"),
    ],
)
def test_response_of_the_wrong_length_or_kind(pair: Pair, opcode: Opcode, payload: bytes) -> None:
    read(pair, 4)
    drop(pair, pair.a)
    answer(pair, opcode, 100, [AETH(syndrome=ACK)], payload)
    assert pair.a.completions()[0].status is WCStatus.BAD_RESP_ERR
    assert not any(pair.a.memory)


ANSWERS = {
    "an ACK": (Opcode.RC_ACKNOWLEDGE, [AETH(syndrome=ACK)], b""),
    "an RNR NAK": (Opcode.RC_ACKNOWLEDGE, [AETH(syndrome=0x2C)], b""),
    "a NAK": (Opcode.RC_ACKNOWLEDGE, [AETH(syndrome=SEQUENCE)], b""),
    "a READ response": (Opcode.RC_RDMA_READ_RESPONSE_ONLY, [AETH(syndrome=ACK)], b"late"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_comes_past_a_missing_response_is_an_implied_nak(pair: Pair, name: str) -> None:
    """IBTA 9.7.5.1.3: all is asked for again, from the READ on, and nothing completes before it."""
    opcode, headers, payload = ANSWERS[name]
    read(pair, 4, wr_id=1)
    read(pair, 4, wr_id=2)
    write(pair, 4, wr_id=3)
    drop(pair, pair.a)
    past = 101 if payload else 102
    answer(pair, opcode, past, headers, payload)
    assert not pair.a.completions()
    assert [run.first_psn for run in runs(drop(pair, pair.a))] == [100, 101, 102]
    assert not any(pair.a.memory)


def test_sixteen_reads_may_be_outstanding() -> None:
    pair = make_pair(path_mtu=MTU, sq_psns=(100, 200), max_rd_atomic=16)
    for _ in range(20):
        read(pair, 3 * MTU)
    asked = runs(drop(pair, pair.a))
    assert [run.first_psn for run in asked] == list(range(100, 148, 3))


def test_a_timeout_in_the_middle_of_a_read_goes_on_from_there(pair: Pair) -> None:
    pair.b.memory[:1000] = bytes(range(250)) * 4
    read(pair, 1000)
    transfer(pair, pair.a)
    for burst in drop(pair, pair.b)[:2]:
        pair.a.device.receive(burst, 0)
    pair.now = TIMEOUT_NS
    pair.a.device.handle_timer(pair.now)
    (asked,) = runs(transfer(pair, pair.a))
    header = asked.header(RETH)
    assert (asked.first_psn, header.va - pair.b.base, header.dma_len) == (102, 512, 488)
    roundtrip_until_done(pair)
    assert pair.a.memory[:1000] == pair.b.memory[:1000]


@pytest.mark.parametrize(
    ("code", "nanoseconds"), [(1, 8_192), (8, 1_048_576), (14, 67_108_864), (31, 4096 << 31)]
)
def test_timeout_codes(code: int, nanoseconds: int) -> None:
    """IBTA 9.7.6.1.3: 4.096 us times 2 to the code."""
    pair = make_pair(timeout=code)
    write(pair, 4)
    drop(pair, pair.a)
    assert pair.a.device.next_timer() == nanoseconds


@pytest.mark.parametrize(
    ("code", "milliseconds"), [(0, 655.36), (1, 0.01), (12, 0.64), (14, 1.28), (31, 491.52)]
)
def test_rnr_timer_codes(pair: Pair, code: int, milliseconds: float) -> None:
    """IBTA table 48. Nothing is sent before it has run, and then from the refused PSN on."""
    write(pair, 4)
    write(pair, 4)
    drop(pair, pair.a)
    acknowledge(pair, 101, 0x20 | code)
    assert not drop(pair, pair.a)
    timer = pair.a.device.next_timer()
    assert timer == int(milliseconds * 1_000_000)
    pair.now = timer
    pair.a.device.handle_timer(pair.now)
    assert [run.first_psn for run in runs(drop(pair, pair.a))] == [101]
    assert len(pair.a.completions()) == 1


def test_seven_rnr_retries_never_run_out() -> None:
    """IBTA 9.7.5.2.8: 7 is for ever."""
    pair = make_pair(sq_psns=(100, 200), rnr_retry=7)
    write(pair, 4)
    for _ in range(50):
        drop(pair, pair.a)
        acknowledge(pair, 100, 0x21)
        pair.now += 10_000
        pair.a.device.handle_timer(pair.now)
    assert pair.a.qp.state is QPState.RTS


def test_rnr_retries_run_out_and_all_is_flushed() -> None:
    pair = make_pair(sq_psns=(100, 200), rnr_retry=2)
    pair.a.receive(10, wr_id=9)
    for number in range(3):
        write(pair, 4, wr_id=number)
    for _ in range(3):
        assert pair.a.qp.state is QPState.RTS
        drop(pair, pair.a)
        acknowledge(pair, 101, 0x21)
        pair.now += 10_000
        pair.a.device.handle_timer(pair.now)
    assert pair.a.qp.state is QPState.ERR
    assert [(c.wr_id, c.status) for c in pair.a.completions()] == [
        (0, WCStatus.SUCCESS),
        (1, WCStatus.RNR_RETRY_EXC_ERR),
        (2, WCStatus.WR_FLUSH_ERR),
        (9, WCStatus.WR_FLUSH_ERR),
    ]
    assert not drop(pair, pair.a)
    assert pair.a.device.next_timer() is None


def test_refusals_are_counted(pair: Pair) -> None:
    write(pair, 4)
    drop(pair, pair.a)
    acknowledge(pair, 100, 0x62)
    assert pair.a.device.counters["req_remote_access_errors"] == 1


def test_reads_outstanding_are_limited(pair: Pair) -> None:
    for _ in range(3):
        read(pair, 4)
    assert len(transfer(pair, pair.a)) == 2
    transfer(pair, pair.b)
    assert len(transfer(pair, pair.a)) == 1


def test_fence_waits_for_reads(pair: Pair) -> None:
    read(pair, 4)
    write(pair, 4)
    write(pair, 4, flags=SendFlag.FENCE)
    write(pair, 4)
    assert len(transfer(pair, pair.a)) == 2
    transfer(pair, pair.b)
    assert len(transfer(pair, pair.a)) == 2


def test_fence_waits_for_atomics(pair: Pair) -> None:
    """IBTA 9.7.3 (10.8.3.3): for READs and atomics before it, not for WRITEs."""
    write(pair, 4)
    pair.a.post(WROpcode.ATOMIC_FETCH_AND_ADD, pair.b, 8)
    write(pair, 4, flags=SendFlag.FENCE, wr_id=7)
    sent = transfer(pair, pair.a)
    assert [run.first for run in runs(sent)] == [Opcode.RC_RDMA_WRITE_ONLY, Opcode.RC_FETCH_ADD]
    transfer(pair, pair.b)
    assert len(transfer(pair, pair.a)) == 1


def test_solicited_is_said_in_the_last_packet_of_what_takes_a_receive(pair: Pair) -> None:
    """IBTA 9.2.3: SE is for SEND and WRITE with immediate, in LAST or ONLY."""
    pair.b.receive(1000)
    pair.a.post(WROpcode.SEND, pair.b, 3 * MTU, flags=SendFlag.SIGNALED | SendFlag.SOLICITED)
    sent = runs(transfer(pair, pair.a))
    assert [run.solicited for run in sent] == [False, False, True]
    assert pair.b.completions()[0].solicited
    write(pair, 4, flags=SendFlag.SOLICITED)
    (plain,) = runs(drop(pair, pair.a))
    assert not plain.solicited


def test_own_memory_that_is_not_to_be_had(pair: Pair) -> None:
    """The requests before it are finished first; those after it are flushed."""
    write(pair, 4, wr_id=1)
    write(pair, 4, wr_id=2, sges=(Sge(pair.a.base, 4, 0xBAD),))
    write(pair, 4, wr_id=3)
    assert len(transfer(pair, pair.a)) == 1
    assert pair.a.qp.state is QPState.RTS
    transfer(pair, pair.b)
    assert [(c.wr_id, c.status) for c in pair.a.completions()] == [
        (1, WCStatus.SUCCESS),
        (2, WCStatus.LOC_PROT_ERR),
        (3, WCStatus.WR_FLUSH_ERR),
    ]


def test_retry_count_is_restored_by_progress(pair: Pair) -> None:
    pair.a.qp.attributes.retry_cnt = 1
    pair.a.qp.completer.start()
    for _ in range(4):
        write(pair, MTU)
        drop(pair, pair.a)
        pair.now += TIMEOUT_NS
        pair.a.device.handle_timer(pair.now)
        transfer(pair, pair.a)
        transfer(pair, pair.b)
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS] * 4


def test_no_timeout_means_for_ever() -> None:
    pair = make_pair(timeout=0)
    pair.a.post(WROpcode.RDMA_WRITE, pair.b, 4)
    drop(pair, pair.a)
    assert pair.a.device.next_timer() is None


def test_unsignalled_requests_complete_only_when_they_fail(pair: Pair) -> None:
    write(pair, 4, flags=SendFlag.NONE)
    write(pair, 4)
    roundtrip_until_done(pair)
    assert len(pair.a.completions()) == 1
    write(pair, 4, flags=SendFlag.NONE)
    drop(pair, pair.a)
    acknowledge(pair, 102, 0x62)
    assert len(pair.a.completions()) == 1


def test_invalidate_locally_and_remotely(pair: Pair) -> None:
    pair.b.receive(100)
    pair.a.post(WROpcode.SEND_WITH_INV, pair.b, 4, immediate=pair.b.key)
    roundtrip_until_done(pair)
    assert pair.b.completions()[0].immediate == pair.b.key
    write(pair, 4)
    roundtrip_until_done(pair)
    assert [c.status for c in pair.a.completions()] == [WCStatus.SUCCESS, WCStatus.REM_ACCESS_ERR]


@pytest.mark.parametrize("state", [QPState.RESET, QPState.INIT, QPState.RTR])
def test_posting_too_early(pair: Pair, state: QPState) -> None:
    pair.a.qp.state = state
    with pytest.raises(VerbError, match=f"state {state.name}, not RTS"):
        write(pair, 4)


def test_posting_too_much(pair: Pair) -> None:
    for _ in range(1000):
        write(pair, 4)
    with pytest.raises(VerbError, match="all 1000 send requests"):
        write(pair, 4)
    with pytest.raises(VerbError, match="9 SGEs, 8 are allowed"):
        pair.b.qp.post_send(SendWork(1, WROpcode.SEND, (Sge(0, 1, 1),) * 9))


def test_scattered_and_inline_payload(pair: Pair) -> None:
    pair.a.memory[:1000] = bytes(range(250)) * 4
    pieces = (pair.a.sge(900, 100), pair.a.sge(0, 0), pair.a.sge(5, 300), pair.a.sge(500, 1))
    write(pair, 0, sges=pieces)
    write(pair, 0, sges=(), inline=b"inline", remote=2000)
    pair.a.post(WROpcode.RDMA_READ, pair.b, 0, sges=(pair.a.sge(5000, 3), pair.a.sge(6000, 398)))
    roundtrip_until_done(pair)
    expected = pair.a.memory[900:1000] + pair.a.memory[5:305] + pair.a.memory[500:501]
    assert pair.b.memory[:401] == expected
    assert pair.b.memory[2000:2006] == b"inline"
    assert pair.a.memory[5000:5003] + pair.a.memory[6000:6398] == expected


def test_drain_finishes_what_was_begun(pair: Pair) -> None:
    from lab.engine.qp import Attributes
    from lab.engine.states import Attr

    write(pair, 4)
    assert len(drop(pair, pair.a)) == 1
    pair.a.qp.modify(Attributes(), Attr.NONE, QPState.SQD, 0)
    write(pair, 4)
    assert not drop(pair, pair.a)
    acknowledge(pair, 100)
    assert [event.kind.name for event in pair.a.device.events] == ["SQ_DRAINED"]
    pair.a.qp.modify(Attributes(), Attr.NONE, QPState.RTS, 0)
    assert len(drop(pair, pair.a)) == 1
