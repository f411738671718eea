"""Datagrams out of Ethernet frames and back into the same ones."""

from __future__ import annotations

from dissectors.ethernet import Ethernet
from dissectors.ip import PROTOCOL_UDP, IPv4, IPv6, internet_checksum
from dissectors.udp import ROCE_PORT, UDP
from lab.engine.burst import Burst, Path

KEPT = 1 << 16
"""Frames whose headers are remembered: so many may pass one that is delayed."""
ETHERTYPES = {4: 0x0800, 6: 0x86DD}
"""By IP version."""

_NETWORKS: dict[int, type[IPv4 | IPv6]] = {ETHERTYPES[4]: IPv4, ETHERTYPES[6]: IPv6}


def datagram_of(frame: bytes) -> tuple[Burst, int] | None:
    """The RoCEv2 datagram in an Ethernet frame and where in it BTH begins.

    None where it holds something else; a frame with VLAN tags, IP fragments or extension headers is
    something else here.
    """
    network = _NETWORKS.get(int.from_bytes(frame[12:14], "big"))
    if network is None or len(frame) < Ethernet.size + network.size:
        return None
    path, protocol, identification, size = _read(network.parse(frame, Ethernet.size))
    start = Ethernet.size + size + UDP.size
    if protocol != PROTOCOL_UDP or len(frame) < start:
        return None
    udp = UDP.parse(frame, start - UDP.size)
    end = start - UDP.size + udp.length
    if udp.dst_port != ROCE_PORT or not start <= end <= len(frame):
        return None
    data = frame[start:end]
    return Burst(path, udp.src_port, data, max(1, len(data)), identification), start


def _read(ip: IPv4 | IPv6) -> tuple[Path, int, int, int]:
    """Path, next protocol (of a fragment: 0), identification and header length."""
    traffic_class = ip.dscp << 2 | ip.ecn
    if isinstance(ip, IPv6):
        path = Path(ip.src, ip.dst, traffic_class, ip.hop_limit, ip.flow_label)
        return path, ip.next_header, 0, IPv6.size
    path = Path(ip.src.to_bytes(4, "big"), ip.dst.to_bytes(4, "big"), traffic_class, ip.ttl)
    return path, 0 if ip.fragment else ip.protocol, ip.id, ip.header_length


class Frames:
    """Takes RoCEv2 datagrams out of frames and remembers what stood before them.

    A datagram's `identification` is the number of its frame here, not that in the IP header.
    """

    def __init__(self) -> None:
        self._heads = [b""] * KEPT
        self._number = 0

    def datagram(self, frame: bytes) -> Burst | None:
        """The RoCEv2 datagram in an Ethernet frame; None where it holds something else."""
        found = datagram_of(frame)
        if found is None:
            return None
        datagram, start = found
        self._number = (self._number + 1) % KEPT
        self._heads[self._number] = frame[:start]
        return datagram._replace(identification=self._number)

    def frame(self, datagram: Burst) -> bytes:
        """The frame around `datagram` as it is now: damaged, or marked by its path."""
        head = bytearray(self._heads[datagram.identification])
        at = Ethernet.size
        traffic_class = datagram.path.traffic_class
        if head[at] >> 4 == 6:
            head[at] = 0x60 | traffic_class >> 4
            head[at + 1] = (traffic_class & 15) << 4 | head[at + 1] & 15
        elif head[at + 1] != traffic_class:
            end = at + 4 * (head[at] & 15)
            head[at + 1] = traffic_class
            head[at + 10 : at + 12] = b"\0\0"
            head[at + 10 : at + 12] = internet_checksum(bytes(head[at:end])).to_bytes(2, "big")
        return bytes(head) + bytes(datagram.data)
