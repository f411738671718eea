"""Calls of the verbs in any order and with any numbers.

    python -m tests.fuzz.verbs --count 10000 --seed 1 [--fast]

Each call does what it says or is refused by PyverbsError (OverflowError for a number that C's
types do not hold), and another queue pair of the device goes
on. Prints how many calls did and how many were refused; ends with a traceback and the number of the
program (seed and number make it again) otherwise.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import AH, AHAttr, GlobalRoute
from lab.verbs.cq import CQ, CQEX, CqInitAttrEx
from lab.verbs.mr import MR, MW, MWBind, MWBindInfo
from lab.verbs.pd import PD
from lab.verbs.pyverbs_error import PyverbsError
from lab.verbs.qp import QP, QPAttr, QPCap, QPEx, QPInitAttr, QPInitAttrEx
from lab.verbs.srq import SRQ, SrqAttr, SrqInitAttr
from lab.verbs.wr import SGE, RecvWR, SendWR
from tests.lab.verbs.ends import End, ends

EDGES = (0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF)
LONGEST = 40
"""Calls of a program."""
INLINE = int(e.IBV_SEND_INLINE)


class Bench:
    """The objects that calls are made on: some open, some closed by earlier calls."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.ctx = end.ctx
        self.pd = PD(self.ctx)
        self.cq = CQ(self.ctx, 16)
        self.cqex = CQEX(self.ctx, CqInitAttrEx(cqe=4))
        self.mr = MR(self.pd, 4096, 0x1F)
        self.mw = MW(self.pd, 1)
        self.mw2 = MW(self.pd, 2)
        self.srq = SRQ(self.pd, SrqInitAttr(SrqAttr(4)))
        cap = QPCap(4, 4, 2, 2, 64)
        self.qps: list[Any] = [
            QP(self.pd, QPInitAttr(kind, scq=self.cq, rcq=self.cq, cap=cap)) for kind in (2, 3, 4)
        ]
        mask = int(e.IBV_QP_INIT_ATTR_PD | e.IBV_QP_INIT_ATTR_SEND_OPS_FLAGS)
        init = QPInitAttrEx(2, scq=self.cqex, rcq=self.cq, cap=cap, pd=self.pd, comp_mask=mask)
        init.srq = self.srq
        self.qps.append(QPEx(self.ctx, init))

    def close(self) -> None:
        self.cqex.close()
        self.cq.close()
        self.mw.close()
        self.mw2.close()
        self.pd.close()


def attr(bench: Bench, n: list[int]) -> QPAttr:
    """Right for a way to RTS, but for a number or two."""
    made = QPAttr(path_mtu=3)
    made.qp_access_flags, made.dest_qp_num = 0xF, 17
    made.max_rd_atomic = made.max_dest_rd_atomic = 1
    route = GlobalRoute(bench.ctx.query_gid(1, 0), hop_limit=64)
    made.ah_attr = AHAttr(is_global=1, gr=route)
    names = sorted(name for name, value in vars(made).items() if isinstance(value, int))
    if n[0] % 3 == 0:
        setattr(made, names[n[1] % len(names)], n[2])
    return made


def sges(bench: Bench, n: list[int]) -> list[SGE]:
    key = bench.mr.lkey if n[1] % 4 else n[2] & 0xFFFFFFFF
    offset = n[2] if n[0] % 5 == 0 else 0
    return [SGE(bench.mr.buf + offset, n[2] % 5000, key)] * (n[0] % 4)


def send(bench: Bench, qp: Any, n: list[int]) -> None:
    pieces = sges(bench, n)
    flags = n[1] & 0x1F
    if n[0] % 5 == 0:
        flags &= ~INLINE  # inline data is read from where it is said to be
    wr = SendWR(n[0] & 0xFF, n[1] % 16, len(pieces), n[2], pieces, flags)
    wr.set_wr_rdma(n[2] & 0xFFFFFFFF, n[1])
    if n[0] % 2:
        wr.set_wr_atomic(bench.mr.rkey, bench.mr.buf, n[1], n[2])
    if n[1] % 2:
        route = GlobalRoute(bench.ctx.query_gid(1, 0), sgid_index=n[0] % 2)
        wr.set_wr_ud(AH(bench.pd, attr=AHAttr(is_global=1, gr=route)), n[2] & 0xFFFFFF, n[0])
    if n[2] % 2:
        wr.set_bind_wr(bench.mw2, MWBindInfo(bench.mr, bench.mr.buf, n[1], n[0]))
    qp.post_send(wr)


