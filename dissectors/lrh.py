"""Local Route Header of native InfiniBand."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Field, Header, Span

NEXT_BTH = 2
NEXT_GRH = 3


class LRH(Header):
    """Local Route Header (IBTA vol. 1, 7.7)."""

    vl = Field(4, "virtual lane", variant=True, tshark="infiniband.lrh.vl")
    lver = Field(4, "link version, 0", tshark="infiniband.lrh.lver")
    sl = Field(4, "service level", tshark="infiniband.lrh.sl")
    reserved2 = Field(2, "reserved", tshark="infiniband.lrh.reserved2")
    lnh = Field(
        2,
        "link next header",
        default=AUTO,
        names={0: "raw", 1: "IP", NEXT_BTH: "BTH", NEXT_GRH: "GRH"},
        tshark="infiniband.lrh.lnh",
    )
    dlid = Field(16, "destination local identifier", tshark="infiniband.lrh.dlid")
    reserved5 = Field(5, "reserved", tshark="infiniband.lrh.reserved5")
    packet_length = Field(
        11,
        "4-byte words from this header to the ICRC, both included",
        default=AUTO,
        tshark="infiniband.lrh.pktlen",
    )
    slid = Field(16, "source local identifier", tshark="infiniband.lrh.slid")

    EXTENT = Span(("packet_length",), scale=4)

    def filled(self, after: int) -> Self:
        words = (self.size + after) // 4
        return self.replace(packet_length=words) if self.packet_length == AUTO else self
