"""Work requests (pyverbs.wr): SGE, SendWR, RecvWR."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator, Sequence
from socket import htonl
from typing import TYPE_CHECKING, NoReturn

from lab.engine.errors import VerbError
from lab.engine.work import ReceiveWork, SendFlag, SendWork, Sge, WROpcode
from lab.verbs import libibverbs_enums as e
from lab.verbs.addr import AH
from lab.verbs.base import PyverbsCM, table, unsupported
from lab.verbs.pyverbs_error import PyverbsUserError

if TYPE_CHECKING:
    from lab.verbs.mr import MW, MWBindInfo

_INLINE = int(e.IBV_SEND_INLINE)
_LAST_PLAIN = int(e.IBV_WR_RDMA_READ)
_OPCODES = set(WROpcode)
MAX_INLINE = 1024
"""Bytes that any queue pair takes inline."""


class SGE(PyverbsCM):
    """A scatter-gather element: `length` bytes at address `addr` of the region with key `lkey`.

    Support: full.
    """

    def __init__(self, addr: int, length: int, lkey: int) -> None:
        self.addr = addr
        self.length = length
        self.lkey = lkey

    def read(self, length: int, offset: int) -> bytes:
        """`length` bytes of memory from `addr + offset`."""
        return ctypes.string_at(self.addr + offset, length)

    def __str__(self) -> str:
        return table(("Address", hex(self.addr)), ("Length", self.length), ("Key", hex(self.lkey)))


def too_large(**values: int) -> NoReturn:
    """Refuse numbers that C's types do not hold, as pyverbs does; the message has all of them."""
    given = ", ".join(f"{name} {value}" for name, value in values.items())
    raise OverflowError(f"negative, or too large to convert: {given}")


def _copied(num_sge: int, sg: Sequence[SGE] | None) -> tuple[Sge, ...]:
    if num_sge == 1 and sg:
        return (_one(sg[0]),)
    return tuple(_one(sge) for sge in (sg or ())[:num_sge])


def _one(sge: SGE) -> Sge:
    addr, length, lkey = sge.addr, sge.length, sge.lkey
    if addr >> 64 or (length | lkey) >> 32:
        too_large(addr=addr, length=length, lkey=lkey)
    return Sge(addr, length, lkey)


class RecvWR(PyverbsCM):
    """A receive; the list `sg` is copied.

    Support: full.
    """

    def __init__(
        self,
        wr_id: int = 0,
        num_sge: int = 0,
        sg: Sequence[SGE] | None = None,
        next_wr: RecvWR | None = None,
    ) -> None:
        if wr_id >> 64:
            too_large(wr_id=wr_id)
        self.wr_id = wr_id
        self.num_sge = num_sge
        self.next_wr = next_wr
        self._sges = _copied(num_sge, sg)

    def chain(self) -> Iterator[RecvWR]:
        """The request and those after it."""
        wr: RecvWR | None = self
        while wr is not None:
            yield wr
            wr = wr.next_wr

    def work(self) -> ReceiveWork:
        """The engine's form of it."""
        return ReceiveWork(self.wr_id, self._sges[: self.num_sge])

    def __str__(self) -> str:
        return table(("WR ID", self.wr_id), ("Num SGE", self.num_sge))


