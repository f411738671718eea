"""What two ends said to each other over TCP, in clear or decrypted: exchanges are read from it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any


@dataclass(frozen=True, slots=True)
class Said:
    """Some bytes that one end sent, and the frame that carried them."""

    by_client: bool
    frame: int
    time_ns: int
    data: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Dialogue:
    """One TCP stream's content in order. `tls` is what is known of its TLS, None if in clear."""

    stream: int
    client: tuple[str, int]
    server: tuple[str, int]
    said: tuple[Said, ...]
    tls: Mapping[str, Any] | None = None

    @property
    def observer(self) -> str:
        """How findings name this stream."""
        return f"TCP stream {self.stream} ({self.client[0]}:{self.client[1]})"

    def sent(self, *, by_client: bool) -> Sent:
        """What one end said, joined, with the frame of every byte."""
        return _sent(self)[not by_client]


class Sent:
    """Bytes one end sent; reading them keeps count of frame and time."""

    def __init__(self, parts: list[Said]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part.data) for part in parts))
        self.data = b"".join(part.data for part in parts)

    def at(self, offset: int) -> Said | None:
        """The part that holds the byte at `offset`."""
        number = bisect_right(self._ends, offset)
        return self._parts[number] if number < len(self._parts) else None

    def frames_by_length(self, limit: int) -> Iterator[tuple[Said, bytes]]:
        """Messages with a 4-byte big-endian length in front, and where each ended.

        Stops at the first that is not whole or longer than `limit`.
        """
        start = 0
        while start + 4 <= len(self.data):
            length = int.from_bytes(self.data[start : start + 4], "big")
            end = start + 4 + length
            part = self.at(end - 1)
            if length > limit or part is None:
                return
            yield part, self.data[start + 4 : end]
            start = end


@lru_cache(1)
def _sent(dialogue: Dialogue) -> tuple[Sent, Sent]:
    """Client's and server's: one reader after the other asks for them."""
    client, server = ([s for s in dialogue.said if s.by_client == who] for who in (True, False))
    return Sent(client), Sent(server)
