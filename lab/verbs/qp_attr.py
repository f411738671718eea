"""What queue pairs are made of and set to: the attribute classes of pyverbs.qp."""

from __future__ import annotations

import copy
from typing import Any

from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import AHAttr
from lab.verbs.base import PyverbsCM, PyverbsObject, table
from lab.verbs.cq import CQ, CQEX
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsUserError
from lab.verbs.srq import SRQ
from lab.verbs.utils import (
    access_flags_to_str,
    mig_state_to_str,
    mtu_to_str,
    qp_state_to_str,
    qp_type_to_str,
)
from lab.verbs.xrcd import XRCD

AnyCQ = CQ | CQEX


class QPCap(PyverbsObject):
    """How many requests, pieces of each, and bytes inline.

    Support: full.
    """

    def __init__(
        self,
        max_send_wr: int = 1,
        max_recv_wr: int = 10,
        max_send_sge: int = 1,
        max_recv_sge: int = 1,
        max_inline_data: int = 0,
    ) -> None:
        self.max_send_wr = max_send_wr
        self.max_recv_wr = max_recv_wr
        self.max_send_sge = max_send_sge
        self.max_recv_sge = max_recv_sge
        self.max_inline_data = max_inline_data

    def __str__(self) -> str:
        return table(*((name.replace("_", " "), value) for name, value in vars(self).items()))


def _of_cap(name: str) -> property:
    """A property that is the field `name` of the object's QPCap."""

    def read(self: _Init) -> Any:
        return getattr(self._cap, name)

    def write(self: _Init, value: int) -> None:
        setattr(self._cap, name, value)

    return property(read, write)


class _Init(PyverbsObject):
    """What QPInitAttr and QPInitAttrEx share."""

    qp_type: int
    qp_context: object
    sq_sig_all: int
    send_cq: AnyCQ | None
    recv_cq: AnyCQ | None
    srq: SRQ | None

    def _set(
        self,
        qp_type: int,
        qp_context: object,
        cqs: tuple[AnyCQ | None, AnyCQ | None],
        srq: SRQ | None,
        cap: QPCap | None,
        sq_sig_all: int,
    ) -> None:
        for cq in cqs:
            if cq is not None and not isinstance(cq, CQ | CQEX):
                raise PyverbsUserError(f"Expected CQ/CQEX, got {type(cq)}")
        self.qp_type = qp_type
        self.qp_context = qp_context
        self.send_cq, self.recv_cq = cqs
        self.srq = srq
        self.sq_sig_all = sq_sig_all
        self.cap = cap

    @property
    def cap(self) -> QPCap:
        """Copied when set and when read."""
        return copy.copy(self._cap)

    @cap.setter
    def cap(self, val: QPCap | None) -> None:
        self._cap = copy.copy(val) if val is not None else QPCap(0, 0, 0, 0, 0)

    max_send_wr = _of_cap("max_send_wr")
    max_recv_wr = _of_cap("max_recv_wr")
    max_send_sge = _of_cap("max_send_sge")
    max_recv_sge = _of_cap("max_recv_sge")
    max_inline_data = _of_cap("max_inline_data")

    def __str__(self) -> str:
        head = table(("QP type", qp_type_to_str(self.qp_type)), ("SQ sig. all", self.sq_sig_all))
        return f"{head}QP caps:\n{self._cap}"


class QPInitAttr(_Init):
    """What to create a queue pair with.

    Support: full.
    """

    def __init__(
        self,
        qp_type: int = e.IBV_QPT_UD,
        qp_context: object = None,
        scq: AnyCQ | None = None,
        rcq: AnyCQ | None = None,
        srq: SRQ | None = None,
        cap: QPCap | None = None,
        sq_sig_all: int = 1,
    ) -> None:
        self._set(qp_type, qp_context, (scq, rcq), srq, cap, sq_sig_all)


