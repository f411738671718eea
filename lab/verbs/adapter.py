"""A device at work: an engine, its socket, one lock, and one thread that receives
and keeps time.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from random import Random
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, Protocol

from lab.engine.device import Device
from lab.engine.errors import VerbError
from lab.engine.events import AsyncEvent, AsyncKind, Log
from lab.engine.qp import QueuePair
from lab.wire.udp import UdpWire
from lab.wire.wire import Wire

if TYPE_CHECKING:
    from lab.verbs.device import Context
    from lab.verbs.wr import SendWR

FIRST_QPN = 17
"""Where rxe begins to number, too."""
LAST_QPN = 0xFFFFFE
GRACE_NS = 2_000_000
"""The thread leaves the socket to whoever polled a completion queue this recently."""
TICK_NS = 2_000_000
"""How often the thread looks at the time while somebody else receives."""
_NAP_NS = 1_000_000
"""Waits shorter than poll's millisecond are slept in pieces."""
_DRAIN = 1024
"""Looks at the socket, of 16 datagrams or more each, before a timeout is believed: all that its
receive buffer holds, but not what comes in the meantime for ever.
"""

Stack = Callable[[Wire], Wire]


class Bottom(Wire, Protocol):
    """What the adapter needs of the wire at the bottom of the stack, besides."""

    address: IPv4Address | IPv6Address

    def fileno(self) -> int: ...
    def room(self, payload: int) -> int: ...
    def close(self) -> None: ...


