"""What travels on a wire: runs of datagrams of one size between two addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

MAX_BYTES = 65507
"""UDP payload that one send may carry over IPv4, segmented or not."""
MAX_DATAGRAMS = 64
"""Segments of one send (Linux UDP_MAX_SEGMENTS before 6.9)."""


@dataclass(frozen=True, slots=True)
class Path:
    """How to reach the other end: IP addresses of 4 or 16 bytes and what else the
    IP header says.
    """

    source: bytes
    destination: bytes
    traffic_class: int = 0
    hop_limit: int = 64
    flow_label: int = 0

    def reversed(self) -> Path:
        """The way back."""
        return replace(self, source=self.destination, destination=self.source)


@dataclass(frozen=True, slots=True)
class Burst:
    """One or more UDP datagrams on one path, laid end to end in `data`.

    Each is `segment` bytes of UDP payload but for the last, which may be shorter. Their IPv4
    identifications count up from `identification` (what the kernel does under UDP_SEGMENT).
    """

    path: Path
    source_port: int
    data: bytes | bytearray | memoryview
    segment: int
    identification: int = 0

    def __len__(self) -> int:
        """Number of datagrams."""
        return max(1, -(-len(self.data) // self.segment))

    def datagrams(self) -> Iterator[Burst]:
        """Each datagram as a burst of its own."""
        if len(self) == 1:
            yield self
            return
        view = memoryview(self.data)
        for index in range(len(self)):
            data = view[index * self.segment : (index + 1) * self.segment]
            number = self.identification + index
            yield Burst(self.path, self.source_port, data, len(data), number)
