"""One process's end of the measured connections, as a pyverbs program would set it up."""

from __future__ import annotations

import hashlib
import random
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lab import providers
from lab.bench.errors import BenchError

MTUS = {256: 1, 512: 2, 1024: 3, 2048: 4, 4096: 5}
ACCESS = 0xF
SQ_PSN = 0x123456
RETRY, RNR_RETRY, MIN_RNR_TIMER, READS = 7, 7, 1, 16
TIMEOUT = 14
"""67 ms, as usual."""


class End:
    """A context, a region of `length` bytes, a CQ, and queue pairs made when asked for.

    Raises OSError where the address or its port is not to be had.
    """

    def __init__(self, address: str, length: int, *, fast: bool = True) -> None:
        self.verbs: SimpleNamespace = providers.load("userspace", addresses=[address], fast=fast)
        self.ctx = self.verbs.Context(name="roce_0")
        self.pd = self.verbs.PD(self.ctx)
        self.mr = self.verbs.MR(self.pd, length, ACCESS)
        self.cq = self.verbs.CQ(self.ctx, 1 << 16)
        self.qps: list[Any] = []
        self._immediate = int(self.verbs.IBV_WC_WITH_IMM)

    def open(self, count: int, depth: int) -> list[dict[str, Any]]:
        """`count` new queue pairs in place of the old; what the peer must know of each."""
        self.close_queue_pairs()
        verbs = self.verbs
        cap = verbs.QPCap(max_send_wr=depth, max_recv_wr=depth)
        init = verbs.QPInitAttr(
            qp_type=verbs.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=cap, sq_sig_all=0
        )
        self.qps = [verbs.QP(self.pd, init) for _ in range(count)]
        gid = self.ctx.query_gid(1, 0).gid
        common = {"gid": gid, "addr": self.mr.buf, "r_key": self.mr.rkey}
        return [{"qpn": qp.qp_num, **common} for qp in self.qps]

    def connect(self, peers: list[dict[str, Any]], path_mtu: int, timeout: int = TIMEOUT) -> None:
        """Take every queue pair to RTS."""
        verbs = self.verbs
        for qp, peer in zip(self.qps, peers, strict=True):
            gid = verbs.GID(peer["gid"])
            attr = verbs.QPAttr(port_num=1, path_mtu=MTUS[path_mtu])
            attr.ah_attr = verbs.AHAttr(
                is_global=1, port_num=1, gr=verbs.GlobalRoute(dgid=gid, hop_limit=64)
            )
            attr.dest_qp_num, attr.rq_psn, attr.sq_psn = peer["qpn"], SQ_PSN, SQ_PSN
            attr.qp_access_flags = ACCESS
            attr.max_rd_atomic = attr.max_dest_rd_atomic = READS
            attr.min_rnr_timer, attr.timeout = MIN_RNR_TIMER, timeout
            attr.retry_cnt, attr.rnr_retry = RETRY, RNR_RETRY
            qp.to_rts(attr)

    def sge(self, length: int, offset: int = 0) -> Any:
        return self.verbs.SGE(self.mr.buf + offset, length, self.mr.lkey)

    def request(
        self,
        opcode: int,
        length: int,
        peer: dict[str, Any] | None = None,
        offset: int = 0,
        flags: int = 2,
    ) -> Any:
        """A request of `length` bytes at `offset`; of WRITE and READ, at the same one in the
        peer's region.
        """
        sge = self.sge(length, offset)
        wr = self.verbs.SendWR(opcode=opcode, num_sge=1, sg=[sge], send_flags=flags)
        if peer is not None:
            wr.set_wr_rdma(peer["r_key"], peer["addr"] + offset)
        return wr

    def receive(self, length: int, offset: int = 0) -> Any:
        return self.verbs.RecvWR(num_sge=1, sg=[self.sge(length, offset)])

    def post_last(self) -> None:
        """Tell the peer that no further SEND comes: an empty one with immediate data."""
        self.qps[0].post_send(self.request(self.verbs.IBV_WR_SEND_WITH_IMM, 0))
        while not self.poll():
            pass

    def is_last(self, wc: Any) -> bool:
        """Whether this is the peer's `post_last`."""
        return bool(wc.wc_flags & self._immediate)

    def poll(self, most: int = 64) -> list[Any]:
        """Completions, all of them good; BenchError at another."""
        wcs: list[Any] = self.cq.poll(most)[1]
        for wc in wcs:
            if wc.status:
                text = self.verbs.cqe_status_to_str(wc.status)
                raise BenchError(f"expected completions to succeed, one says: {text}")
        return wcs

    def fill(self, kind: str, length: int) -> None:
        """The first `length` bytes of the region: "zeros", or "data" that is nowhere the same."""
        data = random.Random(length).randbytes(length) if kind == "data" else bytes(length)
        self.mr.write(data, length)

    def digest(self, length: int) -> str:
        """Of the first `length` bytes of the region."""
        return hashlib.sha256(self.mr.read(length, 0)).hexdigest()

    def close_queue_pairs(self) -> None:
        for qp in self.qps:
            qp.close()
        self.qps = []

    def close(self) -> None:
        self.close_queue_pairs()
        self.ctx.close()


def cpu_seconds() -> float:
    """Of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
