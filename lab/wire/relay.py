"""The wire between two machines: passes Ethernet frames on, with faults, and records both sides.

    python -m lab.wire.relay --file FILE.pcapng [--plan PLAN.toml] [--truth TRUTH.jsonl]
        SERVER_FD CLIENT_FD

Each FD is a socket on which a message is a frame. The capture has an interface for each end: a
frame stands on its sender's when it leaves, on the other's when it arrives; one that was lost
stands on the first alone. Says `listening on` on standard error when it passes frames, its counts
on SIGUSR1, and ends on SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import selectors
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from captures import truth
from captures.pcapng_writer import Writer
from lab.engine.burst import Burst
from lab.wire.ethernet import Frames
from lab.wire.faults import Faults
from lab.wire.plan import FaultPlan, PlanError, load

ENDS = ("server", "client")
PEER = {"server": "client", "client": "server"}
MAX_FRAME = 65536
BATCH = 64
"""Frames taken from one end before the other gets its turn."""
_SEND_LIMIT = struct.pack("ll", 1, 0)
"""Seconds and microseconds that an end may take to accept a frame before it is lost."""


class Negotiated(dict[int, tuple[int, int]]):
    """`sq_psns` of `Plan` for the packets of `sender`, read from the client's truth log."""

    def __init__(self, sender: str, path: Path | None) -> None:
        super().__init__()
        self._sender, self._path = sender, path

    def __contains__(self, dest_qp: object) -> bool:
        if not super().__contains__(dest_qp) and self._path and self._path.exists():
            # A last line that is not whole yet is left out, and found the next time.
            with contextlib.suppress(truth.TruthError, OSError):
                for event in truth.read(self._path).named("negotiated"):
                    ends = {"client": event["local"], "server": event["remote"]}
                    own, peer = ends[self._sender], ends[PEER[self._sender]]
                    self.setdefault(peer["qpn"], (own["sq_psn"], peer["sq_psn"]))
        return super().__contains__(dest_qp)


class Port:
    """One end's socket, and its interface in the capture."""

    def __init__(self, name: str, fd: int, writer: Writer, headers: Frames) -> None:
        self.name = name
        self.socket = socket.socket(fileno=fd)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_LIMIT)
        self._writer = writer
        self._headers = headers
        self._interface = writer.interface(name, description=f"the link at the {name}")
        self.lost = 0

    def frames(self) -> Iterator[bytes]:
        """What the end has sent, recorded."""
        for _ in range(BATCH):
            try:
                frame = self.socket.recv(MAX_FRAME, socket.MSG_DONTWAIT)
            except OSError:  # nothing more, or its machine has ended
                return
            if not frame:
                return
            self._record(frame, outbound=True)
            yield frame

    def deliver(self, frame: bytes) -> None:
        """Give the end a frame; one that it does not take in time is lost."""
        try:
            self.socket.send(frame)
        except OSError:
            self.lost += 1
            return
        self._record(frame, outbound=False)

    def discard(self) -> None:
        """Forget what came before anybody listened."""
        with contextlib.suppress(OSError):
            while self.socket.recv(MAX_FRAME, socket.MSG_DONTWAIT):
                pass

    def _record(self, frame: bytes, *, outbound: bool) -> None:
        direction = 2 if outbound else 1  # seen from the end
        self._writer.packet(frame, time.time_ns(), interface=self._interface, flags=direction)

    def send(self, burst: Burst, now: int) -> None:
        """As a wire: to this end."""
        self.deliver(self._headers.frame(burst))

    def receive(self, now: int) -> Iterator[Burst]:
        """As a wire: nothing, `frames` gives it."""
        return iter(())

    def next_timer(self) -> None:
        """As a wire: nothing is due."""


class Relay:
    """Two ports and the faults between them."""

    def __init__(
        self, fds: dict[str, int], writer: Writer, plan: FaultPlan, truth_log: Path | None
    ) -> None:
        self.writer = writer
        self.headers = Frames()
        self.ports = ports = {
            name: Port(name, fd, writer, self.headers) for name, fd in fds.items()
        }
        self.wires = {
            name: Faults(ports[PEER[name]], plan.decide(name, Negotiated(name, truth_log)))
            for name in ENDS
        }

    def carry(self, name: str) -> None:
        """Take what the end `name` has sent to the other."""
        for frame in self.ports[name].frames():
            datagram = self.headers.datagram(frame)
            if datagram is None:
                self.ports[PEER[name]].deliver(frame)
            else:
                self.wires[name].send(datagram, time.monotonic_ns())

    def release(self) -> float | None:
        """Send what was delayed and is due; seconds until more is."""
        now = time.monotonic_ns()
        for wire in self.wires.values():
            for _ in wire.receive(now):
                pass
        due = [timer for wire in self.wires.values() if (timer := wire.next_timer()) is not None]
        return max(0, min(due) - now) / 1e9 if due else None

    def counts(self) -> str:
        """What was recorded, and what an end did not take in time."""
        lost = sum(port.lost for port in self.ports.values())
        return f"{self.writer.packets} frames recorded, {lost} not taken"

    def run(self, wake: socket.socket) -> None:
        """Carry frames until SIGINT arrives through `wake`."""
        with selectors.DefaultSelector() as selector:
            for name, port in self.ports.items():
                port.discard()
                selector.register(port.socket, selectors.EVENT_READ, name)
            selector.register(wake, selectors.EVENT_READ, None)
            say("listening on the link")
            while True:
                for key, _ in selector.select(self.release()):
                    if key.data is not None:
                        self.carry(key.data)
                        continue
                    signals = wake.recv(64)
                    say(self.counts())
                    if signal.SIGINT in signals:
                        return


def say(line: str) -> None:
    """Write a line to standard error at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Open the file, relay."""
    parser = argparse.ArgumentParser(prog="python -m lab.wire.relay", description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--plan", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("fds", type=int, nargs=2)
    options = parser.parse_args()
    wake, waker = socket.socketpair()
    waker.settimeout(0)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    try:
        plan = load(options.plan) if options.plan else FaultPlan()
        with options.file.open("wb", buffering=0) as stream:
            fds = dict(zip(ENDS, options.fds, strict=True))
            Relay(fds, Writer(stream), plan, options.truth).run(wake)
    except (PlanError, OSError) as error:
        sys.exit(f"relay: {error}")


if __name__ == "__main__":
    main()