class QPInitAttrEx(_Init):
    """What to create a queue pair with, from a Context (`comp_mask` says what of it counts).

    Support: partly. XRC domains, creation flags, TSO, a source QPN, indirection tables and hashes
    are refused (EOPNOTSUPP), as are the send operations TSO, FLUSH and ATOMIC_WRITE.
    """

    def __init__(
        self,
        qp_type: int = e.IBV_QPT_UD,
        qp_context: object = None,
        scq: AnyCQ | None = None,
        rcq: AnyCQ | None = None,
        srq: SRQ | None = None,
        cap: QPCap | None = None,
        sq_sig_all: int = 0,
        comp_mask: int = 0,
        pd: PD | None = None,
        xrcd: XRCD | None = None,
        create_flags: int = 0,
        max_tso_header: int = 0,
        source_qpn: int = 0,
        hash_conf: Any = None,
        ind_table: Any = None,
        send_ops_flags: int = 0,
    ) -> None:
        self._set(qp_type, qp_context, (scq, rcq), srq, cap, sq_sig_all)
        self.comp_mask = comp_mask
        self.pd = pd
        self.xrcd = xrcd
        self.create_flags = create_flags
        self.max_tso_header = max_tso_header
        self.source_qpn = source_qpn
        self.hash_conf = hash_conf
        self.ind_table = ind_table
        self.send_ops_flags = send_ops_flags

    def mask_to_str(self, mask: int) -> str:
        """The names of the set bits of `comp_mask`."""
        return "".join(f"{flag.name} " for flag in e.ibv_qp_init_attr_mask if mask & flag)

    def flags_to_str(self, flags: int) -> str:
        """The names of the set bits of `create_flags`."""
        return "".join(f"{flag.name} " for flag in e.ibv_qp_create_flags if flags & flag)

    def __str__(self) -> str:
        return super().__str__() + table(
            ("comp mask", self.mask_to_str(self.comp_mask)),
            ("create flags", self.flags_to_str(self.create_flags)),
            ("max TSO header", self.max_tso_header),
            ("Source QPN", self.source_qpn),
        )


class QPAttr(PyverbsObject):
    """What to set with a modify, and what a query gives; PSNs and codes as
    `ibv_qp_attr` has them.

    Support: partly. Alternate paths, path migration and rate limits are kept and mean nothing.
    """

    def __init__(
        self,
        qp_state: int = e.IBV_QPS_INIT,
        cur_qp_state: int = e.IBV_QPS_RESET,
        port_num: int = 1,
        path_mtu: int = e.IBV_MTU_1024,
    ) -> None:
        self.qp_state = qp_state
        self.cur_qp_state = cur_qp_state
        self.port_num = port_num
        self.path_mtu = path_mtu
        self.path_mig_state = 0
        self.qkey = 0
        self.rq_psn = 0
        self.sq_psn = 0
        self.dest_qp_num = 0
        self.qp_access_flags = 0
        self.pkey_index = 0
        self.alt_pkey_index = 0
        self.en_sqd_async_notify = 0
        self.sq_draining = 0
        self.max_rd_atomic = 0
        self.max_dest_rd_atomic = 0
        self.min_rnr_timer = 0
        self.timeout = 0
        self.retry_cnt = 0
        self.rnr_retry = 0
        self.alt_port_num = 0
        self.alt_timeout = 0
        self.rate_limit = 0
        self.cap = QPCap(0, 0, 0, 0, 0)
        self._ah_attr = AHAttr(port_num=0)
        self._alt_ah_attr = AHAttr(port_num=0)

    @property
    def ah_attr(self) -> AHAttr:
        """Copied when set and when read."""
        return self._ah_attr.copy()

    @ah_attr.setter
    def ah_attr(self, val: AHAttr) -> None:
        self._ah_attr = val.copy()

    @property
    def alt_ah_attr(self) -> AHAttr:
        """Kept, but there are no alternate paths."""
        return self._alt_ah_attr.copy()

    @alt_ah_attr.setter
    def alt_ah_attr(self, val: AHAttr) -> None:
        self._alt_ah_attr = val.copy()

    def __str__(self) -> str:
        words = {
            "qp_state": qp_state_to_str,
            "cur_qp_state": qp_state_to_str,
            "path_mtu": mtu_to_str,
            "path_mig_state": mig_state_to_str,
            "qp_access_flags": access_flags_to_str,
        }
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        rows = [
            (name.replace("_", " "), words[name](value) if name in words else value)
            for name, value in numbers.items()
        ]
        return (
            f"{table(*rows)}QP caps:\n{self.cap}AH Attr:\n{self._ah_attr}"
            f"Alt. AH Attr:\n{self._alt_ah_attr}"
        )


class ECE(PyverbsCM):
    """Enhanced connection establishment: what two devices of one maker agree on besides.

    Support: full, but no queue pair here has anything to agree on.
    """

    def __init__(self, vendor_id: int = 0, options: int = 0, comp_mask: int = 0) -> None:
        self.vendor_id = vendor_id
        self.options = options
        self.comp_mask = comp_mask

    def __str__(self) -> str:
        return "ECE:\n" + table(
            ("Vendor ID", hex(self.vendor_id)),
            ("Options", hex(self.options)),
            ("Comp Mask", hex(self.comp_mask)),
        )