class Adapter:
    """The running form of a device, shared by the Contexts that have it open.

    `bottom` opens the wire of an address, `stack` puts others (tap, faults) on top. Whoever touches
    `device` holds `lock` and calls `flush` before letting go. `engine` are further arguments of the
    device (lab.engine.device.Device). Raises OSError where the address cannot be bound.
    """

    def __init__(
        self,
        address: str,
        *,
        bottom: Callable[[str], Bottom] = UdpWire,
        stack: Stack | None = None,
        random: Random | None = None,
        log: Log | None = None,
        **engine: Any,
    ) -> None:
        self._bottom = bottom(address)
        self.addresses = (self._bottom.address.packed,)
        self._wire: Wire = stack(self._bottom) if stack else self._bottom
        self.device: Device = self._new_device(log, engine)
        self.device.on_event = self._deliver
        # Half, for a peer whose buffer is like this end's: a READ may begin with a window full.
        self.device.room = lambda path_mtu: self._bottom.room(path_mtu) // 2
        self.owners: dict[int, Context] = {}
        """Which Context gets the asynchronous events of a queue pair."""
        self.lock = threading.RLock()
        self._keys = random or SystemRandom()
        self._random_qpns = random is not None
        self._next_qpn = FIRST_QPN
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._planned: int | None = None
        self._polled_at = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"roce {address}", daemon=True)
        self._thread.start()

    def _new_device(self, log: Log | None, engine: dict[str, Any]) -> Device:
        return Device(log=log, **engine)

    def address(self, sgid_index: int) -> bytes:
        """The IP address of a GID; VerbError where the index has none."""
        if not 0 <= sgid_index < len(self.addresses):
            raise VerbError(22, f"GID index {sgid_index}, there are {len(self.addresses)}")
        return self.addresses[sgid_index]

    def new_qpn(self) -> int:
        """A number no queue pair has: counted up, or drawn where a generator was given."""
        while True:
            if self._random_qpns:
                number = self._keys.randint(FIRST_QPN, LAST_QPN)
            else:
                number = self._next_qpn
                self._next_qpn = FIRST_QPN if number == LAST_QPN else number + 1
            if number not in self.device:
                return number

    def new_key(self) -> int:
        """A memory key that is not in use and not 0."""
        while True:
            key = self._keys.getrandbits(32)
            if key and key not in self.device.memory:
                return key

    def _deliver(self, event: AsyncEvent) -> None:
        if (owner := self.owners.get(event.number)) is not None:
            owner.raise_event(event.kind)

    @staticmethod
    def now() -> int:
        """The engine's clock, ns."""
        return time.monotonic_ns()

    def post(self, qp: QueuePair, wr: SendWR) -> None:
        """Give a request to `qp` (the lock is held); VerbError where it is refused."""
        qp.post_send(wr.work())

    def posted(self, qp: QueuePair) -> None:
        """`qp` was given all it is given for now (the lock is held)."""
        self.flush()

    def flush(self) -> None:
        """Send what there is to send; wake the thread if it would sleep past a new deadline."""
        now = self.now()
        sent = True
        while sent:
            sent = False
            for burst in self.device.transmit(now):
                sent = True
                try:
                    self._wire.send(burst, now)
                except OSError:
                    self.device.counters["send_err"] += 1
        due = self._due()
        if due is not None and (self._planned is None or due < self._planned):
            self.wake(due)

    def wake(self, due: int) -> None:
        """Have the thread look again at `due` (ns)."""
        self._planned = due
        os.eventfd_write(self._wakeup, 1)

    def _due(self) -> int | None:
        timers = self.device.next_timer(), self._wire.next_timer()
        return min((timer for timer in timers if timer is not None), default=None)

    def poll(self) -> None:
        """Somebody waits for a completion: receive for him, without the thread."""
        self._polled_at = self.now()
        if self.lock.acquire(blocking=False):
            try:
                self._progress()
            finally:
                self.lock.release()
        # Whoever polls in a loop must not keep the others from the interpreter.
        time.sleep(0)

    def _keep_time(self) -> None:
        """Let time pass, for somebody else receives."""
        self._pass_time()
        self.flush()

    def _pass_time(self) -> None:
        """No timeout strikes while its answer waits in the socket: who was not scheduled for so
        long did not wait so long.
        """
        due = self.device.next_timer()
        if due is not None and due <= self.now():
            for _ in range(_DRAIN):
                if not self._receive():
                    break
        self.device.handle_timer(self.now())

    def _receive(self) -> int:
        """Take some of what has come; how much."""
        now, count = self.now(), 0
        for burst in self._wire.receive(now):
            self.device.receive(burst, now)
            count += 1
        return count

    def _progress(self) -> bool:
        """Receive, let time pass, send; whether it is worth looking again at once."""
        self._receive()
        self._pass_time()
        self.flush()
        return False

    def _run(self) -> None:
        """The thread: what ends it ends the device, and its users are told."""
        try:
            self._serve()
        except BaseException:
            for owner in set(self.owners.values()):
                owner.raise_event(AsyncKind.DEVICE_FATAL)
            raise

    def _serve(self) -> None:
        waiting, everything = select.poll(), select.poll()
        for poller in (waiting, everything):
            poller.register(self._wakeup, select.POLLIN)
        everything.register(self._bottom.fileno(), select.POLLIN)
        while not self._closing:
            idle = self.now() - self._polled_at
            with self.lock:
                if idle < GRACE_NS:
                    self._keep_time()
                elif self._progress():
                    continue
                now, due = self.now(), self._due()
                if idle < GRACE_NS:
                    due = min(due or now + TICK_NS, now + TICK_NS)
                self._planned = due
                wait = None if due is None else due - now
            if idle < GRACE_NS and wait is not None:
                ready = waiting.poll(max(0, wait // 1_000_000))
            elif wait is None:
                ready = everything.poll()
            elif wait >= _NAP_NS:
                ready = everything.poll(wait // 1_000_000)
            else:
                ready = everything.poll(0)
                if not ready and wait > 0:
                    time.sleep(wait / 1e9)
            if any(fd == self._wakeup for fd, _ in ready):
                os.eventfd_read(self._wakeup)

    def close(self) -> None:
        """Stop the thread, close the socket."""
        self._closing = True
        os.eventfd_write(self._wakeup, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._bottom.close()
        os.close(self._wakeup)
