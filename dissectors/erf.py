"""Extensible Record Format of Endace capture cards."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Buffer, Field, Tail, Variable
from dissectors.text import hexadecimal

TYPE_ETHERNET = 2
TYPE_INFINIBAND = 21
TYPE_IPV4 = 22
TYPE_IPV6 = 23
TYPE_PAD = 48

TYPES = {
    1: "HDLC",
    TYPE_ETHERNET: "Ethernet",
    3: "ATM",
    4: "AAL5",
    5: "multi-channel HDLC",
    6: "multi-channel raw",
    7: "multi-channel ATM",
    8: "multi-channel raw channel",
    9: "multi-channel AAL5",
    10: "coloured HDLC",
    11: "coloured Ethernet",
    12: "multi-channel AAL2",
    13: "IP counter",
    14: "TCP flow counter",
    15: "DSM-coloured HDLC",
    16: "DSM-coloured Ethernet",
    17: "coloured multi-channel HDLC",
    18: "AAL2",
    19: "coloured, hashed HDLC",
    20: "coloured, hashed Ethernet",
    TYPE_INFINIBAND: "InfiniBand",
    TYPE_IPV4: "IPv4",
    TYPE_IPV6: "IPv6",
    24: "raw link",
    25: "InfiniBand link",
    27: "metadata",
    28: "Omni-Path SnC",
    29: "Omni-Path 9B",
    TYPE_PAD: "padding",
}
ETHERNETS = (TYPE_ETHERNET, 11, 16, 20)

EXTENSION_SIZE = 8
SUBHEADERS = dict.fromkeys(ETHERNETS, 2) | dict.fromkeys((5, 6, 7, 8, 9, 12, 17, 18), 4)
"""Type of record -> bytes between the extension headers and the packet, where there are any."""


class ERF(Variable):
    """Extensible Record Format (Endace ERF types reference): one record, its packet follows."""

    timestamp = Field(
        64, "little-endian, seconds since 1970 in units of 2^-32", text=hexadecimal(16)
    )
    more = Field(1, "extension headers follow", tshark="erf.types.ext_header")
    type = Field(
        7,
        "kind of record",
        default=AUTO,
        names=TYPES,
        tshark="erf.types.type",
    )
    flags = Field(8, "capture interface and errors", default=4, tshark="erf.flags")
    record_length = Field(16, "bytes of the record, this header included", tshark="erf.rlen")
    loss = Field(16, "packets lost before this one, or a colour", tshark="erf.lctr")
    wire_length = Field(16, "bytes of the packet on the wire", tshark="erf.wlen")
    extensions = Tail("extension headers of 8 bytes; for Ethernet two bytes of padding after them")

    @property
    def header_length(self) -> int:
        return self.size + len(self.extensions)

    @classmethod
    def parse(cls, buffer: Buffer, offset: int = 0) -> Self:
        """As Header.parse; each extension header says by its top bit whether another follows."""
        fixed = super().parse(buffer, offset)
        at = offset + cls.size
        more = fixed.more
        while more and at < len(buffer):
            more = buffer[at] >> 7
            at += EXTENSION_SIZE
        at += SUBHEADERS.get(fixed.type, 0)
        return fixed.replace(extensions=bytes(buffer[offset + cls.size : at]))
