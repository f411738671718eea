"""RDMA READ: the requester fetches data from an address of the responder's.

On the wire: one READ_REQUEST with RETH; the responses carry the data and the *request's* PSNs:
a request for n packets uses up n PSNs, and the requester's next request skips over them.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End


def fetch(end: End, length: int) -> bytes:
    """READ `length` bytes of the peer's outgoing half."""
    verbs, layout = end.verbs, end.layout
    sge = end.sge(layout.incoming, length)
    wr = verbs.SendWR(opcode=verbs.IBV_WR_RDMA_READ, num_sge=1, sg=[sge])
    wr.set_wr_rdma(end.remote.r_key, end.remote.addr + layout.outgoing)
    end.complete(end.post(wr, length))
    return bytes(end.mr.read(length, layout.incoming))


def read(end: End, requester: Role, length: int) -> None:
    """`length` bytes of the other's, checked by `requester`."""
    data = end.pattern(f"READ {length} by {requester}", length)
    if end.role != requester:
        end.put(end.layout.outgoing, data)
    end.barrier(f"{requester} may read {length}")
    if end.role == requester:
        end.same(f"RDMA READ by {requester}", fetch(end, length), data)
