"""Large messages the way MPI and NCCL send them: ask first, then write where one was told to."""

from __future__ import annotations

import struct

from lab.flows.end import End
from lab.flows.flow import documented
from lab.flows.send import hear, say
from lab.flows.write_imm import write_imm

REQUEST = struct.Struct(">II")  # number, bytes: "I have this for you"
GRANT = struct.Struct(">IQI")  # number, address, r_key: "write it there"


def prepare(end: End) -> None:
    """The server expects a request, the client a grant."""
    end.post_receive(REQUEST.size if end.role == "server" else GRANT.size)


def run(end: End) -> None:
    """Rendezvous: request to send, grant, then WRITE_WITH_IMM. Arguments: `messages`, `size`.

    Teaches: the receiver decides where a large message goes, and no byte of it is copied; the
    immediate says which message has arrived, all of it.

    On the wire: for each message SEND (number, length) to the server, SEND (number, address,
    r_key) back, RDMA WRITE with immediate of many packets.

    Look at: ImmDt of the last packet is the number of the first SEND; the address in RETH is the
    one in the grant.
    """
    size = end.arguments["size"]
    for number in range(end.arguments["messages"]):
        if end.role == "client":
            say(end, REQUEST.pack(number, size))
            place = end.remote.addr + end.layout.incoming
            end.same("grant", hear(end), GRANT.pack(number, place, end.remote.r_key))
            end.post_receive(GRANT.size)
        else:
            end.same("request", hear(end), REQUEST.pack(number, size))
            end.post_receive(0)
            say(end, GRANT.pack(number, end.local.addr + end.layout.incoming, end.local.r_key))
        write_imm(end, "client", size, number)
        if end.role == "server":
            end.post_receive(REQUEST.size)
        end.barrier(f"message {number} taken")


FLOW = documented(
    "write-imm-rendezvous",
    run,
    prepare=prepare,
    room=lambda arguments: max(arguments["size"], 4096),
    arguments={"messages": 4, "size": 65536},
)
