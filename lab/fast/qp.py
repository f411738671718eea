"""A queue pair that compiled code may have, between times when the engine has it."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from lab.engine.decode import Run
from lab.engine.errors import VerbError
from lab.engine.qp import Attributes, Capacity, QueuePair
from lab.engine.requester import Request
from lab.engine.states import Attr, QPState
from lab.engine.work import MAX_MESSAGE, SendFlag, SendWork, Sge, WROpcode
from lab.fast.handover import simple
from lab.fast.layout import QP, SEND, power_of_two

if TYPE_CHECKING:
    from lab.fast.device import FastDevice

assert QP.names is not None
_FIELD = {name: place for place, name in enumerate(QP.names)}
SQ_HEAD, SQ_TAIL = _FIELD["sq_head"], _FIELD["sq_tail"]
NEXT_PSN, UNACKED = _FIELD["next_psn"], _FIELD["unacked"]
_SEND = struct.Struct("=11q")
assert _SEND.size == SEND.itemsize
_INLINE = int(SendFlag.INLINE)


class FastQueuePair(QueuePair):
    """`slot` is its place in the table of compiled code, None while the engine has it."""

    device: FastDevice

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.slot: int | None = None
        self.stuck = False
        """Compiled code could not go on with it: the engine shall have its turn first."""
        self.words: Any = None
        """The record in the table as 64-bit words, while there is one."""
        capacity: Capacity = self.capacity
        count = power_of_two(capacity.max_send_wr)
        self._sq_mask = count - 1
        self._sq_memory = np.zeros(count * _SEND.size, np.uint8)
        self._sq = self._sq_memory.data
        self._inline_memory = np.zeros(count * capacity.max_inline, np.uint8)

    @property
    def sq_address(self) -> int:
        return self._sq_memory.ctypes.data

    @property
    def sq_mask(self) -> int:
        return self._sq_mask

    def post_fast(self, row: tuple[int, ...]) -> None:
        """Post a request of one piece to compiled code; VerbError as post_send.

        `row`: wr_id, opcode, flags, address, length, key, remote address, r_key, immediate.
        """
        words = self.words
        tail = words[SQ_TAIL]
        if tail - words[SQ_HEAD] >= self.capacity.max_send_wr:
            raise VerbError(
                errno.ENOMEM, f"all {self.capacity.max_send_wr} send requests are outstanding"
            )
        if row[4] > MAX_MESSAGE:
            raise VerbError(errno.EINVAL, f"{row[4]} bytes, a message holds {MAX_MESSAGE}")
        _SEND.pack_into(self._sq, (tail & self._sq_mask) * _SEND.size, *row, 0, 0)
        words[SQ_TAIL] = tail + 1

    def post_send(self, work: SendWork) -> None:
        if self.slot is not None and not simple(work):
            self.device.recall(self)
        if self.slot is None:
            super().post_send(work)
            return
        inline = work.inline
        if inline is not None and len(inline) > self.capacity.max_inline:
            most = self.capacity.max_inline
            raise VerbError(errno.EINVAL, f"{len(inline)} bytes inline, {most} are allowed")
        self.post_fast(self._row(self.words[SQ_TAIL], work))
        self.device.ring_for(self)

    def next_psns(self) -> tuple[int, int]:
        self.device.recall(self)
        return super().next_psns()

    def check_send(self, work: SendWork, ahead: int = 0) -> None:
        self.device.recall(self)
        super().check_send(work, ahead)

    def _row(self, number: int, work: SendWork) -> tuple[int, ...]:
        """Row `number` as `post_fast` takes it; inline data are kept."""
        sge = work.sges[0] if work.sges else Sge(0, 0, 0)
        address, length = sge.address, sge.length
        if work.inline is not None:
            address, length = self._keep_inline(number, work.inline), len(work.inline)
        return (
            work.wr_id,
            work.opcode,
            self._flags(work),
            address,
            length,
            sge.lkey,
            work.remote_address,
            work.r_key,
            work.immediate,
        )

    @staticmethod
    def _flags(work: SendWork) -> int:
        flags = int(work.flags) & ~_INLINE
        return flags | _INLINE if work.inline is not None else flags

    def _keep_inline(self, number: int, data: bytes) -> int:
        """Copy inline data to row `number`'s own place; its address."""
        start = (number & self._sq_mask) * self.capacity.max_inline
        self._inline_memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
        return int(self._inline_memory.ctypes.data) + start

    def write_send(self, number: int, work: SendWork, first_psn: int, span: int) -> None:
        """Put a request that is outstanding into row `number`."""
        start = (number & self._sq_mask) * _SEND.size
        _SEND.pack_into(self._sq, start, *self._row(number, work), first_psn, span)

    def read_send(self, number: int) -> Request:
        """The request in row `number`."""
        place = (number & self._sq_mask) * _SEND.size
        row = _SEND.unpack_from(self._sq, place)
        wr_id, opcode, flags, address, length, key, remote, r_key, immediate, first_psn, span = row
        inline = None
        if flags & _INLINE:
            start = address - int(self._inline_memory.ctypes.data)
            inline = self._inline_memory[start : start + length].tobytes()
        work = SendWork(
            wr_id,
            WROpcode(opcode),
            () if inline is not None else (Sge(address, length, key),),
            SendFlag(flags),
            immediate,
            remote,
            r_key,
            inline=inline,
        )
        return Request(work, length, first_psn, span)

    def modify(self, values: Attributes, named: Attr, end: QPState, now: int) -> None:
        self.device.recall(self)
        super().modify(values, named, end, now)
        self.device.wake(self)

    def receive(self, run: Run, now: int) -> None:
        if self._admits(run):  # who is none of its peer's shall not slow it down
            self.device.recall(self)
        super().receive(run, now)

    def receive_cnp(self, run: Run, now: int) -> None:
        if self.limiter is not None and self._admits(run):
            self.device.recall(self)
        super().receive_cnp(run, now)

    def handle_timer(self, now: int) -> None:
        self.device.recall(self)
        super().handle_timer(now)
