"""A wire that writes down every packet as the Ethernet frame it is, where nothing
else may capture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import time_ns

from dissectors.ethernet import Ethernet
from dissectors.ip import PROTOCOL_UDP, internet_checksum
from dissectors.udp import UDP
from lab.engine.burst import Burst
from lab.engine.outer import outer_headers
from lab.wire.wire import Wire

Sink = Callable[[bytes, int], None]
"""Takes a frame and the time of day (ns)."""

ETHERTYPES = {4: 0x0800, 16: 0x86DD}
_CHECKSUM = slice(UDP.checksum.bit_offset // 8, UDP.size)


def frame(datagram: Burst) -> bytes:
    """The Ethernet frame around one datagram; MAC addresses are made from the IP addresses."""
    path = datagram.path
    data = bytes(datagram.data)
    outer = outer_headers(path, datagram.source_port, len(data), datagram.identification)
    ip, udp = outer[: -UDP.size], bytearray(outer[-UDP.size :])
    length = (UDP.size + len(data)).to_bytes(2, "big")
    pseudo = path.source + path.destination + bytes([0, PROTOCOL_UDP]) + length
    # 0 would mean that there is no checksum (RFC 768).
    checksum = internet_checksum(pseudo + udp + data) or 0xFFFF
    udp[_CHECKSUM] = checksum.to_bytes(2, "big")
    ethernet = Ethernet(
        dst=_mac(path.destination), src=_mac(path.source), type=ETHERTYPES[len(path.source)]
    )
    return ethernet.pack() + ip + udp + data


def _mac(address: bytes) -> int:
    """A locally administered address for an IP address."""
    return 0x0200 << 32 | int.from_bytes(address[-4:], "big")


class Tap:
    """Gives `sink` each packet that is sent, and with `received` each that arrives.

    A pair of taps that write what they send makes a capture of the wire between them. Of a packet
    that arrived through a socket the time to live and the IPv4 identification are not known: 64 and
    0.
    """

    def __init__(
        self,
        wire: Wire,
        sink: Sink,
        *,
        received: bool = False,
        clock: Callable[[], int] = time_ns,
    ) -> None:
        self._wire = wire
        self._sink = sink
        self._received = received
        self._clock = clock

    def send(self, burst: Burst, now: int) -> None:
        self._write(burst)
        self._wire.send(burst, now)

    def receive(self, now: int) -> Iterator[Burst]:
        for burst in self._wire.receive(now):
            if self._received:
                self._write(burst)
            yield burst

    def next_timer(self) -> int | None:
        return self._wire.next_timer()

    def _write(self, burst: Burst) -> None:
        time = self._clock()
        for datagram in burst.datagrams():
            self._sink(frame(datagram), time)
