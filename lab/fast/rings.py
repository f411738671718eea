"""Completion and receive queues whose entries compiled code reads and writes too."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from lab.engine.queues import CompletionQueue, ReceiveQueue
from lab.engine.work import Completion, ReceiveWork, Sge, WCFlag, WCOpcode, WCStatus
from lab.fast.layout import DONE, RECEIVE, RING, power_of_two

assert RING.names is not None
_FIELD = {name: place for place, name in enumerate(RING.names)}
ROWS, MASK, HEAD, TAIL = (_FIELD[name] for name in ("rows", "mask", "head", "tail"))
CAPACITY, LIMIT = _FIELD["capacity"], _FIELD["limit"]
ARMED, SOLICITED_ONLY, FIRED = (_FIELD[name] for name in ("armed", "solicited_only", "fired"))

_DONE = struct.Struct("=9q")
_RECEIVE = struct.Struct("=5q")
assert (_DONE.size, _RECEIVE.size) == (DONE.itemsize, RECEIVE.itemsize)


class Ring:
    """A header that compiled code knows by its address, and rows of one struct."""

    def __init__(self, row: struct.Struct, capacity: int) -> None:
        self._row = row
        self._header = np.zeros(1, RING)
        self.words = self._header.view(np.int64).data
        self.address = self._header.ctypes.data
        self._place_rows(capacity)

    def _place_rows(self, capacity: int) -> None:
        count = power_of_two(capacity)
        self._memory = np.zeros(count * self._row.size, np.uint8)
        self._bytes = self._memory.data
        self._mask = count - 1
        self.words[ROWS] = self._memory.ctypes.data
        self.words[MASK] = self._mask
        self.words[CAPACITY] = capacity

    def __len__(self) -> int:
        return self.words[TAIL] - self.words[HEAD]

    def write(self, number: int, *values: int) -> None:
        self._row.pack_into(self._bytes, (number & self._mask) * self._row.size, *values)

    def read(self, number: int) -> tuple[int, ...]:
        return self._row.unpack_from(self._bytes, (number & self._mask) * self._row.size)

    def grow(self, capacity: int) -> None:
        """Hold up to `capacity` rows, of which those there are fit."""
        rows = [self.read(number) for number in range(self.words[HEAD], self.words[TAIL])]
        self._place_rows(capacity)
        self.words[HEAD], self.words[TAIL] = 0, len(rows)
        for number, row in enumerate(rows):
            self.write(number, *row)


class RingCompletionQueue(CompletionQueue):
    """Not for two threads at a time."""

    def __init__(self, capacity: int, notify: Callable[[], None] | None = None) -> None:
        self.ring = Ring(_DONE, capacity)
        self.overrun = False
        self.notify = notify

    @property
    def capacity(self) -> int:
        return self.ring.words[CAPACITY]

    @capacity.setter
    def capacity(self, value: int) -> None:
        self.ring.grow(value)

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def _armed(self) -> bool:
        return bool(self.ring.words[ARMED])

    @_armed.setter
    def _armed(self, value: bool) -> None:
        self.ring.words[ARMED] = value

    @property
    def _solicited_only(self) -> bool:
        return bool(self.ring.words[SOLICITED_ONLY])

    @_solicited_only.setter
    def _solicited_only(self, value: bool) -> None:
        self.ring.words[SOLICITED_ONLY] = value

    @property
    def _notify(self) -> Callable[[], None] | None:  # type: ignore[override]
        return self.notify

    def announce(self) -> None:
        """Pass on a notification that compiled code raised."""
        if self.ring.words[FIRED]:
            self.ring.words[FIRED] = 0
            if self.notify is not None:
                self.notify()

    def _store(self, completion: Completion) -> None:
        words = self.ring.words
        self.ring.write(
            words[TAIL],
            completion.wr_id,
            completion.status,
            completion.opcode,
            completion.qpn,
            completion.byte_length,
            completion.immediate,
            completion.flags,
            completion.source_qpn,
            completion.solicited,
        )
        words[TAIL] += 1

    def pop_rows(self, most: int) -> list[tuple[int, ...]]:
        ring = self.ring
        words = ring.words
        head = words[HEAD]
        count = words[TAIL] - head
        if not count:
            return []
        if count == 1:
            rows = [ring.read(head)]
        else:
            count = min(count, most)
            rows = [ring.read(number) for number in range(head, head + count)]
        words[HEAD] = head + count
        return rows

    def pop(self) -> Completion | None:
        rows = self.pop_rows(1)
        if not rows:
            return None
        wr_id, status, opcode, qpn, length, immediate, flags, source, solicited = rows[0]
        return Completion(
            wr_id,
            WCStatus(status),
            WCOpcode(opcode),
            qpn,
            length,
            immediate,
            WCFlag(flags),
            source,
            bool(solicited),
        )

    def forget(self, qpn: int) -> None:
        words = self.ring.words
        rows = [self.ring.read(number) for number in range(words[HEAD], words[TAIL])]
        words[TAIL] = words[HEAD]
        for row in rows:
            if row[3] != qpn:
                self.ring.write(words[TAIL], *row)
                words[TAIL] += 1


class RingReceiveQueue(ReceiveQueue):
    """Receives of one piece stand in the rows; those of several beside them, where only the engine
    looks.
    """

    def __init__(self, max_wr: int, max_sge: int, number: int = 0) -> None:
        self.ring = Ring(_RECEIVE, max_wr)
        super().__init__(max_wr, max_sge, number)
        self._several: dict[int, ReceiveWork] = {}

    def __len__(self) -> int:
        return len(self.ring)

    @property
    def limit(self) -> int:
        return self.ring.words[LIMIT]

    @limit.setter
    def limit(self, value: int) -> None:
        self.ring.words[LIMIT] = value

    @property
    def max_wr(self) -> int:
        return self.ring.words[CAPACITY]

    @max_wr.setter
    def max_wr(self, value: int) -> None:
        if value > self.ring.words[CAPACITY]:
            self.ring.grow(value)
        else:
            self.ring.words[CAPACITY] = value

    def _put(self, number: int, work: ReceiveWork) -> None:
        pieces = len(work.sges)
        if pieces > 1:
            self._several[number] = work
        sge = work.sges[0] if pieces else Sge(0, 0, 0)
        self.ring.write(number, work.wr_id, sge.address, sge.length, sge.lkey, pieces)

    def _store(self, work: ReceiveWork) -> None:
        self._put(self.ring.words[TAIL], work)
        self.ring.words[TAIL] += 1

    def put_back(self, work: ReceiveWork) -> None:
        self.ring.words[HEAD] -= 1
        self._put(self.ring.words[HEAD], work)

    def _next(self) -> ReceiveWork:
        words = self.ring.words
        number = words[HEAD]
        if number == words[TAIL]:
            raise IndexError("no receive is posted")
        words[HEAD] = number + 1
        if number in self._several:
            return self._several.pop(number)
        wr_id, address, length, key, pieces = self.ring.read(number)
        return ReceiveWork(wr_id, (Sge(address, length, key),) if pieces else ())
