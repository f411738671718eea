"""RDMA READ: the requester fetches data from an address of the responder's.

On the wire: one READ_REQUEST with RETH; the responses carry the data and the *request's* PSNs:
a request for n packets uses up n PSNs, and the requester's next request skips over them.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End


def read(end: End, requester: Role, length: int) -> None:
    """`length` bytes from the other's outgoing half to `requester`."""
    data = end.pattern(f"READ {length} by {requester}", length)
    if end.role != requester:
        end.put(end.layout.outgoing, data)
    end.barrier(f"{requester} may read {length}")
    if end.role == requester:
        wr = end.verbs.SendWR(
            opcode=end.verbs.IBV_WR_RDMA_READ,
            num_sge=1,
            sg=[end.sge(end.layout.incoming, length)],
        )
        wr.set_wr_rdma(end.remote.r_key, end.remote.addr + end.layout.outgoing)
        end.complete(end.post(wr, length))
        end.check(f"RDMA READ by {requester}", end.layout.incoming, data)
