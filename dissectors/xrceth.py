"""XRC Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal


class XRCETH(Header):
    """XRC Extended Transport Header (IBTA vol. 1, A14.3)."""

    reserved8 = Field(8, "reserved")
    xrc_srq = Field(24, "shared receive queue that receives", text=hexadecimal(6))
