"""What a consumer hands the transport and gets back: work requests and completions.

The numbers are those of `enum ibv_wr_opcode`, `ibv_wc_status`, `ibv_wc_opcode`, `ibv_send_flags`
and `ibv_wc_flags`.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING, NamedTuple

from lab.engine.burst import Path

if TYPE_CHECKING:
    from lab.engine.memory import Bind


MAX_MESSAGE = 1 << 31
"""Bytes (IBTA vol. 1, 9.7.4.1.6)."""


class WROpcode(IntEnum):
    RDMA_WRITE = 0
    RDMA_WRITE_WITH_IMM = 1
    SEND = 2
    SEND_WITH_IMM = 3
    RDMA_READ = 4
    ATOMIC_CMP_AND_SWP = 5
    ATOMIC_FETCH_AND_ADD = 6
    LOCAL_INV = 7
    BIND_MW = 8
    SEND_WITH_INV = 9


class SendFlag(IntFlag):
    NONE = 0
    FENCE = 1 << 0
    SIGNALED = 1 << 1
    SOLICITED = 1 << 2
    INLINE = 1 << 3


class WCStatus(IntEnum):
    SUCCESS = 0
    LOC_LEN_ERR = 1
    LOC_QP_OP_ERR = 2
    LOC_PROT_ERR = 4
    WR_FLUSH_ERR = 5
    MW_BIND_ERR = 6
    BAD_RESP_ERR = 7
    LOC_ACCESS_ERR = 8
    REM_INV_REQ_ERR = 9
    REM_ACCESS_ERR = 10
    REM_OP_ERR = 11
    RETRY_EXC_ERR = 12
    RNR_RETRY_EXC_ERR = 13


class WCOpcode(IntEnum):
    SEND = 0
    RDMA_WRITE = 1
    RDMA_READ = 2
    COMP_SWAP = 3
    FETCH_ADD = 4
    BIND_MW = 5
    LOCAL_INV = 6
    RECV = 128
    RECV_RDMA_WITH_IMM = 129


class WCFlag(IntFlag):
    NONE = 0
    GRH = 1 << 0
    WITH_IMM = 1 << 1
    WITH_INV = 1 << 3


class Sge(NamedTuple):
    """A piece of registered memory: address, bytes, local key."""

    address: int
    length: int
    lkey: int


class SendWork(NamedTuple):
    """A send work request. `inline`, when given, is the payload itself and `sges` are not read."""

    wr_id: int
    opcode: WROpcode
    sges: tuple[Sge, ...] = ()
    flags: SendFlag = SendFlag.SIGNALED
    immediate: int = 0
    """The 32 bits of ImmDt as a big-endian number; of IETH, the r_key to invalidate."""
    remote_address: int = 0
    r_key: int = 0
    compare_add: int = 0
    swap: int = 0
    inline: bytes | None = None
    path: Path | None = None
    """UD: where to; with `remote_qpn` and `remote_qkey`."""
    remote_qpn: int = 0
    remote_qkey: int = 0
    bind: Bind | None = None

    @property
    def length(self) -> int:
        """Bytes of local memory the request names."""
        if self.inline is not None:
            return len(self.inline)
        return sum(sge.length for sge in self.sges)


class ReceiveWork(NamedTuple):
    """A receive work request."""

    wr_id: int
    sges: tuple[Sge, ...] = ()


class Completion(NamedTuple):
    """One work completion; only `wr_id`, `status` and `qpn` mean anything where
    status is an error.
    """

    wr_id: int
    status: WCStatus
    opcode: WCOpcode
    qpn: int
    byte_length: int = 0
    immediate: int = 0
    flags: WCFlag = WCFlag.NONE
    source_qpn: int = 0
    solicited: bool = False
