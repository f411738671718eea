"""An adapter whose queue pairs run in compiled code (lab.fast): trains, no
interpreter in between.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lab.engine.events import Log
from lab.engine.qp import QueuePair
from lab.fast.device import FastDevice
from lab.fast.qp import NEXT_PSN, UNACKED, FastQueuePair
from lab.verbs.adapter import Adapter
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

    def _open(self, address: str) -> UdpWire:
        return UdpWire(address, gather=True)

    def _new_device(self, log: Log | None) -> FastDevice:
        udp = self._udp
        return FastDevice(
            udp.address.packed,
            fd=udp.fileno(),
            surroundings=udp.surroundings,
            in_flight=udp.receive_buffer // IN_FLIGHT_SHARE,
            log=log,
        )

    def post(self, qp: QueuePair, wr: SendWR) -> None:
        assert isinstance(qp, FastQueuePair)
        if qp.slot is None or not wr.plain:
            qp.post_send(wr.work())
        else:
            qp.post_fast(*wr.row())

    def posted(self, qp: QueuePair) -> None:
        """While its caller polls and earlier work is on its way, work waits a
        little for company.
        """
        assert isinstance(qp, FastQueuePair)
        if qp.slot is None:
            self.flush()
            return
        words = qp.words
        if words[NEXT_PSN] != words[UNACKED] and self._held in {None, qp}:
            self._held_count += 1
            if self._held_count < HELD and self.now() - self._polled_at < 1_000_000:
                self._held = qp
                return
        self._drive(qp, 0)
        if self._planned is None:
            self.wake(self.now() + 1_000_000)

    def _drive(self, qp: FastQueuePair | None, tries: int) -> None:
        held, self._held, self._held_count = self._held, None, 0
        if held is not None and held is not qp and held.slot is not None:
            self.device.ring_for(held)
        slot = None if qp is None else qp.slot
        if self.device.drive(slot, tries):
            self.device.attend(self.now())
            if self.device.has_ready:
                self.flush()

    def flush(self) -> None:
        super().flush()
        self._drive(None, 0)

    def poll(self) -> None:
        self._polled_at = self.now()
        if self.lock.acquire(blocking=False):
            try:
                self._drive(self._held, TRIES)
            finally:
                self.lock.release()
        else:
            time.sleep(0)

    def _progress(self) -> None:
        self._drive(self._held, 1)
        self.device.handle_timer(self.now())
        if self.device.has_ready:
            self.flush()
