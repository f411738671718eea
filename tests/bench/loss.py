"""Goodput and go-back-N by loss rate and window, in virtual time: the same figures every time.

    python -m tests.bench.loss [--mib 64] [--markdown]

Two ends on a wire of 10 Gbit/s and 5 us each way that loses packets of both directions by chance;
RDMA WRITEs of 64 KiB, path MTU 4096, timeout code 8 (1.05 ms). A loss costs the lost packet and
all that went out after it until the sender heard of it: with `k` packets in all, a packet needs
1 + k p / (1 - p) sends on average (selective repeat: k = 1). The formula's column has the window
for k, which is the most; `k` is what the log of the sender says it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dissectors import psn
from lab.engine.work import WCStatus, WROpcode
from lab.wire.faults import Action, Faults, Rates
from lab.wire.loopback import loopback
from tests.pair import make_pair, roundtrip_until_done

LENGTH, MTU = 1 << 16, 4096
BITS_PER_SECOND, LATENCY_NS = 10_000_000_000, 5_000
TIMEOUT = 8
LOSSES = (0.001, 0.01, 0.05)
WINDOWS = (8, 32, 128)
MIB = 64
COLUMNS = ("loss", "window", "Gbit/s", "sends", "formula", "k", "again MiB", "NAKs", "timeouts")


@dataclass(frozen=True, slots=True)
class Cell:
    """One transfer. `sends` is packets sent for each delivered, `k` packets sent again each time
    the sender went back.
    """

    loss: float
    window: int
    goodput: float
    sends: float
    k: float
    again: int
    naks: int
    timeouts: int

    @property
    def formula(self) -> float:
        """Sends for each packet, of a sender that hears of a loss a window later."""
        return 1 + self.window * self.loss / (1 - self.loss)

    def texts(self) -> tuple[str, ...]:
        return (
            f"{self.loss:.1%}",
            str(self.window),
            f"{self.goodput:.3f}",
            f"{self.sends:.3f}",
            f"{self.formula:.3f}",
            f"{self.k:.1f}",
            f"{self.again * MTU / 2**20:.1f}",
            str(self.naks),
            str(self.timeouts),
        )


def transfer(loss: float, window: int, mib: int = MIB) -> Cell:
    """Move `mib` MiB; every byte has arrived, every request completed once."""
    messages = (mib << 20) // LENGTH
    pair = make_pair(path_mtu=MTU, size=LENGTH, timeout=TIMEOUT)
    pair.a.qp.window = window
    pair.a.memory[:] = Random(1).randbytes(LENGTH)
    random = Random(2)
    ends = [
        Faults(wire, Rates({Action.DROP: loss}, random, 1))
        for wire in loopback(LATENCY_NS, BITS_PER_SECOND)
    ]
    pair.wires = (ends[0], ends[1])
    done = 0
    while done < messages:
        for _ in range(min(1000, messages - done)):
            pair.a.post(WROpcode.RDMA_WRITE, pair.b, LENGTH)
        roundtrip_until_done(pair, steps=10_000_000)
        completions = pair.a.completions()
        assert {c.status for c in completions} == {WCStatus.SUCCESS}
        done += len(completions)
    assert pair.b.memory == pair.a.memory
    counters = pair.a.device.counters
    back = [decision.data for decision in pair.a.events("go_back")]
    repeats = [psn.forward(int(d["sq_psn"]), int(d["sent_up_to"])) + 1 for d in back]
    packets = messages * LENGTH // MTU
    return Cell(
        loss,
        window,
        8 * LENGTH * messages / pair.now,
        counters["sent_pkts"] / packets,
        sum(repeats) / len(repeats) if repeats else 0.0,
        counters["sent_pkts"] - packets,
        counters["rcvd_seq_err"],
        sum(d["why"] == "timeout" for d in back),
    )


def table(cells: Iterator[Cell], *, markdown: bool) -> Iterator[str]:
    """Its lines."""
    if markdown:
        yield f"| {' | '.join(COLUMNS)} |"
        yield f"|{'---:|' * len(COLUMNS)}"
        yield from (f"| {' | '.join(cell.texts())} |" for cell in cells)
    else:
        widths = [max(8, len(name)) for name in COLUMNS]
        rows = (COLUMNS, *(cell.texts() for cell in cells))
        for row in rows:
            yield " ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--mib", type=int, default=MIB, help="MiB to move for each row")
    parser.add_argument("--markdown", action="store_true", help="as in docs/transport.md")
    given = parser.parse_args()
    cells = (transfer(loss, window, given.mib) for loss in (0.0, *LOSSES) for window in WINDOWS)
    for line in table(cells, markdown=given.markdown):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
