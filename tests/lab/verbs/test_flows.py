"""Every RC request over real UDP sockets between two devices."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import providers
from lab.verbs import libibverbs_enums as e
from tests.lab.verbs.ends import HOSTS, End, attributes, ends


@pytest.fixture(params=[1, 3, 5], ids=["mtu256", "mtu1024", "mtu4096"])
def path_mtu(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[False, True], ids=["engine", "compiled"])
def fast(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def pair(path_mtu: int, fast: bool) -> Iterator[tuple[End, End]]:
    with ends(path_mtu=path_mtu, fast=fast) as both:
        yield both


def payload(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.mark.parametrize("length", [0, 1, 99, 1024, 1025, 100_000])
def test_send(pair: tuple[End, End], length: int) -> None:
    a, b = pair
    data = payload(length)
    a.mr.write(data, length)
    b.recv(length, wr_id=7)
    a.send(e.IBV_WR_SEND, length, wr_id=3)
    (sent,), (received,) = a.wait(), b.wait()
    assert (sent.status, sent.opcode, sent.wr_id) == (0, e.IBV_WC_SEND, 3)
    assert (received.status, received.opcode, received.wr_id) == (0, e.IBV_WC_RECV, 7)
    assert received.byte_len == length
    assert b.mr.read(length, 0) == data


@pytest.mark.parametrize("length", [1, 1024, 300_001])
def test_write_and_read(pair: tuple[End, End], length: int) -> None:
    a, b = pair
    data = payload(length)
    a.mr.write(data, length)
    a.send(e.IBV_WR_RDMA_WRITE, length, to=b)
    assert [wc.status for wc in a.wait()] == [0]
    assert b.mr.read(length, 0) == data
    a.send(e.IBV_WR_RDMA_READ, length, 500_000, to=b, remote=0)
    (wc,) = a.wait()
    assert (wc.status, wc.opcode, wc.byte_len) == (0, e.IBV_WC_RDMA_READ, length)
    assert a.mr.read(length, 500_000) == data


def test_write_with_immediate(pair: tuple[End, End]) -> None:
    a, b = pair
    b.recv(0)
    a.mr.write(b"x" * 5000, 5000)
    a.send(e.IBV_WR_RDMA_WRITE_WITH_IMM, 5000, to=b, imm_data=0xDEADBEEF)
    (received,) = b.wait()
    assert received.opcode == e.IBV_WC_RECV_RDMA_WITH_IMM
    assert received.wc_flags & e.IBV_WC_WITH_IMM
    assert (received.imm_data, received.byte_len) == (0xDEADBEEF, 5000)
    assert a.wait()[0].status == 0


def test_atomics(pair: tuple[End, End]) -> None:
    a, b = pair
    b.mr.write((1000).to_bytes(8, "little"), 8, 64)
    a.send(e.IBV_WR_ATOMIC_FETCH_AND_ADD, 8, 0, to=b, remote=64, atomic=(7,))
    a.send(e.IBV_WR_ATOMIC_CMP_AND_SWP, 8, 8, to=b, remote=64, atomic=(1007, 4242))
    assert [wc.opcode for wc in a.wait(2)] == [e.IBV_WC_FETCH_ADD, e.IBV_WC_COMP_SWAP]
    assert int.from_bytes(a.mr.read(8, 0), "little") == 1000
    assert int.from_bytes(a.mr.read(8, 8), "little") == 1007
    assert int.from_bytes(b.mr.read(8, 64), "little") == 4242


def test_ipv6_within_one_device(fast: bool) -> None:
    with ends(("::1", "::1"), fast=fast) as (a, b):
        assert a.qp.qp_num != b.qp.qp_num
        a.mr.write(b"over IPv6", 9)
        a.send(e.IBV_WR_RDMA_WRITE, 9, to=b)
        assert a.wait()[0].status == 0
        assert b.mr.read(9, 0) == b"over IPv6"


def test_many_queue_pairs_and_threads(fast: bool) -> None:
    """50 threads, each with a queue pair of its own on one device, write to 50 on another."""
    with ends(connect=False, fast=fast) as (a, b):
        pairs = [(client(a, index), client(b, index)) for index in range(50)]
        for one, other in pairs:
            one.qp.to_rts(attributes(a.verbs, one, other, 3))
            other.qp.to_rts(attributes(a.verbs, other, one, 3))
        failures: list[str] = []

        def work(number: int, one: End, other: End) -> None:
            data = payload(5000, number)
            one.mr.write(data, 5000)
            for _ in range(3):
                one.send(e.IBV_WR_RDMA_WRITE, 5000, to=other)
                if one.wait()[0].status or other.mr.read(5000, 0) != data:
                    failures.append(f"thread {number}")

        threads = [
            threading.Thread(target=work, args=(number, *pair)) for number, pair in enumerate(pairs)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert a.ctx.adapter.device.counters["retry_exceeded_err"] == 0


def client(end: End, index: int) -> End:
    verbs = end.verbs
    cq = verbs.CQ(end.ctx, 10)
    init = verbs.QPInitAttr(qp_type=2, scq=cq, rcq=cq, cap=verbs.QPCap(max_send_wr=10))
    qp = verbs.QP(end.pd, init)
    return End(verbs, end.ctx, end.pd, cq, verbs.MR(end.pd, 8192, 0xF), qp, 1000 * index)


def test_nothing_left_behind(fast: bool) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    before = held()
    with ends(fast=fast) as (a, b):
        assert held() > before
        a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
        a.wait()
    assert held() == before


def test_objects_that_are_just_dropped_close_themselves() -> None:
    """As pyverbs objects do: no error on the way (warnings are errors here), nothing left."""
    verbs = providers.load("userspace", addresses=[HOSTS[0]])
    threads = threading.active_count()
    for _ in range(3):
        ctx = verbs.Context(name="roce_0")
        pd = verbs.PD(ctx)
        cq = verbs.CQ(ctx, 10)
        made = [verbs.QP(pd, verbs.QPInitAttr(qp_type=2, scq=cq, rcq=cq)) for _ in range(3)]
        assert len({qp.qp_num for qp in made}) == 3
        del ctx, pd, cq, made
        gc.collect()
    assert threading.active_count() == threads


def test_remote_program_sleeps(fast: bool) -> None:
    """A WRITE completes while nobody polls at the target; its thread answers."""
    with ends(fast=fast) as (a, b):
        for _ in range(3):
            a.send(e.IBV_WR_RDMA_WRITE, 5000, to=b)
        assert [wc.status for wc in a.wait(3)] == [0, 0, 0]


def test_misuse_after_compiled_code_took_over() -> None:
    with ends(fast=True) as (a, b):
        a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
        a.wait()
        for _ in range(100):
            a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
        wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[a.sge(4)])
        wr.set_wr_rdma(b.mr.rkey ^ 1, b.mr.buf)
        a.wait(100)
        a.qp.post_send(wr)
        assert a.wait()[0].status == e.IBV_WC_REM_ACCESS_ERR
        assert (a.qp.qp_state, b.qp.qp_state) == (e.IBV_QPS_ERR, e.IBV_QPS_ERR)


def test_inline_and_scattered_after_compiled_code_took_over() -> None:
    with ends(fast=True) as (a, b):
        a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
        a.wait()
        a.mr.write(b"0123456789", 10)
        sges = [a.sge(3, 0), a.sge(4, 6)]
        wr = a.verbs.SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=2, sg=sges)
        wr.set_wr_rdma(b.mr.rkey, b.mr.buf)
        a.qp.post_send(wr)
        a.wait()
        assert b.mr.read(7, 0) == b"0126789"[:3] + b"6789"
        a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
        assert a.wait()[0].status == 0
