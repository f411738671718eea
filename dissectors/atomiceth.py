"""Atomic Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class AtomicETH(Header):
    """Atomic Extended Transport Header (IBTA vol. 1, 9.3.4)."""

    va = Field(64, "virtual address", text=hexadecimal(16))
    r_key = Field(32, "remote key", text=hexadecimal(8))
    swap_add = Field(64, "value to swap in, or to add", tshark="infiniband.atomiceth.swapdt")
    compare = Field(64, "value to compare with", tshark="infiniband.atomiceth.cmpdt")
