"""The round trip that every RDMA tutorial measures."""

from __future__ import annotations

from lab.flows.end import End
from lab.flows.flow import documented
from lab.flows.send import send


def prepare(end: End) -> None:
    """The receive for the peer's first message."""
    end.post_receive(end.arguments["size"])


def run(end: End) -> None:
    """SEND there and back, again and again. Arguments: `iterations`, `size` in bytes.

    Teaches: the receive for the answer is posted before the question is sent, or the answer draws
    an RNR NAK.

    On the wire: a SEND from the client, a SEND from the server, each with its acknowledgement.

    Look at: the PSN of each end counts up by the packets of one message a round trip.
    """
    size = end.arguments["size"]
    for _ in range(end.arguments["iterations"]):
        send(end, "client", size)
        if end.role == "server":
            end.post_receive(size)
        send(end, "server", size)
        if end.role == "client":
            end.post_receive(size)
    end.barrier("done")


FLOW = documented(
    "pingpong",
    run,
    prepare=prepare,
    room=lambda arguments: arguments["size"],
    arguments={"iterations": 100, "size": 64},
)
