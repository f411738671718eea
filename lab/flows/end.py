"""What a flow is given: one end of a connection whose two queue pairs are in RTS.

The flow itself posts verbs work requests; an `End` adds what every flow needs around them: numbers
for work requests, waiting for completions with a limit, the truth log, data that both ends can
compute, and a barrier inside TLS.
"""

from __future__ import annotations

import select
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from lab.exchange.messages import EndpointInfo, ExchangeError
from lab.exchange.session import OTHER, Role
from lab.flows.names import OPCODES, RECEIVE, STATUSES

QKEY = 0x1C0FFEE  # UD: what datagrams must carry
GRH = 40  # UD: bytes before each message received, the GRH or the IP header
WATCH_SECONDS = 0.1
LINE = 64  # bytes of a line of `End.pattern`
WORDS = 64  # bytes of the atomics' area: eight words of 64 bits


class FlowError(ExchangeError):
    """A flow did not do what it should: wrong status, wrong data, nothing within the limit."""

    def __init__(self, message: str) -> None:
        super().__init__("flow", message)


@dataclass(frozen=True, slots=True)
class Layout:
    """A buffer: `outgoing` bytes sent from, `incoming` bytes the peer puts, words for atomics.

    Both ends of a flow use the same layout. Offsets and `room` (of each half) are in bytes.
    """

    room: int
    outgoing: int = 0

    @property
    def incoming(self) -> int:
        return self.room

    @property
    def words(self) -> int:
        return 2 * self.room

    @property
    def length(self) -> int:
        return 2 * self.room + WORDS


