"""Invalidate Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class IETH(Header):
    """Invalidate Extended Transport Header (IBTA vol. 1, 9.3.8)."""

    r_key = Field(
        32, "remote key the responder invalidates", text=hexadecimal(8), tshark="infiniband.ieth"
    )
