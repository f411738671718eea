"""SEND and RECV: the sender names no address, the receiver's posted buffer takes the message.

On the wire: SEND_ONLY, or SEND_FIRST, MIDDLE..., LAST, and no RETH: only BTH and payload. The
responder acknowledges when its receive request has been used up.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End


def send(end: End, requester: Role, length: int) -> None:
    """One message of `length` bytes from `requester`; the other has a receive posted for it."""
    data = end.pattern(f"SEND {length} from {requester}", length)
    if end.role == requester:
        end.put(end.layout.outgoing, data)
        wr = end.verbs.SendWR(
            opcode=end.verbs.IBV_WR_SEND, num_sge=1, sg=[end.sge(end.layout.outgoing, length)]
        )
        end.complete(end.post(wr, length))
    else:
        wc = end.receive()
        found = end.mr.read(wc.byte_len, end.layout.incoming)
        end.same(f"SEND from {requester}", found, data)
