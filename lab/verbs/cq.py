"""Completion queues and channels (pyverbs.cq): CompChannel, CQ, CQEX, WC."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from socket import htonl
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

from lab.engine.queues import CompletionQueue
from lab.engine.work import WCFlag
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, PyverbsObject, close_weakrefs, table, unsupported
from lab.verbs.device import Context
from lab.verbs.device_attr import DeviceAttr
from lab.verbs.pyverbs_error import PyverbsRDMAError

if TYPE_CHECKING:
    from lab.verbs.adapter import Adapter
    from lab.verbs.pd import PD

_WITH_IMM = int(WCFlag.WITH_IMM)
_NO_MORE = errno.ENOENT
STANDARD_FLAGS = int(e.IBV_WC_STANDARD_FLAGS)

STATUS_TEXT = {
    e.IBV_WC_SUCCESS: "success",
    e.IBV_WC_LOC_LEN_ERR: "local length error",
    e.IBV_WC_LOC_QP_OP_ERR: "local QP op error",
    e.IBV_WC_LOC_EEC_OP_ERR: "local EEC op error",
    e.IBV_WC_LOC_PROT_ERR: "local protection error",
    e.IBV_WC_WR_FLUSH_ERR: "WR flush error",
    e.IBV_WC_MW_BIND_ERR: "memory window bind error",
    e.IBV_WC_BAD_RESP_ERR: "bad response error",
    e.IBV_WC_LOC_ACCESS_ERR: "local access error",
    e.IBV_WC_REM_INV_REQ_ERR: "remote invalidate request error",
    e.IBV_WC_REM_ACCESS_ERR: "remote access error",
    e.IBV_WC_REM_OP_ERR: "remote op error",
    e.IBV_WC_RETRY_EXC_ERR: "retry exceeded error",
    e.IBV_WC_RNR_RETRY_EXC_ERR: "RNR retry exceeded",
    e.IBV_WC_LOC_RDD_VIOL_ERR: "local RDD violation error",
    e.IBV_WC_REM_INV_RD_REQ_ERR: "remote invalidate RD request error",
    e.IBV_WC_REM_ABORT_ERR: "remote abort error",
    e.IBV_WC_INV_EECN_ERR: "invalidate EECN error",
    e.IBV_WC_INV_EEC_STATE_ERR: "invalidate EEC state error",
    e.IBV_WC_FATAL_ERR: "WC fatal error",
    e.IBV_WC_RESP_TIMEOUT_ERR: "response timeout error",
    e.IBV_WC_GENERAL_ERR: "general error",
}

OPCODE_TEXT = {
    e.IBV_WC_SEND: "Send",
    e.IBV_WC_RDMA_WRITE: "RDMA write",
    e.IBV_WC_RDMA_READ: "RDMA read",
    e.IBV_WC_COMP_SWAP: "Compare and swap",
    e.IBV_WC_FETCH_ADD: "Fetch and add",
    e.IBV_WC_BIND_MW: "Bind Memory window",
    e.IBV_WC_LOCAL_INV: "Local invalidate",
    e.IBV_WC_TSO: "TSO",
    e.IBV_WC_RECV: "Receive",
    e.IBV_WC_RECV_RDMA_WITH_IMM: "Receive RDMA with immediate",
    e.IBV_WC_TM_ADD: "Tag matching - add",
    e.IBV_WC_TM_DEL: "Tag matching - delete",
    e.IBV_WC_TM_SYNC: "Tag matching - sync",
    e.IBV_WC_TM_RECV: "Tag matching - receive",
    e.IBV_WC_TM_NO_TAG: "Tag matching - no tag",
    0x87: "Driver WR",
}


def cqe_status_to_str(status: int) -> str:
    return STATUS_TEXT.get(status, "Unknown CQE status")


def cqe_opcode_to_str(opcode: int) -> str:
    return OPCODE_TEXT.get(opcode, f"Unknown CQE opcode {opcode}")


def flags_to_str(flags: int, dictionary: dict[int, str]) -> str:
    """The names of the set bits."""
    return " ".join(name for bit, name in dictionary.items() if flags & bit)


def cqe_flags_to_str(flags: int) -> str:
    return flags_to_str(flags, {flag: str(flag.name)[7:] for flag in e.ibv_wc_flags})


def create_wc_flags_to_str(flags: int) -> str:
    return flags_to_str(flags, {flag: str(flag.name) for flag in e.ibv_create_cq_wc_flags})


class WC(PyverbsObject):
    """A work completion. `imm_data` is in network byte order, as SendWR's.

    Support: full.
    """

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
            ("vendor error", self.vendor_err),
            ("byte length", self.byte_len),
            ("QP num", self.qp_num),
            ("source QP", self.src_qp),
            ("WC flags", cqe_flags_to_str(self.wc_flags)),
            ("pkey index", self.pkey_index),
            ("slid", self.slid),
            ("sl", self.sl),
            ("imm_data", self.imm_data),
            ("dlid path bits", self.dlid_path_bits),
        )


def work_completion(row: tuple[int, ...]) -> WC:
    """The API's form of the engine's Completion."""
    wr_id, status, opcode, qpn, length, immediate, flags, source, _ = row
    if flags & _WITH_IMM:
        immediate = htonl(immediate)
    return WC(wr_id, status, opcode, 0, length, qpn, source, immediate, flags)


class CompChannel(PyverbsCM):
    """Where CQs announce completions: `fd` is readable while an event waits.

    Support: full.
    """

    fd = -1

    def __init__(self, context: Context) -> None:
        self.fd = os.eventfd(0, os.EFD_SEMAPHORE | os.EFD_CLOEXEC)
        self.context = context
        self.cqs: WeakSet[Any] = WeakSet()
        self._events: deque[_Queue] = deque()
        context.ccs.add(self)

    def announce(self, cq: _Queue) -> None:
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


class _Queue(PyverbsCM):
    """What CQ and CQEX share: the engine's queue, and who depends on it."""

    engine: CompletionQueue | None = None
    context: Context | None = None

    def _open(self, context: Context, cqe: int, channel: CompChannel | None, vector: int) -> None:
        most = DeviceAttr.max_cqe
        what = f"Failed to create a CQ of {cqe} entries for vector {vector}"
        if not 1 <= cqe <= most or not 0 <= vector < context.num_comp_vectors:
            limits = f"1 to {most} entries, {context.num_comp_vectors} vectors"
            raise PyverbsRDMAError(f"{what}: {limits}", errno.EINVAL)
        self.context = context
        self.comp_channel = channel
        self.num_events = 0
        self._polling = threading.Lock()
        self.qps: WeakSet[Any] = WeakSet()
        self.srqs: WeakSet[Any] = WeakSet()
        notify = None
        if channel is not None:
            channel.cqs.add(self)
            # The engine's queue must not keep this object alive.
            own = ref(self)

            def notify() -> None:
                if (cq := own()) is not None:
                    channel.announce(cq)

        self.engine = context.adapter.device.completion_queue(int(cqe), notify)
        context.cqs.add(self)

    @property
    def live(self) -> CompletionQueue:
        """The engine's queue; EBADF where this is closed."""
        if self.engine is None:
            raise PyverbsRDMAError("The CQ is closed", errno.EBADF)
        return self.engine

    @property
    def cqe(self) -> int:
        return self.live.capacity

    @property
    def _adapter(self) -> Adapter:
        if self.context is None:
            raise PyverbsRDMAError("The CQ is closed", errno.EBADF)
        return self.context.adapter

    def close(self) -> None:
        """Close the queue pairs and SRQs that complete here, then the queue."""
        if self.engine is not None:
            close_weakrefs([self.qps, self.srqs])
            self.engine = None
            self.context = None
            self.comp_channel = None


