"""What a responder refuses, and how: requests made by hand, answers read off the wire."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.immdt import ImmDt
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from lab.engine.burst import Burst
from lab.engine.decode import Run, decode
from lab.engine.encode import encode
from lab.engine.events import AsyncKind
from lab.engine.memory import Access
from lab.engine.segment import Train
from lab.engine.states import QPState
from lab.engine.work import WCStatus
from tests.pair import Pair, make_pair

LENGTH = 1 << 12
MTU = 256
ACK, SEQUENCE, INVALID, NO_ACCESS, BROKEN = 0x1F, 0x60, 0x61, 0x62, 0x63
RNR = 0x20 | 12


@pytest.fixture
def pair() -> Pair:
    return make_pair(path_mtu=MTU, size=LENGTH, sq_psns=(100, 200), max_dest_rd_atomic=2)


def request(
    pair: Pair,
    opcode: Opcode,
    psn: int,
    headers: Sequence[Header] = (),
    payload: bytes = b"",
    *,
    ack_req: bool = True,
) -> list[Run]:
    """Give B a packet as if from A; what B answers."""
    path = pair.a.qp.attributes.path
    assert path is not None
    head = b"".join(header.pack() for header in headers)
    train = Train(path, 17, psn, (opcode,), payload, MTU, head, ack_req=ack_req)
    for burst in encode(train, 4791, 1):
        pair.b.device.receive(burst, 0)
    return answers(pair.b.device.transmit(0))


def answers(bursts: object) -> list[Run]:
    found = []
    for burst in bursts:  # type: ignore[attr-defined]
        assert isinstance(burst, Burst)
        for run in decode(burst):
            assert isinstance(run, Run)
            found.append(run)
    return found


def syndrome(runs: list[Run]) -> int | None:
    """That of the one answer, None where there is none."""
    if not runs:
        return None
    (run,) = runs
    return run.header(AETH).syndrome


def reth(pair: Pair, length: int, offset: int = 0, key: int | None = None) -> RETH:
    key = pair.b.key if key is None else key
    return RETH(va=pair.b.base + offset, r_key=key, dma_len=length)


WRITE, READ = Opcode.RC_RDMA_WRITE_ONLY, Opcode.RC_RDMA_READ_REQUEST
FIRST, MIDDLE, LAST = (
    Opcode.RC_RDMA_WRITE_FIRST,
    Opcode.RC_RDMA_WRITE_MIDDLE,
    Opcode.RC_RDMA_WRITE_LAST,
)
SEND_FIRST, SEND_MIDDLE = Opcode.RC_SEND_FIRST, Opcode.RC_SEND_MIDDLE


def refused(pair: Pair, runs: list[Run], expected: int) -> None:
    """B answered `expected`, went to ERR, and did not touch its memory."""
    assert syndrome(runs) == expected
    assert pair.b.qp.state is QPState.ERR
    assert not any(pair.b.memory)
    assert pair.b.device.events


@pytest.mark.parametrize(
    ("offset", "length"), [(-1, 4), (LENGTH - 3, 4), (LENGTH, 1), (1 << 40, 4)]
)
@pytest.mark.parametrize("opcode", [WRITE, READ])
def test_bounds(pair: Pair, opcode: Opcode, offset: int, length: int) -> None:
    payload = b"x" * length if opcode is WRITE else b""
    refused(pair, request(pair, opcode, 100, [reth(pair, length, offset)], payload), NO_ACCESS)


@pytest.mark.parametrize("opcode", [FIRST, READ])
def test_more_than_a_message_holds(pair: Pair, opcode: Opcode) -> None:
    """IBTA 9.7.4.1.6: a DMA length above 2^31 is an invalid request, whatever its key."""
    payload = b"x" * MTU if opcode is FIRST else b""
    refused(pair, request(pair, opcode, 100, [reth(pair, (1 << 31) + 1)], payload), INVALID)


def test_unknown_key(pair: Pair) -> None:
    refused(pair, request(pair, WRITE, 100, [reth(pair, 4, key=1)], b"xxxx"), NO_ACCESS)
    assert pair.b.device.events[0].kind is AsyncKind.QP_ACCESS_ERR


@pytest.mark.parametrize(
    ("opcode", "missing"),
    [
        (WRITE, Access.REMOTE_WRITE),
        (READ, Access.REMOTE_READ),
        (Opcode.RC_FETCH_ADD, Access.REMOTE_ATOMIC),
    ],
)
def test_rights_of_region_and_queue_pair(opcode: Opcode, missing: Access) -> None:
    for of_region in (True, False):
        allowed = Access(0xF) & ~missing
        pair = make_pair(path_mtu=MTU, size=LENGTH, sq_psns=(100, 200))
        if of_region:
            pair = make_pair(path_mtu=MTU, size=LENGTH, sq_psns=(100, 200), access=allowed)
        else:
            pair.b.qp.attributes.access = allowed
        atomic = AtomicETH(va=pair.b.base, r_key=pair.b.key, swap_add=1)
        header = atomic if opcode is Opcode.RC_FETCH_ADD else reth(pair, 4)
        payload = b"xxxx" if opcode is WRITE else b""
        refused(
            pair, request(pair, opcode, 100, [header], payload), NO_ACCESS if of_region else INVALID
        )


def test_other_protection_domain(pair: Pair) -> None:
    pair.b.qp.domain = 2
    refused(pair, request(pair, WRITE, 100, [reth(pair, 4)], b"xxxx"), NO_ACCESS)


def test_nothing_named_needs_no_key(pair: Pair) -> None:
    assert syndrome(request(pair, WRITE, 100, [reth(pair, 0, key=99)])) == ACK
    (response,) = request(pair, READ, 101, [reth(pair, 0, key=99)])
    assert (response.first, response.length) == (Opcode.RC_RDMA_READ_RESPONSE_ONLY, 0)


@pytest.mark.parametrize("length", [3, 5, MTU])
def test_length_other_than_announced(pair: Pair, length: int) -> None:
    refused(pair, request(pair, WRITE, 100, [reth(pair, 4)], b"x" * length), INVALID)


@pytest.mark.parametrize("length", [0, 1, MTU - 1, MTU + 4])
def test_first_packet_must_be_full(pair: Pair, length: int) -> None:
    refused(pair, request(pair, FIRST, 100, [reth(pair, 600)], b"x" * length), INVALID)


def test_more_than_announced_in_the_middle(pair: Pair) -> None:
    request(pair, FIRST, 100, [reth(pair, 300)], b"x" * MTU)
    assert syndrome(request(pair, MIDDLE, 101, [], b"x" * MTU)) == INVALID
    assert not any(pair.b.memory[300:])


@pytest.mark.parametrize("opcode", [MIDDLE, LAST, SEND_MIDDLE, Opcode.RC_SEND_LAST])
def test_sequence_outside_a_message(pair: Pair, opcode: Opcode) -> None:
    refused(pair, request(pair, opcode, 100, [], b"x" * MTU), INVALID)


@pytest.mark.parametrize("opcode", [WRITE, FIRST, SEND_FIRST, SEND_MIDDLE, READ])
def test_sequence_inside_a_write(pair: Pair, opcode: Opcode) -> None:
    pair.b.receive(1000)
    request(pair, FIRST, 100, [reth(pair, 300)], b"x" * MTU)
    headers = [reth(pair, MTU)] if RETH in opcode.headers else []
    payload = b"x" * MTU if opcode.has_payload else b""
    assert syndrome(request(pair, opcode, 101, headers, payload)) == INVALID
    assert pair.b.device.events[0].kind is AsyncKind.QP_REQ_ERR


@pytest.mark.parametrize("opcode", [Opcode.RC_FLUSH, Opcode.RC_ATOMIC_WRITE])
def test_unsupported_request(pair: Pair, opcode: Opcode) -> None:
    headers = [kind() for kind in opcode.headers]
    refused(pair, request(pair, opcode, 100, headers, b"12345678"), INVALID)


@pytest.mark.parametrize("opcode", [Opcode.UC_SEND_ONLY, Opcode.UD_SEND_ONLY, Opcode.XRC_SEND_ONLY])
def test_other_transports_are_ignored(pair: Pair, opcode: Opcode) -> None:
    pair.b.receive(100)
    headers = [kind() for kind in opcode.headers]
    assert not request(pair, opcode, 100, headers, b"xxxx")
    assert pair.b.qp.state is QPState.RTS
    assert pair.b.device.counters["rcvd_not_for_qp"] == 1


def test_misaligned_atomic(pair: Pair) -> None:
    header = AtomicETH(va=pair.b.base + 4, r_key=pair.b.key, swap_add=1)
    refused(pair, request(pair, Opcode.RC_FETCH_ADD, 100, [header]), INVALID)


def test_more_reads_than_agreed(pair: Pair) -> None:
    """max_dest_rd_atomic is 2: the third before an answer goes out is one too many."""
    path = pair.a.qp.attributes.path
    assert path is not None
    for psn in (100, 101, 102):
        train = Train(path, 17, psn, (READ,), b"", MTU, reth(pair, 4).pack(), ack_req=True)
        for burst in encode(train, 4791, 1):
            pair.b.device.receive(burst, 0)
    runs = answers(pair.b.device.transmit(0))
    assert [run.first for run in runs[:2]] == [Opcode.RC_RDMA_READ_RESPONSE_ONLY] * 2
    assert syndrome(runs[2:]) == INVALID


def test_one_nak_for_a_gap_and_silence_until_it_is_filled(pair: Pair) -> None:
    gap = [request(pair, WRITE, psn, [reth(pair, 4)], b"xxxx") for psn in (103, 104, 105)]
    assert [syndrome(runs) for runs in gap] == [SEQUENCE, None, None]
    assert gap[0][0].first_psn == 100
    assert syndrome(request(pair, WRITE, 100, [reth(pair, 4)], b"xxxx")) == ACK
    assert syndrome(request(pair, WRITE, 105, [reth(pair, 4)], b"xxxx")) == SEQUENCE


def test_receiver_not_ready_then_silence(pair: Pair) -> None:
    (nak,) = request(pair, SEND_FIRST, 100, [], b"x" * MTU)
    assert (nak.header(AETH).syndrome, nak.first_psn) == (RNR, 100)
    assert not request(pair, Opcode.RC_SEND_LAST, 101, [], b"x")
    pair.b.receive(1000)
    request(pair, SEND_FIRST, 100, [], b"x" * MTU, ack_req=False)
    assert syndrome(request(pair, Opcode.RC_SEND_LAST, 101, [], b"x")) == ACK


def test_write_with_immediate_needs_its_receive_only_at_the_end(pair: Pair) -> None:
    request(pair, FIRST, 100, [reth(pair, MTU + 4)], b"x" * MTU, ack_req=False)
    last = Opcode.RC_RDMA_WRITE_LAST_WITH_IMMEDIATE
    (nak,) = request(pair, last, 101, [ImmDt(data=5)], b"yyyy")
    assert (nak.header(AETH).syndrome, nak.first_psn) == (RNR, 101)
    assert pair.b.memory[MTU : MTU + 4] == bytes(4)
    pair.b.receive(0)
    assert syndrome(request(pair, last, 101, [ImmDt(data=5)], b"yyyy")) == ACK
    assert pair.b.memory[MTU : MTU + 4] == b"yyyy"
    assert pair.b.completions()[0].immediate == 5


def test_one_ack_for_all_that_came_at_once(pair: Pair) -> None:
    """IBTA 9.7.5.1.2: an ACK covers what came before it; two that wait become one."""
    for psn in (100, 101, 102):
        give(pair, psn)
    (ack,) = answers(pair.b.device.transmit(0))
    assert (ack.first_psn, ack.header(AETH).msn) == (102, 3)


def give(pair: Pair, psn: int) -> None:
    """A WRITE that asks for an ACK, whose answer is not looked at yet."""
    path = pair.a.qp.attributes.path
    assert path is not None
    train = Train(path, 17, psn, (WRITE,), b"xxxx", MTU, reth(pair, 4).pack(), ack_req=True)
    for burst in encode(train, 4791, 1):
        pair.b.device.receive(burst, 0)


def test_msn_counts_messages_not_packets(pair: Pair) -> None:
    """IBTA 9.7.7.1: it goes up at a message's end; an ACK within one has that of the last whole."""
    (first,) = request(pair, FIRST, 100, [reth(pair, 2 * MTU)], b"x" * MTU)
    (last,) = request(pair, LAST, 101, [], b"x" * MTU)
    assert (first.header(AETH).msn, last.header(AETH).msn) == (0, 1)


