"""What loss costs a transport that goes back: goodput, and how much is sent for each packet taken.

Of N packets delivered each was lost p / (1 - p) times before, and every loss sends W packets
again, itself and those that were on their way behind it: (1 - p + W p) / (1 - p) are sent for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lab.bench.bench import Bench, Measurement
from lab.bench.row import Row
from lab.bench.verbs import CHUNK, DEPTH, compare, transfer
from lab.engine.requester import WINDOW

MTU = 4096
TIMEOUT = 12
"""16.8 ms: what a loss of a repeated packet costs, since no second NAK is sent."""


def loss(rate: float) -> Measurement:
    """WRITEs of which the part `rate` of all packets is dropped before the peer sees them."""
    return partial(_loss, rate=rate)


def expected(rate: float, behind: float) -> float:
    """Packets sent for each one delivered, where a loss sends `behind` again."""
    return (1 - rate + rate * behind) / (1 - rate)


def _loss(bench: Bench, *, rate: float) -> Iterator[Row]:
    (peer,) = bench.connect(1, 2 * DEPTH, MTU, TIMEOUT)
    end = bench.end
    write = end.verbs.IBV_WR_RDMA_WRITE
    requests = [end.request(write, CHUNK, peer, place * CHUNK) for place in range(DEPTH)]
    end.fill("data", DEPTH * CHUNK)
    bench.line.ask("fill", kind="zeros", length=DEPTH * CHUNK)
    counters = end.ctx.adapter.device.counters
    before = dict(counters)
    bench.line.ask("lose", rate=rate)
    try:
        count, seconds = transfer(end, end.qps, requests, DEPTH, bench.seconds)
    finally:
        bench.line.ask("lose", rate=0.0)
    compare(bench, "WRITE with loss", DEPTH * CHUNK)
    after = end.ctx.adapter.device.counters
    packets = count * CHUNK // MTU
    sent, retries = (after[name] - before[name] for name in ("sent_pkts", "completer_retry_err"))
    again = (sent - packets) / max(1, retries)
    yield Row(
        f"loss-{rate * 100:g}",
        f"RC WRITE 64 KiB, {rate * 100:g} % of packets lost",
        {
            "gbit_s": 8 * count * CHUNK / seconds / 1e9,
            "repeated_mb": (sent - packets) * MTU / 1e6,
            "amplification": sent / packets,
            "expected_amplification": expected(rate, again),
            "packets_per_loss": again,
        },
        f"window {WINDOW} packets, data compared",
    )
