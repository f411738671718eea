"""Reliable Datagram Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header


class RDETH(Header):
    """Reliable Datagram Extended Transport Header (IBTA vol. 1, 9.3.1)."""

    reserved8 = Field(8, "reserved")
    ee_context = Field(24, "end-to-end context", tshark="infiniband.rdeth.eecnxt")