@pytest.mark.parametrize("opcode", [WRITE, READ])
def test_no_bytes_need_no_key(pair: Pair, opcode: Opcode) -> None:
    """IBTA 9.7.4.1.5: with a DMA length of 0 neither r_key nor address is checked."""
    (answer,) = request(pair, opcode, 100, [RETH(va=1 << 40, r_key=1, dma_len=0)])
    assert answer.header(AETH).syndrome == ACK


def test_refusals_are_counted(pair: Pair) -> None:
    request(pair, WRITE, 100, [reth(pair, 4, key=1)], b"xxxx")
    assert pair.b.device.counters["resp_remote_access_errors"] == 1


def test_duplicate_write_is_acknowledged_and_not_done_again(pair: Pair) -> None:
    request(pair, WRITE, 100, [reth(pair, 4)], b"aaaa")
    request(pair, WRITE, 101, [reth(pair, 4)], b"bbbb")
    (again,) = request(pair, WRITE, 100, [reth(pair, 4)], b"aaaa")
    assert (again.first_psn, again.header(AETH).msn) == (101, 2)
    assert pair.b.memory[:4] == b"bbbb"
    assert pair.b.device.counters["duplicate_request"] == 1


def test_duplicate_atomic_is_answered_from_memory(pair: Pair) -> None:
    header = AtomicETH(va=pair.b.base, r_key=pair.b.key, swap_add=5)
    first = request(pair, Opcode.RC_FETCH_ADD, 100, [header])
    second = request(pair, Opcode.RC_FETCH_ADD, 101, [header])
    again = request(pair, Opcode.RC_FETCH_ADD, 100, [header])
    originals = [runs[0].header(AtomicAckETH).original for runs in (first, second, again)]
    assert originals == [0, 5, 0]
    assert int.from_bytes(pair.b.memory[:8], "little") == 10


