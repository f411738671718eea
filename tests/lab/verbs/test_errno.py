"""Misuse by the caller: the errno, the reason in the message, and the source that says so.

Names in brackets are functions of the kernel (drivers/infiniband/sw/rxe, core/verbs.c) or of
rdma-core (libibverbs, providers/rxe).
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from lab.verbs import libibverbs_enums as e
from lab.verbs import mem_alloc
from lab.verbs.addr import AH, AHAttr, GlobalRoute
from lab.verbs.cq import CQ, CompChannel
from lab.verbs.mr import MR, MW, MWBind, MWBindInfo
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.qp import QP, QPAttr, QPCap, QPInitAttr
from lab.verbs.srq import SRQ, SrqAttr, SrqInitAttr
from lab.verbs.wr import SGE, RecvWR, SendWR
from tests.lab.verbs.ends import End, attributes, ends

LOCAL, WRITE = int(e.IBV_ACCESS_LOCAL_WRITE), int(e.IBV_ACCESS_REMOTE_WRITE)
STATE = int(e.IBV_QP_STATE)


@dataclass(frozen=True)
class Misuse:
    """`act` on the first of two ends is refused with `code`, and a message that has `reason`."""

    code: int
    reason: str
    source: str
    act: Callable[[End], Any]
    connect: bool = False


def init_attr(a: End, qp_type: int = e.IBV_QPT_RC, **caps: int) -> QPInitAttr:
    return QPInitAttr(qp_type=qp_type, scq=a.cq, rcq=a.cq, cap=QPCap(**caps))


def send(a: End, qp: QP, opcode: int = e.IBV_WR_SEND, count: int = 1, **options: Any) -> None:
    qp.post_send(SendWR(opcode=opcode, num_sge=count, sg=[a.sge(4)] * count, **options))


def receive(a: End, target: Any, count: int = 1) -> None:
    target.post_recv(RecvWR(num_sge=count, sg=[a.sge(4)] * count))


def repeated(times: int, act: Callable[..., None], *arguments: Any) -> None:
    for _ in range(times):
        act(*arguments)


def ready(a: End, qp_type: int, **caps: int) -> QP:
    """A queue pair of UC or UD in RTS, as far as its own side goes."""
    qp = QP(a.pd, init_attr(a, qp_type, **caps))
    qp.to_rts(attributes(a.verbs, a, a, 3))
    return qp


def modify(a: End, end: int, mask: int, **values: int) -> None:
    attr = attributes(a.verbs, a, a, 3, **values)
    attr.qp_state = end
    a.qp.modify(attr, mask | STATE)


def with_srq(a: End) -> QP:
    init = init_attr(a)
    init.srq = SRQ(a.pd, SrqInitAttr(SrqAttr(4)))
    qp = QP(a.pd, init)
    qp.to_init(QPAttr())
    return qp


def address(sgid_index: int = 0, port_num: int = 1, is_global: int = 1) -> Callable[[End], AH]:
    def make(a: End) -> AH:
        gr = GlobalRoute(a.ctx.query_gid(1, 0), sgid_index=sgid_index)
        return AH(a.pd, attr=AHAttr(is_global=is_global, port_num=port_num, gr=gr))

    return make


def resize_below(a: End) -> None:
    for _ in range(3):
        send(a, a.qp)
    modify(a, e.IBV_QPS_ERR, 0)  # flushes them
    a.cq.resize(2)


def posted_srq(a: End) -> SRQ:
    srq = SRQ(a.pd, SrqInitAttr(SrqAttr(4)))
    repeated(3, receive, a, srq)
    return srq


def bound(a: End) -> MR:
    mr, mw = MR(a.pd, 64, LOCAL | e.IBV_ACCESS_MW_BIND), MW(a.pd, e.IBV_MW_TYPE_1)
    a.qp.bind_mw(mw, MWBind(MWBindInfo(mr, mr.buf, 64, WRITE), e.IBV_SEND_SIGNALED))
    a.wait()
    a.kept = mw  # type: ignore[attr-defined]
    return mr


def beyond() -> tuple[int, int, int]:
    """(length, access, address) of two pages of which the second is none."""
    page = mmap.PAGESIZE
    address = mem_alloc.mmap(length=2 * page)
    mem_alloc.munmap(address + page, page)
    return 2 * page, LOCAL, address


EINVAL, ENOMEM, EOPNOTSUPP = errno.EINVAL, errno.ENOMEM, errno.EOPNOTSUPP
UD, UC, RC = int(e.IBV_QPT_UD), int(e.IBV_QPT_UC), int(e.IBV_QPT_RC)
INLINE = int(e.IBV_SEND_INLINE)

MISUSES = {
    # Posting.
    "send in RESET": Misuse(
        EINVAL, "state RESET, not RTS", "rxe_post_send", lambda a: send(a, a.qp)
    ),
    "send in INIT": Misuse(
        EINVAL,
        "state INIT, not RTS",
        "rxe_post_send",
        lambda a: (a.qp.to_init(QPAttr()), send(a, a.qp)),
    ),
    "send in RTR": Misuse(
        EINVAL,
        "state RTR, not RTS",
        "rxe_post_send",
        lambda a: (a.qp.to_rtr(attributes(a.verbs, a, a, 3)), send(a, a.qp)),
    ),
    "receive in RESET": Misuse(
        EINVAL, "in state RESET", "rxe_post_recv", lambda a: receive(a, a.qp)
    ),
    "receive where there is an SRQ": Misuse(
        EINVAL,
        "shared receive queue",
        "rxe_post_recv",
        lambda a: receive(a, with_srq(a)),
    ),
    "too many pieces to send": Misuse(
        EINVAL, "5 SGEs, 4 are allowed", "validate_send_wr", lambda a: send(a, a.qp, count=5), True
    ),
    "too many pieces to receive": Misuse(
        EINVAL, "5 SGEs, 4 are allowed", "rxe_post_one_recv", lambda a: receive(a, a.qp, 5), True
    ),
    "too many pieces for an SRQ": Misuse(
        EINVAL,
        "2 SGEs, 1 are allowed",
        "rxe_post_one_recv",
        lambda a: receive(a, SRQ(a.pd, SrqInitAttr(SrqAttr(4))), 2),
    ),
    "a full send queue": Misuse(
        ENOMEM,
        "all 3 send requests are outstanding",
        "post_one_send",
        lambda a: repeated(4, send, a, silent(a)),
    ),
    "a full receive queue": Misuse(
        ENOMEM,
        "all 100 receives are posted",
        "rxe_post_one_recv",
        lambda a: repeated(101, receive, a, a.qp),
        True,
    ),
    "a full SRQ": Misuse(
        ENOMEM,
        "all 4 receives are posted",
        "rxe_post_one_recv",
        lambda a: repeated(2, receive, a, posted_srq(a)),
    ),
    "inline data too long": Misuse(
        EINVAL,
        "4 bytes inline, 3 are allowed",
        "validate_send_wr",
        lambda a: send(a, ready(a, UC, max_inline_data=3), send_flags=INLINE),
    ),
    "inline data beyond any queue pair": Misuse(
        EINVAL,
        "4294967295 bytes inline, 1024 are allowed",
        "validate_send_wr",
        lambda a: a.qp.post_send(SendWR(num_sge=1, sg=[SGE(0, 0xFFFFFFFF, 0)], send_flags=INLINE)),
        True,
    ),
    "READ on UC": Misuse(
        EINVAL,
        "UC does not carry RDMA_READ",
        "IBTA vol. 1, table 38 (ibv_post_send: EINVAL)",
        lambda a: send(a, ready(a, UC), e.IBV_WR_RDMA_READ),
    ),
    "WRITE on UD": Misuse(
        EINVAL,
        "UD does not carry RDMA_WRITE",
        "IBTA vol. 1, table 38 (ibv_post_send: EINVAL)",
        lambda a: send(a, ready(a, UD), e.IBV_WR_RDMA_WRITE),
    ),
    "a datagram to nobody": Misuse(
        EINVAL, "needs an address handle", "post_ud_send", lambda a: send(a, ready(a, UD))
    ),
    "a bind without its window": Misuse(
        EINVAL,
        "without set_bind_wr",
        "rxe_check_bind_mw",
        lambda a: a.qp.post_send(SendWR(opcode=e.IBV_WR_BIND_MW)),
        True,
    ),
    "an opcode of no device": Misuse(
        EINVAL,
        "opcode 14 is not supported",
        "validate_send_wr",
        lambda a: send(a, a.qp, e.IBV_WR_FLUSH),
        True,
    ),
    # Queue pairs.
    "a step that is none": Misuse(
        EINVAL,
        "does not go from RESET to RTS; from RESET it goes to INIT, RESET, ERR",
        "ib_modify_qp_is_ok",
        lambda a: modify(a, e.IBV_QPS_RTS, 0),
    ),
    "a state that is none": Misuse(
        EINVAL, "no state 255", "ib_modify_qp_is_ok", lambda a: modify(a, 255, 0)
    ),
    "an attribute too many": Misuse(
        EINVAL,
        "RESET to INIT does not take IBV_QP_SQ_PSN",
        "ib_modify_qp_is_ok",
        lambda a: modify(a, e.IBV_QPS_INIT, 1 << 3 | 1 << 4 | 1 << 5 | e.IBV_QP_SQ_PSN),
    ),
    "another state than thought": Misuse(
        EINVAL,
        "the state is Reset",
        "rxe_qp_chk_attr",
        lambda a: modify(a, e.IBV_QPS_INIT, e.IBV_QP_CUR_STATE, cur_qp_state=int(e.IBV_QPS_RTS)),
    ),
    "port 2": Misuse(
        EINVAL, "port 2", "rxe_qp_chk_attr", lambda a: a.qp.to_init(QPAttr(port_num=2))
    ),
    "too many requests": Misuse(
        EINVAL, "at most 16384 requests", "rxe_qp_chk_cap", lambda a: make(a, max_send_wr=1 << 20)
    ),
    "too many pieces": Misuse(
        EINVAL, "32 SGEs", "rxe_qp_chk_cap", lambda a: make(a, max_recv_sge=33)
    ),
    "too much inline": Misuse(
        EINVAL, "1024 bytes inline", "rxe_qp_chk_cap", lambda a: make(a, max_inline_data=1025)
    ),
    "no CQ": Misuse(
        EINVAL, "needs two open CQs", "rxe_qp_chk_init", lambda a: QP(a.pd, QPInitAttr(qp_type=RC))
    ),
    "a raw packet queue pair": Misuse(
        EOPNOTSUPP,
        "Raw Packet",
        "rxe_qp_chk_init",
        lambda a: QP(a.pd, init_attr(a, e.IBV_QPT_RAW_PACKET)),
    ),
    "an XRC queue pair": Misuse(
        EOPNOTSUPP,
        "XRCD_SEND",
        "rxe_qp_chk_init",
        lambda a: QP(a.pd, init_attr(a, e.IBV_QPT_XRC_SEND)),
    ),
    # Completion queues.
    "a CQ of nothing": Misuse(EINVAL, "1 to", "rxe_cq_chk_attr", lambda a: CQ(a.ctx, 0)),
    "a CQ too large": Misuse(
        EINVAL, "65536 entries", "rxe_cq_chk_attr", lambda a: CQ(a.ctx, (1 << 16) + 1)
    ),
    "a vector that is none": Misuse(
        EINVAL, "1 vectors", "ib_uverbs_create_cq", lambda a: CQ(a.ctx, 8, None, None, 1)
    ),
    "a CQ smaller than what waits in it": Misuse(
        EINVAL, "Failed to resize CQ", "rxe_cq_chk_attr", resize_below, True
    ),
    "a CQ resized beyond the device": Misuse(
        EINVAL, "65537 entries", "rxe_cq_chk_attr", lambda a: a.cq.resize((1 << 16) + 1)
    ),
    # Memory.
    "remote write without local write": Misuse(
        EINVAL, "need local write as well", "ib_check_mr_access", lambda a: MR(a.pd, 8, WRITE)
    ),
    "remote atomics without local write": Misuse(
        EINVAL,
        "Failed to register a MR. length: 8, access flags: 8",
        "ib_check_mr_access",
        lambda a: MR(a.pd, 8, e.IBV_ACCESS_REMOTE_ATOMIC),
    ),
    "memory that is not there": Misuse(
        errno.EFAULT, "length: 4096", "ib_umem_get", lambda a: MR(a.pd, 4096, 1, address=4096)
    ),
    "memory that ends too early": Misuse(
        errno.EFAULT, "Failed to register", "ib_umem_get", lambda a: MR(a.pd, *beyond())
    ),
    "memory of another place that is not there": Misuse(
        errno.EFAULT,
        "Failed to rereg",
        "ib_umem_get",
        lambda a: a.mr.rereg(e.IBV_REREG_MR_CHANGE_TRANSLATION, addr=4096, length=8),
    ),
    "access that no region here has": Misuse(
        EOPNOTSUPP,
        "access flags 0x80",
        "rxe_reg_user_mr (RXE_ACCESS_SUPPORTED_MR)",
        lambda a: MR(a.pd, 8, e.IBV_ACCESS_HUGETLB),
    ),
    "an implicit region": Misuse(
        EOPNOTSUPP, "implicit", "rxe_reg_user_mr", lambda a: MR(a.pd, 0, 1, implicit=True)
    ),
    "a region with a window on it": Misuse(
        EINVAL, "a memory window is bound", "rxe_dereg_mr", lambda a: bound(a).close(), True
    ),
    "a bind_mw of type 2": Misuse(
        EINVAL,
        "type 2",
        "ibv_bind_mw (providers/rxe: mw->type != IBV_MW_TYPE_1)",
        lambda a: a.qp.bind_mw(
            MW(a.pd, e.IBV_MW_TYPE_2), MWBind(MWBindInfo(a.mr, a.mr.buf, 8, WRITE), 0)
        ),
        True,
    ),
    "advice about memory that is not there": Misuse(
        errno.EFAULT,
        "no such memory",
        "ibv_advise_mr",
        lambda a: a.pd.advise_mr(0, 0, [SGE(1, 1, 1)]),
    ),
    # Shared receive queues.
    "an SRQ of nothing": Misuse(
        EINVAL, "1 to 16384", "rxe_srq_chk_init", lambda a: SRQ(a.pd, SrqInitAttr(SrqAttr(0)))
    ),
    "an SRQ too large": Misuse(
        EINVAL, "1 to 16384", "rxe_srq_chk_init", lambda a: SRQ(a.pd, SrqInitAttr(SrqAttr(1 << 15)))
    ),
    "an SRQ smaller than what is posted": Misuse(
        EINVAL,
        "2 receives, 3 are posted",
        "rxe_srq_chk_attr",
        lambda a: posted_srq(a).modify(SrqAttr(2), e.IBV_SRQ_MAX_WR),
    ),
    "a limit above the capacity": Misuse(
        EINVAL,
        "limit 5 of 4",
        "rxe_srq_chk_attr",
        lambda a: posted_srq(a).modify(SrqAttr(srq_limit=5), e.IBV_SRQ_LIMIT),
    ),
    # Addresses and ports.
    "an address without a route": Misuse(
        EINVAL, "needs is_global", "ib_resolve_eth_dmac", address(is_global=0)
    ),
    "an address of port 2": Misuse(EINVAL, "port 2", "rdma_check_ah_attr", address(port_num=2)),
    "an address from no GID": Misuse(
        EINVAL, "GID index 9", "rxe_av_chk_attr", address(sgid_index=9)
    ),
    "a hop limit of two bytes": Misuse(
        EINVAL,
        "hop_limit 256 takes 8 bits",
        "struct ibv_global_route",
        lambda a: AH(
            a.pd,
            attr=AHAttr(is_global=1, gr=GlobalRoute(a.ctx.query_gid(1, 0), hop_limit=256)),
        ),
    ),
    "a port that is none": Misuse(
        EINVAL, "Failed to query port 2", "rxe_query_port", lambda a: a.ctx.query_port(2)
    ),
    "a table of GIDs too small": Misuse(
        -EINVAL, "1 entries", "ibv_query_gid_table", lambda a: a.ctx.query_gid_table(0)
    ),
    "a GID that is none": Misuse(
        errno.ENODATA, "index 7", "ibv_query_gid_ex", lambda a: a.ctx.query_gid_ex(1, 7)
    ),
}


def silent(a: End) -> QP:
    """A queue pair that nobody answers."""
    qp = QP(a.pd, init_attr(a, RC, max_send_wr=3))
    attr = attributes(a.verbs, a, a, 3)
    attr.dest_qp_num = 0xABCDE
    qp.to_rts(attr)
    return qp


def make(a: End, **caps: int) -> QP:
    return QP(a.pd, init_attr(a, RC, **caps))


@pytest.mark.parametrize("name", MISUSES)
def test_misuse(name: str) -> None:
    misuse = MISUSES[name]
    with ends(connect=misuse.connect) as (a, _):
        with pytest.raises(PyverbsRDMAError) as caught:
            misuse.act(a)
        assert caught.value.error_code == misuse.code, misuse.source
        assert misuse.reason in str(caught.value), misuse.source


# What each step must name (pyverbs' _get_comp_mask, the kernel's qp_state_table).
NEEDED = {
    (RC, "INIT"): ("PKEY_INDEX", "PORT", "ACCESS_FLAGS"),
    (RC, "RTR"): ("AV", "PATH_MTU", "DEST_QPN", "RQ_PSN", "MAX_DEST_RD_ATOMIC", "MIN_RNR_TIMER"),
    (RC, "RTS"): ("TIMEOUT", "RETRY_CNT", "RNR_RETRY", "SQ_PSN", "MAX_QP_RD_ATOMIC"),
    (UC, "INIT"): ("PKEY_INDEX", "PORT", "ACCESS_FLAGS"),
    (UC, "RTR"): ("AV", "PATH_MTU", "DEST_QPN", "RQ_PSN"),
    (UC, "RTS"): ("SQ_PSN",),
    (UD, "INIT"): ("PKEY_INDEX", "PORT", "QKEY"),
    (UD, "RTS"): ("SQ_PSN",),
}
BEFORE = {"INIT": None, "RTR": QP.to_init, "RTS": QP.to_rtr}


@pytest.mark.parametrize(
    ("kind", "step", "left_out"),
    [(kind, step, name) for (kind, step), names in NEEDED.items() for name in names],
)
def test_modify_without_an_attribute(kind: int, step: str, left_out: str) -> None:
    with ends(connect=False) as (a, _):
        qp = QP(a.pd, init_attr(a, kind))
        attr = attributes(a.verbs, a, a, 3)
        if (before := BEFORE[step]) is not None:
            before(qp, attr)
        state = qp.qp_state
        flags = {name: int(getattr(e, f"IBV_QP_{name}")) for name in NEEDED[kind, step]}
        attr.qp_state = getattr(e, f"IBV_QPS_{step}")
        with pytest.raises(PyverbsRDMAError, match=rf"needs IBV_QP_{left_out} as well") as caught:
            qp.modify(attr, STATE | sum(flags.values()) - flags[left_out])
        assert caught.value.error_code == EINVAL
        assert qp.qp_state == state
        qp.modify(attr, STATE | sum(flags.values()))
        assert qp.qp_state == attr.qp_state


def test_the_refused_request_is_told() -> None:
    """`bad_wr` is the first that was not posted; those before it are."""
    with ends() as (a, b):
        bad = SendWR(num_sge=1, sg=[a.sge(1)])
        second = SendWR(wr_id=2, num_sge=5, sg=[a.sge(4)] * 5)
        first = SendWR(
            wr_id=1, opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(4)], next_wr=second
        )
        first.set_wr_rdma(b.mr.rkey, b.mr.buf)
        with pytest.raises(PyverbsRDMAError):
            a.qp.post_send(first, bad)
        assert (bad.wr_id, bad.num_sge) == (2, 5)
        assert [wc.wr_id for wc in a.wait()] == [1]
        refused = RecvWR()
        third = RecvWR(wr_id=3, num_sge=5, sg=[a.sge(4)] * 5)
        with pytest.raises(PyverbsRDMAError):
            a.qp.post_recv(RecvWR(wr_id=2, num_sge=1, sg=[a.sge(4)], next_wr=third), refused)
        assert refused.wr_id == 3


@pytest.mark.parametrize(
    "give",
    [
        lambda wr: SendWR(wr_id=1 << 64, num_sge=1, sg=[SGE(0, 0, 0)]),
        lambda wr: SendWR(imm_data=-1, num_sge=1, sg=[SGE(0, 0, 0)]),
        lambda wr: RecvWR(wr_id=-1),
        lambda wr: RecvWR(num_sge=1, sg=[SGE(1 << 64, 0, 0)]),
        lambda wr: RecvWR(num_sge=1, sg=[SGE(0, 1 << 32, 0)]),
        lambda wr: RecvWR(num_sge=1, sg=[SGE(0, 0, -1)]),
        lambda wr: wr.set_wr_rdma(1 << 32, 0),
        lambda wr: wr.set_wr_rdma(0, 1 << 64),
        lambda wr: wr.set_wr_atomic(0, 0, 1 << 64),
        lambda wr: wr.set_wr_atomic(0, 0, 0, -1),
        lambda wr: wr.set_wr_ud(None, 1 << 32, 0),
        lambda wr: wr.set_wr_ud(None, 0, 1 << 32),
    ],
)
def test_numbers_that_c_does_not_hold(give: Callable[[SendWR], Any]) -> None:
    """OverflowError, as from pyverbs' setters."""
    with pytest.raises(OverflowError):
        give(SendWR(num_sge=1, sg=[SGE(0, 0, 0)]))


@pytest.mark.parametrize("closed", ["channel", "cq", "srq", "pd", "ctx"])
def test_what_others_need_is_closed_after_them(closed: str) -> None:
    """pyverbs closes what depends on an object before it, so that nobody meets EBUSY."""
    with ends(connect=False) as (a, _):
        channel = CompChannel(a.ctx)
        cq = CQ(a.ctx, 8, None, channel)
        pd = PD(a.ctx)
        srq = SRQ(pd, SrqInitAttr(SrqAttr(4)))
        mr = MR(pd, 64, LOCAL)
        qp = QP(pd, QPInitAttr(qp_type=RC, scq=cq, rcq=cq, srq=srq, cap=QPCap()))
        owners = {"channel": channel, "cq": cq, "srq": srq, "pd": pd, "ctx": a.ctx}
        owners[closed].close()
        owners[closed].close()
        with pytest.raises(PyverbsRDMAError) as caught:
            qp.qp_num  # noqa: B018
        assert caught.value.error_code == errno.EBADF
        assert bool(mr.buf) == (closed not in {"pd", "ctx"})
        with pytest.raises(PyverbsRDMAError):
            QP(pd, QPInitAttr(qp_type=RC, scq=cq, rcq=cq, srq=srq, cap=QPCap()))
