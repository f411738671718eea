"""Queue pairs (pyverbs.qp): QPCap, QPInitAttr, QPAttr, QP."""

from __future__ import annotations

import copy
import errno

from lab.engine.errors import VerbError
from lab.engine.memory import Access
from lab.engine.qp import Attributes, Capacity, QueuePair
from lab.engine.states import TRANSITIONS, Attr, QPState, QPType
from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import AHAttr
from lab.verbs.base import PyverbsCM, PyverbsObject, table, verb
from lab.verbs.cq import CQ
from lab.verbs.device import PKEY
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError, PyverbsUserError
from lab.verbs.srq import SRQ
from lab.verbs.utils import MTU_BYTES, qp_state_to_str, qp_type_to_str
from lab.verbs.wr import RecvWR, SendWR

MAX_WR = 16384
MAX_SGE = 32
MAX_INLINE = 1024
PSN_MASK = 0xFFFFFF


class QPCap(PyverbsObject):
    """How many requests, pieces of each, and bytes inline."""

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


class QPInitAttr(PyverbsObject):
    """What to create a queue pair with."""

    def __init__(
        self,
        qp_type: int = e.IBV_QPT_UD,
        qp_context: object = None,
        scq: CQ | None = None,
        rcq: CQ | None = None,
        srq: SRQ | None = None,
        cap: QPCap | None = None,
        sq_sig_all: int = 1,
    ) -> None:
        for cq in (scq, rcq):
            if cq is not None and not isinstance(cq, CQ):
                raise PyverbsUserError(f"Expected CQ/CQEX, got {type(cq)}")
        self.qp_type = qp_type
        self.qp_context = qp_context
        self.send_cq = scq
        self.recv_cq = rcq
        self.srq = srq
        self.cap = copy.copy(cap) if cap is not None else QPCap(0, 0, 0, 0, 0)
        self.sq_sig_all = sq_sig_all

    def __str__(self) -> str:
        head = table(("QP type", qp_type_to_str(self.qp_type)), ("SQ sig. all", self.sq_sig_all))
        return f"{head}QP caps:\n{self.cap}"


