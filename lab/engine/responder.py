"""The responder: is this the request expected next, one done before, or one too early? (IBTA vol.
1, 9.7.4, 9.8).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from dissectors import aeth, psn
from dissectors.deth import DETH
from dissectors.reth import RETH
from lab.engine.checks import ATOMICS, NOT_READY, READ, WRITES, Verdict, judge
from lab.engine.decode import Run
from lab.engine.events import AsyncKind
from lab.engine.execute import EXECUTE, deliver
from lab.engine.memory import Access, ProtectionError
from lab.engine.message import Message
from lab.engine.outer import grh
from lab.engine.replies import ReadSource, Replies, Reply
from lab.engine.states import QPType
from lab.engine.work import Completion, WCOpcode, WCStatus

if TYPE_CHECKING:
    from lab.engine.qp import QueuePair


NAK_COUNTERS = {
    aeth.NAK_INVALID_REQUEST: "resp_invalid_requests",
    aeth.NAK_REMOTE_ACCESS_ERROR: "resp_remote_access_errors",
    aeth.NAK_REMOTE_OPERATIONAL_ERROR: "resp_operational_errors",
}


class Responder:
    """What a queue pair expects next, the message it is in, and the replies it owes."""

    def __init__(self, qp: QueuePair) -> None:
        self.qp = qp
        self.replies = Replies(self)
        self.reset(0)

    def reset(self, rq_psn: int) -> None:
        """Nothing received; `rq_psn` is expected."""
        self.expected = rq_psn
        self.msn = 0
        self.message: Message | None = None
        self.replies.clear()
        self.nak_sent = False
        """A request was refused that must come again; what follows it is not answered."""
        limit = max(1, self.qp.attributes.max_dest_rd_atomic)
        self._atomics: deque[tuple[int, int]] = deque(maxlen=limit)

    @property
    def settled(self) -> bool:
        """Whether nothing is owed."""
        return not len(self.replies)

    def resume(self, expected: int, msn: int, *, nak_sent: bool) -> None:
        """Go on from `expected`, nothing owed; answers to atomics are still remembered."""
        self.expected, self.msn, self.nak_sent = expected, msn, nak_sent
        self.message = None
        self.replies.clear()

    def receive(self, run: Run, now: int) -> None:
        """Take a request."""
        RECEIVERS[self.qp.kind](self, run, now)

    def remote(self, r_key: int, va: int, length: int, access: Access) -> memoryview:
        """The bytes a peer names; of none nothing is checked (IBTA vol. 1, 9.7.4.1.5).

        Raises ProtectionError.
        """
        if not length:
            return memoryview(bytearray())
        return self.qp.device.memory.slice(
            r_key, va, length, self.qp.domain, access, peer_of=self.qp.number
        )

    def write_place(self, run: Run) -> tuple[int, int, int, int]:
        """(r_key, va, length, bytes that came before `run`) of the WRITE that `run` belongs to."""
        if run.first.starts_message:
            reth = run.header(RETH)
            return reth.r_key, reth.va, reth.dma_len, 0
        message = self.message
        assert message is not None
        return message.r_key, message.va, message.length, message.done

    def remember(self, sq_psn: int, original: int) -> None:
        """Keep an atomic's answer for its duplicates."""
        self._atomics.append((sq_psn, original))

    def advance(self, run: Run, span: int) -> None:
        """`run` is done and took `span` PSNs; acknowledge it where it asks for that."""
        self.expected = psn.add(self.expected, span)
        self.nak_sent = False
        if run.last.ends_message:
            self.msn = psn.add(self.msn, 1)
            self.message = None
        if run.last.has_payload:
            self._acknowledge(run)

    def withdraw(self, sq_psn: int, reason: str, now: int) -> None:
        """Memory that a READ was promised is gone."""
        syndrome = aeth.NAK_REMOTE_ACCESS_ERROR
        self._stop(Verdict(syndrome, reason, event=AsyncKind.QP_ACCESS_ERR), sq_psn, now)

    def _acknowledge(self, run: Run) -> None:
        if run.ack_req and self.qp.kind is QPType.RC:
            self.replies.add(Reply(psn.add(self.expected, -1), self.msn))

    def _receive_reliable(self, run: Run, now: int) -> None:
        ahead = psn.difference(run.first_psn, self.expected)
        if ahead > 0:
            self._out_of_sequence(run, now)
        elif ahead == 0:
            self._in_sequence(run, now)
        elif run.packet_count + ahead > 0:
            old, new = run.split(-ahead)
            self._duplicate(old, now)
            self._in_sequence(new, now)
        else:
            self._duplicate(run, now)

    def _out_of_sequence(self, run: Run, now: int) -> None:
        """One NAK, then silence until the gap is filled (IBTA vol. 1, 9.7.5.2.8)."""
        if not self.nak_sent:
            self.nak_sent = True
            self.qp.device.counters["out_of_seq_request"] += 1
            self.replies.add(Reply(self.expected, self.msn, aeth.NAK_PSN_SEQUENCE_ERROR))
            self.qp.log(
                now, "nak", why="PSN sequence error", sq_psn=run.first_psn, expected=self.expected
            )

    def _in_sequence(self, run: Run, now: int) -> None:
        verdict = self._perform(run)
        if verdict is NOT_READY and run.family in WRITES and run.packet_count > 1:
            # Only the last packet needs a receive; what came before it is good.
            verdict = self._perform(run.split(run.packet_count - 1)[0]) or NOT_READY
        if verdict is not None:
            self._stop(verdict, self.expected, now)

    def _perform(self, run: Run) -> Verdict | None:
        return judge(self, run) or EXECUTE[run.family](self, run)

    def _stop(self, verdict: Verdict, sq_psn: int, now: int) -> None:
        """Answer with the NAK that `verdict` calls for, and fail unless it can be
        recovered from.
        """
        qp = self.qp
        syndrome = verdict.syndrome
        if verdict is NOT_READY:
            self.nak_sent = True
            qp.device.counters["send_rnr_err"] += 1
            syndrome |= qp.attributes.min_rnr_timer
        if syndrome in NAK_COUNTERS:
            qp.device.counters[NAK_COUNTERS[syndrome]] += 1
        self.replies.add(Reply(sq_psn, self.msn, syndrome))
        qp.log(now, "nak", why=verdict.reason, sq_psn=sq_psn, syndrome=syndrome)
        if verdict.recoverable:
            return
        work = self.message.work if self.message else None
        if work is not None:
            status = verdict.status or WCStatus.WR_FLUSH_ERR
            qp.complete_receive(Completion(work.wr_id, status, WCOpcode.RECV, qp.number))
            self.message = None
        if verdict.event is not None:
            qp.device.raise_event(verdict.event, qp.number)
        qp.fail(verdict.reason, now)

    def _duplicate(self, run: Run, now: int) -> None:
        """What was done already is answered again, not done again (IBTA vol. 1, 9.7.5.1.4)."""
        self.qp.device.counters["duplicate_request"] += 1
        self.qp.log(now, "duplicate", what=run.family, sq_psn=run.first_psn, expected=self.expected)
        if self.replies.full:
            return
        if run.family == READ:
            self._repeat_read(run)
        elif run.family in ATOMICS:
            for sq_psn, original in self._atomics:
                if sq_psn == run.first_psn:
                    self.replies.add(Reply(sq_psn, self.msn, original=original, repeated=True))
        else:
            self._acknowledge(run)

    def _repeat_read(self, run: Run) -> None:
        """The data as it is now, for the part asked for; not beyond what was asked for before."""
        reth = run.header(RETH)
        span = psn.span(reth.dma_len, self.qp.attributes.path_mtu)
        if psn.after(psn.add(run.first_psn, span), self.expected):
            return
        try:
            self.remote(reth.r_key, reth.va, reth.dma_len, Access.REMOTE_READ)
        except ProtectionError:
            return
        source = ReadSource(reth.r_key, reth.va, reth.dma_len)
        self.replies.add(Reply(run.first_psn, self.msn, source=source, repeated=True))

    def _receive_unreliable(self, run: Run, now: int) -> None:
        """UC: a gap loses the message it falls in, nothing more (IBTA vol. 1, 9.8.2.2)."""
        if self.message and (run.first_psn != self.expected or run.first.starts_message):
            self._lose_message("PSN gap", now)
        self.expected = run.first_psn
        verdict = self._perform(run)
        if verdict is not None:
            self._lose_message(verdict.reason, now)
        self.expected = psn.add(run.last_psn, 1)

    def _lose_message(self, reason: str, now: int) -> None:
        """Its receive waits for the next."""
        self.qp.log(now, "message_lost", why=reason, expected=self.expected)
        if self.message and self.message.work:
            self.qp.receives.put_back(self.message.work)
        self.message = None

    def _receive_datagram(self, run: Run, now: int) -> None:
        """UD: the queue key admits; 40 bytes of GRH come before the payload (IBTA vol. 1, 9.8.3,
        11.4.1.2).
        """
        qp = self.qp
        length = 40 + run.length
        if run.header(DETH).q_key != qp.attributes.qkey:
            qp.device.refuse("qkey_viol_cntr", 1, "another Q_Key", qp.number, now)
            return
        if not qp.receives:
            qp.device.refuse("rcvd_not_for_qp", 1, NOT_READY.reason, qp.number, now)
            return
        work = qp.receives.take()
        chunks = (memoryview(grh(run.path, run.length)), *run.chunks)
        try:
            qp.device.memory.scatter(work.sges, 0, chunks, qp.domain)
        except ProtectionError as error:
            qp.log(now, "message_lost", why=str(error))
            qp.receives.put_back(work)
            return
        deliver(self, run, work, WCOpcode.RECV, length)


RECEIVERS: dict[QPType, Callable[[Responder, Run, int], None]] = {
    QPType.RC: Responder._receive_reliable,
    QPType.UC: Responder._receive_unreliable,
    QPType.UD: Responder._receive_datagram,
}
