"""Internet Protocol, versions 4 and 6."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Data, Field, Header, Span, Tail, Variable
from dissectors.text import hexadecimal, ipv4, ipv6

PROTOCOL_TCP = 6
PROTOCOL_UDP = 17
PROTOCOL_GRE = 47
ECN_CE = 3
"""Congestion experienced: a switch on the way was full."""
ECN_NAMES = {0: "not ECT", 1: "ECT(1)", 2: "ECT(0)", ECN_CE: "CE"}


class IPv4(Variable):
    """Internet Protocol version 4 (RFC 791; ECN: RFC 3168)."""

    version = Field(4, "IP version, 4", default=4, tshark="ip.version")
    ihl = Field(4, "header length in 4-byte words", default=AUTO)
    dscp = Field(6, "differentiated services code point", variant=True, tshark="ip.dsfield.dscp")
    ecn = Field(
        2,
        "explicit congestion notification",
        variant=True,
        names=ECN_NAMES,
        tshark="ip.dsfield.ecn",
    )
    total_length = Field(16, "bytes of header and payload", default=AUTO, tshark="ip.len")
    id = Field(16, "identification, covered by the ICRC", text=hexadecimal(4), tshark="ip.id")
    reserved = Field(1, "reserved", tshark="ip.flags.rb")
    df = Field(1, "don't fragment", default=1, tshark="ip.flags.df")
    mf = Field(1, "more fragments", tshark="ip.flags.mf")
    fragment_offset = Field(13, "offset of this fragment in 8-byte units")
    ttl = Field(8, "time to live", default=64, variant=True, tshark="ip.ttl")
    protocol = Field(8, "what follows; 17 is UDP", default=AUTO, tshark="ip.proto")
    checksum = Field(
        16, "header checksum", default=AUTO, variant=True, text=hexadecimal(4), tshark="ip.checksum"
    )
    src = Field(32, "source address", text=ipv4, tshark="ip.src")
    dst = Field(32, "destination address", text=ipv4, tshark="ip.dst")
    options = Tail("options")

    LENGTH = Span(("ihl",), scale=4)
    EXTENT = Span(("total_length",))
    LIMITS = {"version": (4, 4), "ihl": (5, 15)}

    @property
    def fragment(self) -> bool:
        """Whether this is a part of a datagram (RFC 791, 3.2)."""
        return bool(self.mf or self.fragment_offset)

    def filled(self, after: int) -> Self:
        header = self
        if header.ihl == AUTO:
            header = header.replace(ihl=(self.size + len(self.options)) // 4)
        if header.total_length == AUTO:
            header = header.replace(total_length=header.header_length + after)
        if header.checksum == AUTO:
            header = header.replace(checksum=internet_checksum(header.pack()))
        return header


class IPv6(Header):
    """Internet Protocol version 6 (RFC 8200)."""

    version = Field(4, "IP version, 6", default=6, tshark="ipv6.version")
    dscp = Field(6, "differentiated services code point", variant=True, tshark="ipv6.tclass.dscp")
    ecn = Field(
        2,
        "explicit congestion notification",
        variant=True,
        names=ECN_NAMES,
        tshark="ipv6.tclass.ecn",
    )
    flow_label = Field(20, "flow label", variant=True, text=hexadecimal(5), tshark="ipv6.flow")
    payload_length = Field(16, "bytes after this header", default=AUTO, tshark="ipv6.plen")
    next_header = Field(8, "what follows; 17 is UDP", default=AUTO, tshark="ipv6.nxt")
    hop_limit = Field(8, "routers it may still cross", default=64, variant=True, tshark="ipv6.hlim")
    src = Data(16, "source address", text=ipv6, tshark="ipv6.src")
    dst = Data(16, "destination address", text=ipv6, tshark="ipv6.dst")

    EXTENT = Span(("payload_length",), base=40)
    LIMITS = {"version": (6, 6)}

    def filled(self, after: int) -> Self:
        return self.replace(payload_length=after) if self.payload_length == AUTO else self


class IPv6Extension(Variable):
    """IPv6 hop-by-hop, routing or destination options header (RFC 8200, 4.3, 4.4, 4.6)."""

    next_header = Field(8, "what follows", default=AUTO)
    units = Field(8, "length in 8-byte units beyond the first", default=AUTO)
    body = Tail("options or routing data")

    LENGTH = Span(("units",), scale=8, base=8)

    def filled(self, after: int) -> Self:
        units = (self.size + len(self.body)) // 8 - 1
        return self.replace(units=units) if self.units == AUTO else self


class IPv6Authentication(Variable):
    """IPv6 authentication header (RFC 4302, 2)."""

    next_header = Field(8, "what follows", default=AUTO)
    words = Field(8, "length in 4-byte words less 2", default=AUTO)
    body = Tail("index, sequence number and check value")

    LENGTH = Span(("words",), scale=4, base=8)

    def filled(self, after: int) -> Self:
        words = (self.size + len(self.body)) // 4 - 2
        return self.replace(words=words) if self.words == AUTO else self


class IPv6Fragment(Header):
    """IPv6 fragment header (RFC 8200, 4.5)."""

    next_header = Field(8, "what follows", default=AUTO)
    reserved8 = Field(8, "reserved")
    fragment_offset = Field(
        13, "offset of this fragment in 8-byte units", tshark="ipv6.fraghdr.offset"
    )
    reserved2 = Field(2, "reserved")
    mf = Field(1, "more fragments", tshark="ipv6.fraghdr.more")
    id = Field(32, "identification", text=hexadecimal(8), tshark="ipv6.fraghdr.ident")

    @property
    def fragment(self) -> bool:
        """Whether this is a part of a datagram (an atomic fragment, RFC 6946, is not)."""
        return bool(self.mf or self.fragment_offset)


def internet_checksum(data: bytes, start: int = 0) -> int:
    """Ones' complement checksum of `data` on top of the sum `start` (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total = start + sum(memoryview(padded).cast("B")[0::2]) * 256 + sum(padded[1::2])
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
