"""What travels on a wire: runs of datagrams of one size between two addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

MAX_BYTES = 65507
"""UDP payload that one send may carry over IPv4, segmented or not."""
MAX_DATAGRAMS = 64
"""Segments of one send (Linux UDP_MAX_SEGMENTS before 6.9)."""


class Path(NamedTuple):
    """How to reach the other end: IP addresses of 4 or 16 bytes, and what else the
    IP header says.
    """

    source: bytes
    destination: bytes
    traffic_class: int = 0
    hop_limit: int = 64
    flow_label: int = 0


class Burst(NamedTuple):
    """One or more UDP datagrams on one path, laid end to end in `data`.

    Each is `segment` bytes of UDP payload but for the last, which may be shorter. Their IPv4
    identifications count up from `identification` (what the kernel does under UDP_SEGMENT).
    """

    path: Path
    source_port: int
    data: bytes | bytearray | memoryview
    segment: int
    identification: int = 0

    @property
    def datagram_count(self) -> int:
        """At least 1."""
        return max(1, -(-len(self.data) // self.segment))

    def datagrams(self) -> Iterator[Burst]:
        """Each datagram as a burst of its own."""
        if len(self.data) <= self.segment:
            yield self
            return
        view = memoryview(self.data)
        for index in range(self.datagram_count):
            data = view[index * self.segment : (index + 1) * self.segment]
            number = self.identification + index
            yield Burst(self.path, self.source_port, data, len(data), number)
