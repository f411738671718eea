"""Extended queues: requests built call by call (QPEx), completions read field by field (CQEX)."""

from __future__ import annotations

import ctypes
import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lab import providers
from lab.verbs import libibverbs_enums as e
from lab.verbs.cq import CQEX, CqInitAttrEx, PollCqAttr
from lab.verbs.mr import MR, MW, MWBindInfo
from lab.verbs.pd import PD, ParentDomain, ParentDomainContext, ParentDomainInitAttr
from lab.verbs.pyverbs_error import PyverbsRDMAError
from lab.verbs.qp import DataBuffer, QPAttr, QPCap, QPEx, QPInitAttrEx
from lab.verbs.wr import SGE, RecvWR
from tests.lab.verbs.ends import DEADLINE_S, HOSTS

ALL = 0xF
OPERATIONS = int(
    e.IBV_QP_EX_WITH_SEND
    | e.IBV_QP_EX_WITH_SEND_WITH_IMM
    | e.IBV_QP_EX_WITH_SEND_WITH_INV
    | e.IBV_QP_EX_WITH_RDMA_WRITE
    | e.IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM
    | e.IBV_QP_EX_WITH_RDMA_READ
    | e.IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP
    | e.IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD
    | e.IBV_QP_EX_WITH_LOCAL_INV
    | e.IBV_QP_EX_WITH_BIND_MW
)
_MASK = e.IBV_QP_INIT_ATTR_PD | e.IBV_QP_INIT_ATTR_SEND_OPS_FLAGS


class End:
    """A QPEx that completes to a CQEX."""

    def __init__(self, verbs: Any, name: str, fast: bool) -> None:
        self.ctx = verbs.Context(name=name)
        self.pd = PD(self.ctx)
        self.cq = CQEX(self.ctx, CqInitAttrEx(cqe=64, wc_flags=e.IBV_WC_STANDARD_FLAGS))
        self.mr = MR(self.pd, 4096, ALL)
        cap = QPCap(16, 16, 2, 2, 64)
        init = QPInitAttrEx(
            qp_type=e.IBV_QPT_RC,
            scq=self.cq,
            rcq=self.cq,
            cap=cap,
            pd=self.pd,
            comp_mask=_MASK,
            send_ops_flags=OPERATIONS,
        )
        self.qp = QPEx(self.ctx, init)
        self.fast = fast

    def connect(self, verbs: Any, peer: End) -> None:
        attr = QPAttr(port_num=1, path_mtu=e.IBV_MTU_1024)
        attr.qp_access_flags, attr.dest_qp_num = ALL, peer.qp.qp_num
        attr.rq_psn = attr.sq_psn = 100
        attr.max_rd_atomic = attr.max_dest_rd_atomic = 4
        attr.min_rnr_timer, attr.timeout, attr.retry_cnt, attr.rnr_retry = 12, 14, 7, 7
        gr = verbs.GlobalRoute(dgid=peer.ctx.query_gid(1, 0), hop_limit=64)
        attr.ah_attr = verbs.AHAttr(is_global=1, gr=gr)
        self.qp.to_rts(attr)

    def completion(self) -> tuple[int, int, int]:
        """(wr_id, status, opcode) of the next one."""
        end = time.monotonic() + DEADLINE_S
        while self.cq.start_poll(PollCqAttr()):
            assert time.monotonic() < end
        try:
            return self.cq.wr_id, self.cq.status, self.cq.read_opcode()
        finally:
            self.cq.end_poll()

    @contextmanager
    def request(self, wr_id: int = 1) -> Iterator[QPEx]:
        self.qp.wr_start()
        self.qp.wr_id, self.qp.wr_flags = wr_id, e.IBV_SEND_SIGNALED
        yield self.qp
        self.qp.wr_complete()

    def sge(self, length: int, offset: int = 0) -> SGE:
        return SGE(self.mr.buf + offset, length, self.mr.lkey)


@contextmanager
def pair(fast: bool = False) -> Iterator[tuple[End, End]]:
    addresses = list(HOSTS)
    verbs = providers.load("userspace", addresses=addresses, fast=fast)
    a, b = (End(verbs, f"roce_{index}", fast) for index in range(2))
    try:
        a.connect(verbs, b)
        b.connect(verbs, a)
        yield a, b
    finally:
        a.ctx.close()
        b.ctx.close()


