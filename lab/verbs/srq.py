"""Shared receive queues (pyverbs.srq)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import count
from typing import Any, NoReturn
from weakref import WeakSet, ref

from lab.engine.errors import VerbError
from lab.engine.events import AsyncKind
from lab.engine.queues import ReceiveQueue
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, unsupported, verb
from lab.verbs.cq import CQ, CQEX
from lab.verbs.device import Context
from lab.verbs.device_attr import DeviceAttr
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.wr import SGE, RecvWR
from lab.verbs.xrcd import XRCD

_numbers = count(1)


class SrqAttr(PyverbsObject):
    """Receives it holds, SGEs of each, and the number below which it raises an event.

    Support: full.
    """

    def __init__(self, max_wr: int = 100, max_sge: int = 1, srq_limit: int = 0) -> None:
        self.max_wr = max_wr
        self.max_sge = max_sge
        self.srq_limit = srq_limit


class SrqInitAttr(PyverbsObject):
    """What to create an SRQ with.

    Support: full.
    """

    def __init__(self, attr: SrqAttr | None = None) -> None:
        attr = attr or SrqAttr(0, 0, 0)
        self.max_wr = attr.max_wr
        self.max_sge = attr.max_sge
        self.srq_limit = attr.srq_limit


class SrqInitAttrEx(PyverbsObject):
    """What to create an SRQ with from a Context.

    Support: partly. The type is basic; XRC and tag matching are not supported.
    """

    def __init__(self, max_wr: int = 100, max_sge: int = 1, srq_limit: int = 0) -> None:
        self.max_wr = max_wr
        self.max_sge = max_sge
        self.srq_limit = srq_limit
        self.comp_mask = 0
        self.srq_type = int(e.IBV_SRQT_BASIC)
        self.pd: PD | None = None
        self.xrcd: XRCD | None = None
        self.cq: CQ | CQEX | None = None
        self.max_num_tags = 0
        self.max_ops = 0


class OpsWr(PyverbsCM):
    """An operation on the tags of an SRQ.

    Support: no. There is no tag matching.
    """

    def __init__(
        self,
        wr_id: int = 0,
        opcode: int = e.IBV_WR_TAG_ADD,
        flags: int = e.IBV_OPS_SIGNALED,
        next_wr: OpsWr | None = None,
        unexpected_cnt: int = 0,
        recv_wr_id: int = 0,
        num_sge: int | None = None,
        tag: int = 0,
        mask: int = 0,
        sg_list: Sequence[SGE] | None = None,
    ) -> None:
        unsupported("Tag matching")


class SRQ(PyverbsCM):
    """Receives that several queue pairs take from, made from a PD and a SrqInitAttr, or a Context
    and a SrqInitAttrEx.

    Support: partly. The type is basic; XRC and tag matching are refused (EOPNOTSUPP).
    """

    engine: ReceiveQueue | None = None

    def __init__(self, creator: PD | Context, attr: SrqInitAttr | SrqInitAttrEx) -> None:
        if not isinstance(creator, PD | Context):
            raise PyverbsRDMAError("Srq needs either Context or PD for creation", errno.EINVAL)
        pd = creator if isinstance(creator, PD) else _domain(attr)
        most, pieces = DeviceAttr.max_srq_wr, DeviceAttr.max_srq_sge
        if not 1 <= attr.max_wr <= most or attr.max_sge > pieces:
            limits = f"1 to {most} receives of at most {pieces} SGEs"
            raise PyverbsRDMAError(f"Failed to create SRQ: {limits}", errno.EINVAL)
        self.pd = pd
        self.cq = None
        self.qps: WeakSet[Any] = WeakSet()
        self._adapter = pd.ctx.adapter
        device = self._adapter.device
        queue = device.receive_queue(attr.max_wr, max(attr.max_sge, 1), next(_numbers))
        # The engine's queue must not keep the Context alive.
        context = ref(pd.ctx)

        def limit_reached() -> None:
            if (owner := context()) is not None:
                owner.raise_event(AsyncKind.SRQ_LIMIT_REACHED)

        queue.on_limit = limit_reached
        self.engine = queue
        pd.srqs.add(self)

    @property
    def live(self) -> ReceiveQueue:
        """The engine's queue; EBADF where this is closed."""
        if self.engine is None:
            raise PyverbsRDMAError("The SRQ is closed", errno.EBADF)
        return self.engine

    def get_srq_num(self) -> int:
        return self.live.number

    def post_recv(self, wr: RecvWR, bad_wr: RecvWR | None = None) -> None:
        """Post `wr` and those chained to it; those before a refused one stay posted."""
        with verb("Failed to post receive to SRQ."), self._adapter.lock:
            for one in wr.chain():
                try:
                    self.live.post(one.work())
                except VerbError:
                    if bad_wr is not None:
                        vars(bad_wr).update(vars(one))
                    raise

    def post_srq_ops(self, wr: OpsWr, bad_wr: OpsWr | None = None) -> NoReturn:
        unsupported("Tag matching")

    def modify(self, attr: SrqAttr, comp_mask: int) -> None:
        """Change the capacity (IBV_SRQ_MAX_WR) or arm the limit (IBV_SRQ_LIMIT); EINVAL for fewer
        than are posted, more than the device holds, or a limit above the capacity (rxe_srq.c).
        """
        what = "Failed to modify SRQ"
        with self._adapter.lock:
            held = len(self.live)
            if comp_mask & e.IBV_SRQ_MAX_WR:
                if not max(1, held) <= attr.max_wr <= DeviceAttr.max_srq_wr:
                    reason = f"{attr.max_wr} receives, {held} are posted"
                    raise PyverbsRDMAError(f"{what}: {reason}", errno.EINVAL)
                self.live.max_wr = attr.max_wr
            if comp_mask & e.IBV_SRQ_LIMIT:
                if attr.srq_limit > self.live.max_wr:
                    reason = f"limit {attr.srq_limit} of {self.live.max_wr} receives"
                    raise PyverbsRDMAError(f"{what}: {reason}", errno.EINVAL)
                self.live.limit = attr.srq_limit

    def query(self) -> SrqAttr:
        return SrqAttr(self.live.max_wr, self.live.max_sge, self.live.limit)

    def close(self) -> None:
        """Close the queue pairs that take from it; the receives are forgotten."""
        if self.engine is not None:
            close_weakrefs([self.qps])
            self.engine = None


def _domain(attr: SrqInitAttr | SrqInitAttrEx) -> PD:
    """The PD of an SRQ made from a Context; PyverbsRDMAError for another than a basic one."""
    if not isinstance(attr, SrqInitAttrEx):
        what = "Failed to create SRQ: a Context takes a SrqInitAttrEx"
        raise PyverbsRDMAError(what, errno.EINVAL)
    if attr.comp_mask & e.IBV_SRQ_INIT_ATTR_TYPE and attr.srq_type != e.IBV_SRQT_BASIC:
        unsupported("An SRQ that is not basic")
    if attr.pd is None or not attr.comp_mask & e.IBV_SRQ_INIT_ATTR_PD:
        raise PyverbsRDMAError("Failed to create SRQ: it needs a PD", errno.EINVAL)
    return attr.pd
