"""Generic Routing Encapsulation."""

from __future__ import annotations

from dissectors.header import AUTO, Field, Span, Tail, Variable
from dissectors.text import hexadecimal


class GRE(Variable):
    """Generic Routing Encapsulation (RFC 2784; key and sequence number RFC 2890)."""

    c = Field(1, "checksum present", tshark="gre.flags.checksum")
    r = Field(1, "routing present (RFC 1701)", tshark="gre.flags.routing")
    k = Field(1, "key present", tshark="gre.flags.key")
    s = Field(1, "sequence number present", tshark="gre.flags.sequence_number")
    reserved9 = Field(9, "reserved")
    version = Field(3, "version, 0", tshark="gre.flags.version")
    protocol = Field(
        16, "EtherType of what follows", default=AUTO, text=hexadecimal(4), tshark="gre.proto"
    )
    optional = Tail("checksum, key and sequence number, each where its bit is set")

    LENGTH = Span(("c", "k", "s"), scale=4, base=4)
    LIMITS = {"r": (0, 0), "version": (0, 0)}
