"""The network interface that has an address, as the kernel tells it."""

from __future__ import annotations

import ipaddress
import socket
import struct
from fcntl import ioctl
from pathlib import Path

_SIOCGIFADDR, _SIOCGIFMTU = 0x8915, 0x8921
_IF_INET6 = Path("/proc/net/if_inet6")
ETHERNET_MTU = 1500
HEADERS = 80
"""What rxe keeps free for the headers of a packet (RXE_MAX_HDR_LENGTH)."""


def interface_of(packed: bytes) -> str | None:
    """The name of the interface with the IPv4 or IPv6 address `packed`; None where none has it."""
    address = ipaddress.ip_address(packed)
    if address.is_loopback:
        return "lo"
    return _interface_of_4(packed) if address.version == 4 else _interface_of_6(packed)


def _interface_of_4(packed: bytes) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                answer = ioctl(asked, _SIOCGIFADDR, struct.pack("16s24x", name.encode()))
            except OSError:
                continue
            if answer[20:24] == packed:
                return name
    return None


def _interface_of_6(packed: bytes) -> str | None:
    lines = _IF_INET6.read_text().splitlines() if _IF_INET6.exists() else []
    found = {bytes.fromhex(line.split()[0]): line.split()[-1] for line in lines}
    return found.get(packed)


def index_of(packed: bytes) -> int:
    """The index of the interface with the address; 0 where none has it."""
    name = interface_of(packed)
    return socket.if_nametoindex(name) if name else 0


def mtu_of(packed: bytes) -> int:
    """Bytes of an IP packet that the interface with the address carries (Ethernet's 1500 where none
    has it).
    """
    name = interface_of(packed)
    if name is None:
        return ETHERNET_MTU
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        answer = ioctl(asked, _SIOCGIFMTU, struct.pack("16si20x", name.encode(), 0))
    return int(struct.unpack_from("16si", answer)[1])


def path_mtu_within(mtu: int) -> int:
    """`enum ibv_mtu`: the largest path MTU whose packets pass an interface of `mtu` whole
    (rxe_param.h).
    """
    return max(1, sum(mtu - HEADERS >= size for size in (256, 512, 1024, 2048, 4096)))


def active_mtu(packed: bytes) -> int:
    """`enum ibv_mtu` of the interface that has the address."""
    return path_mtu_within(mtu_of(packed))
