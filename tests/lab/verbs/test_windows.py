"""Memory windows (IBTA vol. 1, 10.6.7; kernel: rxe_mw.c) and what reregistering changes."""

from __future__ import annotations

import errno
from functools import partial
from typing import Any

import pytest

from lab.engine.memory import Access, Bind, Memory, ProtectionError, Region
from lab.verbs import libibverbs_enums as e
from lab.verbs.base import inc_rkey
from lab.verbs.mr import MR, MW, MWBind, MWBindInfo
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsRDMAError
from tests.lab.verbs.ends import End, ends

READS_AND_WRITES = int(e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ)
SHUT = int(e.IBV_WC_REM_ACCESS_ERR)


def write(a: End, key: int, address: int, length: int = 8) -> int:
    """The status of a WRITE from `a` through `key`."""
    wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(length)])
    wr.set_wr_rdma(key, address)
    a.qp.post_send(wr)
    return int(a.wait()[0].status)


def window(b: End, kind: int, access: int = READS_AND_WRITES, length: int = 64) -> Any:
    """A window on the first bytes of a region of `b`, bound; its region is kept with it."""
    mr = MR(b.pd, 4096, e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_MW_BIND)
    mw = MW(b.pd, kind)
    info = MWBindInfo(mr, mr.buf, length, access)
    before = mw.rkey
    if kind == e.IBV_MW_TYPE_1:
        b.qp.bind_mw(mw, MWBind(info, e.IBV_SEND_SIGNALED, wr_id=7))
    else:
        wr = b.verbs.SendWR(wr_id=7, opcode=e.IBV_WR_BIND_MW)
        wr.set_bind_wr(mw, info)
        b.qp.post_send(wr)
    wc = b.wait()[0]
    assert (wc.wr_id, wc.status, wc.opcode) == (7, e.IBV_WC_SUCCESS, e.IBV_WC_BIND_MW)
    assert mw.rkey == inc_rkey(before)
    return mr, mw


@pytest.mark.parametrize("kind", [e.IBV_MW_TYPE_1, e.IBV_MW_TYPE_2])
def test_a_window_opens_its_part_of_a_region(kind: int) -> None:
    with ends() as (a, b):
        mr, mw = window(b, kind)
        a.mr.write(b"through.", 8)
        assert write(a, mw.rkey, mr.buf + 56) == e.IBV_WC_SUCCESS
        assert mr.read(8, 56) == b"through."
        assert write(a, mw.rkey, mr.buf + 57) == SHUT


def test_the_region_itself_stays_shut() -> None:
    with ends() as (a, b):
        mr, _ = window(b, e.IBV_MW_TYPE_1)
        assert write(a, mr.rkey, mr.buf) == SHUT


def test_a_window_gives_no_more_than_it_was_bound_for() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_2, e.IBV_ACCESS_REMOTE_READ)
        assert write(a, mw.rkey, mr.buf) == SHUT


def test_a_windows_key_is_no_lkey() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_2)
        sge = b.verbs.SGE(mr.buf, 8, mw.rkey)
        wr = b.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
        wr.set_wr_rdma(a.mr.rkey, a.mr.buf)
        b.qp.post_send(wr)
        assert b.wait()[0].status == e.IBV_WC_LOC_PROT_ERR


def test_type_2_is_of_one_queue_pair() -> None:
    """Type 2B: the queue pair it was bound on (IBTA vol. 1, 10.6.7.2.2)."""
    memory, domain, own, other = Memory(), 1, 17, 18
    rights = Access.LOCAL_WRITE | Access.MW_BIND
    memory.register(Region(1, 0x1000, memoryview(bytearray(64)), rights, domain))
    for kind, refused in ((e.IBV_MW_TYPE_1, False), (e.IBV_MW_TYPE_2, True)):
        key = 0x100 * kind
        is_own = kind == e.IBV_MW_TYPE_2
        memory.add_window(key)
        memory.bind(Bind(key, 1, 0x1000, 8, Access.REMOTE_READ, is_own), domain, own)
        reach = partial(memory.slice, key, 0x1000, 8, domain, Access.REMOTE_READ)
        assert len(reach(peer_of=own)) == 8
        if refused:
            with pytest.raises(ProtectionError, match="window of queue pair 17"):
                reach(peer_of=other)
        else:
            assert len(reach(peer_of=other)) == 8


def test_rebinding_type_1_changes_the_key() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_1)
        old = mw.rkey
        b.qp.bind_mw(mw, MWBind(MWBindInfo(mr, mr.buf, 64, READS_AND_WRITES), 2))
        b.wait()
        assert write(a, mw.rkey, mr.buf) == e.IBV_WC_SUCCESS
        assert write(a, old, mr.buf) == SHUT


def test_binding_no_bytes_shuts_type_1() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_1)
        b.qp.bind_mw(mw, MWBind(MWBindInfo(mr, mr.buf, 0, 0), 2))
        assert b.wait()[0].status == e.IBV_WC_SUCCESS
        assert write(a, mw.rkey, mr.buf) == SHUT


def test_invalidating_shuts_type_2_from_here_and_from_there() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_2)
        local = b.verbs.SendWR(opcode=e.IBV_WR_LOCAL_INV, imm_data=mw.rkey)
        b.qp.post_send(local)
        assert b.wait()[0].opcode == e.IBV_WC_LOCAL_INV
        assert write(a, mw.rkey, mr.buf) == SHUT
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_2)
        b.recv(8)
        a.qp.post_send(a.verbs.SendWR(opcode=e.IBV_WR_SEND_WITH_INV, imm_data=mw.rkey))
        assert a.wait()[0].status == e.IBV_WC_SUCCESS
        received = b.wait()[0]
        assert received.wc_flags & e.IBV_WC_WITH_INV
        assert received.imm_data == mw.rkey
        assert write(a, mw.rkey, mr.buf) == SHUT


