"""A TCP connection's frames, rebuilt from the bytes that went through it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from dissectors.ethernet import Ethernet
from dissectors.header import Header
from dissectors.ip import PROTOCOL_TCP, IPv4, IPv6, internet_checksum
from dissectors.packet import Packet
from dissectors.tcp import TCP

MSS = 1400
"""Bytes of payload in a rebuilt segment, at most: fits a link of MTU 1500 with IPv6."""

_SEQUENCE_SPACE = 1 << 32


@dataclass(slots=True)
class Side:
    """One end: address, port, and the sequence number of the next byte it sends."""

    ip: str
    port: int
    sequence: int = 0


@dataclass(slots=True)
class Connection:
    """Both ends; the first is the one that opened it. Each call gives the frames to record."""

    opener: Side
    listener: Side
    _sides: tuple[Side, Side] = field(init=False)

    def __post_init__(self) -> None:
        self._sides = (self.opener, self.listener)

    def opened(self) -> list[bytes]:
        """The three-way handshake."""
        frames = [self._frame(0, syn=1, ack=0)]
        self.opener.sequence += 1
        frames.append(self._frame(1, syn=1))
        self.listener.sequence += 1
        return [*frames, self._frame(0)]

    def data(self, sender: int, data: bytes) -> list[bytes]:
        """`data` from `sender` (0 opener, 1 listener), in segments of at most MSS bytes."""
        frames = []
        for start in range(0, len(data), MSS):
            piece = data[start : start + MSS]
            frames.append(self._frame(sender, piece, psh=int(start + MSS >= len(data))))
            self._advance(sender, len(piece))
        return frames

    def closed(self, sender: int) -> list[bytes]:
        """`sender` will send no more."""
        frames = [self._frame(sender, fin=1)]
        self._advance(sender, 1)
        return [*frames, self._frame(1 - sender)]

    def _advance(self, sender: int, count: int) -> None:
        side = self._sides[sender]
        side.sequence = (side.sequence + count) % _SEQUENCE_SPACE

    def _frame(
        self, sender: int, payload: bytes = b"", *, syn: int = 0, ack: int = 1, **flags: int
    ) -> bytes:
        source, target = self._sides[sender], self._sides[1 - sender]
        tcp = TCP(
            src_port=source.port,
            dst_port=target.port,
            sequence=source.sequence,
            acknowledgement=target.sequence if ack else 0,
            window=0xFFFF,
            syn=syn,
            ack=ack,
            **flags,
        )
        ip, pseudo = _ip(source.ip, target.ip, tcp.size + len(payload))
        tcp = tcp.replace(checksum=internet_checksum(pseudo + tcp.pack() + payload))
        return Packet((Ethernet(), ip, tcp), payload).build()


def _ip(source: str, target: str, length: int) -> tuple[Header, bytes]:
    """The IP header and TCP's pseudo header (RFC 9293, 3.1; RFC 8200, 8.1)."""
    src, dst = ipaddress.ip_address(source), ipaddress.ip_address(target)
    addresses = src.packed + dst.packed
    if src.version == 4:
        pseudo = addresses + bytes([0, PROTOCOL_TCP]) + length.to_bytes(2, "big")
        return IPv4(src=int(src), dst=int(dst), protocol=PROTOCOL_TCP), pseudo
    pseudo = addresses + length.to_bytes(4, "big") + PROTOCOL_TCP.to_bytes(4, "big")
    return IPv6(src=src.packed, dst=dst.packed, next_header=PROTOCOL_TCP), pseudo
