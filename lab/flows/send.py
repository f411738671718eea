"""SEND and RECV: the sender names no address, the receiver's posted buffer takes the message.

On the wire: SEND_ONLY, or SEND_FIRST, MIDDLE..., LAST, and no RETH: only BTH and payload. The
responder acknowledges when its receive request has been used up.
"""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import GRH, QKEY, End


def say(end: End, data: bytes) -> None:
    """SEND `data`; the other end has a receive posted for it."""
    end.put(end.layout.outgoing, data)
    sge = end.sge(end.layout.outgoing, len(data))
    wr = end.verbs.SendWR(opcode=end.verbs.IBV_WR_SEND, num_sge=1, sg=[sge])
    if end.ah is not None:
        wr.set_wr_ud(end.ah, end.remote.qpn, QKEY)
    end.complete(end.post(wr, len(data)))


def hear(end: End) -> bytes:
    """The message that the oldest receive took, without a datagram's GRH."""
    wc = end.receive()
    offset = GRH if end.ah is not None else 0
    return bytes(end.mr.read(wc.byte_len - offset, end.layout.incoming + offset))


def send(end: End, requester: Role, length: int) -> None:
    """One message of `length` bytes from `requester`, checked by the other."""
    data = end.pattern(f"SEND {length} from {requester}", length)
    if end.role == requester:
        say(end, data)
    else:
        end.same(f"SEND from {requester}", hear(end), data)
