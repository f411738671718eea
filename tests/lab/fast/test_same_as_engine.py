"""The compiled code does what the engine does: the same bytes at the same times,
the same completions.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from lab.engine.events import Decision
from lab.wire.faults import Action, Faults, Rates
from lab.wire.tap import Tap
from tests.lab.engine.test_recovery import Expectation, random_works
from tests.lab.verbs.ends import ends
from tests.pair import Pair, make_pair, roundtrip_until_done

RATES = {
    "no faults": {},
    "a loss now and then": {Action.DROP: 0.01},
    "all kinds now and then": dict.fromkeys(Action, 0.003),
}


def conversation(seed: int, rates: dict[Action, float], *, fast: bool) -> dict[str, Any]:
    """Everything that can be seen of one."""
    random = Random(seed)
    works = random_works(random, 60)
    pair = make_pair(
        size=1 << 19,
        fast=fast,
        path_mtu=random.choice([256, 1024]),
        sq_psns=(random.choice([0xFFFFE0, random.getrandbits(24)]), random.getrandbits(24)),
        max_rd_atomic=random.choice([1, 4]),
        max_dest_rd_atomic=4,
    )
    frames: list[tuple[int, bytes]] = []
    chance = Random(seed)
    faulty = [
        Faults(
            Tap(
                wire,
                lambda frame, time: frames.append((time, frame)),
                clock=lambda: pair.now,
            ),
            Rates(rates, chance, 100_000),
        )
        for wire in pair.wires
    ]
    pair.wires = (faulty[0], faulty[1])
    expected = Expectation(pair, works, random)
    roundtrip_until_done(pair)
    if pair.a.qp.state.name == "RTS":
        expected.check()
    return {
        "frames": frames,
        "counters": counters(pair),
        "log": decisions(pair),
        "memory": [bytes(side.memory) for side in (pair.a, pair.b)],
        "completions": [side.completions() for side in (pair.a, pair.b)],
    }


def decisions(pair: Pair) -> list[list[Decision]]:
    """But for answers to what was answered before, which compiled code drops in silence."""
    return [[entry for entry in side.log if entry.event != "ghost"] for side in (pair.a, pair.b)]


def counters(pair: Pair) -> list[dict[str, int]]:
    return [dict(side.device.counters) for side in (pair.a, pair.b)]


@pytest.mark.parametrize("kind", RATES)
def test_same_as_engine(kind: str) -> None:
    for seed in range(8):
        engine = conversation(seed, RATES[kind], fast=False)
        compiled = conversation(seed, RATES[kind], fast=True)
        assert compiled == engine, f"seed {seed}"


def test_what_compiled_code_cannot_send_the_engine_fails() -> None:
    """On sockets too: the queue pair is not handed to and fro."""
    with ends(fast=True) as (a, b):
        write = a.verbs.IBV_WR_RDMA_WRITE
        a.send(write, 4, to=b, wr_id=1)
        a.wait()
        bad = a.verbs.SendWR(
            wr_id=2, opcode=write, num_sge=1, sg=[a.verbs.SGE(a.mr.buf, 4, a.mr.lkey ^ 1)]
        )
        bad.set_wr_rdma(b.mr.rkey, b.mr.buf)
        a.qp.post_send(bad)
        a.send(write, 4, to=b, wr_id=3)
        found = [(wc.wr_id, wc.status) for wc in a.wait(2)]
        assert found == [(2, a.verbs.IBV_WC_LOC_PROT_ERR), (3, a.verbs.IBV_WC_WR_FLUSH_ERR)]