def build(bench: Bench, n: list[int]) -> None:
    qp = bench.qps[3]
    calls: list[Callable[[], None]] = [
        qp.wr_start,
        qp.wr_send,
        lambda: qp.wr_rdma_write(bench.mr.rkey, bench.mr.buf + n[0] % 4096),
        lambda: qp.wr_rdma_read(n[0], n[1]),
        lambda: qp.wr_bind_mw(bench.mw2, n[0], MWBindInfo(bench.mr, bench.mr.buf, n[1], 6)),
        lambda: qp.wr_local_inv(n[2]),
        lambda: qp.wr_set_sge_list(3, sges(bench, n)),
        lambda: qp.wr_set_inline_data(bench.mr.buf, n[0] % 128),
        qp.wr_complete,
        qp.wr_abort,
    ]
    qp.wr_flags = n[1] & 7
    for number in n:
        calls[number % len(calls)]()


Call = Callable[[Bench, list[int]], Any]
CALLS: tuple[Call, ...] = (
    lambda b, n: b.qps[n[0] % 4].to_init(attr(b, n)),
    lambda b, n: b.qps[n[0] % 4].to_rtr(attr(b, n)),
    lambda b, n: b.qps[n[0] % 4].to_rts(attr(b, n)),
    lambda b, n: b.qps[n[0] % 4].to_rts(attr(b, n)),
    lambda b, n: b.qps[n[0] % 4].modify(attr(b, n), n[2] & 0x3FFFFFF),
    lambda b, n: b.qps[n[0] % 4].query(n[1]),
    lambda b, n: send(b, b.qps[n[0] % 4], n),
    lambda b, n: send(b, b.qps[n[0] % 4], n),
    lambda b, n: b.qps[n[0] % 4].post_recv(RecvWR(n[1], n[0] % 4, sges(b, n))),
    lambda b, n: b.srq.post_recv(RecvWR(n[1], n[0] % 4, sges(b, n))),
    lambda b, n: b.srq.modify(SrqAttr(n[0], 1, n[1]), n[2] & 3),
    lambda b, n: b.cq.poll(n[0] % 8),
    lambda b, n: b.cq.resize(n[0]),
    lambda b, n: b.cq.req_notify(bool(n[0] % 2)),
    lambda b, _: (b.cqex.start_poll(None), b.cqex.poll_next(), b.cqex.end_poll()),
    build,
    lambda b, n: b.qps[n[0] % 4].bind_mw(
        b.mw, MWBind(MWBindInfo(b.mr, b.mr.buf + n[1], n[2], n[0]), n[1] & 7)
    ),
    lambda b, n: b.mr.rereg(n[0] & 0xF, b.pd, 0, n[1] % 4096, n[2] & 0xFF),
    lambda b, n: MR(b.pd, n[0] % 10000, n[1] & 0x1FFFF),
    lambda b, n: CQ(b.ctx, n[0], None, None, n[1] % 3),
    lambda b, n: SRQ(b.pd, SrqInitAttr(SrqAttr(n[0], n[1], n[2]))),
    lambda b, n: QP(b.pd, QPInitAttr(n[0] % 12, None, b.cq, b.cq, None, QPCap(n[1], n[2]))),
    lambda b, n: b.ctx.query_port(n[0]),
    lambda b, n: b.ctx.query_gid_ex(n[0] % 3, n[1]),
    lambda b, n: b.ctx.query_pkey(1, n[0]),
    lambda b, n: b.qps[n[0] % 4].close(),
    lambda b, _: b.mw.close(),
    lambda b, _: b.mr.close(),
)


def number(random: Random) -> int:
    """Small, at an edge, or anything."""
    kind = random.random()
    if kind < 0.5:
        return random.randint(0, 7)
    return random.choice(EDGES) if kind < 0.8 else random.randint(0, 1 << 33)


def program(bench: Bench, random: Random, done: Counter[str]) -> None:
    """Some calls, whatever comes of each."""
    for _ in range(random.randint(1, LONGEST)):
        call = random.choice(CALLS)
        try:
            call(bench, [number(random) for _ in range(3)])
            done["done"] += 1
        except (PyverbsError, OverflowError):
            done["refused"] += 1


def run(seed: int, count: int, *, fast: bool = False) -> Counter[str]:
    """`count` programs on a device where something else goes on: what came of their calls."""
    done: Counter[str] = Counter()
    with ends(fast=fast) as (a, b):
        for which in range(count):
            random = Random(f"{seed} {which}")
            bench = Bench(a)
            try:
                program(bench, random, done)
                bench.close()
                text = random.randbytes(10)
                a.mr.write(text, 10)
                a.send(e.IBV_WR_RDMA_WRITE, 10, to=b)
                assert a.wait()[0].status == e.IBV_WC_SUCCESS
                assert b.mr.read(10, 0) == text
            except Exception as error:
                error.add_note(f"program {which} of seed {seed}")
                raise
            done["programs"] += 1
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fast", action="store_true")
    options = parser.parse_args()
    done = run(options.seed, options.count, fast=options.fast)
    sys.stdout.write(f"{dict(done)}\n")


if __name__ == "__main__":
    main()
