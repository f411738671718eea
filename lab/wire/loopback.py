"""Two ends joined in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from lab.engine.burst import Burst


class End:
    """One end: what is sent here arrives at the peer `latency_ns` after its last bit has left.

    `bits_per_second` of 0 is a wire without a limit. A burst becomes datagrams.
    """

    def __init__(self, latency_ns: int, bits_per_second: int) -> None:
        self._latency_ns = latency_ns
        self._bits_per_second = bits_per_second
        self._free_at = 0
        self._arriving: deque[tuple[int, Burst]] = deque()
        self.peer = self

    def send(self, burst: Burst, now: int) -> None:
        for datagram in burst.datagrams():
            start = max(now, self._free_at)
            bits = 8 * len(datagram.data)
            taken = bits * 1_000_000_000 // self._bits_per_second if self._bits_per_second else 0
            self._free_at = start + taken
            self.peer._arriving.append((self._free_at + self._latency_ns, datagram))

    def receive(self, now: int) -> Iterator[Burst]:
        while self._arriving and self._arriving[0][0] <= now:
            yield self._arriving.popleft()[1]

    def next_timer(self) -> int | None:
        return self._arriving[0][0] if self._arriving else None


def loopback(latency_ns: int = 1000, bits_per_second: int = 0) -> tuple[End, End]:
    """The two ends of a new wire."""
    a, b = End(latency_ns, bits_per_second), End(latency_ns, bits_per_second)
    a.peer, b.peer = b, a
    return a, b
