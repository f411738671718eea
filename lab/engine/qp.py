"""A queue pair: its state and attributes, and its requester, completer and responder."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dissectors import aeth
from dissectors.opcode import Opcode
from lab.engine.burst import Path
from lab.engine.completer import Completer
from lab.engine.credits import code
from lab.engine.dcqcn import BURST_BYTES, Limiter
from lab.engine.decode import Run
from lab.engine.errors import VerbError
from lab.engine.events import AsyncKind
from lab.engine.memory import Access
from lab.engine.notification import CAPABLE, Notifier, ecn
from lab.engine.queues import CompletionQueue, ReceiveQueue
from lab.engine.requester import COMPLETES_AS, LOCAL, WINDOW, Request, Requester
from lab.engine.responder import Responder
from lab.engine.segment import SHAPES, Train
from lab.engine.states import Attr, QPState, QPType, refusal
from lab.engine.work import (
    MAX_MESSAGE,
    Completion,
    ReceiveWork,
    SendFlag,
    SendWork,
    WCOpcode,
    WCStatus,
)

if TYPE_CHECKING:
    from lab.engine.device import Device

MAX_DATAGRAM = 4096


@dataclass(slots=True)
class Attributes:
    """What modify sets, in the units of the wire: `path_mtu` in bytes, the times as their codes."""

    access: Access = Access.NONE
    p_key: int = 0xFFFF
    port: int = 1
    qkey: int = 0
    path: Path | None = None
    path_mtu: int = 1024
    dest_qp: int = 0
    rq_psn: int = 0
    sq_psn: int = 0
    max_rd_atomic: int = 0
    max_dest_rd_atomic: int = 0
    min_rnr_timer: int = 0
    timeout: int = 0
    retry_cnt: int = 0
    rnr_retry: int = 0


FIELDS = {
    Attr.ACCESS_FLAGS: "access",
    Attr.PKEY_INDEX: "p_key",
    Attr.PORT: "port",
    Attr.QKEY: "qkey",
    Attr.AV: "path",
    Attr.PATH_MTU: "path_mtu",
    Attr.DEST_QPN: "dest_qp",
    Attr.RQ_PSN: "rq_psn",
    Attr.SQ_PSN: "sq_psn",
    Attr.MAX_QP_RD_ATOMIC: "max_rd_atomic",
    Attr.MAX_DEST_RD_ATOMIC: "max_dest_rd_atomic",
    Attr.MIN_RNR_TIMER: "min_rnr_timer",
    Attr.TIMEOUT: "timeout",
    Attr.RETRY_CNT: "retry_cnt",
    Attr.RNR_RETRY: "rnr_retry",
}

RECEIVING = {QPState.RTR, QPState.RTS, QPState.SQD, QPState.SQE}
SENDING = {QPState.RTS, QPState.SQD}


def same_partition(a: int, b: int) -> bool:
    """Whether ends with these P_Keys may talk: one partition, not 0, and one of them a full member
    of it (top bit; IBTA vol. 1, 10.9.3).
    """
    return (a ^ b) & 0x7FFF == 0 and bool(a & 0x7FFF) and bool((a | b) & 0x8000)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much work a queue pair holds."""

    max_send_wr: int
    max_recv_wr: int
    max_send_sge: int
    max_recv_sge: int
    max_inline: int = 0