class SendWR(PyverbsCM):
    """A send, RDMA or atomic request; the list `sg` is copied.

    As in libibverbs `imm_data` holds network byte order: what the peer's `wc.imm_data` gives is the
    same number.

    Support: partly. Opcodes: SEND, SEND_WITH_IMM, SEND_WITH_INV, RDMA_WRITE, RDMA_WRITE_WITH_IMM,
    RDMA_READ, ATOMIC_CMP_AND_SWP, ATOMIC_FETCH_AND_ADD, LOCAL_INV, BIND_MW; TSO, DRIVER1, FLUSH and
    ATOMIC_WRITE are not supported, nor is XRC. Flags: all but IP_CSUM.
    """

    def __init__(
        self,
        wr_id: int = 0,
        opcode: int = e.IBV_WR_SEND,
        num_sge: int = 0,
        imm_data: int = 0,
        sg: Sequence[SGE] | None = None,
        send_flags: int = e.IBV_SEND_SIGNALED,
        next_wr: SendWR | None = None,
    ) -> None:
        without_data = (e.IBV_WR_LOCAL_INV, e.IBV_WR_BIND_MW, e.IBV_WR_SEND_WITH_INV)
        if opcode not in without_data and (num_sge < 1 or sg is None):
            raise PyverbsUserError("A WR needs at least one SGE")
        if wr_id >> 64 or imm_data >> 32:
            too_large(wr_id=wr_id, imm_data=imm_data)
        self.wr_id = wr_id
        # Plain numbers: an enumeration's own arithmetic takes longer than posting.
        self.opcode = int(opcode)
        self.num_sge = num_sge
        self.imm_data = imm_data
        self.send_flags = int(send_flags)
        self.next_wr = next_wr
        self._sges = _copied(num_sge, sg)
        self._remote_addr = self._rkey = self._compare_add = self._swap = 0
        self._ah: AH | None = None
        self._rqpn = self._rqkey = 0
        self.window: tuple[MW, MWBindInfo] | None = None
        self.rkey = 0
        """Of BIND_MW: the window's new key."""
        self.inline: bytes | None = None
        """Inline data that was copied already (QPEx); else it is read when posted."""

    @property
    def sg_list(self) -> SGE:
        raise AttributeError("sg_list is for setting")

    @sg_list.setter
    def sg_list(self, val: SGE) -> None:
        self.set_sges([val])

    def set_sges(self, sges: Sequence[SGE]) -> None:
        """Have the request read or fill these, and these alone."""
        self._sges = _copied(len(sges), sges)
        self.num_sge = len(sges)

    def set_wr_ud(self, ah: AH, rqpn: int, rqkey: int) -> None:
        """UD: the address handle, queue pair number and queue key of the destination."""
        if rqpn >> 32 or rqkey >> 32:
            too_large(rqpn=rqpn, rqkey=rqkey)
        self._ah, self._rqpn, self._rqkey = ah, rqpn, rqkey

    def set_wr_rdma(self, rkey: int, addr: int) -> None:
        """RDMA: the remote key and address."""
        if rkey >> 32 or addr >> 64:
            too_large(rkey=rkey, addr=addr)
        self._rkey, self._remote_addr = rkey, addr

    def set_wr_atomic(self, rkey: int, addr: int, compare_add: int, swap: int = 0) -> None:
        """Atomic: the remote key and address, what to compare with (or add), what to swap in."""
        self.set_wr_rdma(rkey, addr)
        if compare_add >> 64 or swap >> 64:
            too_large(compare_add=compare_add, swap=swap)
        self._compare_add, self._swap = compare_add, swap

    def set_bind_wr(self, mw: MW, bind_info: MWBindInfo) -> None:
        """BIND_MW: the window, and what it shall open under its next key (`rkey`)."""
        self.bind(mw, mw.next_rkey(), bind_info)

    def bind(self, mw: MW, rkey: int, bind_info: MWBindInfo) -> None:
        """As `set_bind_wr`, under a key whose low 8 bits are the caller's."""
        self.window, self.rkey = (mw, bind_info), mw.handle & ~0xFF | rkey & 0xFF

    def posted(self) -> None:
        """The queue pair took it: a window has its new key."""
        if self.window is not None:
            self.window[0].rkey = self.rkey

    def set_qp_type_xrc(self, remote_srqn: int) -> None:
        unsupported("XRC")

    def chain(self) -> Iterator[SendWR]:
        """The request and those after it."""
        wr: SendWR | None = self
        while wr is not None:
            yield wr
            wr = wr.next_wr

    @property
    def plain(self) -> bool:
        """Whether `row` says it all: one piece, no inline data, an opcode that
        compiled code has.
        """
        return self.num_sge == 1 and not self.send_flags & _INLINE and self.opcode <= _LAST_PLAIN

    def row(self) -> tuple[int, ...]:
        """(wr_id, opcode, flags, address, length, key, remote address, r_key, immediate)."""
        return (
            self.wr_id,
            self.opcode,
            self.send_flags,
            *self._sges[0],
            self._remote_addr,
            self._rkey,
            htonl(self.imm_data & 0xFFFFFFFF) if self.imm_data else 0,
        )

    def work(self) -> SendWork:
        """The engine's form of it; inline data is read now. VerbError for an opcode it has not."""
        sges = self._sges[: self.num_sge]
        flags = SendFlag(self.send_flags & 0xF)
        inline = self.inline
        if inline is None and flags & SendFlag.INLINE:
            length = sum(sge.length for sge in sges)
            if length > MAX_INLINE:
                raise VerbError(errno.EINVAL, f"{length} bytes inline, {MAX_INLINE} are allowed")
            inline = b"".join(ctypes.string_at(sge.address, sge.length) for sge in sges)
        if self.opcode not in _OPCODES:
            raise VerbError(errno.EINVAL, f"opcode {self.opcode} is not supported")
        opcode = WROpcode(self.opcode)
        bind = None
        if opcode is WROpcode.BIND_MW:
            if self.window is None:
                raise VerbError(errno.EINVAL, "BIND_MW without set_bind_wr")
            mw, info = self.window
            bind = info.bind(mw, self.rkey)
        invalidates = opcode in {WROpcode.SEND_WITH_INV, WROpcode.LOCAL_INV}
        return SendWork(
            self.wr_id,
            opcode,
            sges,
            flags,
            self.imm_data if invalidates else htonl(self.imm_data & 0xFFFFFFFF),
            self._remote_addr,
            self._rkey,
            self._compare_add,
            self._swap,
            inline,
            self._ah.path if self._ah else None,
            self._rqpn & 0xFFFFFF,
            self._rqkey,
            bind,
        )

    def __str__(self) -> str:
        return table(
            ("WR ID", self.wr_id),
            ("Num SGE", self.num_sge),
            ("Opcode", self.opcode),
            ("Send flags", send_flags_to_str(self.send_flags)),
            ("Imm Data", self.imm_data),
        )


def send_flags_to_str(flags: int) -> str:
    return "".join(f"{flag.name} " for flag in e.ibv_send_flags if flags & flag)
