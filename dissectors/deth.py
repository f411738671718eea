"""Datagram Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class DETH(Header):
    """Datagram Extended Transport Header (IBTA vol. 1, 9.3.2)."""

    q_key = Field(32, "queue key", text=hexadecimal(8), tshark="infiniband.deth.q_key")
    reserved8 = Field(8, "reserved")
    src_qp = Field(24, "source queue pair", text=hexadecimal(6), tshark="infiniband.deth.srcqp")
