"""Asynchronous events (IBTA vol. 1, 11.6.3): what befell an object without being asked for."""

from __future__ import annotations

import select
from typing import Any

import pytest

from lab.verbs import libibverbs_enums as e
from lab.verbs.cq import CQ
from lab.verbs.qp import QP, QPAttr, QPCap, QPInitAttr
from lab.verbs.srq import SRQ, SrqAttr, SrqInitAttr
from lab.verbs.wr import RecvWR
from tests.lab.verbs.ends import DEADLINE_S, HOSTS, End, attributes, ends


def event(end: End) -> int:
    """The next event, which must come."""
    ready, _, _ = select.select([end.ctx.cmd_fd], [], [], DEADLINE_S)
    assert ready, "no event"
    found = end.ctx.get_async_event()
    found.ack()
    return int(found.event_type)


def none_waits(end: End) -> bool:
    return not select.select([end.ctx.cmd_fd], [], [], 0)[0]


def connect(a: End, b: End, step: str, qp_a: Any = None, qp_b: Any = None) -> None:
    a.qp, b.qp = qp_a or a.qp, qp_b or b.qp
    for own, peer in ((a, b), (b, a)):
        getattr(own.qp, step)(attributes(own.verbs, own, peer, 3))


@pytest.mark.parametrize("fast", [False, True])
def test_communication_established(fast: bool) -> None:
    """The first request while still in RTR, once (11.6.3.2; C10-22)."""
    with ends(connect=False, fast=fast) as (a, b):
        connect(a, b, "to_rtr")
        a.qp.to_rts(attributes(a.verbs, a, b, 3))
        for _ in range(2):
            b.recv(4)
            a.send(e.IBV_WR_SEND, 4)
            assert a.wait()[0].status == e.IBV_WC_SUCCESS
        assert event(b) == e.IBV_EVENT_COMM_EST
        assert none_waits(b)
        assert none_waits(a)


def test_access_refused_is_told_at_the_responder() -> None:
    with ends() as (a, b):
        wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(4)])
        wr.set_wr_rdma(b.mr.rkey ^ 1, b.mr.buf)
        a.qp.post_send(wr)
        assert a.wait()[0].status == e.IBV_WC_REM_ACCESS_ERR
        assert event(b) == e.IBV_EVENT_QP_ACCESS_ERR


def test_a_request_too_long_is_told_at_the_responder() -> None:
    with ends() as (a, b):
        b.recv(4)
        a.send(e.IBV_WR_SEND, 8)
        assert a.wait()[0].status == e.IBV_WC_REM_INV_REQ_ERR
        assert event(b) == e.IBV_EVENT_QP_REQ_ERR


def test_a_receive_without_memory_is_fatal() -> None:
    with ends() as (a, b):
        b.recv(8)
        b.mr.close()
        a.send(e.IBV_WR_SEND, 8)
        assert a.wait()[0].status == e.IBV_WC_REM_OP_ERR
        assert event(b) == e.IBV_EVENT_QP_FATAL


def shared(b: End, receives: int) -> tuple[SRQ, QP]:
    srq = SRQ(b.pd, SrqInitAttr(SrqAttr(16)))
    for number in range(receives):
        srq.post_recv(RecvWR(wr_id=number, num_sge=1, sg=[b.sge(64)]))
    init = QPInitAttr(qp_type=e.IBV_QPT_RC, scq=b.cq, rcq=b.cq, srq=srq, cap=QPCap())
    return srq, QP(b.pd, init)


def test_srq_limit_once_for_each_time_it_is_armed() -> None:
    with ends(connect=False) as (a, b):
        srq, qp = shared(b, 10)
        connect(a, b, "to_rts", qp_b=qp)
        for _ in range(2):
            srq.modify(SrqAttr(srq_limit=len(srq.live)), e.IBV_SRQ_LIMIT)
            for _ in range(2):
                a.send(e.IBV_WR_SEND, 4)
                a.wait()
                b.wait()
            assert srq.query().srq_limit == 0
            assert event(b) == e.IBV_EVENT_SRQ_LIMIT_REACHED
        assert none_waits(b)


def test_last_wqe_reached_where_a_queue_pair_with_an_srq_stops() -> None:
    with ends(connect=False) as (a, b):
        _, qp = shared(b, 4)
        connect(a, b, "to_rts", qp_b=qp)
        qp.modify(QPAttr(qp_state=e.IBV_QPS_ERR), e.IBV_QP_STATE)
        assert event(b) == e.IBV_EVENT_QP_LAST_WQE_REACHED


def test_drained() -> None:
    with ends() as (a, _):
        a.qp.modify(QPAttr(qp_state=e.IBV_QPS_SQD), e.IBV_QP_STATE)
        assert event(a) == e.IBV_EVENT_SQ_DRAINED


@pytest.mark.parametrize("fast", [False, True])
def test_overrun_of_a_cq_is_told_once(fast: bool) -> None:
    """What found no room is lost; what was there stays (11.6.3.1; rxe_cq_post)."""
    with ends(connect=False, fast=fast) as (a, b):
        cq = CQ(a.ctx, 2)
        init = QPInitAttr(qp_type=e.IBV_QPT_RC, scq=cq, rcq=cq, cap=QPCap(max_send_wr=16))
        connect(a, b, "to_rts", qp_a=QP(a.pd, init))
        for number in range(5):
            a.send(e.IBV_WR_RDMA_WRITE, 4, to=b, wr_id=number)
        assert event(a) == e.IBV_EVENT_CQ_ERR
        assert [wc.wr_id for wc in cq.poll(5)[1]] == [0, 1]
        assert none_waits(a)


def test_events_go_to_the_context_of_the_object() -> None:
    """Two Contexts of one device."""
    with ends((HOSTS[0], HOSTS[0])) as (a, b):
        a.qp.modify(QPAttr(qp_state=e.IBV_QPS_SQD), e.IBV_QP_STATE)
        assert event(a) == e.IBV_EVENT_SQ_DRAINED
        assert none_waits(b)


def test_in_words() -> None:
    with ends() as (a, _):
        a.qp.modify(QPAttr(qp_state=e.IBV_QPS_SQD), e.IBV_QP_STATE)
        assert "IBV_EVENT_SQ_DRAINED" in str(a.ctx.get_async_event())


class Breaking:
    """A wire that fails when told to."""

    def __init__(self, wire: Any) -> None:
        self._wire = wire
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def receive(self, now: int) -> Any:
        if self.broken:
            raise OSError("the interface is gone")
        return self._wire.receive(now)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_device_that_fails_says_so() -> None:
    """Whoever waits for a completion by its channel would wait for ever."""
    wires: list[Breaking] = []

    def stack(wire: Any) -> Any:
        wires.append(Breaking(wire))
        return wires[-1]

    with ends(load={"stack": stack}) as (a, b):
        wires[0].broken = True
        b.send(e.IBV_WR_RDMA_WRITE, 4, to=a)
        assert event(a) == e.IBV_EVENT_DEVICE_FATAL
        assert none_waits(b)
