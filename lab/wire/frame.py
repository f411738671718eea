"""A wire of Ethernet frames: a socket on which a message is a frame, as QEMU has them.

Here nothing of the IP header is hidden: the identification, which the ICRC covers, is known of
every datagram that arrives, so a stranger's ICRC can be checked over IPv4 too.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from dissectors.ethernet import Ethernet
from lab.engine.burst import Burst
from lab.engine.outer import outer_headers
from lab.engine.requester import WINDOW
from lab.wire.ethernet import ETHERTYPES, datagram_of
from lab.wire.udp import BATCH

_MAX_FRAME = 65536
_SEND_LIMIT = struct.pack("ll", 1, 0)
"""Seconds and microseconds that the link may take to accept a frame before it is lost."""


class FrameWire:
    """RoCEv2 datagrams of one address in frames on the socket `fd`, which it takes over.

    `mac` is this end's hardware address and `neighbour` that of everybody else, as on a link with
    one other machine or one router ("02:00:00:00:00:01").
    """

    def __init__(self, address: str, fd: int, mac: str, neighbour: str) -> None:
        self.address = ipaddress.ip_address(address)
        self._socket = socket.socket(fileno=fd)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_LIMIT)
        kind = ETHERTYPES[self.address.version]
        self._ethernet = Ethernet(dst=_number(neighbour), src=_number(mac), type=kind).pack()

    def room(self, payload: int) -> int:
        """Any number: who sends too much has to wait."""
        return WINDOW

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, burst: Burst, now: int) -> None:
        """Raises OSError where the link takes no frame for a second."""
        for datagram in burst.datagrams():
            outer = outer_headers(
                datagram.path, datagram.source_port, len(datagram.data), datagram.identification
            )
            self._socket.sendmsg([self._ethernet, outer, datagram.data])

    def receive(self, now: int) -> Iterator[Burst]:
        for _ in range(BATCH):
            try:
                frame = self._socket.recv(_MAX_FRAME, socket.MSG_DONTWAIT)
            except OSError:
                return
            found = datagram_of(frame)
            if found is not None and found[0].path.destination == self.address.packed:
                yield found[0]

    def next_timer(self) -> int | None:
        return None


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)
