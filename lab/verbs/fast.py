"""An adapter whose queue pairs run in compiled code (lab.fast): trains, no
interpreter in between.
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING, Any

from dissectors import psn
from lab.engine.events import Log
from lab.engine.qp import QueuePair
from lab.fast.device import FastDevice
from lab.fast.drive import BURSTS, GOT, MORE, NEWS, NOBODY
from lab.fast.qp import NEXT_PSN, UNACKED, FastQueuePair
from lab.verbs.adapter import GRACE_NS, TICK_NS, Adapter
from lab.wire.udp import UdpWire

if TYPE_CHECKING:
    from lab.verbs.wr import SendWR

TRIES = 40
"""Looks at the socket by a caller who polls, before he hears that nothing came."""
HELD = 32
"""Requests that may wait for a poll while others of the queue pair are on their way."""
IN_FLIGHT_SHARE = 4
"""The part of a receive buffer that requests may fill: the kernel counts more than their bytes."""


class FastAdapter(Adapter):
    """As Adapter, without a stack of wires: compiled code has the socket."""

    device: FastDevice
    _held: FastQueuePair | None = None
    _held_count = 0
    _next_tick = 0
    _tries = 1

    def __init__(
        self, address: str, *, random: Random | None = None, log: Log | None = None, **engine: Any
    ) -> None:
        self._udp = UdpWire(address, gather=True)
        super().__init__(
            address, bottom=lambda _address: self._udp, random=random, log=log, **engine
        )

    def _new_device(self, log: Log | None, engine: dict[str, Any]) -> FastDevice:
        udp = self._udp
        return FastDevice(
            udp.address.packed,
            fd=udp.fileno(),
            surroundings=udp.surroundings,
            in_flight=udp.receive_buffer // IN_FLIGHT_SHARE,
            log=log,
            **engine,
        )

    def lose(self, rate: float) -> None:
        """Drop datagrams that arrive (UdpWire.lose), to measure what loss costs."""
        self._udp.lose(rate)

    def post(self, qp: QueuePair, wr: SendWR) -> None:
        assert isinstance(qp, FastQueuePair)
        if qp.slot is None or not wr.plain:
            qp.post_send(wr.work())
        else:
            qp.post_fast(wr.row())

    def posted(self, qp: QueuePair) -> None:
        """While its caller polls and earlier work is on its way, work waits a
        little for company.
        """
        assert isinstance(qp, FastQueuePair)
        words = qp.words
        if words is None:
            self.flush()
            return
        held = self._held
        if (words[NEXT_PSN] - words[UNACKED]) & psn.MASK > 1 and (held is None or held is qp):
            self._held_count += 1
            if self._held_count < HELD and time.monotonic_ns() - self._polled_at < GRACE_NS:
                self._held = qp
                return
        self._drive(qp, 0)
        if self._planned is None:
            self.wake(self.now() + TICK_NS)

    @property
    def _due_held(self) -> FastQueuePair | None:
        """The queue pair whose work has waited long enough: little of it is on its way."""
        held = self._held
        if held is None or held.words is None:
            return held
        words = held.words
        under_way = (words[NEXT_PSN] - words[UNACKED]) & psn.MASK
        return held if under_way < HELD else None

    def _drive(self, qp: FastQueuePair | None, tries: int) -> int:
        slot = NOBODY
        if qp is not None:
            if self._held is None or self._held is qp:
                self._held, self._held_count = None, 0
            if qp.slot is not None:
                slot = qp.slot
        device = self.device
        result = device.drive(device.port_address, slot, tries)
        if result & NEWS:
            self._attend()
        return result

    def _attend(self) -> None:
        """Do what compiled code left for the engine, and send what comes of it."""
        self.device.attend(self.now())
        if self.device.has_ready:
            self.flush()

    def flush(self) -> None:
        super().flush()
        self._drive(None, 0)

    def poll(self) -> None:
        self._polled_at = time.monotonic_ns()
        lock, device = self.lock, self.device
        if lock.acquire(blocking=False):
            try:
                if self._held is not None:
                    self._drive(self._due_held, TRIES)
                elif device.drive(device.port_address, NOBODY, TRIES) & NEWS:
                    self._attend()
            finally:
                lock.release()
        else:
            time.sleep(0)

    def _keep_time(self) -> None:
        now = self.now()
        if now < self._next_tick:
            return
        self._next_tick = now + TICK_NS
        self._drive(None, 1)
        self._pass_time()
        if self.device.has_ready:
            self.flush()

    def _receive(self) -> int:
        return self._drive(None, BURSTS) & MORE

    def _progress(self) -> bool:
        got = self._drive(self._held, self._tries) & GOT
        self._tries = TRIES if got else 1
        self._keep_time()
        return bool(got)
