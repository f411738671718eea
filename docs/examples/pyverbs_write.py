"""An RDMA WRITE from one queue pair to another, in plain pyverbs.

On the userspace transport:  ROCELAB_DEVICES="roce_0=127.0.0.11" python -m lab.verbs THIS roce_0
On the kernel's (Soft-RoCE or a NIC), where pyverbs is installed:       python3 THIS rxe0
"""

import sys

from pyverbs.addr import AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.libibverbs_enums import (
    ibv_access_flags,
    ibv_mtu,
    ibv_qp_type,
    ibv_wc_status,
    ibv_wr_opcode,
)
from pyverbs.mr import MR
from pyverbs.pd import PD
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, SendWR

PORT, GID_INDEX = 1, 0
ACCESS = ibv_access_flags.IBV_ACCESS_LOCAL_WRITE | ibv_access_flags.IBV_ACCESS_REMOTE_WRITE
TEXT = b"written without the other side's help"


class End:
    """One end of the connection: a queue pair and the memory it works on."""

    def __init__(self, ctx, sq_psn):
        self.ctx = ctx
        self.sq_psn = sq_psn
        self.pd = PD(ctx)
        self.cq = CQ(ctx, 16)
        self.mr = MR(self.pd, 4096, ACCESS)
        init = QPInitAttr(
            qp_type=ibv_qp_type.IBV_QPT_RC, scq=self.cq, rcq=self.cq, cap=QPCap(max_send_wr=16)
        )
        self.qp = QP(self.pd, init)

    def connect(self, peer):
        """To RTS: to a peer, what it starts counting from, and patience."""
        attr = QPAttr(port_num=PORT, path_mtu=ibv_mtu.IBV_MTU_1024)
        attr.qp_access_flags = ACCESS
        attr.dest_qp_num = peer.qp.qp_num
        attr.rq_psn, attr.sq_psn = peer.sq_psn, self.sq_psn
        attr.max_rd_atomic = attr.max_dest_rd_atomic = 1
        attr.min_rnr_timer, attr.timeout, attr.retry_cnt, attr.rnr_retry = 12, 14, 7, 7
        gid = peer.ctx.query_gid(PORT, GID_INDEX)
        gr = GlobalRoute(dgid=gid, sgid_index=GID_INDEX, hop_limit=64)
        attr.ah_attr = AHAttr(is_global=1, port_num=PORT, gr=gr)
        self.qp.to_rts(attr)


def main():
    with Context(name=sys.argv[1]) as ctx:
        a, b = End(ctx, 0xFFFFFE), End(ctx, 0x123456)
        a.connect(b)
        b.connect(a)
        a.mr.write(TEXT, len(TEXT))
        sge = SGE(a.mr.buf, len(TEXT), a.mr.lkey)
        wr = SendWR(opcode=ibv_wr_opcode.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
        wr.set_wr_rdma(b.mr.rkey, b.mr.buf)
        a.qp.post_send(wr)
        count = 0
        while not count:
            count, completions = a.cq.poll()
        assert completions[0].status == ibv_wc_status.IBV_WC_SUCCESS, completions[0]
        print(b.mr.read(len(TEXT), 0).decode())


main()
