"""RDMA Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class RETH(Header):
    """RDMA Extended Transport Header (IBTA vol. 1, 9.3.3)."""

    va = Field(64, "virtual address", text=hexadecimal(16), tshark="infiniband.reth.va")
    r_key = Field(32, "remote key", text=hexadecimal(8), tshark="infiniband.reth.r_key")
    dma_len = Field(32, "bytes of the whole message", tshark="infiniband.reth.dmalen")