class Group:
    """The connections that one process has at the same time, for flows in which they meet."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.shared: dict[str, Any] = {}  # kept by the flow, for all
        self.lock = threading.Lock()
        self._barrier = threading.Barrier(parties)

    def meet(self, seconds: float) -> bool:
        """Wait until every connection has come here; True for exactly one of them."""
        try:
            return self._barrier.wait(seconds) == 0
        except threading.BrokenBarrierError:
            raise FlowError(f"expected {self.parties} connections to meet, found fewer") from None

    def leave(self) -> None:
        """A connection has failed: nobody waits for it."""
        self._barrier.abort()


@dataclass(slots=True)
class End:
    """One end, for the one thread that runs its flow.

    `verbs` is the provider (pyverbs' names), `barrier` waits for the peer inside TLS, `watch` is
    called now and then while waiting for a completion and raises ExchangeError when the peer has
    given up, `record(event, **keys)` writes the truth log. `limit` is in seconds, for one
    completion.
    """

    verbs: Any
    role: Role
    connection: int
    pd: Any
    mr: Any
    channel: Any  # None where it has no file descriptor to wait at (pyverbs 44)
    cq: Any
    qp: Any
    receives: Any  # the QP, or its shared receive queue
    ah: Any  # UD: where to send; None for connected queue pairs
    layout: Layout
    local: EndpointInfo
    remote: EndpointInfo
    path_mtu: int
    barrier: Callable[[str], None]
    watch: Callable[[], None]
    record: Callable[..., None]
    group: Group
    arguments: Mapping[str, int] = field(default_factory=dict)
    limit: float = 30.0
    _ids: Any = field(default_factory=lambda: count(1))
    _posted: dict[int, tuple[str, int]] = field(default_factory=dict)  # wr_id: opcode, bytes
    _completed: dict[int, Any] = field(default_factory=dict)
    _receives: deque[int] = field(default_factory=deque)
    _watched: float = 0.0
    _patterns: Counter[str] = field(default_factory=Counter)

    @property
    def peer(self) -> Role:
        """The other end's role."""
        return OTHER[self.role]

    def sge(self, offset: int, length: int) -> Any:
        """A piece of this end's own buffer."""
        return self.verbs.SGE(self.mr.buf + offset, length, self.mr.lkey)

    def post(self, wr: Any, length: int) -> int:
        """`qp.post_send`, with a number of its own for `wr`; `length` is for the log."""
        wr.wr_id = next(self._ids)
        self._posted[wr.wr_id] = OPCODES[int(wr.opcode)], length
        self.qp.post_send(wr)
        return int(wr.wr_id)

    def post_receive(self, length: int) -> None:
        """`qp.post_recv` for a message of at most `length` bytes, into the incoming half.

        0 bytes is right for WRITE_WITH_IMM, which uses a receive up but not its memory. Datagrams
        get room for their GRH.
        """
        length += GRH if self.ah is not None else 0
        wr_id = next(self._ids)
        self._posted[wr_id] = RECEIVE, length
        self._receives.append(wr_id)
        sge = self.sge(self.layout.incoming, length)
        self.receives.post_recv(self.verbs.RecvWR(wr_id=wr_id, num_sge=1, sg=[sge]))

    def receive(self, *statuses: str) -> Any:
        """The completion of the oldest receive not yet waited for."""
        return self.complete(self._receives.popleft(), *statuses)

    def complete(self, wr_id: int, *statuses: str) -> Any:
        """Wait for the completion of `wr_id`, with one of `statuses` (default: success).

        Returns the WC.
        """
        wc = self._wait(wr_id)
        found = STATUSES[int(wc.status)]
        opcode, length = self._posted.pop(wr_id)
        if found == "IBV_WC_SUCCESS" and opcode == RECEIVE:
            length = int(wc.byte_len)
        self.record("work", opcode=opcode, wr_id=wr_id, length=length, status=found)
        if found not in (statuses or ("IBV_WC_SUCCESS",)):
            raise FlowError(
                f"{self._name} {opcode} of {length} bytes: expected "
                f"{' or '.join(statuses) or 'IBV_WC_SUCCESS'}, found {found}"
            )
        return wc

    def _wait(self, wr_id: int) -> Any:
        """Poll; where there is nothing, have the CQ announce what comes, poll again, and sleep."""
        started = time.monotonic()
        while wr_id not in self._completed:
            now = time.monotonic()
            self._look(now)
            if self._poll():
                continue
            if now - started > self.limit:
                opcode, length = self._posted[wr_id]
                raise FlowError(
                    f"{self._name} {opcode} of {length} bytes: expected a completion within "
                    f"{self.limit:g} s, found none"
                )
            self._sleep()
        return self._completed.pop(wr_id)

    def _poll(self) -> bool:
        _, wcs = self.cq.poll(16)
        self._completed |= {int(wc.wr_id): wc for wc in wcs}
        return bool(wcs)

    def _sleep(self) -> None:
        """Until the CQ announces a completion, or it is time to look around."""
        if self.channel is None:
            time.sleep(0.0005)
            return
        self.cq.req_notify()
        if self._poll():  # it came before it could be announced
            return
        waiting = select.poll()
        waiting.register(self.channel.fd, select.POLLIN)
        if waiting.poll(WATCH_SECONDS * 1000):
            self.channel.get_cq_event(self.cq)
            self.cq.ack_events(1)

    def _look(self, now: float) -> None:
        """Every now and then: is the peer still there, has nobody stopped this end?"""
        if now - self._watched > WATCH_SECONDS:
            self._watched = now
            self.watch()

    def meet(self) -> bool:
        """Wait for all other connections of this process; True for exactly one of them."""
        return self.group.meet(self.limit)

    def put(self, offset: int, data: bytes) -> None:
        """Store `data` in this end's own buffer."""
        self.mr.write(data, len(data), offset)

    def measured(self, what: str, length: int, started_ns: int) -> None:
        """Log how long `length` bytes took since `started_ns` of time.perf_counter_ns()."""
        elapsed = time.perf_counter_ns() - started_ns
        self.record("measured", what=what, length=length, elapsed_ns=elapsed)

    def check(self, what: str, offset: int, expected: bytes) -> None:
        """The own buffer must hold exactly `expected` at `offset`."""
        self.same(what, self.mr.read(len(expected), offset), expected)

    def same(self, what: str, found: bytes, expected: bytes) -> None:
        """Compare byte for byte and log it; FlowError names the first difference."""
        ok = found == expected
        self.record("checked", what=what, length=len(expected), ok=ok)
        if not ok:
            at = next(
                (i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b),
                min(len(found), len(expected)),
            )
            raise FlowError(
                f"{self._name} {what}, byte {at} of {len(expected)}: expected "
                f"{expected[at : at + 8].hex(' ')}, found {found[at : at + 8].hex(' ')}"
            )

    def pattern(self, what: str, length: int) -> bytes:
        """Text that both ends can compute, other at each call with the same `what`, and nowhere
        twice the same: lines that end in their own offset.

        Both ends must call it in the same order. Readable in a capture; random bytes would now and
        then look to tshark like another protocol's, malformed.
        """
        self._patterns[what] += 1
        label = f"#{self.connection}.{self._patterns[what]} {what}"
        lines = (f"{label:<48.48}{offset:>15}\n" for offset in range(0, length, LINE))
        return "".join(lines).encode()[:length]

    @property
    def _name(self) -> str:
        return f"{self.role}, connection {self.connection}:"
