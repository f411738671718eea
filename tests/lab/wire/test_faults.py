"""Each effect, at its address, on a wire in virtual time."""

from __future__ import annotations

from random import Random

import pytest

from dissectors.bth import BTH
from dissectors.opcode import Opcode
from lab.engine.burst import Burst, Path
from lab.wire.faults import Action, Effect, Fault, Faults, Plan, Rates
from lab.wire.loopback import loopback

PATH = Path(bytes(4), bytes(4))
DELAY_NS = 1000


def datagram(psn: int, opcode: Opcode = Opcode.RC_SEND_ONLY) -> Burst:
    data = BTH(opcode=int(opcode), dest_qp=17, psn=psn).pack() + bytes(4)
    return Burst(PATH, 4791, data, len(data))


def arrivals(faults: list[Fault], psns: list[int]) -> list[tuple[int, int, bytes]]:
    """(time, PSN, data) of what arrives when packets with `psns` are sent 10 ns
    apart from sq_psn 100.
    """
    here, there = loopback(latency_ns=0)
    wire = Faults(here, Plan(faults, {17: (100, 500)}))
    found: list[tuple[int, int, bytes]] = []
    for now in range(0, 10 * len(psns) + 2 * DELAY_NS, 10):
        if now // 10 < len(psns):
            wire.send(datagram(psns[now // 10]), now)
        list(wire.receive(now))
        found += [
            (now, BTH.parse(burst.data).psn, bytes(burst.data)) for burst in there.receive(now)
        ]
    return found


@pytest.mark.parametrize(
    ("action", "psns"),
    [
        (Action.DROP, [100, 102, 103]),
        (Action.DUPLICATE, [100, 101, 101, 102, 103]),
        (Action.REORDER, [100, 102, 101, 103]),
        (Action.DELAY, [100, 102, 103, 101]),
    ],
)
def test_order(action: Action, psns: list[int]) -> None:
    found = arrivals([Fault(Effect(action, DELAY_NS), 1)], [100, 101, 102, 103])
    assert [psn for _, psn, _ in found] == psns


def test_delay_and_reorder_end_when_nothing_follows() -> None:
    for action in (Action.DELAY, Action.REORDER):
        found = arrivals([Fault(Effect(action, DELAY_NS), 1)], [100, 101])
        assert [(time, psn) for time, psn, _ in found] == [(0, 100), (10 + DELAY_NS, 101)]


def test_corruption_flips_one_bit() -> None:
    ((_, _, data),) = arrivals([Fault(Effect(Action.CORRUPT, bit=8 * 3 + 1), 0)], [100])
    expected = bytearray(datagram(100).data)
    expected[3] ^= 2
    assert data == expected


def test_nth_passing_and_direction_are_part_of_the_address() -> None:
    drop = Effect(Action.DROP)
    assert len(arrivals([Fault(drop, 0, nth=2)], [100, 100, 100])) == 2
    assert len(arrivals([Fault(drop, 0, response=True)], [100])) == 1
    assert len(arrivals([Fault(drop, 0, dest_qp=18)], [100])) == 1
    assert not arrivals([Fault(drop, 0, dest_qp=17)], [100])


def test_response_is_counted_from_the_peers_psn() -> None:
    here, there = loopback(latency_ns=0)
    wire = Faults(here, Plan([Fault(Effect(Action.DROP), 3, response=True)], {17: (100, 500)}))
    for psn in (502, 503, 504):
        wire.send(datagram(psn, Opcode.RC_ACKNOWLEDGE), 0)
    assert [BTH.parse(burst.data).psn for burst in there.receive(0)] == [502, 504]


def test_congestion_mark() -> None:
    here, there = loopback(latency_ns=0)
    wire = Faults(here, Rates({Action.CE_MARK: 1.0}, Random(1), 1))
    wire.send(datagram(1), 0)
    (burst,) = there.receive(0)
    assert burst.path.traffic_class == 3


def test_rates_are_those_asked_for() -> None:
    here, there = loopback(latency_ns=0)
    wire = Faults(here, Rates({Action.DROP: 0.1}, Random(1), 1))
    for psn in range(10_000):
        wire.send(datagram(psn), 0)
    # Binomial: 1000 with a standard deviation of 30.
    assert 880 < 10_000 - len(list(there.receive(0))) < 1120
