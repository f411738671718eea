"""The wire between two machines: passes Ethernet frames on, with faults, and records both sides.

    python -m lab.wire.relay --file FILE.pcapng [--plan PLAN.toml] [--truth TRUTH.jsonl]
        SERVER_FD[,SERVER_FD] CLIENT_FD[,CLIENT_FD]

Each FD is a socket on which a message is a frame; of ends with two see lab.wire.port. The capture
has an interface for each end: a frame stands on its sender's when it leaves, on the other's when it
arrives; one that was lost stands on the first alone. Says `listening on` on standard error when it
passes frames, its counts on SIGUSR1, and ends on SIGINT.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import signal
import socket
import sys
import time
from pathlib import Path

from captures import truth
from captures.pcapng_writer import Writer
from lab.wire.ethernet import Frames
from lab.wire.faults import Faults
from lab.wire.plan import FaultPlan, PlanError, load
from lab.wire.port import Port

ENDS = ("server", "client")
PEER = {"server": "client", "client": "server"}


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


class Relay:
    """Two ports and the faults between them."""

    def __init__(
        self,
        fds: dict[str, list[int]],
        writer: Writer,
        plan: FaultPlan,
        truth_log: Path | None,
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

    def carry(self, name: str, source: socket.socket) -> None:
        """Take what the end `name` has sent through `source` to the other."""
        for frame in self.ports[name].frames(source):
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

    def heard(self) -> list[str]:
        """Whose frames are taken: who sends to an end that takes none has to wait too.

        Unless both would have to wait, for each other, and for ever.
        """
        heard = [name for name in ENDS if not self.ports[PEER[name]].full]
        return heard or list(ENDS)

    def run(self, wake: socket.socket) -> None:
        """Carry frames until SIGINT arrives through `wake`."""
        for port in self.ports.values():
            port.discard()
        say("listening on the link")
        while True:
            heard = [(name, each) for name in self.heard() for each in self.ports[name].sockets]
            owed = [port.waiting[0][0] for port in self.ports.values() if port.waiting]
            readable, writable, _ = select.select(
                [wake, *(each for _, each in heard)], owed, [], self.release()
            )
            for name, each in heard:
                if each in readable:
                    self.carry(name, each)
            if writable:
                for port in self.ports.values():
                    port.flush()
            if wake in readable:
                signals = wake.recv(64)
                say(self.counts())
                if signal.SIGINT in signals:
                    return


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


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
    parser.add_argument("fds", metavar="SERVER_FDS CLIENT_FDS", type=_numbers, nargs=2)
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
