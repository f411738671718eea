"""User Datagram Protocol."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Field, Header, Span
from dissectors.text import hexadecimal

ROCE_PORT = 4791
"""UDP destination port of RoCEv2 (IBTA vol. 1, A17.4; IANA)."""


class UDP(Header):
    """User Datagram Protocol (RFC 768)."""

    src_port = Field(
        16, "source port: entropy for routing, no clue to the protocol", tshark="udp.srcport"
    )
    dst_port = Field(16, "destination port; 4791 is RoCEv2", default=AUTO, tshark="udp.dstport")
    length = Field(16, "bytes of this header and its payload", default=AUTO, tshark="udp.length")
    checksum = Field(
        16, "checksum; 0 is none", variant=True, text=hexadecimal(4), tshark="udp.checksum"
    )

    EXTENT = Span(("length",))

    def filled(self, after: int) -> Self:
        return self.replace(length=self.size + after) if self.length == AUTO else self
