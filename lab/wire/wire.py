"""What every wire can do, so that they stack."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from lab.engine.burst import Burst


class Wire(Protocol):
    """One end of a path for datagrams. Times are integer nanoseconds of the caller's clock."""

    def send(self, burst: Burst, now: int) -> None:
        """Put datagrams on the wire; what cannot be sent is lost, as on any network."""

    def receive(self, now: int) -> Iterable[Burst]:
        """Take what has arrived by `now`."""

    def next_timer(self) -> int | None:
        """When something is due that no file descriptor announces; None: nothing is."""
