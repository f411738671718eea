"""A UDP socket bound to port 4791 of one address.

The ICRC covers the IPv4 identification, which a socket cannot set: unconnected and with path MTU
discovery on, Linux writes 0 and DF; the segments of one UDP_SEGMENT send it numbers from 0.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator

from dissectors.udp import ROCE_PORT
from lab.engine.burst import Burst, Path

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2
_IP_RECVTOS, _IP_TOS = 13, 1
_SO_RCVBUFFORCE = 33
RECEIVE_BUFFER = 8 << 20
BATCH = 64
"""Datagrams taken at one go."""

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class UdpWire:
    """Sends and receives RoCEv2 datagrams at `address` ("10.0.0.1", "fd00::1", "fe80::1%eth0").

    Raises OSError where the address is not this machine's, or its port 4791 is taken.
    """

    def __init__(self, address: str) -> None:
        self.address: IPAddress = ipaddress.ip_address(address)
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        self._scope = 0
        if isinstance(self.address, ipaddress.IPv6Address) and self.address.scope_id:
            self._scope = _interface(self.address.scope_id)
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._prepare()
            self._socket.bind(self._sockaddr(self.address.packed))
        except OSError:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        sock = self._socket
        if self.address.version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DO)
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        with contextlib.suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)

    def _sockaddr(self, packed: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
        address = ipaddress.ip_address(packed)
        if address.version == 4:
            return str(address), ROCE_PORT
        return str(address), ROCE_PORT, 0, self._scope if address.is_link_local else 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, burst: Burst, now: int) -> None:
        """Raises OSError with the kernel's reason (EMSGSIZE: the path MTU does not
        fit the link).
        """
        target = self._sockaddr(burst.path.destination)
        traffic_class = burst.path.traffic_class
        ancillary = []
        if traffic_class and self.address.version == 4:
            ancillary = [(socket.IPPROTO_IP, _IP_TOS, traffic_class.to_bytes(4, "little"))]
        elif traffic_class:
            value = traffic_class.to_bytes(4, "little")
            ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, value)]
        for datagram in burst.datagrams():
            self._socket.sendmsg([datagram.data], ancillary, 0, target)

    def receive(self, now: int) -> Iterator[Burst]:
        for _ in range(BATCH):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(65535, 256)
            except BlockingIOError:
                return
            except OSError:
                # An ICMP error of an earlier send; the transport's own timeouts deal with that.
                continue
            traffic_class = int.from_bytes(ancillary[0][2], "little") if ancillary else 0
            source = ipaddress.ip_address(sender[0].partition("%")[0]).packed
            path = Path(source, self.address.packed, traffic_class)
            yield Burst(path, sender[1], data, max(1, len(data)))

    def next_timer(self) -> int | None:
        return None


def _interface(scope: str) -> int:
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
