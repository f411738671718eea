"""The completer: what acknowledgements and responses mean for the send queue (IBTA vol. 1, 9.7.5,
9.7.7).
"""

from __future__ import annotations

from collections.abc import Callable
from sys import byteorder
from typing import TYPE_CHECKING

from dissectors import aeth, psn
from dissectors.aeth import AETH
from dissectors.atomicacketh import AtomicAckETH
from dissectors.opcode import Opcode
from lab.engine.decode import Run
from lab.engine.memory import ProtectionError
from lab.engine.requester import ATOMICS, Request
from lab.engine.timers import ack_timeout_ns
from lab.engine.work import WCStatus, WROpcode

if TYPE_CHECKING:
    from lab.engine.qp import QueuePair

NAK_STATUS = {
    aeth.NAK_INVALID_REQUEST: WCStatus.REM_INV_REQ_ERR,
    aeth.NAK_REMOTE_ACCESS_ERROR: WCStatus.REM_ACCESS_ERR,
    aeth.NAK_REMOTE_OPERATIONAL_ERROR: WCStatus.REM_OP_ERR,
    aeth.NAK_INVALID_RD_REQUEST: WCStatus.REM_INV_REQ_ERR,
}

NAK_COUNTERS = {
    aeth.NAK_INVALID_REQUEST: "req_remote_invalid_request",
    aeth.NAK_REMOTE_ACCESS_ERROR: "req_remote_access_errors",
}

WITH_AETH = frozenset(opcode for opcode in Opcode if AETH in opcode.headers)

FOR_EVER = 7
"""RNR retry count that never runs out (IBTA vol. 1, 9.7.5.2.8)."""