def test_forgotten_atomic_is_not_answered(pair: Pair) -> None:
    header = AtomicETH(va=pair.b.base, r_key=pair.b.key, swap_add=5)
    for psn in (100, 101, 102):
        request(pair, Opcode.RC_FETCH_ADD, psn, [header])
    assert not request(pair, Opcode.RC_FETCH_ADD, 100, [header])
    assert int.from_bytes(pair.b.memory[:8], "little") == 15


def test_duplicate_read_is_executed_again_from_where_it_asks(pair: Pair) -> None:
    pair.b.memory[:1000] = bytes(range(250)) * 4
    assert [run.length for run in request(pair, READ, 100, [reth(pair, 1000)])] == [256] * 3 + [232]
    pair.b.memory[512] = 0xFF
    again = request(pair, READ, 102, [reth(pair, 488, 512)])
    assert [run.first_psn for run in again] == [102, 103]
    assert bytes(again[0].chunks[0]) == pair.b.memory[512:768]
    assert not request(pair, READ, 103, [reth(pair, 488, 512)]), "it reaches beyond what was read"


def test_send_longer_than_the_receive(pair: Pair) -> None:
    pair.b.receive(3, wr_id=8)
    assert syndrome(request(pair, Opcode.RC_SEND_ONLY, 100, [], b"xxxx")) == INVALID
    (failed,) = pair.b.completions()
    assert (failed.wr_id, failed.status) == (8, WCStatus.LOC_LEN_ERR)
    assert pair.b.qp.state is QPState.ERR