class CQ(_Queue):
    """A completion queue of `cqe` entries.

    A completion that finds no room is lost, and the Context gets IBV_EVENT_CQ_ERR once.

    Support: full. There is one completion vector.
    """

    def __init__(
        self,
        context: Context,
        cqe: int,
        cq_context: object = None,
        channel: CompChannel | None = None,
        comp_vector: int = 0,
    ) -> None:
        self.cq_context = cq_context
        self._open(context, cqe, channel, comp_vector)

    def poll(self, num_entries: int = 1) -> tuple[int, list[WC]]:
        """(number, completions) of at most `num_entries`; (0, []) where there are none."""
        queue = self.live
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
            self.live.arm(solicited_only=bool(solicited_only))

    def ack_events(self, num_events: int) -> None:
        self.num_events -= num_events

    def resize(self, cqe: int) -> None:
        """Hold `cqe` entries; EINVAL where more are waiting."""
        with self._polling, self._adapter.lock:
            held = len(self.live)
            if not max(1, held) <= cqe <= DeviceAttr.max_cqe:
                reason = f"{cqe} entries, {held} are waiting"
                raise PyverbsRDMAError(f"Failed to resize CQ: {reason}", errno.EINVAL)
            self.live.capacity = cqe

    def __str__(self) -> str:
        return "CQ\n" + table(("CQEs", self.cqe))


class PollCqAttr(PyverbsObject):
    """How to poll; there is nothing to say yet.

    Support: full.
    """

    comp_mask = 0


