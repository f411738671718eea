"""Records an interface through scapy, in the manner of tcpdump.

    python -m lab.recorder.sniffer INTERFACE FILE.pcap EXPRESSION

For machines without tcpdump. Says `listening on` when it does, its counts on SIGUSR1, and ends on
SIGINT.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import struct
import sys

from scapy.arch.linux import L2ListenSocket, L2Socket
from scapy.utils import RawPcapWriter

_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_SO_RCVBUFFORCE = 33
_BUFFER = 64 << 20
_MTU = 0xFFFF
_BATCH = 1000
_NANOSECONDS = 1_000_000_000


class Sniffer:
    """A packet socket whose frames go to a pcap file as they come."""

    def __init__(self, interface: str, path: str, expression: str) -> None:
        # On loopback every frame is seen twice, going out and coming in; L2Socket skips the first.
        opener = L2Socket if interface == "lo" else L2ListenSocket
        self.source = opener(iface=interface, promisc=False, filter=expression or None)
        self.source.ins.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with contextlib.suppress(PermissionError):  # beyond the system's limit, for root
            self.source.ins.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self.source.ins.settimeout(0)
        self.writer = RawPcapWriter(path, linktype=1, nano=True)
        self.writer.write_header(None)
        self._statistics()  # of frames that came before the filter was attached
        self.written = self.skipped = self.received = self.dropped = 0

    def drain(self) -> None:
        """Write the frames that have come, a bounded number of them."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(_BATCH):
                self._take()
        self.writer.flush()

    def _take(self) -> None:
        _, frame, seconds = self.source.recv_raw(_MTU)
        if frame is None:
            self.skipped += 1
            return
        whole, nanoseconds = divmod(round(seconds * _NANOSECONDS), _NANOSECONDS)
        self.writer.write_packet(frame, sec=whole, usec=nanoseconds)
        self.written += 1

    def counts(self) -> str:
        """What tcpdump says at the end."""
        received, dropped = self._statistics()
        self.received += received
        self.dropped += dropped
        return (
            f"{self.written} packets captured, {self.received - self.skipped} packets received by "
            f"filter, {self.dropped} packets dropped by kernel"
        )

    def _statistics(self) -> tuple[int, int]:
        """Frames received and dropped since the last time of asking (packet(7))."""
        raw = self.source.ins.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        received, dropped = struct.unpack("II", raw)
        return received, dropped

    def close(self) -> None:
        """Close the socket and the file."""
        self.source.close()
        self.writer.close()


def say(line: str) -> None:
    """Write a line to standard error at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    """Sniff until SIGINT."""
    interface, path, expression = sys.argv[1:]
    wake, waker = socket.socketpair()
    waker.settimeout(0)
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    try:
        sniffer = Sniffer(interface, path, expression)
    except Exception as error:  # scapy raises bare Exceptions of its own
        sys.exit(f"scapy: {error}")
    say(f"listening on {interface}")
    stopping = False
    while not stopping:
        readable, _, _ = select.select([sniffer.source.ins, wake], [], [])
        if sniffer.source.ins in readable:
            sniffer.drain()
        if wake in readable:
            signals = wake.recv(64)
            stopping = signal.SIGINT in signals
            say(sniffer.counts())
    sniffer.close()


if __name__ == "__main__":
    main()