Call = Callable[[QPEx, End, End], None]
SEND, WRITE, READ = e.IBV_WC_SEND, e.IBV_WC_RDMA_WRITE, e.IBV_WC_RDMA_READ
# The call, what it completes as, the opcode and immediate of the receive it takes (or none).
CALLS: dict[str, tuple[Call, int, tuple[int, int] | None]] = {
    "wr_send": (lambda qp, *_: qp.wr_send(), SEND, (e.IBV_WC_RECV, 0)),
    "wr_send_imm": (lambda qp, *_: qp.wr_send_imm(0x01020304), SEND, (e.IBV_WC_RECV, 0x01020304)),
    "wr_rdma_write": (
        lambda qp, _, b: qp.wr_rdma_write(b.mr.rkey, b.mr.buf),
        WRITE,
        None,
    ),
    "wr_rdma_write_imm": (
        lambda qp, _, b: qp.wr_rdma_write_imm(b.mr.rkey, b.mr.buf, 9),
        WRITE,
        (e.IBV_WC_RECV_RDMA_WITH_IMM, 9),
    ),
    "wr_rdma_read": (lambda qp, _, b: qp.wr_rdma_read(b.mr.rkey, b.mr.buf), READ, None),
    "wr_atomic_fetch_add": (
        lambda qp, _, b: qp.wr_atomic_fetch_add(b.mr.rkey, b.mr.buf, 5),
        e.IBV_WC_FETCH_ADD,
        None,
    ),
    "wr_atomic_cmp_swp": (
        lambda qp, _, b: qp.wr_atomic_cmp_swp(b.mr.rkey, b.mr.buf, 0, 6),
        e.IBV_WC_COMP_SWAP,
        None,
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("fast", [False, True])
def test_calls(name: str, fast: bool) -> None:
    call, opcode, receive = CALLS[name]
    with pair(fast) as (a, b):
        b.qp.post_recv(RecvWR(wr_id=3, num_sge=1, sg=[b.sge(64, 1024)]))
        a.mr.write(b"the data", 8, 512)
        with a.request(0x123) as qp:
            call(qp, a, b)
            qp.wr_set_sge(a.sge(8, 512))
        assert a.completion() == (0x123, e.IBV_WC_SUCCESS, opcode)
        if receive is not None:
            assert b.completion() == (3, e.IBV_WC_SUCCESS, receive[0])
            # In network byte order, as the wire has it.
            assert b.cq.read_imm_data().to_bytes(4, "little") == receive[1].to_bytes(4, "big")
            assert b.cq.read_byte_len() == 8
            assert b.cq.read_qp_num() == b.qp.qp_num
        if "write" in name:
            assert b.mr.read(8, 0) == b"the data"
        elif "send" in name:
            assert b.mr.read(8, 1024) == b"the data"
        elif name == "wr_atomic_fetch_add":
            assert ctypes.c_uint64.from_address(b.mr.buf).value == 5
        elif name == "wr_atomic_cmp_swp":
            assert ctypes.c_uint64.from_address(b.mr.buf).value == 6


def test_data_of_several_pieces_and_inline() -> None:
    with pair() as (a, b):
        a.mr.write(b"onetwo", 6)
        with a.request() as qp:
            qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
            qp.wr_set_sge_list(2, [a.sge(3), a.sge(3, 3)])
            qp.wr_id = 2
            qp.wr_rdma_write(b.mr.rkey, b.mr.buf + 6)
            qp.wr_set_inline_data(a.mr.buf, 3)
            a.mr.write(b"xxx", 3)  # copied already
            qp.wr_id = 3
            qp.wr_rdma_write(b.mr.rkey, b.mr.buf + 9)
            pieces = [DataBuffer(a.mr.buf + 3, 2), DataBuffer(a.mr.buf + 5, 1)]
            qp.wr_set_inline_data_list(2, pieces)
            a.mr.write(b"onetwo", 6)
        assert [a.completion()[:2] for _ in range(3)] == [(1, 0), (2, 0), (3, 0)]
        assert b.mr.read(12, 0) == b"onetwoonetwo"


def test_all_or_nothing() -> None:
    with pair() as (a, b):
        a.qp.wr_start()
        a.qp.wr_flags = e.IBV_SEND_SIGNALED
        a.qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
        a.qp.wr_set_sge(a.sge(4))
        a.qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
        a.qp.wr_set_sge_list(3, [a.sge(4)] * 3)  # two are allowed
        with pytest.raises(PyverbsRDMAError, match="3 SGEs, 2 are allowed") as caught:
            a.qp.wr_complete()
        assert caught.value.error_code == errno.EINVAL
        a.qp.wr_start()
        a.qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
        a.qp.wr_abort()
        a.qp.wr_complete()
        with a.request(9) as qp:
            qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
            qp.wr_set_sge(a.sge(4))
        assert a.completion()[0] == 9, "nothing was posted before"


def test_outside_wr_start() -> None:
    with pair() as (a, _):
        for call in (a.qp.wr_send, lambda: a.qp.wr_set_sge(a.sge(1))):
            with pytest.raises(PyverbsRDMAError) as caught:
                call()
            assert caught.value.error_code == errno.EINVAL


def test_windows_by_calls() -> None:
    with pair() as (a, b):
        mr = MR(b.pd, 64, e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_MW_BIND)
        mw = MW(b.pd, e.IBV_MW_TYPE_2)
        key = mw.next_rkey()
        with b.request() as qp:
            qp.wr_bind_mw(mw, key, MWBindInfo(mr, mr.buf, 64, e.IBV_ACCESS_REMOTE_WRITE))
        assert b.completion() == (1, e.IBV_WC_SUCCESS, e.IBV_WC_BIND_MW)
        with a.request() as qp:
            qp.wr_rdma_write(key, mr.buf)
            qp.wr_set_sge(a.sge(8))
        assert a.completion()[1] == e.IBV_WC_SUCCESS
        with b.request() as qp:
            qp.wr_local_inv(key)
        assert b.completion()[2] == e.IBV_WC_LOCAL_INV
        with a.request() as qp:
            qp.wr_rdma_write(key, mr.buf)
            qp.wr_set_sge(a.sge(8))
        assert a.completion()[1] == e.IBV_WC_REM_ACCESS_ERR


@pytest.mark.parametrize(
    "call",
    [
        lambda qp: qp.wr_atomic_write(0, 0, b"12345678"),
        lambda qp: qp.wr_flush(0, 0, 0, 0, 0),
        lambda qp: qp.wr_send_tso(0, 0, 0),
        lambda qp: qp.wr_set_xrc_srqn(1),
        lambda qp: qp.query_ece(),
    ],
)
def test_what_is_not_supported_says_so(call: Callable[[QPEx], None]) -> None:
    with pair() as (a, _):
        a.qp.wr_start()
        with pytest.raises(PyverbsRDMAError, match="not supported") as caught:
            call(a.qp)
        assert caught.value.error_code == errno.EOPNOTSUPP


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"send_ops_flags": int(e.IBV_QP_EX_WITH_TSO)}, errno.EOPNOTSUPP),
        ({"qp_type": int(e.IBV_QPT_RAW_PACKET)}, errno.EOPNOTSUPP),
        ({"create_flags": 2}, errno.EOPNOTSUPP),
        ({"comp_mask": 0}, errno.EINVAL),
    ],
)
def test_queue_pairs_that_cannot_be_made(options: dict[str, int], code: int) -> None:
    with pair() as (a, _):
        attr = QPInitAttrEx(qp_type=3, scq=a.cq, rcq=a.cq, pd=a.pd, comp_mask=_MASK)
        for name, value in options.items():
            setattr(attr, name, value)
        with pytest.raises(PyverbsRDMAError) as caught:
            QPEx(a.ctx, attr)
        assert caught.value.error_code == code