class QPAttr(PyverbsObject):
    """What to set with a modify, and what a query gives; PSNs and codes as
    `ibv_qp_attr` has them.
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
        rows = [(name.strip("_").replace("_", " "), value) for name, value in vars(self).items()]
        return table(*((name, value) for name, value in rows if isinstance(value, int)))


class QP(PyverbsCM):
    """A queue pair of type RC, UC or UD, created in a PD.

    With `qp_attr` it is taken as far towards RTS as its type allows. Refused verbs raise
    PyverbsRDMAError with the errno of libibverbs and the broken rule in words.
    """

    engine: QueuePair | None = None

    def __init__(self, creator: PD, init_attr: QPInitAttr, qp_attr: QPAttr | None = None) -> None:
        if not isinstance(creator, PD):
            raise PyverbsRDMAError("Failed to create QP: it is made from a PD", errno.EOPNOTSUPP)
        self.pd: PD | None = creator
        self._adapter = creator.ctx.adapter
        self.scq, self.rcq, self.srq = init_attr.send_cq, init_attr.recv_cq, init_attr.srq
        self._set = QPAttr(qp_state=e.IBV_QPS_RESET)
        self._init_attr = init_attr
        self.engine = self._create(creator, init_attr)
        creator.add_ref(self)
        for owner in (self.scq, self.rcq, self.srq):
            if owner is not None:
                owner.qps.add(self)
        if qp_attr is not None:
            (self.to_rts if self.qp_type == e.IBV_QPT_UD else self.to_init)(qp_attr)

    def _create(self, pd: PD, init_attr: QPInitAttr) -> QueuePair:
        scq, rcq, srq, cap = init_attr.send_cq, init_attr.recv_cq, init_attr.srq, init_attr.cap
        if scq is None or rcq is None or scq.engine is None or rcq.engine is None:
            raise PyverbsRDMAError("Failed to create QP: it needs two open CQs", errno.EINVAL)
        if init_attr.qp_type not in set(QPType):
            kind = qp_type_to_str(init_attr.qp_type)
            raise PyverbsRDMAError(f"Failed to create QP of type {kind}", errno.EOPNOTSUPP)
        asked = max(cap.max_send_wr, cap.max_recv_wr), max(cap.max_send_sge, cap.max_recv_sge)
        if asked[0] > MAX_WR or asked[1] > MAX_SGE or cap.max_inline_data > MAX_INLINE:
            limits = f"{MAX_WR} requests, {MAX_SGE} SGEs, {MAX_INLINE} bytes inline"
            raise PyverbsRDMAError(f"Failed to create QP: at most {limits}", errno.EINVAL)
        capacity = Capacity(
            max(1, cap.max_send_wr),
            max(1, cap.max_recv_wr),
            max(1, cap.max_send_sge),
            max(1, cap.max_recv_sge),
            cap.max_inline_data,
        )
        adapter = self._adapter
        device = adapter.device
        if srq is not None and srq.engine is not None:
            receives = srq.engine
        else:
            receives = device.receive_queue(capacity.max_recv_wr, capacity.max_recv_sge)
        with adapter.lock:
            return device.queue_pair(
                adapter.new_qpn(),
                QPType(init_attr.qp_type),
                pd.handle,
                scq.engine,
                rcq.engine,
                receives,
                capacity,
                signal_all=bool(init_attr.sq_sig_all),
            )

    @property
    def _live(self) -> QueuePair:
        if self.engine is None:
            raise PyverbsRDMAError("The QP is closed", errno.EBADF)
        return self.engine

    @property
    def qp_num(self) -> int:
        return self._live.number

    @property
    def qp_type(self) -> int:
        return e.ibv_qp_type(self._live.kind)

    @property
    def qp_state(self) -> int:
        return e.ibv_qp_state(self._live.state)

    def to_init(self, qp_attr: QPAttr) -> None:
        """RESET to INIT."""
        self._go(qp_attr, QPState.INIT, "init")

    def to_rtr(self, qp_attr: QPAttr) -> None:
        """To RTR, by way of INIT if it is not there yet."""
        if self._live.state is not QPState.INIT:
            self.to_init(qp_attr)
        self._go(qp_attr, QPState.RTR, "RTR")

    def to_rts(self, qp_attr: QPAttr) -> None:
        """To RTS, by way of INIT and RTR if it is not there yet."""
        if self._live.state is not QPState.RTR:
            self.to_rtr(qp_attr)
        self._go(qp_attr, QPState.RTS, "RTS")

    def _go(self, qp_attr: QPAttr, end: QPState, name: str) -> None:
        steps = {QPState.INIT: QPState.RESET, QPState.RTR: QPState.INIT, QPState.RTS: QPState.RTR}
        mask = TRANSITIONS[steps[end], end][self._live.kind].required | Attr.STATE
        qp_attr.qp_state = e.ibv_qp_state(end)
        self._modify(qp_attr, mask, f"Failed to modify QP state to {name}")

    def modify(self, qp_attr: QPAttr, comp_mask: int) -> None:
        """Set what `comp_mask` names; with IBV_QP_STATE go to `qp_attr.qp_state`."""
        self._modify(qp_attr, Attr(comp_mask), "Failed to modify QP")

    def _modify(self, attr: QPAttr, mask: Attr, what: str) -> None:
        qp = self._live
        if mask & Attr.CUR_STATE and attr.cur_qp_state != qp.state:
            current = qp_state_to_str(qp.state)
            raise PyverbsRDMAError(f"{what}: the state is {current}", errno.EINVAL)
        end = QPState(attr.qp_state) if mask & Attr.STATE else qp.state
        adapter = self._adapter
        with verb(what), adapter.lock:
            values = _attributes(attr, mask, what)
            if mask & Attr.AV:
                values.path = attr.ah_attr.path(adapter)
            qp.modify(values, mask, end, adapter.now())
            adapter.flush()
        for flag, names in FIELDS.items():
            if mask & flag:
                for name in names:
                    setattr(self._set, name, getattr(attr, name))

    def query(self, attr_mask: int) -> tuple[QPAttr, QPInitAttr]:
        """All attributes as they are, whatever the mask."""
        attr = copy.copy(self._set)
        attr.qp_state = attr.cur_qp_state = self.qp_state
        attr.cap = copy.copy(self._init_attr.cap)
        return attr, copy.copy(self._init_attr)

    def post_send(self, wr: SendWR, bad_wr: SendWR | None = None) -> None:
        """Post `wr` and those chained to it; those before a refused one stay posted."""
        qp = self._live
        adapter = self._adapter
        one: SendWR | None = wr
        with adapter.lock:
            try:
                while one is not None:
                    adapter.post(qp, one)
                    one = one.next_wr
            except VerbError as error:
                what = f"Failed to post send: {error.reason}"
                raise PyverbsRDMAError(what, error.errno) from None
            finally:
                adapter.posted(qp)

    def post_recv(self, wr: RecvWR, bad_wr: RecvWR | None = None) -> None:
        """Post `wr` and those chained to it; those before a refused one stay posted."""
        qp = self._live
        one: RecvWR | None = wr
        with self._adapter.lock:
            try:
                while one is not None:
                    qp.post_receive(one.work())
                    one = one.next_wr
            except VerbError as error:
                what = f"Failed to post recv: {error.reason}"
                raise PyverbsRDMAError(what, error.errno) from None

    def close(self) -> None:
        """Destroy the queue pair; what was posted is forgotten."""
        if self.engine is None:
            return
        engine, self.engine = self.engine, None
        adapter = self._adapter
        with adapter.lock:
            adapter.device.remove(engine)
        self.pd = self.scq = self.rcq = self.srq = None

    def __str__(self) -> str:
        return table(
            ("QP type", qp_type_to_str(self.qp_type)),
            ("  number", self.qp_num),
            ("  state", qp_state_to_str(self.qp_state)),
        )


FIELDS: dict[Attr, tuple[str, ...]] = {
    Attr.ACCESS_FLAGS: ("qp_access_flags",),
    Attr.PKEY_INDEX: ("pkey_index",),
    Attr.PORT: ("port_num",),
    Attr.QKEY: ("qkey",),
    Attr.AV: ("ah_attr",),
    Attr.PATH_MTU: ("path_mtu",),
    Attr.TIMEOUT: ("timeout",),
    Attr.RETRY_CNT: ("retry_cnt",),
    Attr.RNR_RETRY: ("rnr_retry",),
    Attr.RQ_PSN: ("rq_psn",),
    Attr.SQ_PSN: ("sq_psn",),
    Attr.MAX_QP_RD_ATOMIC: ("max_rd_atomic",),
    Attr.MAX_DEST_RD_ATOMIC: ("max_dest_rd_atomic",),
    Attr.MIN_RNR_TIMER: ("min_rnr_timer",),
    Attr.DEST_QPN: ("dest_qp_num",),
}

# Attribute, its name in QPAttr, the largest value it may have.
_LIMITS = (
    (Attr.TIMEOUT, "timeout", 31),
    (Attr.MIN_RNR_TIMER, "min_rnr_timer", 31),
    (Attr.RETRY_CNT, "retry_cnt", 7),
    (Attr.RNR_RETRY, "rnr_retry", 7),
    (Attr.MAX_QP_RD_ATOMIC, "max_rd_atomic", 128),
    (Attr.MAX_DEST_RD_ATOMIC, "max_dest_rd_atomic", 128),
    (Attr.PKEY_INDEX, "pkey_index", 0),
    (Attr.DEST_QPN, "dest_qp_num", PSN_MASK),
)


def _attributes(attr: QPAttr, mask: Attr, what: str) -> Attributes:
    """The engine's form of `attr`; EINVAL where a value that `mask` names is out of range."""
    for flag, name, most in _LIMITS:
        value = getattr(attr, name)
        if mask & flag and not 0 <= value <= most:
            raise PyverbsRDMAError(f"{what}: {name} {value}, at most {most}", errno.EINVAL)
    if mask & Attr.PORT and attr.port_num != 1:
        raise PyverbsRDMAError(f"{what}: port {attr.port_num}, there is port 1", errno.EINVAL)
    if mask & Attr.PATH_MTU and attr.path_mtu not in MTU_BYTES:
        raise PyverbsRDMAError(f"{what}: path MTU {attr.path_mtu}", errno.EINVAL)
    return Attributes(
        access=Access(attr.qp_access_flags & 0xF),
        p_key=PKEY,
        port=attr.port_num,
        qkey=attr.qkey,
        path_mtu=MTU_BYTES.get(attr.path_mtu, 0),
        dest_qp=attr.dest_qp_num,
        rq_psn=attr.rq_psn & PSN_MASK,
        sq_psn=attr.sq_psn & PSN_MASK,
        max_rd_atomic=attr.max_rd_atomic,
        max_dest_rd_atomic=attr.max_dest_rd_atomic,
        min_rnr_timer=attr.min_rnr_timer,
        timeout=attr.timeout,
        retry_cnt=attr.retry_cnt,
        rnr_retry=attr.rnr_retry,
    )
