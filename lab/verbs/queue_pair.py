"""The queue pair of the API: QP (pyverbs.qp)."""

from __future__ import annotations

import copy
import errno
from weakref import WeakSet

from lab.engine.errors import VerbError
from lab.engine.memory import Access
from lab.engine.qp import Attributes, Capacity, QueuePair
from lab.engine.states import TRANSITIONS, Attr, QPState, QPType
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import PyverbsCM, close_weakrefs, table, unsupported, verb
from lab.verbs.device import PKEY, Context
from lab.verbs.device_attr import DeviceAttr
from lab.verbs.mr import MW, MWBind
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.qp_attr import ECE, QPAttr, QPCap, QPInitAttr, QPInitAttrEx
from lab.verbs.utils import MTU_BYTES, qp_state_to_str, qp_type_to_str
from lab.verbs.wr import MAX_INLINE, RecvWR, SendWR

MAX_WR = DeviceAttr.max_qp_wr
MAX_SGE = DeviceAttr.max_sge
PSN_MASK = 0xFFFFFF


class QP(PyverbsCM):
    """A queue pair of type RC, UC or UD, made from a PD and a QPInitAttr, or a Context and a
    QPInitAttrEx.

    With `qp_attr` it is taken as far towards RTS as its type allows. Refused verbs raise
    PyverbsRDMAError with the errno of libibverbs and the broken rule in words; `bad_wr`, where
    given, is then the request that was refused.

    Support: partly. XRC and raw packet queue pairs and ECE are not supported.
    """

    engine: QueuePair | None = None

    pd: PD | None = None

    def __init__(
        self,
        creator: PD | Context,
        init_attr: QPInitAttr | QPInitAttrEx,
        qp_attr: QPAttr | None = None,
    ) -> None:
        self.mws: WeakSet[MW] = WeakSet()
        self.context = creator if isinstance(creator, Context) else None
        self.pd = pd = _domain(creator, init_attr)
        self._adapter = pd.ctx.adapter
        self.scq, self.rcq, self.srq = init_attr.send_cq, init_attr.recv_cq, init_attr.srq
        self._set = QPAttr(qp_state=e.IBV_QPS_RESET)
        self._init_attr = init_attr
        self.engine = self._create(pd, init_attr)
        pd.qps.add(self)
        if self.context is not None:
            self.context.qps.add(self)
        for owner in (self.scq, self.rcq, self.srq):
            if owner is not None:
                owner.qps.add(self)
        if qp_attr is not None:
            (self.to_rts if self.qp_type == e.IBV_QPT_UD else self.to_init)(qp_attr)

    def _create(self, pd: PD, init_attr: QPInitAttr | QPInitAttrEx) -> QueuePair:
        scq, rcq, srq, cap = init_attr.send_cq, init_attr.recv_cq, init_attr.srq, init_attr.cap
        if init_attr.qp_type not in set(QPType):
            kind = qp_type_to_str(init_attr.qp_type)
            raise PyverbsRDMAError(f"Failed to create QP of type {kind}", errno.EOPNOTSUPP)
        if scq is None or rcq is None or scq.engine is None or rcq.engine is None:
            raise PyverbsRDMAError("Failed to create QP: it needs two open CQs", errno.EINVAL)
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
        if srq is not None:
            receives = srq.live
        else:
            receives = device.receive_queue(capacity.max_recv_wr, capacity.max_recv_sge)
        with adapter.lock:
            number = adapter.new_qpn()
            adapter.owners[number] = pd.ctx
            return device.queue_pair(
                number,
                QPType(init_attr.qp_type),
                pd.handle,
                scq.engine,
                rcq.engine,
                receives,
                capacity,
                signal_all=bool(init_attr.sq_sig_all),
            )

    @property
    def live(self) -> QueuePair:
        """The engine's queue pair; EBADF where this is closed."""
        if self.engine is None:
            raise PyverbsRDMAError("The QP is closed", errno.EBADF)
        return self.engine

    @property
    def qp_num(self) -> int:
        return self.live.number

    @property
    def qp_type(self) -> int:
        return e.ibv_qp_type(self.live.kind)

    @property
    def qp_state(self) -> int:
        return e.ibv_qp_state(self.live.state)

    def to_init(self, qp_attr: QPAttr) -> None:
        """RESET to INIT."""
        self._go(qp_attr, QPState.INIT, "init")

    def to_rtr(self, qp_attr: QPAttr) -> None:
        """To RTR, by way of INIT if it is not there yet."""
        if self.live.state is not QPState.INIT:
            self.to_init(qp_attr)
        self._go(qp_attr, QPState.RTR, "RTR")

    def to_rts(self, qp_attr: QPAttr) -> None:
        """To RTS, by way of INIT and RTR if it is not there yet."""
        if self.live.state is not QPState.RTR:
            self.to_rtr(qp_attr)
        self._go(qp_attr, QPState.RTS, "RTS")

    def _go(self, qp_attr: QPAttr, end: QPState, name: str) -> None:
        steps = {QPState.INIT: QPState.RESET, QPState.RTR: QPState.INIT, QPState.RTS: QPState.RTR}
        mask = TRANSITIONS[steps[end], end][self.live.kind].required | Attr.STATE
        qp_attr.qp_state = e.ibv_qp_state(end)
        self._modify(qp_attr, mask, f"Failed to modify QP state to {name}")

    def modify(self, qp_attr: QPAttr, comp_mask: int) -> None:
        """Set what `comp_mask` names; with IBV_QP_STATE go to `qp_attr.qp_state`."""
        self._modify(qp_attr, Attr(comp_mask), "Failed to modify QP")

    def _modify(self, attr: QPAttr, mask: Attr, what: str) -> None:
        qp = self.live
        if mask & Attr.CUR_STATE and attr.cur_qp_state != qp.state:
            current = qp_state_to_str(qp.state)
            raise PyverbsRDMAError(f"{what}: the state is {current}", errno.EINVAL)
        if mask & Attr.STATE and attr.qp_state not in set(QPState):
            raise PyverbsRDMAError(f"{what}: there is no state {attr.qp_state}", errno.EINVAL)
        end = QPState(attr.qp_state) if mask & Attr.STATE else qp.state
        adapter = self._adapter
        with verb(what), adapter.lock:
            values = _attributes(attr, mask, what)
            if mask & Attr.AV:
                values.path = attr.ah_attr.path(adapter)
            qp.modify(values, mask, end, adapter.now())
            adapter.flush()
        bits = int(mask)  # an enumeration's own arithmetic takes as long as all the rest
        for flag, names in FIELDS.items():
            if bits & flag.value:
                for name in names:
                    setattr(self._set, name, getattr(attr, name))

    def query(self, attr_mask: int) -> tuple[QPAttr, QPInitAttr]:
        """All attributes as they are, whatever the mask. As on rxe (rxe_qp_to_attr) the PSNs are
        those that come next: `sq_psn` will be sent, `rq_psn` is expected.
        """
        attr = copy.copy(self._set)
        qp = self.live
        with self._adapter.lock:
            attr.sq_psn, attr.rq_psn = qp.next_psns()
        attr.qp_state = attr.cur_qp_state = self.qp_state
        held = qp.capacity
        attr.cap = QPCap(
            held.max_send_wr,
            held.max_recv_wr,
            held.max_send_sge,
            held.max_recv_sge,
            held.max_inline,
        )
        init = QPInitAttr(cap=attr.cap, qp_type=self.qp_type, sq_sig_all=self._init_attr.sq_sig_all)
        init.send_cq, init.recv_cq, init.srq = self.scq, self.rcq, self.srq
        return attr, init

    def post_send(self, wr: SendWR, bad_wr: SendWR | None = None) -> None:
        """Post `wr` and those chained to it; those before a refused one stay posted."""
        qp = self.live
        adapter = self._adapter
        one: SendWR | None = wr
        with adapter.lock:
            try:
                while one is not None:
                    adapter.post(qp, one)
                    if one.window is not None:
                        one.posted()
                    one = one.next_wr
            except VerbError as error:
                _tell_bad(one, bad_wr)
                what = f"Failed to post send: {error.reason}"
                raise PyverbsRDMAError(what, error.errno) from None
            finally:
                adapter.posted(qp)

    def post_recv(self, wr: RecvWR, bad_wr: RecvWR | None = None) -> None:
        """Post `wr` and those chained to it; those before a refused one stay posted."""
        qp = self.live
        one: RecvWR | None = wr
        with self._adapter.lock:
            try:
                while one is not None:
                    qp.post_receive(one.work())
                    one = one.next_wr
            except VerbError as error:
                _tell_bad(one, bad_wr)
                what = f"Failed to post recv: {error.reason}"
                raise PyverbsRDMAError(what, error.errno) from None

    def bind_mw(self, mw: MW, mw_bind: MWBind) -> None:
        """Bind a window of type 1, or with no length shut it; its `rkey` is the new one at once.
        EINVAL for a window of type 2.
        """
        if mw.type != e.IBV_MW_TYPE_1:
            what = "Failed to Bind MW: one of type 2 is bound by IBV_WR_BIND_MW"
            raise PyverbsRDMAError(what, errno.EINVAL)
        flags = mw_bind.send_flags
        wr = SendWR(wr_id=mw_bind.wr_id, opcode=e.IBV_WR_BIND_MW, send_flags=flags)
        wr.set_bind_wr(mw, mw_bind.info)
        self.post_send(wr)

    def query_data_in_order(self, op: int, flags: int = 0) -> int:
        """0: whether data arrives in order is not promised."""
        return 0

    def set_ece(self, ece: ECE) -> None:
        if ece.vendor_id:
            unsupported("ECE")

    def query_ece(self) -> ECE:
        unsupported("ECE")

    def close(self) -> None:
        """Destroy the queue pair; what was posted is forgotten."""
        if self.engine is None:
            return
        close_weakrefs([self.mws])
        engine, self.engine = self.engine, None
        adapter = self._adapter
        with adapter.lock:
            adapter.device.remove(engine)
            adapter.owners.pop(engine.number, None)
        self.pd = self.context = self.scq = self.rcq = self.srq = None

    def __str__(self) -> str:
        return table(
            ("QP type", qp_type_to_str(self.qp_type)),
            ("  number", self.qp_num),
            ("  state", qp_state_to_str(self.qp_state)),
        )


