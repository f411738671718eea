"""Whatever the wire does: each message once, in order, whole; or the error state
and all flushed.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.engine.dcqcn import Dcqcn
from lab.engine.states import QPState
from lab.engine.work import WCFlag, WCOpcode, WCStatus, WROpcode
from lab.wire.faults import Action, Effect, Fault, Faults, Plan, Rates
from lab.wire.tap import Tap
from tests.pair import Pair, make_pair, roundtrip_until_done, step
from tests.strategies import ATOMIC, CARRYING, fault_plans, path_mtus, sq_psns, work

Work = list[tuple[WROpcode, int]]
ROOM = 4096
"""Bytes of memory each request has for itself at either end."""
MASK_64 = (1 << 64) - 1


class Expectation:
    """What both memories and all completions must be once `works` are done."""

    def __init__(self, pair: Pair, works: Work, random: Random) -> None:
        self.pair = pair
        self.works = works
        half = ROOM * len(works)
        self.local = bytearray(random.randbytes(half))
        self.remote = bytearray(random.randbytes(2 * half))
        pair.a.memory[:half] = self.local
        pair.b.memory[: 2 * half] = self.remote
        self.received: list[tuple[WCOpcode, int, int, int]] = []
        for index, (opcode, length) in enumerate(works):
            self._post(index, opcode, length, half + ROOM * index)

    def _post(self, index: int, opcode: WROpcode, length: int, landing: int) -> None:
        """Post request `index` at A, and what it needs at B; work out what it does."""
        pair, start = self.pair, ROOM * index
        data = self.local[start : start + length]
        takes_receive = opcode in {
            WROpcode.SEND,
            WROpcode.SEND_WITH_IMM,
            WROpcode.RDMA_WRITE_WITH_IMM,
        }
        if takes_receive:
            pair.b.receive(ROOM, landing, wr_id=index)
            kind = WCOpcode.RECV if "SEND" in opcode.name else WCOpcode.RECV_RDMA_WITH_IMM
            immediate = index if "IMM" in opcode.name else 0
            self.received.append((kind, index, length, immediate))
        if "SEND" in opcode.name:
            self.remote[landing : landing + length] = data
        elif "WRITE" in opcode.name:
            self.remote[start : start + length] = data
        elif opcode is WROpcode.RDMA_READ:
            self.local[start : start + length] = self.remote[start : start + length]
        else:
            self._atomic(opcode, start)
        pair.a.post(
            opcode,
            pair.b,
            length,
            start,
            start,
            wr_id=index,
            immediate=index,
            compare_add=3,
            swap=9,
        )

    def _atomic(self, opcode: WROpcode, start: int) -> None:
        original = self.remote[start : start + 8]
        self.local[start : start + 8] = original
        if opcode is WROpcode.ATOMIC_FETCH_AND_ADD:
            value = int.from_bytes(original, "little") + 3
            self.remote[start : start + 8] = (value & MASK_64).to_bytes(8, "little")

    def check(self) -> None:
        sent = self.pair.a.completions()
        assert [c.wr_id for c in sent] == list(range(len(self.works)))
        assert {c.status for c in sent} <= {WCStatus.SUCCESS}
        received = self.pair.b.completions()
        assert {c.status for c in received} <= {WCStatus.SUCCESS}
        found = [(c.opcode, c.wr_id, c.byte_length, c.immediate) for c in received]
        assert found == self.received
        assert all(
            bool(c.flags & WCFlag.WITH_IMM) == bool(c.immediate) or not c.immediate
            for c in received
        )
        assert self.pair.a.memory[: len(self.local)] == self.local
        assert self.pair.b.memory[: len(self.remote)] == self.remote
        assert not any(self.pair.b.memory[len(self.remote) :])


def faulty_pair(plans: tuple[list[Fault], list[Fault]], **options: object) -> Pair:
    pair = make_pair(size=1 << 18, **options)
    ends = []
    for side, wire, faults in zip((pair.a, pair.b), pair.wires, plans, strict=True):
        psns = {pair.peer(side).qp.number: (side.sq_psn, pair.peer(side).sq_psn)}
        ends.append(Faults(wire, Plan(faults, psns)))
    pair.wires = (ends[0], ends[1])
    return pair


@settings(max_examples=200, deadline=None)
@given(st.lists(work, max_size=12), fault_plans, path_mtus, sq_psns, st.integers(0, 9))
def test_survivable_plan(
    works: Work, plans: tuple[list[Fault], list[Fault]], path_mtu: int, sq_psn: int, seed: int
) -> None:
    pair = faulty_pair(plans, path_mtu=path_mtu, sq_psns=(sq_psn, 5))
    expected = Expectation(pair, works, Random(seed))
    roundtrip_until_done(pair)
    expected.check()


def random_works(random: Random, most: int) -> Work:
    choices = [
        lambda: (random.choice(ATOMIC), 8),
        lambda: (random.choice(CARRYING), random.choice([0, 1, random.randint(0, ROOM)])),
    ]
    return [random.choices(choices, [1, 4])[0]() for _ in range(random.randint(1, most))]


PLANS = int(os.environ.get("PLANS", "200"))
"""How many seeded plans to run: PLANS=10000 for a long run."""


@pytest.mark.parametrize("block", range(0, PLANS, 50))
def test_seeded_rates(block: int) -> None:
    """Plans by chance: up to a tenth of all packets lost, and as many each of the other effects."""
    for seed in range(block, min(block + 50, PLANS)):
        random = Random(seed)
        works = random_works(random, 20)
        pair = chance_pair(random)
        expected = Expectation(pair, works, random)
        roundtrip_until_done(pair)
        if pair.a.qp.state is QPState.RTS:
            expected.check()
        else:
            check_failed(pair, works)


def chance_pair(random: Random) -> Pair:
    """Ends, rates and delays drawn from `random`, which goes on to decide each packet's fate."""
    rates = {action: random.choice([0, 0.02, 0.1]) for action in Action}
    pair = make_pair(
        size=1 << 18,
        path_mtu=random.choice([256, 512, 1024]),
        sq_psns=(random.choice([0xFFFFF0, random.getrandbits(24)]), random.getrandbits(24)),
        max_rd_atomic=random.choice([1, 2, 16]),
        retry_cnt=random.choice([1, 7]),
        dcqcn=random.choice([None, Dcqcn(10_000_000_000)]),
        flow_control=random.choice([False, True]),
    )
    delay_ns = random.choice([1_000, 100_000, 100_000_000])
    ends = [Faults(wire, Rates(rates, random, delay_ns)) for wire in pair.wires]
    pair.wires = (ends[0], ends[1])
    return pair


