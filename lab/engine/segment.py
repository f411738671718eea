"""Cutting a message into packets by path MTU, and the run of packets that is sent at once."""

from __future__ import annotations

from typing import NamedTuple

from dissectors import icrc
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from lab.engine.burst import Path
from lab.engine.states import QPType
from lab.engine.work import WROpcode


class Shape(NamedTuple):
    """The opcodes of a message by a packet's place in it."""

    first: Opcode
    middle: Opcode
    last: Opcode
    only: Opcode

    def opcodes(self, start: int, count: int, total: int) -> tuple[Opcode, ...]:
        """Those of packets `start` to `start + count - 1` of a message of `total` packets."""
        if total == 1:
            return (self.only,)
        end = start + count
        head = (self.first,) if start == 0 else ()
        tail = (self.last,) if end == total else ()
        return head + (self.middle,) * (count - len(head) - len(tail)) + tail


def _shape(transport: str, family: str, suffix: str = "") -> Shape:
    stem = f"{transport}_{family}"
    places = ("FIRST", "MIDDLE", f"LAST{suffix}", f"ONLY{suffix}")
    return Shape(*(Opcode[f"{stem}_{place}"] for place in places))


_IMM, _INV = "_WITH_IMMEDIATE", "_WITH_INVALIDATE"
_UD_SEND, _UD_SEND_IMM = Opcode.UD_SEND_ONLY, Opcode.UD_SEND_ONLY_WITH_IMMEDIATE

# A missing key is a request that this type of queue pair does not carry.
SHAPES: dict[tuple[QPType, WROpcode], Shape] = {
    (QPType.RC, WROpcode.SEND): _shape("RC", "SEND"),
    (QPType.RC, WROpcode.SEND_WITH_IMM): _shape("RC", "SEND", _IMM),
    (QPType.RC, WROpcode.SEND_WITH_INV): _shape("RC", "SEND", _INV),
    (QPType.RC, WROpcode.RDMA_WRITE): _shape("RC", "RDMA_WRITE"),
    (QPType.RC, WROpcode.RDMA_WRITE_WITH_IMM): _shape("RC", "RDMA_WRITE", _IMM),
    (QPType.RC, WROpcode.RDMA_READ): Shape(*[Opcode.RC_RDMA_READ_REQUEST] * 4),
    (QPType.RC, WROpcode.ATOMIC_CMP_AND_SWP): Shape(*[Opcode.RC_COMPARE_SWAP] * 4),
    (QPType.RC, WROpcode.ATOMIC_FETCH_AND_ADD): Shape(*[Opcode.RC_FETCH_ADD] * 4),
    (QPType.UC, WROpcode.SEND): _shape("UC", "SEND"),
    (QPType.UC, WROpcode.SEND_WITH_IMM): _shape("UC", "SEND", _IMM),
    (QPType.UC, WROpcode.RDMA_WRITE): _shape("UC", "RDMA_WRITE"),
    (QPType.UC, WROpcode.RDMA_WRITE_WITH_IMM): _shape("UC", "RDMA_WRITE", _IMM),
    (QPType.UD, WROpcode.SEND): Shape(*[_UD_SEND] * 4),
    (QPType.UD, WROpcode.SEND_WITH_IMM): Shape(*[_UD_SEND_IMM] * 4),
}

READ_RESPONSE = _shape("RC", "RDMA_READ_RESPONSE")


class Train(NamedTuple):
    """Packets of one message with consecutive PSNs, in order; a lone ACK is a train of one.

    `head` and `tail` are the packed extended headers of the first and the last packet (a train of
    one has them in `head`); every packet but the last carries `path_mtu` bytes of `payload`.
    `ack_req`, `solicited` and `becn` are set on the last packet.
    """

    path: Path
    dest_qp: int
    first_psn: int
    opcodes: tuple[Opcode, ...]
    payload: memoryview | bytes = b""
    path_mtu: int = 0
    head: bytes = b""
    tail: bytes = b""
    ack_req: bool = False
    solicited: bool = False
    p_key: int = 0xFFFF
    becn: bool = False

    @property
    def size(self) -> int:
        """Bytes of UDP payload of all packets, but for pads."""
        each = BTH.size + icrc.SIZE
        return len(self.opcodes) * each + len(self.head) + len(self.payload) + len(self.tail)
