"""RDMA WRITE with immediate: a WRITE that also wakes the responder's program.

On the wire: RETH in the first packet, ImmDt (32 bits, network order) in the last; a message of one
packet carries both. It uses up a receive request, whose memory it does not touch.
"""

from __future__ import annotations

import socket

from lab.exchange.session import Role
from lab.flows.end import End


def write_imm(end: End, requester: Role, length: int, immediate: int) -> None:
    """`length` bytes and 32 bits from `requester`; the other has a receive posted."""
    data = end.pattern(f"WRITE_WITH_IMM {length} from {requester}", length)
    if end.role == requester:
        end.put(end.layout.outgoing, data)
        wr = end.verbs.SendWR(
            opcode=end.verbs.IBV_WR_RDMA_WRITE_WITH_IMM,
            num_sge=1,
            sg=[end.sge(end.layout.outgoing, length)],
            imm_data=socket.htonl(immediate),
        )
        wr.set_wr_rdma(end.remote.r_key, end.remote.addr + end.layout.incoming)
        end.complete(end.post(wr, length))
    else:
        wc = end.receive()
        found = socket.ntohl(wc.imm_data)
        end.same(f"immediate from {requester}", found.to_bytes(4), immediate.to_bytes(4))
        end.check(f"RDMA WRITE_WITH_IMM from {requester}", end.layout.incoming, data)
