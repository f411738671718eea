"""FLUSH Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header


class FETH(Header):
    """FLUSH Extended Transport Header (IBTA vol. 1 release 1.5, A19; kernel rxe_hdr.h)."""

    reserved26 = Field(26, "reserved")
    selectivity = Field(2, "what to flush", names={0: "memory region range", 1: "memory region"})
    placement = Field(4, "how far", names={1: "global visibility", 2: "persistence", 3: "both"})
