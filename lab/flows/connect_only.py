"""Two queue pairs in RTS and not one packet between them."""

from __future__ import annotations

from lab.flows.end import End
from lab.flows.flow import documented


def run(end: End) -> None:
    """An exchange, two queue pairs in RTS, and not one RDMA packet.

    Teaches: connecting is TCP and TLS; the RDMA side hears nothing until the first request.

    On the wire: TCP port 4433 only.

    Look at: a PSN was announced and never used, which is not a mismatch but "missing on the wire".
    """
    end.barrier("connected")


FLOW = documented("connect-only", run)
