"""Unreliable connections and datagrams, shared receive queues, completion channels."""

from __future__ import annotations

import select

import pytest

from lab.verbs import libibverbs_enums as e
from lab.verbs.pyverbs_error import PyverbsRDMAError
from tests.lab.verbs.ends import HOSTS, End, attributes, ends

QKEY = 0x11111111


def test_unreliable_connection() -> None:
    with ends(qp_type=e.IBV_QPT_UC) as (a, b):
        b.recv(5000)
        a.mr.write(b"u" * 5000, 5000)
        a.send(e.IBV_WR_SEND, 5000)
        a.send(e.IBV_WR_RDMA_WRITE, 3000, to=b, remote=100_000)
        b.recv(0, wr_id=2)
        a.send(e.IBV_WR_RDMA_WRITE_WITH_IMM, 10, to=b, remote=200_000, imm_data=9)
        assert [wc.status for wc in a.wait(3)] == [0, 0, 0]
        send, write = b.wait(2)
        assert (send.byte_len, write.imm_data, write.byte_len) == (5000, 9, 10)
        assert b.mr.read(5000, 0) == b"u" * 5000
        assert b.mr.read(3000, 100_000) == b"u" * 3000
        with pytest.raises(PyverbsRDMAError, match="UC does not carry RDMA_READ"):
            a.send(e.IBV_WR_RDMA_READ, 10, to=b)


def to_rts(end: End) -> None:
    attr = end.verbs.QPAttr()
    attr.qkey, attr.sq_psn = QKEY, end.sq_psn
    end.qp.to_rts(attr)


def datagram(a: End, b: End, length: int, qkey: int = QKEY) -> None:
    gr = a.verbs.GlobalRoute(dgid=b.ctx.query_gid(1, 0), sgid_index=0, hop_limit=64)
    ah = a.verbs.AH(a.pd, attr=a.verbs.AHAttr(is_global=1, port_num=1, gr=gr))
    wr = a.verbs.SendWR(opcode=e.IBV_WR_SEND_WITH_IMM, num_sge=1, sg=[a.sge(length)], imm_data=3)
    wr.set_wr_ud(ah, b.qp.qp_num, qkey)
    a.qp.post_send(wr)


@pytest.mark.parametrize("addresses", [HOSTS, ("::1", "::1")])
def test_datagrams(addresses: tuple[str, str]) -> None:
    with ends(addresses, qp_type=e.IBV_QPT_UD, connect=False) as (a, b):
        for end in (a, b):
            to_rts(end)
        b.recv(2000)
        a.mr.write(b"d" * 1000, 1000)
        datagram(a, b, 1000, QKEY + 1)
        datagram(a, b, 1000)
        assert [wc.status for wc in a.wait(2)] == [0, 0]
        (wc,) = b.wait()
        assert (wc.byte_len, wc.src_qp, wc.imm_data) == (1040, a.qp.qp_num, 3)
        assert wc.wc_flags == e.IBV_WC_GRH | e.IBV_WC_WITH_IMM
        assert b.mr.read(1000, 40) == b"d" * 1000
        # IPv4: its header stands in the last 20 of the 40 bytes; IPv6: it is all of them.
        grh = b.mr.read(40, 0)
        assert grh[20] >> 4 == 4 if "." in addresses[0] else grh[0] >> 4 == 6
        assert not b.cq.poll()[0]
        assert b.ctx.adapter.device.counters["qkey_viol_cntr"] == 1


def test_datagram_larger_than_the_path_mtu() -> None:
    with ends(qp_type=e.IBV_QPT_UD, connect=False) as (a, b):
        to_rts(a)
        with pytest.raises(PyverbsRDMAError, match="a message holds 4096"):
            datagram(a, b, 4097)


def test_shared_receive_queue() -> None:
    with ends(connect=False) as (a, b):
        verbs = b.verbs
        srq = verbs.SRQ(b.pd, verbs.SrqInitAttr(verbs.SrqAttr(max_wr=10, max_sge=2)))
        pairs = []
        for _ in range(3):
            init = verbs.QPInitAttr(qp_type=2, scq=b.cq, rcq=b.cq, srq=srq, cap=verbs.QPCap())
            other = End(verbs, b.ctx, b.pd, b.cq, b.mr, verbs.QP(b.pd, init), 300)
            init = verbs.QPInitAttr(qp_type=2, scq=a.cq, rcq=a.cq, cap=verbs.QPCap())
            one = End(verbs, a.ctx, a.pd, a.cq, a.mr, verbs.QP(a.pd, init), 400)
            one.qp.to_rts(attributes(verbs, one, other, 3))
            other.qp.to_rts(attributes(verbs, other, one, 3))
            pairs.append((one, other))
        for number in range(3):
            srq.post_recv(verbs.RecvWR(number, 1, [b.sge(100, 100 * number)]))
        for one, _ in pairs:
            one.send(e.IBV_WR_SEND, 100)
        assert {wc.qp_num for wc in b.wait(3)} == {other.qp.qp_num for _, other in pairs}
        with pytest.raises(PyverbsRDMAError, match="shared receive queue"):
            pairs[0][1].recv(1)
        assert srq.query().max_wr == 10


def channelled(end: End) -> tuple[object, object]:
    channel = end.verbs.CompChannel(end.ctx)
    return channel, end.verbs.CQ(end.ctx, 10, channel=channel)


def test_completion_channel() -> None:
    with ends(connect=False) as (a, b):
        channel, cq = channelled(b)
        init = b.verbs.QPInitAttr(qp_type=2, scq=cq, rcq=cq, cap=b.verbs.QPCap())
        b.qp, b.cq = b.verbs.QP(b.pd, init), cq
        a.qp.to_rts(attributes(a.verbs, a, b, 3))
        b.qp.to_rts(attributes(b.verbs, b, a, 3))
        readable = select.poll()
        readable.register(channel.fd, select.POLLIN)
        cq.req_notify(solicited_only=True)
        for _ in range(2):
            b.recv(10)
        a.send(e.IBV_WR_SEND, 10)
        a.wait()
        assert not readable.poll(0), "not solicited"
        flags = e.IBV_SEND_SOLICITED | e.IBV_SEND_SIGNALED
        a.send(e.IBV_WR_SEND, 10, send_flags=flags)
        channel.get_cq_event(cq)
        cq.ack_events(1)
        assert cq.num_events == 0
        assert cq.poll(5)[0] == 2
        b.recv(10)
        a.send(e.IBV_WR_SEND, 10, send_flags=flags)
        b.wait()
        assert not readable.poll(0), "armed once, told once"
