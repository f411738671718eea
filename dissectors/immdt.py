"""Immediate Data."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class ImmDt(Header):
    """Immediate Data Extended Transport Header (IBTA vol. 1, 9.3.7)."""

    data = Field(
        32, "handed to the receiver's completion", text=hexadecimal(8), tshark="infiniband.immdt"
    )
