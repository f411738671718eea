"""SEND there and back, again and again: the round trip that every RDMA tutorial measures.

Teaches: the receive for the answer is posted before the question is sent, or the answer draws an
RNR NAK. On the wire: SEND_ONLY from the client, SEND_ONLY from the server, each with its
acknowledgement. Look at: both PSNs count up by one a round trip.

Arguments: `iterations`, `size` in bytes.
"""

from __future__ import annotations

from lab.flows.end import End
from lab.flows.send import send

ARGUMENTS = {"iterations": 100, "size": 64}


def room(arguments: dict[str, int]) -> int:
    """One message."""
    return arguments["size"]


def prepare(end: End) -> None:
    """The receive for the peer's first message."""
    end.post_receive(end.arguments["size"])


def run(end: End) -> None:
    """The client sends first; each posts its next receive before it sends."""
    size = end.arguments["size"]
    for _ in range(end.arguments["iterations"]):
        if end.role == "client":
            send(end, "client", size)
            send(end, "server", size)
            end.post_receive(size)
        else:
            send(end, "client", size)
            end.post_receive(size)
            send(end, "server", size)
    end.barrier("done")
