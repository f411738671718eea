"""RDMA WRITE: the requester puts data at an address of the responder's, whose program sleeps.

On the wire: RETH (address, r_key, length) in the first packet only. The responder gets no
completion, so both ends meet inside TLS before it looks at its buffer.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End


def write(end: End, requester: Role, length: int) -> None:
    """`length` bytes from `requester` into the other's incoming half."""
    data = end.pattern(f"WRITE {length} from {requester}", length)
    if end.role == requester:
        end.put(end.layout.outgoing, data)
        wr = end.verbs.SendWR(
            opcode=end.verbs.IBV_WR_RDMA_WRITE,
            num_sge=1,
            sg=[end.sge(end.layout.outgoing, length)],
        )
        wr.set_wr_rdma(end.remote.r_key, end.remote.addr + end.layout.incoming)
        end.complete(end.post(wr, length))
    end.barrier(f"{requester} wrote {length}")
    if end.role != requester:
        end.check(f"RDMA WRITE from {requester}", end.layout.incoming, data)
