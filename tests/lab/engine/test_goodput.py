"""Goodput of go-back-N by loss rate and window, in virtual time: a table that only a change of the
transport changes.
"""

from __future__ import annotations

from random import Random

from syrupy.assertion import SnapshotAssertion

from lab.engine.work import WROpcode
from lab.wire.faults import Action, Faults, Rates
from lab.wire.loopback import loopback
from tests.pair import make_pair, roundtrip_until_done

LENGTH, MESSAGES, MTU = 1 << 16, 32, 4096
BITS_PER_SECOND, LATENCY_NS = 10_000_000_000, 5_000
TIMEOUT = 8  # 1.05 ms
LOSSES = (0.0, 0.001, 0.01, 0.05)
WINDOWS = (8, 32, 128)
PACKETS = LENGTH // MTU * MESSAGES


def transfer(loss: float, window: int) -> tuple[float, int]:
    """(goodput in Gbit/s, request packets sent more than once) of 2 MiB in WRITEs of 64 KiB."""
    pair = make_pair(path_mtu=MTU, size=LENGTH, timeout=TIMEOUT)
    pair.a.qp.window = window
    pair.a.memory[:] = Random(1).randbytes(LENGTH)
    random = Random(2)
    ends = [
        Faults(wire, Rates({Action.DROP: loss}, random, 1))
        for wire in loopback(LATENCY_NS, BITS_PER_SECOND)
    ]
    pair.wires = (ends[0], ends[1])
    for _ in range(MESSAGES):
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, LENGTH)
    roundtrip_until_done(pair)
    assert len(pair.a.completions()) == MESSAGES
    assert pair.b.memory == pair.a.memory
    goodput = 8 * LENGTH * MESSAGES / pair.now
    return goodput, pair.a.device.counters["sent_pkts"] - PACKETS


def test_goodput_by_loss_and_window(snapshot: SnapshotAssertion) -> None:
    rows = [f"{'loss':>6} {'window':>6} {'Gbit/s':>7} {'again':>6}"]
    for loss in LOSSES:
        for window in WINDOWS:
            goodput, again = transfer(loss, window)
            rows.append(f"{loss:6.1%} {window:6} {goodput:7.3f} {again:6}")
    assert "\n".join(rows) == snapshot


def test_without_loss_nothing_is_sent_again_and_the_wire_is_full() -> None:
    goodput, again = transfer(0.0, 128)
    assert again == 0
    # Of 10 Gbit/s, 4096 of each packet's 4112 bytes are payload; the wire counts UDP payload only.
    assert 9.7 < goodput <= 10 * 4096 / 4112