class Completer:
    """Retires requests as they are answered, and decides when to send again or to give up."""

    def __init__(self, qp: QueuePair) -> None:
        self._qp = qp
        self._requester = qp.requester
        self.reset()

    def reset(self) -> None:
        self.deadline: int | None = None
        """When (ns) the local ACK timeout strikes; None while nothing is outstanding."""
        self._going_back = False
        """A gap was answered by going back; until something new is acknowledged, it
        is not again.
        """
        self._refill()

    def _refill(self) -> None:
        self._retries = self._qp.attributes.retry_cnt
        self._rnr_retries = self._qp.attributes.rnr_retry

    def start(self) -> None:
        """The queue pair has come to RTS with its retry counts set."""
        self._refill()

    def receive(self, run: Run, now: int) -> None:
        """Take an acknowledgement or response."""
        HANDLERS[run.family](self, run, now)
        self._requester.give_up_if_broken(now)

    def sent(self, now: int) -> None:
        """Something went out: the timer runs while an answer is due."""
        if self.deadline is None and not self._requester.idle:
            self._restart(now)

    def _restart(self, now: int) -> None:
        timeout = ack_timeout_ns(self._qp.attributes.timeout)
        due = timeout is not None and not self._requester.idle
        self.deadline = now + timeout if due and timeout is not None else None

    def _sent_before(self, sq_psn: int) -> bool:
        """Whether `sq_psn` was sent and is still unacknowledged; else it is a ghost
        of older times.
        """
        distance = psn.difference(sq_psn, self._requester.unacked)
        return bool(0 <= distance < psn.forward(self._requester.unacked, self._requester.high))

    def _ghost(self, run: Run, now: int) -> None:
        """An answer to what has been answered, or was never asked (IBTA vol. 1, 9.7.5.1.5)."""
        unacked = self._requester.unacked
        self._qp.log(now, "ghost", what=run.first.text, sq_psn=run.last_psn, unacked=unacked)

    def _progress(self, sq_psn: int, now: int) -> None:
        """Everything before `sq_psn` is acknowledged, which it was not before."""
        self._requester.acknowledged(sq_psn)
        self._going_back = False
        self._refill()
        self._restart(now)

    def _acknowledge(self, end: int, now: int) -> bool:
        """Retire all before PSN `end`; False where a READ or atomic among them still lacks its
        answer.
        """
        requester = self._requester
        while requester.queue and psn.before(requester.unacked, end):
            request = requester.queue[0]
            if request.first_psn is None:
                break
            if request.answered:
                return False
            after = psn.add(request.last_psn, 1)
            done = not psn.after(after, end)
            self._progress(after if done else end, now)
            if done:
                self._finish()
        return True

    def _finish(self) -> None:
        self._qp.complete_send(self._requester.retire(), WCStatus.SUCCESS)

    def _on_acknowledge(self, run: Run, now: int) -> None:
        header = run.header(AETH)
        syndrome = header.syndrome
        reaction = REACTIONS.get(syndrome & aeth.KIND_MASK)
        if syndrome & 0x80 or reaction is None:
            return
        # A NAK may carry the PSN that follows all that was acknowledged and nothing newer.
        if not self._sent_before(run.first_psn):
            self._ghost(run, now)
            return
        self._requester.credits.grant(header)
        reaction(self, run.first_psn, syndrome, now)

    def _on_ack(self, sq_psn: int, _syndrome: int, now: int) -> None:
        if not self._acknowledge(psn.add(sq_psn, 1), now):
            self._go_back("implied NAK: acknowledged past a missing response", now)

    def _on_rnr(self, sq_psn: int, syndrome: int, now: int) -> None:
        qp = self._qp
        qp.device.counters["rcvd_rnr_err"] += 1
        if not self._acknowledge(sq_psn, now):
            self._go_back("implied NAK: receiver not ready past a missing response", now)
            return
        if qp.attributes.rnr_retry != FOR_EVER:
            if self._rnr_retries == 0:
                qp.device.counters["retry_rnr_exceeded_err"] += 1
                qp.fail_send(WCStatus.RNR_RETRY_EXC_ERR, "receiver not ready once too often", now)
                return
            self._rnr_retries -= 1
        wait = aeth.RNR_TIMER_NS[syndrome & aeth.VALUE_MASK]
        self._requester.rewind(sq_psn)
        self._requester.resume_at = now + wait
        self.deadline = None
        qp.log(now, "rnr_wait", sq_psn=sq_psn, wait_ns=wait, retries_left=self._rnr_retries)

    def _on_nak(self, sq_psn: int, syndrome: int, now: int) -> None:
        qp = self._qp
        if not self._acknowledge(sq_psn, now):
            self._go_back("implied NAK: NAK past a missing response", now)
        elif syndrome == aeth.NAK_PSN_SEQUENCE_ERROR:
            qp.device.counters["rcvd_seq_err"] += 1
            self._go_back("NAK: PSN sequence error", now)
        elif syndrome in NAK_STATUS:
            if syndrome in NAK_COUNTERS:
                qp.device.counters[NAK_COUNTERS[syndrome]] += 1
            qp.fail_send(NAK_STATUS[syndrome], f"NAK 0x{syndrome:02x}", now)

    def _due(self, run: Run, now: int) -> tuple[Request, Run] | None:
        """The request that waits for the first PSN of `run`, and what of the run is new to it.

        A response acknowledges every SEND and WRITE before its request.
        """
        requester = self._requester
        if not self._sent_before(run.last_psn):
            self._ghost(run, now)
            return None
        if psn.before(run.first_psn, requester.unacked):
            run = run.split(psn.forward(run.first_psn, requester.unacked))[1]
        if not self._acknowledge(run.first_psn, now):
            self._go_back("implied NAK: response past a missing one", now)
            return None
        request = requester.queue[0]
        if not request.answered or request.first_psn is None:
            return None
        if {run.first, run.last} & WITH_AETH:
            requester.credits.grant(run.header(AETH))
        return request, run

    def _on_read_response(self, run: Run, now: int) -> None:
        due = self._due(run, now)
        if due is None:
            return
        request, run = due
        qp = self._qp
        path_mtu = qp.attributes.path_mtu
        offset = request.received * path_mtu
        expected = min(run.packet_count * path_mtu, request.length - offset)
        complete = request.received + run.packet_count == request.span
        lengths_fit = run.length == expected and all(len(c) == path_mtu for c in run.chunks[:-1])
        if (
            request.work.opcode is not WROpcode.RDMA_READ
            or request.received + run.packet_count > request.span
            or not lengths_fit
            or run.last.ends_message != complete
        ):
            qp.fail_send(WCStatus.BAD_RESP_ERR, "READ response of the wrong kind or length", now)
            return
        try:
            qp.device.memory.scatter(request.work.sges, offset, run.chunks, qp.domain)
        except ProtectionError as error:
            qp.fail_send(WCStatus.LOC_PROT_ERR, str(error), now)
            return
        request.received += run.packet_count
        self._progress(psn.add(run.last_psn, 1), now)
        if complete:
            self._finish()

    def _on_atomic_acknowledge(self, run: Run, now: int) -> None:
        due = self._due(run, now)
        if due is None:
            return
        request, _ = due
        qp = self._qp
        if request.work.opcode not in ATOMICS:
            qp.fail_send(WCStatus.BAD_RESP_ERR, "atomic acknowledge for another request", now)
            return
        value = memoryview(run.header(AtomicAckETH).original.to_bytes(8, byteorder))
        try:
            qp.device.memory.scatter(request.work.sges, 0, (value,), qp.domain)
        except ProtectionError as error:
            qp.fail_send(WCStatus.LOC_PROT_ERR, str(error), now)
            return
        self._progress(psn.add(run.last_psn, 1), now)
        self._finish()

    def _go_back(self, why: str, now: int) -> None:
        """Send again from the oldest unacknowledged PSN, once for each gap."""
        if not self._going_back:
            self._going_back = True
            self._retry(why, now)

    def _retry(self, why: str, now: int) -> None:
        qp, requester = self._qp, self._requester
        if self._retries == 0:
            qp.device.counters["retry_exceeded_err"] += 1
            qp.fail_send(WCStatus.RETRY_EXC_ERR, f"no retries left after: {why}", now)
            return
        self._retries -= 1
        qp.device.counters["completer_retry_err"] += 1
        qp.log(
            now,
            "go_back",
            why=why,
            sq_psn=requester.unacked,
            sent_up_to=psn.add(requester.high, -1),
            retries_left=self._retries,
        )
        requester.rewind(requester.unacked)
        self._restart(now)

    def handle_timer(self, now: int) -> None:
        """The local ACK timeout struck, if it did."""
        if self.deadline is not None and now >= self.deadline:
            self._going_back = False
            self._retry("timeout", now)


HANDLERS: dict[str, Callable[[Completer, Run, int], None]] = {
    "RC_ACKNOWLEDGE": Completer._on_acknowledge,
    "RC_ATOMIC_ACKNOWLEDGE": Completer._on_atomic_acknowledge,
    "RC_RDMA_READ_RESPONSE": Completer._on_read_response,
}

REACTIONS: dict[int, Callable[[Completer, int, int, int], None]] = {
    aeth.ACK: Completer._on_ack,
    aeth.RNR_NAK: Completer._on_rnr,
    aeth.NAK: Completer._on_nak,
}