def test_closing_shuts_a_window() -> None:
    with ends() as (a, b):
        mr, mw = window(b, e.IBV_MW_TYPE_2)
        key = mw.rkey
        mw.close()
        assert write(a, key, mr.buf) == SHUT


def test_a_bound_region_is_not_deregistered() -> None:
    """EINVAL, as rxe_dereg_mr; closing the domain closes windows first."""
    with ends() as (_, b):
        mr, mw = window(b, e.IBV_MW_TYPE_1)
        with pytest.raises(PyverbsRDMAError, match="window is bound") as caught:
            mr.close()
        assert caught.value.error_code == errno.EINVAL
        mw.close()
        mr.close()
        window(b, e.IBV_MW_TYPE_1)
        b.pd.close()


@pytest.mark.parametrize(
    ("rights", "length", "access"),
    [
        (e.IBV_ACCESS_LOCAL_WRITE, 64, READS_AND_WRITES),  # the region does not allow windows
        (e.IBV_ACCESS_MW_BIND, 64, e.IBV_ACCESS_REMOTE_WRITE),  # nor to write
        (e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_MW_BIND, 4097, READS_AND_WRITES),  # too long
        (e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_MW_BIND, 0, 0),  # type 2 needs bytes
    ],
)
def test_a_bind_that_fails(rights: int, length: int, access: int) -> None:
    """rxe_check_bind_mw: IB_WC_MW_BIND_ERR, and the queue pair stops."""
    with ends() as (_, b):
        mr, mw = MR(b.pd, 4096, rights), MW(b.pd, e.IBV_MW_TYPE_2)
        wr = b.verbs.SendWR(opcode=e.IBV_WR_BIND_MW)
        wr.set_bind_wr(mw, MWBindInfo(mr, mr.buf, length, access))
        b.qp.post_send(wr)
        assert b.wait()[0].status == e.IBV_WC_MW_BIND_ERR
        assert b.qp.qp_state == e.IBV_QPS_ERR


def test_a_bind_that_is_flushed_changes_nothing() -> None:
    """The key is the next one all the same (providers/rxe: rxe_bind_mw), and leads nowhere."""
    with ends() as (_, b):
        mr, mw = window(b, e.IBV_MW_TYPE_1)
        bound = mw.rkey
        b.qp.modify(b.verbs.QPAttr(qp_state=e.IBV_QPS_ERR), e.IBV_QP_STATE)
        b.qp.bind_mw(mw, MWBind(MWBindInfo(mr, mr.buf, 64, READS_AND_WRITES), 2))
        assert b.wait()[0].status == e.IBV_WC_WR_FLUSH_ERR
        assert mw.rkey == inc_rkey(bound)
        memory = b.ctx.adapter.device.memory
        assert bound in memory
        assert mw.rkey not in memory
        mw.close()
        assert bound not in memory
        mr.close()


def test_a_closed_window_is_not_bound() -> None:
    with ends() as (_, b):
        mr = MR(b.pd, 64, e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_MW_BIND)
        mw = MW(b.pd, e.IBV_MW_TYPE_1)
        mw.close()
        b.qp.bind_mw(mw, MWBind(MWBindInfo(mr, mr.buf, 64, READS_AND_WRITES), 2))
        assert b.wait()[0].status == e.IBV_WC_MW_BIND_ERR


def test_windows_of_no_type() -> None:
    with ends(connect=False) as (a, _):
        with pytest.raises(PyverbsRDMAError) as caught:
            MW(a.pd, 3)
        assert caught.value.error_code == errno.EINVAL


def test_reregistering_changes_rights_memory_and_domain() -> None:
    with ends() as (a, b):
        key, a_end = b.mr.rkey, b"rereg..."
        a.mr.write(a_end, 8)
        other = MR(b.pd, 64, e.IBV_ACCESS_LOCAL_WRITE)
        b.mr.rereg(e.IBV_REREG_MR_CHANGE_TRANSLATION, addr=other.buf, length=64)
        assert (b.mr.rkey, b.mr.buf, b.mr.length) == (key, other.buf, 64)
        assert write(a, key, other.buf + 8) == e.IBV_WC_SUCCESS
        assert other.read(8, 8) == a_end
        b.mr.rereg(e.IBV_REREG_MR_CHANGE_ACCESS, access=e.IBV_ACCESS_LOCAL_WRITE)
        assert write(a, key, other.buf) == SHUT
    with ends() as (a, b):
        elsewhere = PD(b.ctx)
        b.mr.rereg(e.IBV_REREG_MR_CHANGE_PD, pd=elsewhere)
        assert write(a, b.mr.rkey, b.mr.buf) == SHUT
        elsewhere.close()
        assert not b.mr.buf, "closing its new domain closes it"


@pytest.mark.parametrize("flags", [0, 8, int(e.IBV_REREG_MR_CHANGE_PD)])
def test_reregistering_nothing(flags: int) -> None:
    with ends(connect=False) as (a, _):
        with pytest.raises(PyverbsRDMAError) as caught:
            a.mr.rereg(flags)
        assert caught.value.error_code == errno.EINVAL


def test_a_zero_based_region_counts_from_0() -> None:
    with ends() as (a, b):
        rights = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_ZERO_BASED
        mr = MR(b.pd, 64, rights)
        a.mr.write(b"at zero.", 8)
        assert write(a, mr.rkey, 8) == e.IBV_WC_SUCCESS
        assert mr.read(8, 8) == b"at zero."
