"""Two queue pairs in RTS and not one packet between them."""

from __future__ import annotations

from lab.flows.end import End
from lab.flows.flow import documented


def run(end: End) -> None:
    """An exchange, two queue pairs in RTS, and not one RDMA packet.

    Teaches: connecting is TCP and TLS; the RDMA side hears nothing until the first request.

    On the wire: TCP port 4433 only.

    Look at: a PSN was announced and never used, which is not a mismatch but "missing on the wire";
    that alone is inconclusive. With `--clients 1000` it is a survey of 2000 starting PSNs: see the
    line psn-source and `rocelab psn RUN`, and how it changes with `--psn-source lrand48`.
    """
    end.barrier("connected")


FLOW = documented("connect-only", run)
