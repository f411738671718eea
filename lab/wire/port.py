"""Where a machine is plugged into the relay."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence

from captures.pcapng_writer import Writer
from lab.engine.burst import Burst
from lab.wire.ethernet import Frames

MAX_FRAME = 65536
BATCH = 64
"""Frames taken from one end before the other gets its turn."""
FULL = 256
"""Frames waiting for an end from which on the other is not listened to."""
LIMIT = 4096
"""Frames that may wait for an end; the next is lost."""
OUTBOUND, INBOUND = 2, 1  # pcapng's packet flags, seen from the end


class Port:
    """One end's sockets, its interface in the capture, and the frames that wait for it.

    Of two sockets the first is for its network stack, the second for its RDMA device, which takes
    RoCEv2 past that stack; a machine that has both behind one network card has one socket.
    """

    def __init__(self, name: str, fds: Sequence[int], writer: Writer, headers: Frames) -> None:
        self.name = name
        self.sockets = [socket.socket(fileno=fd) for fd in fds]
        self.waiting: deque[tuple[socket.socket, bytes]] = deque()
        self._writer = writer
        self._headers = headers
        self._interface = writer.interface(name, description=f"the link at the {name}")
        self.lost = 0
        for each in self.sockets:
            each.settimeout(0)

    @property
    def full(self) -> bool:
        """Whether who sends to this end should wait."""
        return len(self.waiting) >= FULL

    def frames(self, source: socket.socket) -> Iterator[bytes]:
        """What the end has sent through one of its sockets, recorded."""
        for _ in range(BATCH):
            try:
                frame = source.recv(MAX_FRAME)
            except OSError:  # nothing more, or its machine has ended
                return
            if not frame:
                return
            self._record(frame, OUTBOUND)
            yield frame

    def deliver(self, frame: bytes, *, roce: bool = False) -> None:
        """Give the end a frame, as soon as it takes one."""
        if len(self.waiting) >= LIMIT:
            self.lost += 1
            return
        self.waiting.append((self.sockets[-1 if roce else 0], frame))
        self.flush()

    def flush(self) -> None:
        """Give it what waits and it takes now."""
        while self.waiting:
            target, frame = self.waiting[0]
            try:
                target.send(frame)
            except BlockingIOError:
                return
            except OSError:  # its machine has ended
                self.lost += 1
            else:
                self._record(frame, INBOUND)
            self.waiting.popleft()

    def discard(self) -> None:
        """Forget what was sent before anybody listened."""
        for each in self.sockets:
            with contextlib.suppress(OSError):
                while each.recv(MAX_FRAME):
                    pass

    def _record(self, frame: bytes, direction: int) -> None:
        self._writer.packet(frame, time.time_ns(), interface=self._interface, flags=direction)

    def send(self, burst: Burst, now: int) -> None:
        """As a wire: to this end."""
        self.deliver(self._headers.frame(burst), roce=True)

    def receive(self, now: int) -> Iterator[Burst]:
        """As a wire: nothing, `frames` gives it."""
        return iter(())

    def next_timer(self) -> None:
        """As a wire: nothing is due."""
