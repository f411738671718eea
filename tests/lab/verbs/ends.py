"""Two ends over real sockets, connected by hand: what an exchange does in the lab."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from lab import providers

LENGTH = 1 << 20
DEADLINE_S = 20.0


def own_address(number: int) -> str:
    """Of loopback's 2^24 addresses one that no other process tests with."""
    return f"127.{1 + os.getpid() % 250}.{os.getpid() // 250 % 250}.{number}"


HOSTS = own_address(11), own_address(12)


@dataclass
class End:
    """One end: its objects and the PSN it sends from."""

    verbs: Any
    ctx: Any
    pd: Any
    cq: Any
    mr: Any
    qp: Any
    sq_psn: int

    def sge(self, length: int, offset: int = 0) -> Any:
        return self.verbs.SGE(self.mr.buf + offset, length, self.mr.lkey)

    def recv(self, length: int, offset: int = 0, wr_id: int = 0) -> None:
        sg = [self.sge(length, offset)]
        self.qp.post_recv(self.verbs.RecvWR(wr_id=wr_id, num_sge=1, sg=sg))

    def send(
        self, opcode: int, length: int, offset: int = 0, *, to: End | None = None, **options: Any
    ) -> None:
        """Post a request of `length` bytes; RDMA and atomics go to the same offset
        of `to`'s region.
        """
        remote = options.pop("remote", offset)
        atomic = options.pop("atomic", None)
        sg = [self.sge(length, offset)]
        wr = self.verbs.SendWR(opcode=opcode, num_sge=1, sg=sg, **options)
        if to is not None and atomic is not None:
            wr.set_wr_atomic(to.mr.rkey, to.mr.buf + remote, *atomic)
        elif to is not None:
            wr.set_wr_rdma(to.mr.rkey, to.mr.buf + remote)
        self.qp.post_send(wr)

    def wait(self, count: int = 1) -> list[Any]:
        """The next `count` completions."""
        found: list[Any] = []
        end = time.monotonic() + DEADLINE_S
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} completions"
            found += self.cq.poll(count - len(found))[1]
        return found


def attributes(verbs: SimpleNamespace, own: End, peer: End, path_mtu: int, **options: int) -> Any:
    attr = verbs.QPAttr(port_num=1, path_mtu=path_mtu)
    attr.qp_access_flags = 0xF
    attr.dest_qp_num = peer.qp.qp_num
    attr.rq_psn, attr.sq_psn = peer.sq_psn, own.sq_psn
    attr.max_rd_atomic = attr.max_dest_rd_atomic = 16
    attr.min_rnr_timer, attr.timeout = 12, 14
    attr.retry_cnt = attr.rnr_retry = 7
    for name, value in options.items():
        setattr(attr, name, value)
    gr = verbs.GlobalRoute(dgid=peer.ctx.query_gid(1, 0), sgid_index=0, hop_limit=64)
    attr.ah_attr = verbs.AHAttr(is_global=1, port_num=1, gr=gr)
    return attr


@contextmanager
def ends(
    addresses: tuple[str, str] = HOSTS,
    *,
    path_mtu: int = 3,
    qp_type: int = 2,
    sq_psns: tuple[int, int] = (0xFFFFFE, 0x123456),
    connect: bool = True,
    fast: bool = False,
    load: Mapping[str, Any] | None = None,
    **options: Any,
) -> Iterator[tuple[End, End]]:
    unique = list(dict.fromkeys(addresses))
    verbs = providers.load("userspace", addresses=unique, fast=fast, **(load or {}))
    with ExitStack() as stack:
        both = []
        for address, sq_psn in zip(addresses, sq_psns, strict=True):
            name = f"roce_{unique.index(address)}"
            ctx = stack.enter_context(verbs.Context(name=name))
            pd = verbs.PD(ctx)
            cq = verbs.CQ(ctx, 1000)
            cap = verbs.QPCap(max_send_wr=100, max_recv_wr=100, max_send_sge=4, max_recv_sge=4)
            init = verbs.QPInitAttr(qp_type=qp_type, scq=cq, rcq=cq, cap=cap, sq_sig_all=1)
            mr = verbs.MR(pd, LENGTH, 0xF)
            both.append(End(verbs, ctx, pd, cq, mr, verbs.QP(pd, init), sq_psn))
        a, b = both
        if connect:
            for own, peer in ((a, b), (b, a)):
                own.qp.to_rtr(attributes(verbs, own, peer, path_mtu, **options))
            for own, peer in ((a, b), (b, a)):
                own.qp.to_rts(attributes(verbs, own, peer, path_mtu, **options))
        yield a, b
