"""A UDP socket bound to port 4791 of one address.

The ICRC covers the IPv4 identification, which a socket cannot set: unconnected and with path MTU
discovery on, Linux writes 0 and DF; the segments of one UDP_SEGMENT send it numbers from 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache

from dissectors.udp import ROCE_PORT
from lab.engine.burst import Burst, Path

_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2
_IP_TOS, _IP_TTL, _IP_RECVTOS = 1, 2, 13
_SOL_UDP, _UDP_SEGMENT, _UDP_GRO = 17, 103, 104
_SO_RCVBUFFORCE = 33
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
RECEIVE_BUFFER = 8 << 20
_AROUND, _SK_BUFF = 512, 256
"""Bytes the kernel needs with a datagram's own in one block, and in a block of their own."""
BATCH = 64
"""Datagrams taken at one go."""
DEFAULT_HOPS = 64

Control = tuple[int, int, bytes]
"""A control message: level, type, data."""


class UdpWire:
    """Sends and receives RoCEv2 datagrams at `address` ("10.0.0.1", "fd00::1", "fe80::1%eth0").

    With `gather` the kernel may hand over several datagrams of one size at a time (UDP_GRO): for a
    reader that takes them apart. Raises OSError where the address is not this machine's, or its
    port 4791 is taken.
    """

    def __init__(self, address: str, *, gather: bool = False) -> None:
        self.address = ipaddress.ip_address(address)
        family = socket.AF_INET if self.address.version == 4 else socket.AF_INET6
        self._scope = 0
        self._gather = gather
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
        if self._gather:
            sock.setsockopt(_SOL_UDP, _UDP_GRO, 1)

    @property
    def receive_buffer(self) -> int:
        """Bytes of datagrams, with the kernel's own bookkeeping, that may wait to be received."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def room(self, payload: int) -> int:
        """How many datagrams of `payload` bytes may wait to be received; at least 1.

        The kernel counts the block that one is kept in, which is of a power of two.
        """
        block = 1 << (payload + _AROUND - 1).bit_length()
        return max(1, self.receive_buffer // (block + _SK_BUFF))

    def _sockaddr(self, packed: bytes) -> tuple[str, int] | tuple[str, int, int, int]:
        address = ipaddress.ip_address(packed)
        if address.version == 4:
            return str(address), ROCE_PORT
        return str(address), ROCE_PORT, 0, self._scope if address.is_link_local else 0

    def surroundings(self, path: Path) -> tuple[bytes, bytes]:
        """C's socket address and control messages of a datagram on `path`."""
        port = ROCE_PORT.to_bytes(2, "big")
        name = struct.pack("=H", self._socket.family) + port
        if len(path.destination) == 4:
            name += path.destination + bytes(8)
        else:
            scope = self._sockaddr(path.destination)[-1]
            name += bytes(4) + path.destination + struct.pack("=I", scope)
        control = (
            struct.pack("=qii", 16 + len(data), level, kind) + data.ljust(8, b"\0")
            for level, kind, data in controls(path)
        )
        return name, b"".join(control)

    def lose(self, rate: float) -> None:
        """Have the kernel drop each arriving datagram with the probability `rate` (0 to below 1),
        one by one even where they were sent together.
        """
        gather = self._gather and not rate
        self._socket.setsockopt(_SOL_UDP, _UDP_GRO, gather)
        if not rate:
            with contextlib.suppress(FileNotFoundError):
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
            return
        program = b"".join(struct.pack("=HBBI", *step) for step in drops(rate))
        code = ctypes.create_string_buffer(program, len(program))
        described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, burst: Burst, now: int) -> None:
        """Raises OSError with the kernel's reason (EMSGSIZE: the path MTU does not
        fit the link).
        """
        control = controls(burst.path)
        if len(burst.data) > burst.segment:
            size = burst.segment.to_bytes(2, "little")
            control = [*control, (_SOL_UDP, _UDP_SEGMENT, size)]
        self._socket.sendmsg([burst.data], control, 0, self._sockaddr(burst.path.destination))

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


def drops(rate: float) -> list[tuple[int, int, int, int]]:
    """A socket filter that drops the part `rate` of all datagrams (bpf(4): code, jt, jf, k)."""
    load_random, jump_if_at_least, give = 0x20, 0x35, 0x06
    random_word = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
    return [
        (load_random, 0, 0, random_word),
        (jump_if_at_least, 0, 1, int(rate * (1 << 32))),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    ]


@lru_cache(maxsize=1024)
def controls(path: Path) -> list[Control]:
    """What must be said beside the data, where it is not the socket's default."""
    four = len(path.destination) == 4
    level = socket.IPPROTO_IP if four else socket.IPPROTO_IPV6
    asked = (
        (_IP_TOS if four else socket.IPV6_TCLASS, path.traffic_class, 0),
        (_IP_TTL if four else socket.IPV6_HOPLIMIT, path.hop_limit, DEFAULT_HOPS),
    )
    return [
        (level, kind, value.to_bytes(4, "little")) for kind, value, usual in asked if value != usual
    ]


def _interface(scope: str) -> int:
    return int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
