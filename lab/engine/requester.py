"""The requester: send work to trains, and back to an earlier PSN when asked (IBTA
vol. 1, 9.7.3).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from dissectors import psn
from dissectors.atomiceth import AtomicETH
from dissectors.deth import DETH
from dissectors.header import Header
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from lab.engine.credits import TAKES_RECEIVE, Credits
from lab.engine.memory import ProtectionError
from lab.engine.segment import SHAPES, Shape, Train
from lab.engine.states import QPState, QPType
from lab.engine.work import SendFlag, SendWork, WCOpcode, WCStatus, WROpcode

if TYPE_CHECKING:
    from lab.engine.qp import QueuePair

WINDOW = 128
"""PSNs that may be unacknowledged at once (rxe: RXE_MAX_UNACKED_PSNS)."""
PACKETS_PER_ACK = 64
"""An acknowledgement is asked for at least this often (rxe: RXE_MAX_PKT_PER_ACK)."""


def must_ask(ends: Any, unasked: Any, outstanding: Any, window: Any) -> Any:
    """Whether a packet asks for an acknowledgement: where its message ends, and before nothing more
    could be sent without one. It counts in `unasked` (packets since the last that asked) and
    `outstanding`.
    """
    return ends or unasked >= PACKETS_PER_ACK or outstanding >= window


ATOMICS = {WROpcode.ATOMIC_CMP_AND_SWP, WROpcode.ATOMIC_FETCH_AND_ADD}
ANSWERED = ATOMICS | {WROpcode.RDMA_READ}
"""Requests whose response carries data, so that no ACK can stand in for it."""

COMPLETES_AS = {
    WROpcode.SEND: WCOpcode.SEND,
    WROpcode.SEND_WITH_IMM: WCOpcode.SEND,
    WROpcode.SEND_WITH_INV: WCOpcode.SEND,
    WROpcode.RDMA_WRITE: WCOpcode.RDMA_WRITE,
    WROpcode.RDMA_WRITE_WITH_IMM: WCOpcode.RDMA_WRITE,
    WROpcode.RDMA_READ: WCOpcode.RDMA_READ,
    WROpcode.ATOMIC_CMP_AND_SWP: WCOpcode.COMP_SWAP,
    WROpcode.ATOMIC_FETCH_AND_ADD: WCOpcode.FETCH_ADD,
    WROpcode.LOCAL_INV: WCOpcode.LOCAL_INV,
    WROpcode.BIND_MW: WCOpcode.BIND_MW,
}

LOCAL = {WROpcode.LOCAL_INV, WROpcode.BIND_MW}
"""Requests that change memory of this side and send nothing."""


@dataclass(slots=True)
class Request:
    """A send work request on its way: `span` PSNs from `first_psn`, of which `sent` have gone out.

    `first_psn` is None until the first of them has.
    """

    work: SendWork
    length: int
    first_psn: int | None = None
    span: int = 0
    sent: int = 0
    received: int = 0
    """READ: response packets that came."""

    @property
    def answered(self) -> bool:
        return self.work.opcode in ANSWERED

    @property
    def last_psn(self) -> int:
        assert self.first_psn is not None
        return int(psn.add(self.first_psn, self.span - 1))


class Requester:
    """The send queue of a queue pair and the PSNs of what it sends.

    `next_psn` goes out next, `unacked` is the oldest not acknowledged, `high` follows the newest
    ever sent; unacked <= next_psn <= high, and next_psn < high only while going back.
    """

    def __init__(self, qp: QueuePair) -> None:
        self._qp = qp
        self.queue: deque[Request] = deque()
        self.credits = Credits(counted=qp.device.flow_control)
        self.reset(0)

    def reset(self, sq_psn: int) -> None:
        """Empty, about to send `sq_psn`."""
        self.queue.clear()
        self.cursor = 0
        self.next_psn = self.unacked = self.high = sq_psn
        self.resume_at: int | None = None
        """While set (ns), an RNR NAK forbids sending."""
        self.unasked = 0
        self.credits.reset()
        self._credit_waited = -1
        self._broken: tuple[Request, str] | None = None

    def post(self, work: SendWork) -> None:
        length = 8 if work.opcode in ATOMICS else work.length
        self.queue.append(Request(work, length))

    @property
    def outstanding(self) -> int:
        """PSNs sent and not acknowledged."""
        return int(psn.forward(self.unacked, self.next_psn))

    def may_send(self, now: int) -> bool:
        """Whether neither an RNR NAK nor a request that cannot be sent stands in the way."""
        return self._broken is None and (self.resume_at is None or now >= self.resume_at)

    @property
    def idle(self) -> bool:
        """Whether everything sent has been acknowledged."""
        return self.unacked == self.high

    def trains(self, now: int) -> Iterator[Train]:
        """What may be sent now."""
        while (request := self._next(now)) is not None:
            try:
                train = self._train(request)
            except ProtectionError as error:
                self._broken = request, str(error)
                self.give_up_if_broken(now)
                return
            yield train

    def _next(self, now: int) -> Request | None:
        """The request to send from, begun if need be; None where nothing may go out."""
        if not self.may_send(now):
            return None
        self.resume_at = None
        while self.cursor < len(self.queue):
            request = self.queue[self.cursor]
            if request.first_psn is not None and request.sent >= request.span:
                self.cursor += 1
            elif self.outstanding >= self._qp.window or not self._may_send(request, now):
                return None
            elif request.work.opcode in LOCAL:
                if self.cursor:
                    return None
                self._perform(request, now)
            else:
                return request
        return None

    def _may_send(self, request: Request, now: int) -> bool:
        if not (request.answered or self._qp.may_send(now)):
            return False
        if request.sent:
            return True
        if request.first_psn is None and not self._may_begin(request, now):
            return False
        if not (request.answered or request.work.flags & SendFlag.FENCE):
            return True
        waiting = sum(earlier.answered for earlier in islice(self.queue, self.cursor))
        if request.work.flags & SendFlag.FENCE and waiting:
            return False
        return not request.answered or waiting < self._qp.attributes.max_rd_atomic

    def _may_begin(self, request: Request, now: int) -> bool:
        if self._qp.state is QPState.SQD:
            return False
        known = self.credits
        if known.allows(request.work):
            return True
        if self._credit_waited != known.ssn:
            self._credit_waited = known.ssn
            self._qp.log(now, "credit_wait", ssn=known.ssn + 1, lsn=known.lsn or 0)
        return False

    def _perform(self, request: Request, now: int) -> None:
        """Invalidate a key, or bind a window."""
        qp, work = self._qp, request.work
        try:
            if work.bind is not None:
                qp.device.memory.bind(work.bind, qp.domain, qp.number)
            else:
                qp.device.memory.invalidate(work.immediate, qp.domain)
        except ProtectionError as error:
            qp.fail_send(WCStatus.MW_BIND_ERR, str(error), now)
            return
        self.queue.popleft()
        qp.complete_send(request, WCStatus.SUCCESS)

    def _train(self, request: Request) -> Train:
        qp, work = self._qp, request.work
        path_mtu = qp.attributes.path_mtu
        if request.first_psn is None:
            one = qp.kind is QPType.UD or work.opcode in ATOMICS
            request.span = 1 if one else int(psn.span(request.length, path_mtu))
            self.credits.begin(work)
        request.first_psn = psn.add(self.next_psn, -request.sent)
        shape = SHAPES[qp.kind, work.opcode]
        if request.answered:
            train = self._ask(request, shape, path_mtu)
        else:
            train = self._carry(request, shape, path_mtu)
        self.next_psn = psn.add(request.first_psn, request.sent)
        if psn.after(self.next_psn, self.high):
            self.high = self.next_psn
        if qp.kind is not QPType.RC:
            self.unacked = self.high = self.next_psn
            if request.sent == request.span:
                qp.complete_send(self.retire(), WCStatus.SUCCESS)
        return train

    def _ask(self, request: Request, shape: Shape, path_mtu: int) -> Train:
        """READ (from the first byte still missing) or atomic."""
        qp, work, offset = self._qp, request.work, request.sent * path_mtu
        qp.device.memory.check(work.sges, request.length, qp.domain)
        head = extended(shape.only, work, request.length - offset, offset, qp.number)
        first_psn = self.next_psn
        request.sent = request.span
        self.unasked = 0
        return qp.train(shape.opcodes(0, 1, 1), first_psn, work, head=head, ack_req=True)

    def _carry(self, request: Request, shape: Shape, path_mtu: int) -> Train:
        """SEND or WRITE: as many of its packets as the window and the
        acknowledgement interval let.
        """
        qp, work, start = self._qp, request.work, request.sent
        room = min(qp.window - self.outstanding, PACKETS_PER_ACK - self.unasked)
        count = min(request.span - start, room, qp.burst_packets)
        ends = start + count == request.span
        offset = start * path_mtu
        length = request.length - offset if ends else count * path_mtu
        if work.inline is not None:
            payload: memoryview | bytes = work.inline[offset : offset + length]
        else:
            payload = qp.device.memory.gather(work.sges, offset, length, qp.domain)
        opcodes = shape.opcodes(start, count, request.span)
        head, *rest = (
            extended(opcode, work, request.length, 0, qp.number)
            for opcode in (opcodes[0], opcodes[-1])[:count]
        )
        # At a low rate the next packet, which might ask, may be far off.
        asks = qp.limiting or must_ask(
            ends, self.unasked + count, self.outstanding + count, qp.window
        )
        first_psn = self.next_psn
        request.sent += count
        self.unasked = 0 if asks else self.unasked + count
        return qp.train(
            opcodes,
            first_psn,
            work,
            payload=payload,
            head=head,
            tail=rest[0] if rest else b"",
            ack_req=asks and qp.kind is QPType.RC,
            solicited=ends and work.opcode in TAKES_RECEIVE and SendFlag.SOLICITED in work.flags,
        )

    def rewind(self, sq_psn: int) -> None:
        """Go back: `sq_psn` (between `unacked` and `high`) is sent next."""
        for request in self.queue:
            if request.first_psn is None:
                break
            start = psn.difference(sq_psn, request.first_psn)
            request.sent = min(max(start, 0), request.span)
        self.cursor = 0
        self.next_psn = sq_psn
        self.unasked = 0

    def retire(self) -> Request:
        """Take the oldest request off the queue: it is done."""
        self.cursor = max(self.cursor - 1, 0)
        return self.queue.popleft()

    def acknowledged(self, sq_psn: int) -> None:
        """Everything before `sq_psn` is; what a rewind would have repeated of it is skipped."""
        self.unacked = sq_psn
        if psn.before(self.next_psn, sq_psn):
            self.rewind(sq_psn)

    def give_up_if_broken(self, now: int) -> None:
        """A request whose own memory is not to be had fails once those before it are done."""
        if self._broken and self.queue and self.queue[0] is self._broken[0]:
            (_, reason), self._broken = self._broken, None
            self._qp.fail_send(WCStatus.LOC_PROT_ERR, reason, now)


# Which header says what: (work, bytes asked for, offset into the remote buffer, own QPN) -> header.
_MAKERS: dict[type[Header], Callable[[SendWork, int, int, int], Header]] = {
    RETH: lambda work, length, offset, _: RETH(
        va=work.remote_address + offset, r_key=work.r_key, dma_len=length
    ),
    AtomicETH: lambda work, *_: AtomicETH(
        va=work.remote_address,
        r_key=work.r_key,
        swap_add=work.swap if work.opcode is WROpcode.ATOMIC_CMP_AND_SWP else work.compare_add,
        compare=work.compare_add if work.opcode is WROpcode.ATOMIC_CMP_AND_SWP else 0,
    ),
    ImmDt: lambda work, *_: ImmDt(data=work.immediate),
    IETH: lambda work, *_: IETH(r_key=work.immediate),
    DETH: lambda work, _length, _offset, qpn: DETH(q_key=work.remote_qkey, src_qp=qpn),
}


def extended(opcode: Opcode, work: SendWork, length: int, offset: int, qpn: int) -> bytes:
    """The packed headers that `opcode` calls for."""
    return b"".join(_MAKERS[header](work, length, offset, qpn).pack() for header in opcode.headers)
