"""The replies a responder owes, in order: acknowledgements, atomic results, READ data."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dissectors import aeth, psn
from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.opcode import Opcode
from lab.engine.memory import Access, ProtectionError
from lab.engine.segment import READ_RESPONSE, Train

if TYPE_CHECKING:
    from lab.engine.responder import Responder

TRAIN_PACKETS = 64
"""READ response packets in one train."""
LIMIT = 64
"""Replies that may wait; a duplicate request beyond goes unanswered, its requester
will ask again.
"""


@dataclass(frozen=True, slots=True)
class ReadSource:
    """The memory a READ names."""

    r_key: int
    va: int
    length: int


@dataclass(slots=True)
class Reply:
    """One response; of a READ's, `sent` packets have gone out. `repeated` ones
    answer a duplicate.
    """

    first_psn: int
    msn: int
    syndrome: int = aeth.CREDITS_UNLIMITED
    original: int | None = None
    source: ReadSource | None = None
    repeated: bool = False
    sent: int = 0

    @property
    def plain(self) -> bool:
        """An ACK, which a newer reply makes unnecessary."""
        return self.source is None and self.original is None and self.syndrome < aeth.RNR_NAK


class Replies:
    """The queue of them."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._queue: deque[Reply] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return len(self._queue) >= LIMIT

    @property
    def unanswered(self) -> int:
        """READs and atomics accepted whose answer has not gone out."""
        return sum(not (reply.plain or reply.repeated) for reply in self._queue)

    def add(self, reply: Reply) -> None:
        """Owe `reply`; an ACK that waits before it is not needed, what comes later says as much."""
        if self._queue and self._queue[-1].plain and not reply.repeated:
            self._queue.pop()
        self._queue.append(reply)

    def clear(self) -> None:
        self._queue.clear()

    def trains(self, now: int) -> Iterator[Train]:
        """All of them."""
        while self._queue:
            reply = self._queue[0]
            if reply.source is None:
                self._queue.popleft()
                yield self._answer(reply)
                continue
            if not self._responder.qp.may_send(now):
                return
            path_mtu = self._responder.qp.attributes.path_mtu
            try:
                train = self._data(reply, reply.source, path_mtu)
            except ProtectionError as error:
                self._queue.clear()
                self._responder.withdraw(reply.first_psn, str(error), now)
                continue
            if reply.sent >= psn.span(reply.source.length, path_mtu):
                self._queue.popleft()
            yield train

    def _aeth(self, reply: Reply) -> bytes:
        syndrome = reply.syndrome
        if syndrome == aeth.CREDITS_UNLIMITED:
            syndrome = self._responder.qp.credit_code
        return AETH(syndrome=syndrome, msn=reply.msn).pack()

    def _answer(self, reply: Reply) -> Train:
        header = self._aeth(reply)
        opcode = Opcode.RC_ACKNOWLEDGE
        if reply.original is not None:
            opcode = Opcode.RC_ATOMIC_ACKNOWLEDGE
            header += AtomicAckETH(original=reply.original).pack()
        return self._responder.qp.train((opcode,), reply.first_psn, head=header)

    def _data(self, reply: Reply, source: ReadSource, path_mtu: int) -> Train:
        total = psn.span(source.length, path_mtu)
        start = reply.sent
        count = min(total - start, TRAIN_PACKETS, self._responder.qp.burst_packets)
        offset = start * path_mtu
        length = min(count * path_mtu, source.length - offset)
        payload = self._responder.remote(
            source.r_key, source.va + offset, length, Access.REMOTE_READ
        )
        opcodes = READ_RESPONSE.opcodes(start, count, total)
        header = self._aeth(reply)
        head, tail = (
            header if AETH in opcode.headers else b"" for opcode in (opcodes[0], opcodes[-1])
        )
        reply.sent += count
        return self._responder.qp.train(
            opcodes,
            psn.add(reply.first_psn, start),
            payload=payload,
            head=head,
            tail=tail if count > 1 else b"",
        )
