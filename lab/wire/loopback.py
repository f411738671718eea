"""Two ends joined in virtual time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lab.engine.burst import Burst
from lab.engine.notification import CONGESTION_EXPERIENCED, ecn


@dataclass(frozen=True, slots=True)
class Link:
    """What is sent arrives `latency_ns` after its last bit has left; 0 bits a second is no limit.

    A datagram that would wait longer than `mark_ns` for those before it is marked as congested, if
    its IP header allows that (RFC 3168), and lost where it would wait longer than `drop_ns`.
    """

    latency_ns: int = 1000
    bits_per_second: int = 0
    mark_ns: int | None = None
    drop_ns: int | None = None


class End:
    """One end: what is sent here arrives at the peer. A burst becomes datagrams."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.peer = self
        self.waited_ns = 0
        """The longest that a datagram waited for those before it."""
        self.lost = 0
        self._free_at = 0
        self._arriving: deque[tuple[int, Burst]] = deque()

    def send(self, burst: Burst, now: int) -> None:
        link = self.link
        for datagram in burst.datagrams():
            start = max(now, self._free_at)
            waits = start - now
            if link.drop_ns is not None and waits > link.drop_ns:
                self.lost += 1
                continue
            self.waited_ns = max(self.waited_ns, waits)
            bits = 8 * len(datagram.data)
            taken = bits * 1_000_000_000 // link.bits_per_second if link.bits_per_second else 0
            self._free_at = start + taken
            if (
                link.mark_ns is not None
                and waits > link.mark_ns
                and datagram.path.traffic_class & 3
            ):
                path = ecn(datagram.path, CONGESTION_EXPERIENCED)
                datagram = datagram._replace(path=path)  # noqa: PLW2901
            self.peer._arriving.append((self._free_at + link.latency_ns, datagram))

    def receive(self, now: int) -> Iterator[Burst]:
        while self._arriving and self._arriving[0][0] <= now:
            yield self._arriving.popleft()[1]

    def next_timer(self) -> int | None:
        return self._arriving[0][0] if self._arriving else None


def loopback(latency_ns: int = 1000, bits_per_second: int = 0) -> tuple[End, End]:
    """The two ends of a new wire."""
    return joined(Link(latency_ns, bits_per_second))


def joined(link: Link) -> tuple[End, End]:
    """The two ends of a new wire that is `link` both ways."""
    a, b = End(link), End(link)
    a.peer, b.peer = b, a
    return a, b
