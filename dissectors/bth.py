"""Base Transport Header."""

from __future__ import annotations

from dissectors import text
from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class BTH(Header):
    """Base Transport Header (IBTA vol. 1, 9.2; FECN and BECN A17.9)."""

    opcode = Field(8, "operation and the headers that follow", tshark="infiniband.bth.opcode")
    se = Field(1, "solicited event", tshark="infiniband.bth.se")
    m = Field(1, "migration request: path migrated", tshark="infiniband.bth.m")
    pad_count = Field(2, "pad bytes after the payload", tshark="infiniband.bth.padcnt")
    tver = Field(4, "transport header version, 0", tshark="infiniband.bth.tver")
    p_key = Field(
        16, "partition key", default=0xFFFF, text=hexadecimal(4), tshark="infiniband.bth.p_key"
    )
    fecn = Field(1, "forward explicit congestion notification", variant=True)
    becn = Field(1, "backward explicit congestion notification", variant=True)
    reserved6 = Field(6, "reserved", variant=True)
    dest_qp = Field(
        24, "destination queue pair", text=hexadecimal(6), tshark="infiniband.bth.destqp"
    )
    ack_req = Field(1, "acknowledge request", tshark="infiniband.bth.a")
    reserved7 = Field(7, "reserved", tshark="infiniband.bth.reserved7")
    psn = Field(24, "packet sequence number", text=text.psn, tshark="infiniband.bth.psn")
