"""RDMA WRITE: the requester puts data at an address of the responder's, whose program sleeps.

On the wire: RETH (address, r_key, length) in the first packet only. The responder gets no
completion, so both ends meet inside TLS before it looks at its buffer.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End


def post_write(end: End, offset: int, length: int) -> int:
    """WRITE a part of the outgoing half to the same place of the peer's incoming half."""
    verbs, layout = end.verbs, end.layout
    sge = end.sge(layout.outgoing + offset, length)
    wr = verbs.SendWR(opcode=verbs.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
    wr.set_wr_rdma(end.remote.r_key, end.remote.addr + layout.incoming + offset)
    return end.post(wr, length)


def store(end: End, data: bytes) -> None:
    """WRITE `data` to the beginning of the peer's incoming half."""
    end.put(end.layout.outgoing, data)
    end.complete(post_write(end, 0, len(data)))


def write(end: End, requester: Role, length: int) -> None:
    """`length` bytes from `requester`, checked by the other."""
    data = end.pattern(f"WRITE {length} from {requester}", length)
    if end.role == requester:
        store(end, data)
    end.barrier(f"{requester} wrote {length}")
    if end.role != requester:
        end.check(f"RDMA WRITE from {requester}", end.layout.incoming, data)
