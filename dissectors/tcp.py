"""Transmission Control Protocol: named and delimited, not followed."""

from __future__ import annotations

from dissectors.header import Field, Span, Tail, Variable
from dissectors.text import hexadecimal


class TCP(Variable):
    """Transmission Control Protocol (RFC 9293, 3.1)."""

    src_port = Field(16, "source port", tshark="tcp.srcport")
    dst_port = Field(16, "destination port", tshark="tcp.dstport")
    sequence = Field(32, "sequence number", tshark="tcp.seq_raw")
    acknowledgement = Field(32, "acknowledgement number", tshark="tcp.ack_raw")
    data_offset = Field(4, "header length in 4-byte words", default=5)
    reserved4 = Field(4, "reserved")
    cwr = Field(1, "congestion window reduced", tshark="tcp.flags.cwr")
    ece = Field(1, "congestion experienced echo", tshark="tcp.flags.ece")
    urg = Field(1, "urgent pointer is valid", tshark="tcp.flags.urg")
    ack = Field(1, "acknowledgement is valid", tshark="tcp.flags.ack")
    psh = Field(1, "push", tshark="tcp.flags.push")
    rst = Field(1, "reset", tshark="tcp.flags.reset")
    syn = Field(1, "synchronise", tshark="tcp.flags.syn")
    fin = Field(1, "no more data", tshark="tcp.flags.fin")
    window = Field(16, "receive window", tshark="tcp.window_size_value")
    checksum = Field(16, "checksum", text=hexadecimal(4), tshark="tcp.checksum")
    urgent = Field(16, "urgent pointer", tshark="tcp.urgent_pointer")
    options = Tail("options")

    LENGTH = Span(("data_offset",), scale=4)
    LIMITS = {"data_offset": (5, 15)}
