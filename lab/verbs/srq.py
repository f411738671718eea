"""Shared receive queues (pyverbs.srq)."""

from __future__ import annotations

import errno
from itertools import count
from typing import Any
from weakref import WeakSet

from lab.engine.events import AsyncKind
from lab.engine.queues import ReceiveQueue
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, verb
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.wr import RecvWR

_numbers = count(1)


class SrqAttr(PyverbsObject):
    """Receives it holds, SGEs of each, and the number below which it raises an event."""

    def __init__(self, max_wr: int = 100, max_sge: int = 1, srq_limit: int = 0) -> None:
        self.max_wr = max_wr
        self.max_sge = max_sge
        self.srq_limit = srq_limit


class SrqInitAttr(PyverbsObject):
    """What to create an SRQ with."""

    def __init__(self, attr: SrqAttr | None = None) -> None:
        attr = attr or SrqAttr(0, 0, 0)
        self.max_wr = attr.max_wr
        self.max_sge = attr.max_sge
        self.srq_limit = attr.srq_limit


class SRQ(PyverbsCM):
    """Receives that several queue pairs take from; basic type, made from a PD."""

    engine: ReceiveQueue | None = None

    def __init__(self, creator: PD, attr: SrqInitAttr) -> None:
        if not isinstance(creator, PD):
            raise PyverbsRDMAError("Srq needs a PD for creation", errno.EOPNOTSUPP)
        if attr.max_wr < 1:
            raise PyverbsRDMAError("Failed to create SRQ", errno.EINVAL)
        self.pd = creator
        self.cq = None
        self.qps: WeakSet[Any] = WeakSet()
        self._adapter = creator.ctx.adapter
        device = self._adapter.device
        queue = device.receive_queue(attr.max_wr, max(attr.max_sge, 1), next(_numbers))
        queue.on_limit = self._limit_reached
        self.engine = queue
        creator.add_ref(self)

    def _limit_reached(self) -> None:
        device = self._adapter.device
        device.raise_event(AsyncKind.SRQ_LIMIT_REACHED, self._live.number)

    @property
    def _live(self) -> ReceiveQueue:
        if self.engine is None:
            raise PyverbsRDMAError("The SRQ is closed", errno.EBADF)
        return self.engine

    def get_srq_num(self) -> int:
        return self._live.number

    def post_recv(self, wr: RecvWR, bad_wr: RecvWR | None = None) -> None:
        """Post `wr` and those chained to it."""
        with verb("Failed to post receive to SRQ."), self._adapter.lock:
            for one in wr.chain():
                self._live.post(one.work())

    def modify(self, attr: SrqAttr, comp_mask: int) -> None:
        """Change the capacity (IBV_SRQ_MAX_WR) or arm the limit (IBV_SRQ_LIMIT)."""
        with self._adapter.lock:
            if comp_mask & e.IBV_SRQ_MAX_WR:
                if attr.max_wr < max(1, len(self._live)):
                    raise PyverbsRDMAError("Failed to modify SRQ", errno.EINVAL)
                self._live.max_wr = attr.max_wr
            if comp_mask & e.IBV_SRQ_LIMIT:
                if attr.srq_limit > self._live.max_wr:
                    raise PyverbsRDMAError("Failed to modify SRQ", errno.EINVAL)
                self._live.limit = attr.srq_limit

    def query(self) -> SrqAttr:
        return SrqAttr(self._live.max_wr, self._live.max_sge, self._live.limit)

    def close(self) -> None:
        if self.engine is not None:
            close_weakrefs([self.qps])
            self.engine = None