# What `comp_mask` may name, and the send operations there are (wr_ calls).
_MASK = int(e.IBV_QP_INIT_ATTR_PD | e.IBV_QP_INIT_ATTR_SEND_OPS_FLAGS)
_EMPTY_MASK = int(e.IBV_QP_INIT_ATTR_CREATE_FLAGS | e.IBV_QP_INIT_ATTR_MAX_TSO_HEADER)
"""May be named, with nothing in it."""
_OPERATIONS = int(
    e.IBV_QP_EX_WITH_RDMA_WRITE
    | e.IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM
    | e.IBV_QP_EX_WITH_SEND
    | e.IBV_QP_EX_WITH_SEND_WITH_IMM
    | e.IBV_QP_EX_WITH_RDMA_READ
    | e.IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP
    | e.IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD
    | e.IBV_QP_EX_WITH_LOCAL_INV
    | e.IBV_QP_EX_WITH_BIND_MW
    | e.IBV_QP_EX_WITH_SEND_WITH_INV
)


def _domain(creator: PD | Context, attr: QPInitAttr | QPInitAttrEx) -> PD:
    """The protection domain of a new queue pair; PyverbsRDMAError for what it cannot be made of."""
    if isinstance(creator, PD):
        return creator
    if not isinstance(attr, QPInitAttrEx):
        raise PyverbsRDMAError("Failed to create QP: a Context takes a QPInitAttrEx", errno.EINVAL)
    if attr.qp_type not in set(QPType):
        unsupported(f"A queue pair of type {qp_type_to_str(attr.qp_type)}")
    extra = attr.comp_mask & ~(_MASK | _EMPTY_MASK)
    if extra or attr.create_flags or attr.max_tso_header:
        unsupported(f"Creating a QP with {attr.mask_to_str(attr.comp_mask & ~_MASK)}")
    uses_operations = attr.comp_mask & e.IBV_QP_INIT_ATTR_SEND_OPS_FLAGS
    if uses_operations and attr.send_ops_flags & ~_OPERATIONS:
        unsupported(f"Send operations 0x{attr.send_ops_flags & ~_OPERATIONS:x}")
    if not attr.comp_mask & e.IBV_QP_INIT_ATTR_PD or attr.pd is None:
        raise PyverbsRDMAError("Failed to create QP: it needs a PD", errno.EINVAL)
    return attr.pd


def _tell_bad(refused: SendWR | RecvWR | None, bad_wr: SendWR | RecvWR | None) -> None:
    """Make `bad_wr` a copy of the request that was refused."""
    if bad_wr is not None and refused is not None:
        vars(bad_wr).update(vars(refused))


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
    (Attr.QKEY, "qkey", 0xFFFFFFFF),
)


def _attributes(attr: QPAttr, mask: Attr, what: str) -> Attributes:
    """The engine's form of `attr`; EINVAL where a value that `mask` names is out of range."""
    bits = int(mask)
    for flag, name, most in _LIMITS:
        value = getattr(attr, name)
        if bits & flag.value and not 0 <= value <= most:
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
