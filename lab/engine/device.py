"""A device: queue pairs and memory behind one door for datagrams, work and time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from dissectors.opcode import Opcode
from dissectors.udp import ROCE_PORT
from lab.engine.burst import MAX_DATAGRAMS, Burst
from lab.engine.dcqcn import Dcqcn
from lab.engine.decode import Refused, decode
from lab.engine.encode import encode
from lab.engine.events import AsyncEvent, AsyncKind, Decision, Log, new_counters
from lab.engine.memory import Memory
from lab.engine.qp import Capacity, QueuePair
from lab.engine.queues import CompletionQueue, ReceiveQueue
from lab.engine.states import QPType


class Device:
    """Sans-IO: the caller brings datagrams (`receive`) and time (`handle_timer` at `next_timer`),
    and sends what `transmit` gives after either, and after posting work.

    `burst` is how many datagrams leave in one send: above 1 the wire must use UDP_SEGMENT, which
    numbers them (the ICRC covers that). `dcqcn` has its queue pairs slow down where CNPs say so,
    `flow_control` has them tell and heed how many receives are left (neither does rxe).
    Times are integer nanoseconds of any monotonic clock. Not
    for several threads at once.
    """

    queue_pair_type = QueuePair

    def __init__(
        self,
        source_port: int = ROCE_PORT,
        log: Log | None = None,
        burst: int = 1,
        *,
        dcqcn: Dcqcn | None = None,
        flow_control: bool = False,
    ) -> None:
        self.dcqcn = dcqcn
        self.flow_control = flow_control
        self.room: Callable[[int], int] | None = None
        """Path MTU -> packets that a peer can be expected to hold; None: a window's."""
        self.source_port = source_port
        self.burst = burst
        self.memory = Memory()
        self.counters = new_counters()
        self.events: deque[AsyncEvent] = deque()
        self.on_event: Callable[[AsyncEvent], None] = self.events.append
        """Takes each asynchronous event; they are kept in `events` unless told otherwise."""
        self._log = log
        self._queue_pairs: dict[int, QueuePair] = {}
        self._ready: dict[int, QueuePair] = {}
        self._timers: list[tuple[int, int]] = []
        self._scheduled: dict[int, int] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._queue_pairs

    def __len__(self) -> int:
        return len(self._queue_pairs)

    def completion_queue(
        self, capacity: int, notify: Callable[[], None] | None = None
    ) -> CompletionQueue:
        """A new completion queue for queue pairs of this device."""
        return CompletionQueue(capacity, notify)

    def receive_queue(self, max_wr: int, max_sge: int, number: int = 0) -> ReceiveQueue:
        """A new receive queue: shared where it has a `number`."""
        return ReceiveQueue(max_wr, max_sge, number)

    def queue_pair(  # noqa: PLR0917
        self,
        number: int,
        kind: QPType,
        domain: int,
        send_cq: CompletionQueue,
        receive_cq: CompletionQueue,
        receives: ReceiveQueue,
        capacity: Capacity,
        *,
        signal_all: bool = False,
    ) -> QueuePair:
        """A new queue pair, which gets what is addressed to `number`; ValueError where that is
        taken.
        """
        make = self.queue_pair_type
        qp = make(self, number, kind, domain, send_cq, receive_cq, receives, capacity)
        qp.signal_all = signal_all
        self.add(qp)
        return qp

    def add(self, qp: QueuePair) -> None:
        """Deliver to `qp` what is addressed to its number; ValueError where that is taken."""
        if qp.number in self._queue_pairs:
            raise ValueError(f"queue pair {qp.number} exists")
        self._queue_pairs[qp.number] = qp

    def remove(self, qp: QueuePair) -> None:
        """Forget `qp`."""
        del self._queue_pairs[qp.number]
        self._ready.pop(qp.number, None)

    def wake(self, qp: QueuePair) -> None:
        """`qp` may have something to send."""
        self._ready[qp.number] = qp

    def receive(self, burst: Burst, now: int) -> None:
        """Take datagrams that arrived for this device's address."""
        self.counters["rcvd_pkts"] += burst.datagram_count
        for found in decode(burst, MAX_DATAGRAMS):
            if isinstance(found, Refused):
                self.refuse(found.counter, 1, found.reason, 0, now)
                continue
            qp = self._queue_pairs.get(found.bth.dest_qp)
            if qp is None:
                number = found.bth.dest_qp
                self.refuse(
                    "rcvd_unknown_qp", found.packet_count, "no such queue pair", number, now
                )
            elif found.first is Opcode.CNP:
                qp.receive_cnp(found, now)
            else:
                qp.receive(found, now)

    def refuse(self, counter: str, packets: int, why: str, qpn: int, now: int) -> None:
        """Count packets that are not taken, and tell of the 1st, 2nd, 4th, 8th, ... of a kind: who
        floods a device shall not fill its log.
        """
        before = self.counters[counter]
        count = self.counters[counter] = before + packets
        if count.bit_length() > before.bit_length():
            self.tell(now, "refused", qpn, {"why": why, "counter": counter, "count": count})

    def transmit(self, now: int) -> Iterator[Burst]:
        """What is to be sent now, queue pairs taking turns train by train."""
        turns = deque((qp, qp.trains(now)) for qp in self._ready.values())
        self._ready.clear()
        while turns:
            qp, trains = turns.popleft()
            train = next(trains, None)
            if train is None:
                self._schedule(qp)
                continue
            turns.append((qp, trains))
            for burst in encode(train, self.source_port, self.burst):
                self.counters["sent_pkts"] += burst.datagram_count
                yield burst

    def _schedule(self, qp: QueuePair) -> None:
        """One heap entry for each queue pair, not later than its deadline."""
        deadline, held = qp.deadline, self._scheduled.get(qp.number)
        if deadline is not None and (held is None or deadline < held):
            self._scheduled[qp.number] = deadline
            heappush(self._timers, (deadline, qp.number))

    def next_timer(self) -> int | None:
        """When (ns) to call `handle_timer`; None where nothing waits."""
        while self._timers:
            when, number = self._timers[0]
            if self._scheduled.get(number) == when:
                qp = self._queue_pairs.get(number)
                if qp is not None and qp.deadline is not None and qp.deadline <= when:
                    return when
                del self._scheduled[number]
                if qp is not None:
                    self._schedule(qp)
            if self._timers[0] == (when, number):
                heappop(self._timers)
        return None

    def handle_timer(self, now: int) -> None:
        """Let time pass until `now`."""
        while (when := self.next_timer()) is not None and when <= now:
            _, number = heappop(self._timers)
            del self._scheduled[number]
            self._queue_pairs[number].handle_timer(now)

    def raise_event(self, kind: AsyncKind, number: int) -> None:
        self.on_event(AsyncEvent(kind, number))

    def tell(self, now: int, event: str, qpn: int, data: dict[str, int | str]) -> None:
        if self._log is not None:
            self._log(Decision(now, event, qpn, data))