class WcTmInfo(PyverbsObject):
    """What a completion says of a tag match.

    Support: no. There is no tag matching.
    """

    tag = 0
    priv = 0


class CqInitAttrEx(PyverbsObject):
    """What to create a CQEX with.

    Support: partly. `wc_flags` are those of IBV_WC_STANDARD_FLAGS; the flag IGNORE_OVERRUN is not
    supported.
    """

    def __init__(
        self,
        cqe: int = 100,
        channel: CompChannel | None = None,
        comp_vector: int = 0,
        wc_flags: int = 0,
        comp_mask: int = 0,
        flags: int = 0,
        parent_domain: PD | None = None,
    ) -> None:
        self.cqe = cqe
        self.cq_context: object = None
        self.comp_channel = channel
        self.comp_vector = comp_vector
        self.wc_flags = wc_flags
        self.comp_mask = comp_mask
        self.flags = flags
        self.parent_domain = parent_domain

    def __str__(self) -> str:
        return table(
            ("Number of CQEs", self.cqe),
            ("WC flags", create_wc_flags_to_str(self.wc_flags)),
            ("comp mask", self.comp_mask),
            ("flags", self.flags),
        )


class CQEX(_Queue):
    """A completion queue read field by field: `start_poll`, `poll_next` while there is more,
    `end_poll`.

    Support: partly. The fields of IBV_WC_STANDARD_FLAGS can be read; timestamps, VLAN, flow tag and
    tag matching are not supported.
    """

    def __init__(self, context: Context, init_attr: CqInitAttrEx | None) -> None:
        init_attr = init_attr or CqInitAttrEx()
        uses_flags = init_attr.comp_mask & e.IBV_CQ_INIT_ATTR_MASK_FLAGS
        single = int(e.IBV_CREATE_CQ_ATTR_SINGLE_THREADED)
        if init_attr.wc_flags & ~STANDARD_FLAGS or (uses_flags and init_attr.flags & ~single):
            unsupported("A CQ with more than the standard fields, or without overrun check,")
        self._wc = WC()
        self._holder = 0
        """The thread between `start_poll` and `end_poll`."""
        self._open(context, init_attr.cqe, init_attr.comp_channel, init_attr.comp_vector)
        if init_attr.parent_domain is not None:
            getattr(init_attr.parent_domain, "cqs", WeakSet[Any]()).add(self)

    def start_poll(self, attr: PollCqAttr | None) -> int:
        """0 and the first completion's fields can be read, or ENOENT."""
        if not len(self.live):
            self._adapter.poll()
        self._polling.acquire()
        self._holder = threading.get_ident()
        if found := self.poll_next():
            self.end_poll()
        return found

    def poll_next(self) -> int:
        """0 and the next completion's fields can be read, or ENOENT."""
        rows = self.live.pop_rows(1)
        if not rows:
            return _NO_MORE
        self._wc = work_completion(rows[0])
        return 0

    def end_poll(self) -> None:
        """Let others poll."""
        if self._holder == threading.get_ident():
            self._holder = 0
            self._polling.release()

    @property
    def status(self) -> int:
        return self._wc.status

    @status.setter
    def status(self, val: int) -> None:
        self._wc.status = val

    @property
    def wr_id(self) -> int:
        return self._wc.wr_id

    @wr_id.setter
    def wr_id(self, val: int) -> None:
        self._wc.wr_id = val

    def read_opcode(self) -> int:
        return self._wc.opcode

    def read_vendor_err(self) -> int:
        return self._wc.vendor_err

    def read_byte_len(self) -> int:
        return self._wc.byte_len

    def read_imm_data(self) -> int:
        return self._wc.imm_data

    def read_qp_num(self) -> int:
        return self._wc.qp_num

    def read_src_qp(self) -> int:
        return self._wc.src_qp

    def read_wc_flags(self) -> int:
        return self._wc.wc_flags

    def read_slid(self) -> int:
        return self._wc.slid

    def read_sl(self) -> int:
        return self._wc.sl

    def read_dlid_path_bits(self) -> int:
        return self._wc.dlid_path_bits

    def read_timestamp(self) -> int:
        unsupported("A completion's timestamp")

    def read_completion_wallclock_ns(self) -> int:
        unsupported("A completion's timestamp")

    def read_cvlan(self) -> int:
        unsupported("A completion's VLAN")

    def read_flow_tag(self) -> int:
        unsupported("A completion's flow tag")

    def read_tm_info(self) -> WcTmInfo:
        unsupported("A completion's tag")

    def __str__(self) -> str:
        return "Extended CQ:\n" + table(("CQEs", self.cqe))