def test_poll_next_goes_on() -> None:
    with pair() as (a, b):
        with a.request(1) as qp:
            for number in (1, 2, 3):
                qp.wr_id = number
                qp.wr_rdma_write(b.mr.rkey, b.mr.buf)
                qp.wr_set_sge(a.sge(4))
        # The last is done, hence all.
        end = time.monotonic() + DEADLINE_S
        while len(a.cq.live) < 3:
            assert time.monotonic() < end
            a.ctx.adapter.poll()
        assert a.cq.start_poll(None) == 0
        found = [a.cq.wr_id]
        while a.cq.poll_next() == 0:
            found.append(a.cq.wr_id)
        a.cq.end_poll()
        assert found == [1, 2, 3]
        assert a.cq.start_poll(None) == errno.ENOENT
        a.cq.end_poll()


def test_completion_queues_that_cannot_be_made() -> None:
    with pair() as (a, _):
        for attr, code in (
            (CqInitAttrEx(wc_flags=e.IBV_WC_EX_WITH_CVLAN), errno.EOPNOTSUPP),
            (CqInitAttrEx(cqe=0), errno.EINVAL),
            (CqInitAttrEx(comp_vector=1), errno.EINVAL),
        ):
            with pytest.raises(PyverbsRDMAError) as caught:
                CQEX(a.ctx, attr)
            assert caught.value.error_code == code


def test_a_parent_domain_stands_for_its_domain() -> None:
    with pair() as (a, _):
        parent = ParentDomain(a.ctx, ParentDomainInitAttr(a.pd))
        assert parent.handle == a.pd.handle
        mr = MR(parent, 64, 0)
        a.pd.close()
        assert not mr.buf
        allocators = ParentDomainContext(a.pd, lambda *_: 0, lambda *_: None)
        with pytest.raises(PyverbsRDMAError) as caught:
            ParentDomain(a.ctx, ParentDomainInitAttr(a.pd, allocators))
        assert caught.value.error_code == errno.EOPNOTSUPP