def test_receive_whose_memory_is_gone(pair: Pair) -> None:
    pair.b.receive(100, wr_id=8)
    pair.b.device.memory.deregister(pair.b.key)
    assert syndrome(request(pair, Opcode.RC_SEND_ONLY, 100, [], b"xxxx")) == BROKEN
    assert pair.b.completions()[0].status is WCStatus.LOC_PROT_ERR


def test_region_that_goes_in_the_middle_of_a_write(pair: Pair) -> None:
    request(pair, FIRST, 100, [reth(pair, 512)], b"x" * MTU)
    pair.b.device.memory.deregister(pair.b.key)
    assert syndrome(request(pair, LAST, 101, [], b"y" * MTU)) == NO_ACCESS
    assert not any(pair.b.memory[MTU:])


@pytest.mark.parametrize(
    ("field", "value", "counter"),
    [
        ("source", bytes([10, 77, 0, 9]), "rcvd_not_for_qp"),
        ("p_key", 0x7FFE, "bad_pkey_cntr"),
        ("dest_qp", 18, "rcvd_unknown_qp"),
    ],
)
def test_strangers_are_counted_and_ignored(
    pair: Pair, field: str, value: object, counter: str
) -> None:
    path = pair.a.qp.attributes.path
    assert path is not None
    fields = {"source": path.source, "p_key": 0xFFFF, "dest_qp": 17} | {field: value}
    strange = type(path)(fields["source"], path.destination)  # type: ignore[arg-type]
    train = Train(
        strange, fields["dest_qp"], 100, (WRITE,), b"xxxx", MTU, reth(pair, 4).pack(),
        p_key=fields["p_key"],
    )  # type: ignore[arg-type]  # fmt: skip
    for burst in encode(train, 4791, 1):
        pair.b.device.receive(burst, 0)
    assert not list(pair.b.device.transmit(0))
    assert pair.b.device.counters[counter] == 1
    assert not any(pair.b.memory)