class QueuePair:
    """One end of a connection (RC, UC), or an end for datagrams (UD).

    `receives` is its own receive queue or a shared one; `signal_all` completes unsignalled sends
    too.
    """

    def __init__(  # noqa: PLR0917
        self,
        device: Device,
        number: int,
        kind: QPType,
        domain: int,
        send_cq: CompletionQueue,
        receive_cq: CompletionQueue,
        receives: ReceiveQueue,
        capacity: Capacity,
    ) -> None:
        self.device = device
        self.number = number
        self.kind = kind
        self.domain = domain
        self.send_cq = send_cq
        self.receive_cq = receive_cq
        self.receives = receives
        self.capacity = capacity
        self._services = frozenset({kind.name, "CNP"})
        self.signal_all = False
        self.window = WINDOW
        self.state = QPState.RESET
        self._established = False
        self.attributes = Attributes()
        self.requester = Requester(self)
        self.completer = Completer(self)
        self.responder = Responder(self)
        self.notifier = Notifier(self)
        self.limiter = self._new_limiter()

    def _new_limiter(self) -> Limiter | None:
        parameters = self.device.dcqcn
        return Limiter(parameters, self._tell) if parameters else None

    def modify(self, values: Attributes, named: Attr, end: QPState, now: int) -> None:
        """Take the `named` of `values` and go to state `end`; VerbError where the state table
        forbids it.
        """
        if reason := refusal(self.kind, self.state, end, named & ~Attr.STATE):
            raise VerbError(errno.EINVAL, reason)
        bits = int(named)
        for attr, name in FIELDS.items():
            if attr.value & bits:
                setattr(self.attributes, name, getattr(values, name))
        start = self.state
        self.log(now, "qp_state", **{"from": start.name, "to": end.name})
        if end is QPState.ERR:
            self.responder.replies.clear()
            self._stop(now)
            return
        self.state = end
        if end is QPState.RESET:
            self._reset()
        elif (start, end) == (QPState.INIT, QPState.RTR):
            self.responder.reset(self.attributes.rq_psn)
            if self.device.room is not None and self.kind is QPType.RC:
                self.window = min(WINDOW, max(1, self.device.room(self.attributes.path_mtu)))
            self._established = False
        elif (start, end) == (QPState.RTR, QPState.RTS):
            self.requester.reset(self.attributes.sq_psn)
            self.completer.reset()
        elif end is QPState.SQD and self.requester.idle:
            self.device.raise_event(AsyncKind.SQ_DRAINED, self.number)

    def _reset(self) -> None:
        self.attributes = Attributes()
        self.requester.reset(0)
        self.completer.reset()
        self.responder.reset(0)
        self.notifier.reset()
        self.limiter = self._new_limiter()
        if not self.receives.shared:
            self.receives.drain()
        for cq in (self.send_cq, self.receive_cq):
            cq.forget(self.number)

    def post_send(self, work: SendWork) -> None:
        """Queue `work`; VerbError where it cannot be."""
        self.check_send(work)
        self.requester.post(work)
        if self.state in {QPState.SQE, QPState.ERR}:
            self._flush_sends()
        else:
            self.device.wake(self)

    def check_send(self, work: SendWork, ahead: int = 0) -> None:
        """VerbError where `work` cannot be queued behind `ahead` others yet to be posted."""
        if self.state not in SENDING | {QPState.SQE, QPState.ERR}:
            raise VerbError(errno.EINVAL, f"a send posted in state {self.state.name}, not RTS")
        if len(self.requester.queue) + ahead >= self.capacity.max_send_wr:
            raise VerbError(
                errno.ENOMEM, f"all {self.capacity.max_send_wr} send requests are outstanding"
            )
        if len(work.sges) > self.capacity.max_send_sge:
            raise VerbError(
                errno.EINVAL, f"{len(work.sges)} SGEs, {self.capacity.max_send_sge} are allowed"
            )
        local = work.opcode in LOCAL and self.kind is not QPType.UD
        if not local and (self.kind, work.opcode) not in SHAPES:
            raise VerbError(errno.EINVAL, f"{self.kind.name} does not carry {work.opcode.name}")
        if work.inline is not None and len(work.inline) > self.capacity.max_inline:
            raise VerbError(
                errno.EINVAL,
                f"{len(work.inline)} bytes inline, {self.capacity.max_inline} are allowed",
            )
        limit = MAX_DATAGRAM if self.kind is QPType.UD else MAX_MESSAGE
        if work.length > limit:
            raise VerbError(errno.EINVAL, f"{work.length} bytes, a message holds {limit}")
        if self.kind is QPType.UD and work.path is None:
            raise VerbError(errno.EINVAL, "a datagram needs an address handle")

    def next_psns(self) -> tuple[int, int]:
        """(the PSN of the next request to send, that of the next one expected)."""
        return self.requester.next_psn, self.responder.expected

    def post_receive(self, work: ReceiveWork) -> None:
        """Queue `work`; VerbError where it cannot be."""
        if self.receives.shared:
            raise VerbError(errno.EINVAL, "this queue pair receives from a shared receive queue")
        if self.state is QPState.RESET:
            raise VerbError(errno.EINVAL, "a receive posted in state RESET")
        self.receives.post(work)
        if self.state is QPState.ERR:
            self._flush_receives()

    def receive(self, run: Run, now: int) -> None:
        """Take what arrived for this queue pair, if it is from its peer and it is in a state to."""
        if not self._admits(run):
            self._refuse(run, now)
            return
        self.notifier.notice(run, now)
        if run.first.is_request:
            self._establish()
            self.responder.receive(run, now)
        elif self.state in SENDING:
            self.completer.receive(run, now)
            if self.state is QPState.SQD and self.requester.idle:
                self.device.raise_event(AsyncKind.SQ_DRAINED, self.number)
        if self.state is not QPState.RESET:
            self.device.wake(self)

    def receive_cnp(self, run: Run, now: int) -> None:
        """The peer's answer to packets marked as congested."""
        if not self._admits(run):
            self._refuse(run, now)
        elif self.limiter is None:
            self.device.counters["rp_cnp_ignored"] += run.packet_count
        else:
            self.device.counters["rp_cnp_handled"] += run.packet_count
            self.limiter.cut(now)

    def _establish(self) -> None:
        """The first request to come while in RTR tells the consumer that its peer is connected
        (IBTA vol. 1, 11.6.3.2).
        """
        if self.state is QPState.RTR and self.kind is not QPType.UD and not self._established:
            self._established = True
            self.device.raise_event(AsyncKind.COMM_EST, self.number)

    def _admits(self, run: Run) -> bool:
        own = self.attributes
        from_peer = self.kind is QPType.UD or (
            own.path is not None and run.path.source == own.path.destination
        )
        return (
            self.state in RECEIVING
            and run.first.transport in self._services
            and from_peer
            and same_partition(run.bth.p_key, own.p_key)
        )

    def _refuse(self, run: Run, now: int) -> None:
        what = f"{run.first.text} in state {self.state.name}"
        if same_partition(run.bth.p_key, self.attributes.p_key):
            counter, why = "rcvd_not_for_qp", f"{what}, of another service, or not from the peer"
        else:
            counter, why = "bad_pkey_cntr", f"{what} with P_Key 0x{run.bth.p_key:04x}"
        self.device.refuse(counter, run.packet_count, why, self.number, now)

    def trains(self, now: int) -> Iterator[Train]:
        """What may be sent now: CNPs, then replies before requests."""
        if self.limiter is not None:
            self.limiter.due = None
        yield from self.notifier.trains()
        for train in self.responder.replies.trains(now):
            self._count(train, now)
            yield train
        if self.state in SENDING:
            for train in self.requester.trains(now):
                if self.kind is QPType.RC:
                    self.completer.sent(now)
                self._count(train, now)
                yield train

    def _count(self, train: Train, now: int) -> None:
        if self.limiter is not None:
            self.limiter.sent(train.size, now)

    @property
    def limiting(self) -> bool:
        """Whether congestion holds it back."""
        return self.limiter is not None and self.limiter.limiting

    def may_send(self, now: int) -> bool:
        """Whether the rate allows payload to go out; where not, a deadline is set for it."""
        return self.limiter is None or self.limiter.allows(now)

    @property
    def credit_code(self) -> int:
        """The low five bits of an ACK's syndrome: receives left, where that is told at all. Of a
        shared receive queue it cannot be (IBTA vol. 1, 9.7.7.2.1).
        """
        if not self.device.flow_control or self.receives.shared:
            return aeth.CREDITS_UNLIMITED
        return code(len(self.receives))

    @property
    def burst_packets(self) -> int:
        """Packets that may go out in one train."""
        return max(1, BURST_BYTES // self.attributes.path_mtu) if self.limiter else self.window

    def marked(self, path: Path) -> Path:
        """`path` as packets go out on it: with DCQCN routers may mark them."""
        return path if self.limiter is None else ecn(path, CAPABLE)

    def train(
        self,
        opcodes: tuple[Opcode, ...],
        first_psn: int,
        work: SendWork | None = None,
        *,
        payload: memoryview | bytes = b"",
        head: bytes = b"",
        tail: bytes = b"",
        ack_req: bool = False,
        solicited: bool = False,
    ) -> Train:
        """A train to the peer, or for a datagram to where `work` says."""
        own = self.attributes
        datagram = work if self.kind is QPType.UD else None
        path = datagram.path if datagram else own.path
        assert path is not None
        return Train(
            path=self.marked(path),
            dest_qp=datagram.remote_qpn if datagram else own.dest_qp,
            first_psn=first_psn,
            opcodes=opcodes,
            payload=payload,
            path_mtu=own.path_mtu,
            head=head,
            tail=tail,
            ack_req=ack_req,
            solicited=solicited,
            p_key=own.p_key,
        )

    @property
    def deadline(self) -> int | None:
        """When (ns) `handle_timer` has something to do."""
        held = self.limiter.due if self.limiter is not None else None
        if self.state not in SENDING:
            return held
        due = self.requester.resume_at or self.completer.deadline
        return due if held is None or (due is not None and due < held) else held

    def handle_timer(self, now: int) -> None:
        """A deadline has passed."""
        if self.state in SENDING:
            self.completer.handle_timer(now)
        self.device.wake(self)

    def complete_send(self, request: Request, status: WCStatus) -> None:
        """Report a request that is done: a failed one always, a good one where that
        was asked for.
        """
        work = request.work
        if COMPLETES_AS[work.opcode] is WCOpcode.SEND:
            self.device.counters["rdma_sends"] += 1
        if status is WCStatus.SUCCESS and not (self.signal_all or work.flags & SendFlag.SIGNALED):
            return
        completion = Completion(
            work.wr_id, status, COMPLETES_AS[work.opcode], self.number, byte_length=request.length
        )
        self._push(self.send_cq, completion)

    def complete_receive(self, completion: Completion) -> None:
        """Report a receive."""
        if completion.status is WCStatus.SUCCESS:
            self.device.counters["rdma_recvs"] += 1
        self._push(self.receive_cq, completion)

    def _push(self, cq: CompletionQueue, completion: Completion) -> None:
        """A full CQ loses the completion, and is told to be in error once (IBTA vol. 1, 11.6.3.1;
        kernel: rxe_cq.c).
        """
        first = not cq.overrun
        if not cq.push(completion) and first:
            self.device.raise_event(AsyncKind.CQ_ERR, self.number)

    def fail_send(self, status: WCStatus, reason: str, now: int) -> None:
        """The oldest request fails, and with it the queue pair, or only its sending
        (UC, UD: SQE).
        """
        self.log(now, "send_failed", status=status.name, why=reason)
        self.complete_send(self.requester.retire(), status)
        if self.kind is QPType.RC:
            self.fail(reason, now)
        else:
            self.log(now, "qp_state", **{"from": self.state.name, "to": "SQE", "why": reason})
            self.state = QPState.SQE
            self._flush_sends()

    def fail(self, reason: str, now: int) -> None:
        """Stop: to ERR, everything posted is flushed. Replies owed still go out."""
        if self.state is QPState.ERR:
            return
        self.log(now, "qp_state", **{"from": self.state.name, "to": "ERR", "why": reason})
        self._stop(now)

    def _stop(self, now: int) -> None:
        self.state = QPState.ERR
        message, self.responder.message = self.responder.message, None
        if message is not None and message.work is not None:
            self._flush_receive(message.work)
        self._flush_sends()
        self._flush_receives()
        self.completer.deadline = None
        self.requester.resume_at = None
        if self.receives.shared:
            self.device.raise_event(AsyncKind.QP_LAST_WQE_REACHED, self.number)

    def _flush_sends(self) -> None:
        requester = self.requester
        while requester.queue:
            work = requester.queue.popleft().work
            completion = Completion(
                work.wr_id, WCStatus.WR_FLUSH_ERR, COMPLETES_AS[work.opcode], self.number
            )
            self._push(self.send_cq, completion)
        requester.cursor = 0

    def _flush_receives(self) -> None:
        if not self.receives.shared:
            for work in self.receives.drain():
                self._flush_receive(work)

    def _flush_receive(self, work: ReceiveWork) -> None:
        self._push(
            self.receive_cq,
            Completion(work.wr_id, WCStatus.WR_FLUSH_ERR, WCOpcode.RECV, self.number),
        )

    def log(self, now: int, event: str, **data: int | str) -> None:
        """Tell the device's log of a decision."""
        self._tell(now, event, data)

    def _tell(self, now: int, event: str, data: dict[str, int | str]) -> None:
        self.device.tell(now, event, self.number, data)
