"""An exchange, two queue pairs in RTS, and not one RDMA packet.

Teaches: connecting is TCP and TLS; the network's RDMA side hears nothing until the first request.
On the wire: TCP port 4433 only. Look at: a PSN was announced and never used, which is not a
mismatch but "missing on the wire".
"""

from __future__ import annotations

from lab.flows.end import End

ARGUMENTS: dict[str, int] = {}


def room(_: dict[str, int]) -> int:
    """No message."""
    return 64


def prepare(_: End) -> None:
    """Nothing will be received."""


def run(end: End) -> None:
    """Meet once, so that both queue pairs were alive at the same time."""
    end.barrier("connected")
