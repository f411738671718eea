"""Completion queues and channels (pyverbs.cq): CompChannel, CQ, WC."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from socket import htonl
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lab.engine.queues import CompletionQueue
from lab.engine.work import WCFlag
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, table
from lab.verbs.device import Context
from lab.verbs.pyverbs_error import PyverbsRDMAError

if TYPE_CHECKING:
    from lab.verbs.adapter import Adapter

_WITH_IMM = int(WCFlag.WITH_IMM)

STATUS_TEXT = {
    e.IBV_WC_SUCCESS: "success",
    e.IBV_WC_LOC_LEN_ERR: "local length error",
    e.IBV_WC_LOC_QP_OP_ERR: "local QP op error",
    e.IBV_WC_LOC_PROT_ERR: "local protection error",
    e.IBV_WC_WR_FLUSH_ERR: "WR flush error",
    e.IBV_WC_BAD_RESP_ERR: "bad response error",
    e.IBV_WC_LOC_ACCESS_ERR: "local access error",
    e.IBV_WC_REM_INV_REQ_ERR: "remote invalidate request error",
    e.IBV_WC_REM_ACCESS_ERR: "remote access error",
    e.IBV_WC_REM_OP_ERR: "remote op error",
    e.IBV_WC_RETRY_EXC_ERR: "retry exceeded error",
    e.IBV_WC_RNR_RETRY_EXC_ERR: "RNR retry exceeded",
}

OPCODE_TEXT = {
    e.IBV_WC_SEND: "Send",
    e.IBV_WC_RDMA_WRITE: "RDMA write",
    e.IBV_WC_RDMA_READ: "RDMA read",
    e.IBV_WC_COMP_SWAP: "Compare and swap",
    e.IBV_WC_FETCH_ADD: "Fetch and add",
    e.IBV_WC_LOCAL_INV: "Local invalidate",
    e.IBV_WC_RECV: "Receive",
    e.IBV_WC_RECV_RDMA_WITH_IMM: "Receive RDMA with immediate",
}


def cqe_status_to_str(status: int) -> str:
    return STATUS_TEXT.get(status, "Unknown CQE status")


def cqe_opcode_to_str(opcode: int) -> str:
    return OPCODE_TEXT.get(opcode, f"Unknown CQE opcode {opcode}")


class WC(PyverbsObject):
    """A work completion. `imm_data` is in network byte order, as SendWR's."""

    def __init__(
        self,
        wr_id: int = 0,
        status: int = 0,
        opcode: int = 0,
        vendor_err: int = 0,
        byte_len: int = 0,
        qp_num: int = 0,
        src_qp: int = 0,
        imm_data: int = 0,
        wc_flags: int = 0,
        pkey_index: int = 0,
        slid: int = 0,
        sl: int = 0,
        dlid_path_bits: int = 0,
    ) -> None:
        self.wr_id = wr_id
        self.status = status
        self.opcode = opcode
        self.vendor_err = vendor_err
        self.byte_len = byte_len
        self.qp_num = qp_num
        self.src_qp = src_qp
        self.imm_data = imm_data
        self.wc_flags = wc_flags
        self.pkey_index = pkey_index
        self.slid = slid
        self.sl = sl
        self.dlid_path_bits = dlid_path_bits

    def __str__(self) -> str:
        return table(
            ("WR ID", self.wr_id),
            ("status", cqe_status_to_str(self.status)),
            ("opcode", cqe_opcode_to_str(self.opcode)),
            ("byte length", self.byte_len),
            ("QP num", self.qp_num),
            ("source QP", self.src_qp),
            ("WC flags", WCFlag(self.wc_flags)),
            ("imm_data", self.imm_data),
        )


def work_completion(row: tuple[int, ...]) -> WC:
    """The API's form of the engine's Completion."""
    wr_id, status, opcode, qpn, length, immediate, flags, source, _ = row
    if flags & _WITH_IMM:
        immediate = htonl(immediate)
    return WC(wr_id, status, opcode, 0, length, qpn, source, immediate, flags)


class CompChannel(PyverbsCM):
    """Where CQs announce completions: `fd` is readable while an event waits."""

    fd = -1

    def __init__(self, context: Context) -> None:
        self.fd = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self.context = context
        self.cqs: WeakSet[Any] = WeakSet()
        self._events: deque[CQ] = deque()
        context.ccs.add(self)

    def announce(self, cq: CQ) -> None:
        """An event of `cq` waits."""
        self._events.append(cq)
        os.eventfd_write(self.fd, 1)

    def get_cq_event(self, expected_cq: CQ) -> None:
        """Wait for the next event; PyverbsRDMAError where it is another CQ's."""
        os.eventfd_read(self.fd)
        cq = self._events.popleft()
        if cq is not expected_cq:
            raise PyverbsRDMAError("Received event on an unexpected CQ", errno.EINVAL)
        expected_cq.num_events += 1

    def close(self) -> None:
        if self.fd >= 0:
            close_weakrefs([self.cqs])
            os.close(self.fd)
            self.fd = -1


class CQ(PyverbsCM):
    """A completion queue of `cqe` entries. More completions than that make it useless (CQ_ERR)."""

    engine: CompletionQueue | None = None

    def __init__(
        self,
        context: Context,
        cqe: int,
        cq_context: object = None,
        channel: CompChannel | None = None,
        comp_vector: int = 0,
    ) -> None:
        if cqe < 1 or comp_vector:
            raise PyverbsRDMAError("Failed to create a CQ", errno.EINVAL)
        self.context: Context | None = context
        self.cq_context = cq_context
        self.comp_channel = channel
        self.num_events = 0
        self._polling = threading.Lock()
        self.qps: WeakSet[Any] = WeakSet()
        self.srqs: WeakSet[Any] = WeakSet()
        notify = None
        if channel is not None:
            channel.cqs.add(self)

            def notify() -> None:
                channel.announce(self)

        self.engine = context.adapter.device.completion_queue(cqe, notify)
        context.cqs.add(self)

    @property
    def _live(self) -> CompletionQueue:
        if self.engine is None:
            raise PyverbsRDMAError("The CQ is closed", errno.EBADF)
        return self.engine

    @property
    def cqe(self) -> int:
        return self._live.capacity

    def poll(self, num_entries: int = 1) -> tuple[int, list[WC]]:
        """(number, completions) of at most `num_entries`; (0, []) where there are none."""
        queue = self._live
        with self._polling:
            rows = queue.pop_rows(num_entries)
        if not rows:
            self._adapter.poll()
            with self._polling:
                rows = queue.pop_rows(num_entries)
        return len(rows), [work_completion(row) for row in rows]

    def req_notify(self, solicited_only: bool = False) -> None:
        """Announce the next completion (or the next solicited or failed one) on the channel."""
        with self._adapter.lock:
            self._live.arm(solicited_only=bool(solicited_only))

    def ack_events(self, num_events: int) -> None:
        self.num_events -= num_events

    def resize(self, cqe: int) -> None:
        """Hold `cqe` entries; EINVAL where more are waiting."""
        with self._polling, self._adapter.lock:
            if cqe < max(1, len(self._live)):
                raise PyverbsRDMAError("Failed to resize CQ", errno.EINVAL)
            self._live.capacity = cqe

    @property
    def _adapter(self) -> Adapter:
        if self.context is None:
            raise PyverbsRDMAError("The CQ is closed", errno.EBADF)
        return self.context.adapter

    def close(self) -> None:
        if self.engine is not None:
            close_weakrefs([self.qps, self.srqs])
            self.engine = None
            self.comp_channel = None

    def __str__(self) -> str:
        return "CQ\n" + table(("CQEs", self.cqe))
