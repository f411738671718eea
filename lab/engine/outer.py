"""The IP and UDP headers around a datagram, which the engine never sees but the ICRC covers."""

from __future__ import annotations

from functools import lru_cache

from dissectors import icrc
from dissectors.ip import PROTOCOL_UDP, IPv4, IPv6
from dissectors.udp import ROCE_PORT, UDP
from lab.engine.burst import Path


@lru_cache(maxsize=4096)
def outer_headers(path: Path, source_port: int, length: int, identification: int) -> bytes:
    """IP and UDP header of a datagram of `length` bytes; the UDP checksum is left 0."""
    udp = UDP(src_port=source_port, dst_port=ROCE_PORT, length=UDP.size + length)
    dscp, ecn = path.traffic_class >> 2, path.traffic_class & 3
    ip: IPv4 | IPv6
    if len(path.source) == 4:
        ip = IPv4(
            dscp=dscp,
            ecn=ecn,
            id=identification,
            ttl=path.hop_limit,
            protocol=PROTOCOL_UDP,
            src=int.from_bytes(path.source, "big"),
            dst=int.from_bytes(path.destination, "big"),
        )
    else:
        ip = IPv6(
            dscp=dscp,
            ecn=ecn,
            flow_label=path.flow_label,
            next_header=PROTOCOL_UDP,
            hop_limit=path.hop_limit,
            src=path.source,
            dst=path.destination,
        )
    return ip.filled(UDP.size + length).pack() + udp.pack()


@lru_cache(maxsize=4096)
def outer_state(path: Path, source_port: int, length: int, identification: int) -> int:
    """ICRC state after those headers."""
    outer = outer_headers(path, source_port, length, identification)
    ip, udp = outer[: -UDP.size], outer[-UDP.size :]
    state = icrc.ipv4_state(ip) if len(path.source) == 4 else icrc.ipv6_state(ip)
    return icrc.udp_state(udp, state)


def grh(path: Path, length: int) -> bytes:
    """The 40 bytes before a UD message of `length` bytes: the IPv6 header, or 20 zeros and the IPv4
    header.
    """
    size = IPv4.size if len(path.source) == 4 else IPv6.size
    return outer_headers(path, ROCE_PORT, length, 0)[:size].rjust(40, b"\0")
