"""Extensible Record Format of Endace capture cards."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Buffer, Field, Tail, Variable
from dissectors.text import hexadecimal

TYPE_ETHERNET = 2
TYPE_INFINIBAND = 21
EXTENSION_SIZE = 8
ETHERNET_PAD = 2


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
        names={TYPE_ETHERNET: "Ethernet", TYPE_INFINIBAND: "InfiniBand"},
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
        if fixed.type == TYPE_ETHERNET:
            at += ETHERNET_PAD
        return fixed.replace(extensions=bytes(buffer[offset + cls.size : at]))