def test_the_same_seed_gives_the_same_bytes() -> None:
    def frames(seed: int) -> list[tuple[bytes, int]]:
        random = Random(seed)
        found: list[tuple[bytes, int]] = []
        works = random_works(random, 20)
        pair = chance_pair(random)
        taps = [
            Tap(wire, lambda frame, time: found.append((frame, time)), clock=lambda: pair.now)
            for wire in pair.wires
        ]
        pair.wires = (taps[0], taps[1])
        Expectation(pair, works, random)
        roundtrip_until_done(pair)
        return found

    assert frames(3) == frames(3)
    assert frames(3) != frames(4)


def check_failed(pair: Pair, works: Work) -> None:
    """A's requests succeeded up to one that failed; the rest is flushed; each completed once."""
    sent = pair.a.completions()
    assert [c.wr_id for c in sent] == list(range(len(works)))
    statuses = [c.status for c in sent]
    good = statuses.count(WCStatus.SUCCESS)
    assert statuses[:good] == [WCStatus.SUCCESS] * good
    assert statuses[good] not in {WCStatus.SUCCESS, WCStatus.WR_FLUSH_ERR}
    assert set(statuses[good + 1 :]) <= {WCStatus.WR_FLUSH_ERR}
    assert pair.a.qp.state is QPState.ERR


@given(st.lists(work, min_size=1, max_size=8), st.integers(0, 20), st.booleans())
@settings(max_examples=60, deadline=None)
def test_cut_wire(works: Work, cut: int, one_way: bool) -> None:
    """From PSN `cut` on nothing arrives any more."""
    dead = [Fault(Effect(Action.DROP), cut + i, nth) for i in range(60) for nth in range(1, 12)]
    plans = (dead, []) if one_way else ([], [Fault(f.effect, f.offset, f.nth, True) for f in dead])
    pair = faulty_pair(plans, retry_cnt=2)
    expected = Expectation(pair, works, Random(cut))
    roundtrip_until_done(pair)
    if pair.a.qp.state is QPState.RTS:
        expected.check()
    else:
        check_failed(pair, works)
        assert pair.a.device.counters["retry_exceeded_err"] == 1


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6), fault_plans)
@settings(max_examples=100, deadline=None)
def test_receiver_not_ready(lengths: list[int], plans: tuple[list[Fault], list[Fault]]) -> None:
    """Receives are posted only when B has said that it has none."""
    pair = faulty_pair(plans, path_mtu=512)
    for index, length in enumerate(lengths):
        pair.a.memory[:length] = bytes([index + 1]) * length
        pair.a.post(WROpcode.SEND, pair.b, length, wr_id=index)
        posted = False
        for _ in range(10_000):
            if not posted and pair.b.device.counters["send_rnr_err"] > index:
                pair.b.receive(ROOM, wr_id=index)
                posted = True
            if not step(pair):
                break
        (sent,), (received,) = pair.a.completions(), pair.b.completions()
        assert (sent.wr_id, sent.status) == (index, WCStatus.SUCCESS)
        assert (received.wr_id, received.byte_length) == (index, length)
        assert pair.b.memory[:length] == pair.a.memory[:length]


def test_receiver_never_ready() -> None:
    pair = make_pair(rnr_retry=3, min_rnr_timer=14)
    pair.a.post(WROpcode.SEND, pair.b, 5)
    roundtrip_until_done(pair)
    (completion,) = pair.a.completions()
    assert completion.status is WCStatus.RNR_RETRY_EXC_ERR
    assert pair.b.device.counters["send_rnr_err"] == 4
    assert pair.a.device.counters["retry_rnr_exceeded_err"] == 1
    # Timer code 14 is 1.28 ms (IBTA vol. 1, table 45).
    assert 3 * 1_280_000 <= pair.now < 4 * 1_280_000
    assert pair.b.qp.state is QPState.RTS
