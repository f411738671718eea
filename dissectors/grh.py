"""Global Route Header."""

from __future__ import annotations

from typing import Self

from dissectors.header import AUTO, Data, Field, Header, Span
from dissectors.text import ipv6

NEXT_HEADER_IBA = 0x1B


class GRH(Header):
    """Global Route Header (IBTA vol. 1, 8.3)."""

    version = Field(4, "IP version, 6", default=6, tshark="infiniband.grh.ipver")
    traffic_class = Field(8, "traffic class", variant=True, tshark="infiniband.grh.tclass")
    flow_label = Field(20, "flow label", variant=True, tshark="infiniband.grh.flowlabel")
    payload_length = Field(
        16, "bytes after this header, ICRC included", default=AUTO, tshark="infiniband.grh.paylen"
    )
    next_header = Field(
        8, "what follows; 0x1B is BTH", default=AUTO, tshark="infiniband.grh.nxthdr"
    )
    hop_limit = Field(
        8, "routers it may still cross", default=64, variant=True, tshark="infiniband.grh.hoplmt"
    )
    sgid = Data(16, "source GID", text=ipv6, tshark="infiniband.grh.sgid")
    dgid = Data(16, "destination GID", text=ipv6, tshark="infiniband.grh.dgid")

    EXTENT = Span(("payload_length",), base=40)

    def filled(self, after: int) -> Self:
        return self.replace(payload_length=after) if self.payload_length == AUTO else self
