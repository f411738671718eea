"""RDMA WRITE with immediate: a WRITE that also wakes the responder's program.

On the wire: RETH in the first packet, ImmDt (32 bits, network order) in the last; a message of one
packet carries both. It uses up a receive request, whose memory it does not touch.
"""

from __future__ import annotations

import socket

from lab.exchange.session import Role
from lab.flows.end import End


def post_write_imm(end: End, offset: int, length: int, immediate: int) -> int:
    """As `post_write`, with 32 bits for the responder; it has a receive posted."""
    verbs, layout = end.verbs, end.layout
    wr = verbs.SendWR(
        opcode=verbs.IBV_WR_RDMA_WRITE_WITH_IMM,
        num_sge=1,
        sg=[end.sge(layout.outgoing + offset, length)],
        imm_data=socket.htonl(immediate),  # verbs keeps it in network order
    )
    wr.set_wr_rdma(end.remote.r_key, end.remote.addr + layout.incoming + offset)
    return end.post(wr, length)


def wake(end: End) -> int:
    """The immediate of the WRITE that used up the oldest receive."""
    return socket.ntohl(end.receive().imm_data)


def write_imm(end: End, requester: Role, length: int, immediate: int) -> None:
    """`length` bytes and 32 bits from `requester`, checked by the other."""
    data = end.pattern(f"WRITE_WITH_IMM {length} from {requester}", length)
    if end.role == requester:
        end.put(end.layout.outgoing, data)
        end.complete(post_write_imm(end, 0, length, immediate))
    else:
        end.same(f"immediate from {requester}", wake(end).to_bytes(4), immediate.to_bytes(4))
        end.check(f"RDMA WRITE_WITH_IMM from {requester}", end.layout.incoming, data)