@pytest.mark.parametrize(
    ("own", "theirs", "same"),
    [
        (0xFFFF, 0xFFFF, True),
        (0xFFFF, 0x7FFF, True),
        (0x7FFF, 0xFFFF, True),
        (0x7FFF, 0x7FFF, False),
        (0x8001, 0xFFFF, False),
        (0x8001, 0x0001, True),
        (0x8000, 0x8000, False),
        (0x0000, 0x0000, False),
    ],
)
def test_partitions(pair: Pair, own: int, theirs: int, same: bool) -> None:
    """IBTA 10.9.3: the same 15 bits, not 0, and not two limited members."""
    pair.b.qp.attributes.p_key = own
    path = pair.a.qp.attributes.path
    assert path is not None
    train = Train(path, 17, 100, (WRITE,), b"xxxx", MTU, reth(pair, 4).pack(), p_key=theirs)
    for burst in encode(train, 4791, 1):
        pair.b.device.receive(burst, 0)
    assert any(pair.b.memory) == same
    assert pair.b.device.counters["bad_pkey_cntr"] == (not same)


@pytest.mark.parametrize("state", [QPState.RESET, QPState.INIT, QPState.ERR])
def test_states_that_do_not_receive(pair: Pair, state: QPState) -> None:
    pair.b.qp.state = state
    assert not request(pair, WRITE, 100, [reth(pair, 4)], b"xxxx")
    assert not any(pair.b.memory)


def test_bth_of_an_acknowledgement(pair: Pair) -> None:
    """IBTA 9.7.5.1: the PSN of what it answers, no AckReq, the peer's queue pair."""
    (ack,) = request(pair, WRITE, 100, [reth(pair, 4)], b"xxxx")
    assert ack.bth == BTH(opcode=17, dest_qp=17, psn=100)
