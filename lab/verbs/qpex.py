"""Queue pairs that requests are built on, call by call: QPEx (pyverbs.qp)."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence
from socket import htonl
from typing import Any

from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import AH
from lab.verbs.base import PyverbsCM, unsupported, verb
from lab.verbs.device import Context
from lab.verbs.mr import MW, MWBindInfo
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.qp_attr import QPAttr, QPInitAttrEx
from lab.verbs.queue_pair import QP
from lab.verbs.wr import SGE, SendWR

_NO_DATA = [SGE(0, 0, 0)]


class DataBuffer(PyverbsCM):
    """Inline data of a QPEx: `length` bytes at `addr`.

    Support: full.
    """

    def __init__(self, addr: int, length: int) -> None:
        self.addr = addr
        self.length = length


class QPEx(QP):
    """A queue pair that requests are built on: `wr_start`, set `wr_id` and `wr_flags`, one of the
    `wr_` requests and its `wr_set_` data, any number of times, then `wr_complete` (or `wr_abort`).

    Nothing is posted before `wr_complete`, and nothing at all where it refuses.

    Support: partly. wr_atomic_write, wr_flush, wr_send_tso and wr_set_xrc_srqn are refused
    (EOPNOTSUPP), and there are no indirection tables.
    """

    def __init__(
        self, creator: Context, init_attr: QPInitAttrEx, qp_attr: QPAttr | None = None
    ) -> None:
        super().__init__(creator, init_attr, qp_attr)
        self.comp_mask = 0
        self.wr_id = 0
        self.wr_flags = 0
        self.ind_table: Any = None
        self._building: list[SendWR] | None = None

    def _request(self, opcode: int, imm_data: int = 0) -> SendWR:
        """A request of `opcode` on the list, without data yet."""
        if self._building is None:
            raise PyverbsRDMAError("A request outside wr_start and wr_complete", errno.EINVAL)
        wr = SendWR(
            self.wr_id, opcode, num_sge=1, imm_data=imm_data, sg=_NO_DATA, send_flags=self.wr_flags
        )
        wr.set_sges([])
        self._building.append(wr)
        return wr

    @property
    def _last(self) -> SendWR:
        if not self._building:
            raise PyverbsRDMAError("Data without a request", errno.EINVAL)
        return self._building[-1]

    def wr_start(self) -> None:
        self._building = []

    def wr_abort(self) -> None:
        self._building = None

    def wr_complete(self) -> None:
        """Post what was built, or where any of it cannot be, none of it."""
        building, self._building = self._building or [], None
        qp, adapter = self.live, self._adapter
        with verb("ibv_wr_complete failed."), adapter.lock:
            works = [wr.work() for wr in building]
            for ahead, work in enumerate(works):
                qp.check_send(work, ahead)
            for wr, work in zip(building, works, strict=True):
                qp.post_send(work)
                wr.posted()
            adapter.posted(qp)

    def wr_send(self) -> None:
        self._request(e.IBV_WR_SEND)

    def wr_send_imm(self, data: int) -> None:
        self._request(e.IBV_WR_SEND_WITH_IMM, htonl(data))

    def wr_send_inv(self, invalidate_rkey: int) -> None:
        self._request(e.IBV_WR_SEND_WITH_INV, invalidate_rkey)

    def wr_local_inv(self, invalidate_rkey: int) -> None:
        self._request(e.IBV_WR_LOCAL_INV, invalidate_rkey)

    def wr_rdma_write(self, rkey: int, remote_addr: int) -> None:
        self._request(e.IBV_WR_RDMA_WRITE).set_wr_rdma(rkey, remote_addr)

    def wr_rdma_write_imm(self, rkey: int, remote_addr: int, data: int) -> None:
        wr = self._request(e.IBV_WR_RDMA_WRITE_WITH_IMM, htonl(data))
        wr.set_wr_rdma(rkey, remote_addr)

    def wr_rdma_read(self, rkey: int, remote_addr: int) -> None:
        self._request(e.IBV_WR_RDMA_READ).set_wr_rdma(rkey, remote_addr)

    def wr_atomic_cmp_swp(self, rkey: int, remote_addr: int, compare: int, swap: int) -> None:
        wr = self._request(e.IBV_WR_ATOMIC_CMP_AND_SWP)
        wr.set_wr_atomic(rkey, remote_addr, compare, swap)

    def wr_atomic_fetch_add(self, rkey: int, remote_addr: int, add: int) -> None:
        self._request(e.IBV_WR_ATOMIC_FETCH_AND_ADD).set_wr_atomic(rkey, remote_addr, add)

    def wr_bind_mw(self, mw: MW, rkey: int, bind_info: MWBindInfo) -> None:
        """Bind a window of type 2 under the key `rkey`, which only the low 8 bits of may be new."""
        self._request(e.IBV_WR_BIND_MW).bind(mw, rkey, bind_info)
        self.mws.add(mw)

    def wr_atomic_write(self, rkey: int, remote_addr: int, atomic_wr: bytes) -> None:
        unsupported("ATOMIC_WRITE")

    def wr_flush(self, rkey: int, remote_addr: int, length: int, ptype: int, level: int) -> None:
        unsupported("FLUSH")

    def wr_send_tso(self, hdr: int, hdr_sz: int, mss: int) -> None:
        unsupported("TSO")

    def wr_set_xrc_srqn(self, remote_srqn: int) -> None:
        unsupported("XRC")

    def wr_set_ud_addr(self, ah: AH, remote_qpn: int, remote_rkey: int) -> None:
        """Where a datagram goes; what pyverbs calls `remote_rkey` is the queue key."""
        self._last.set_wr_ud(ah, remote_qpn, remote_rkey)

    def wr_set_sge(self, sge: SGE) -> None:
        self._last.set_sges([sge])

    def wr_set_sge_list(self, num_sge: int, sg_list: Sequence[SGE]) -> None:
        self._last.set_sges(sg_list[:num_sge])

    def wr_set_inline_data(self, addr: int, length: int) -> None:
        """Copy `length` bytes at `addr`."""
        self.wr_set_inline_data_list(1, [DataBuffer(addr, length)])

    def wr_set_inline_data_list(self, num_buf: int, buf_list: Sequence[DataBuffer]) -> None:
        """Copy several pieces, to be laid end to end."""
        pieces = (ctypes.string_at(piece.addr, piece.length) for piece in buf_list[:num_buf])
        wr = self._last
        wr.inline = b"".join(pieces)
        wr.send_flags |= e.IBV_SEND_INLINE
