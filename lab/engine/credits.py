"""End-to-end flow control: the receives a responder has left, told in every ACK (IBTA vol. 1,
9.7.7.2; kernel: rdmavt/rc.c).

Both ends number messages from 1: the requester as SSN when it begins one, the responder as MSN when
it has done one. An ACK's MSN plus its credits is the LSN, the last SSN that will find a receive.
"""

from __future__ import annotations

from bisect import bisect_right

from dissectors import aeth, psn
from dissectors.aeth import AETH
from lab.engine.work import SendWork, WROpcode

TAKES_RECEIVE = {
    WROpcode.SEND,
    WROpcode.SEND_WITH_IMM,
    WROpcode.SEND_WITH_INV,
    WROpcode.RDMA_WRITE_WITH_IMM,
}


def code(receives: int) -> int:
    """The credit code of the most receives that a code stands for, of those there are."""
    return bisect_right(aeth.CREDITS, receives) - 1


class Credits:
    """What a requester may begin. `counted` False: everything, whatever ACKs say, as rxe."""

    def __init__(self, *, counted: bool) -> None:
        self.counted = counted
        self.reset()

    def reset(self) -> None:
        self.ssn = 0
        """Of the newest message begun."""
        self.lsn: int | None = 0 if self.counted else None
        """None: there is no limit."""

    def allows(self, work: SendWork) -> bool:
        """Whether a message may begin that would take a receive: one beyond the limit may, to learn
        of new credits by its ACK or RNR NAK ("limited", 9.7.7.2.5).
        """
        if self.lsn is None or work.opcode not in TAKES_RECEIVE:
            return True
        return bool(psn.difference(self.ssn, self.lsn) <= 0)

    def begin(self, work: SendWork) -> None:
        """A message begins; where it takes no receive, the limit moves with it."""
        self.ssn = int(psn.add(self.ssn, 1))
        if self.lsn is not None and work.opcode not in TAKES_RECEIVE:
            self.lsn = int(psn.add(self.lsn, 1))

    def grant(self, header: AETH) -> None:
        """An ACK has come. Once without a limit stays so."""
        if self.lsn is None or header.syndrome & ~aeth.VALUE_MASK != aeth.ACK:
            return
        if header.syndrome == aeth.CREDITS_UNLIMITED:
            self.lsn = None
            return
        limit = int(psn.add(header.msn, aeth.CREDITS[header.syndrome]))
        if psn.difference(limit, self.lsn) > 0:
            self.lsn = limit
