"""Virtual eXtensible Local Area Network."""

from __future__ import annotations

from dissectors.header import Field, Header

VXLAN_PORT = 4789


class VXLAN(Header):
    """Virtual eXtensible Local Area Network (RFC 7348, 5); Ethernet follows."""

    reserved4 = Field(4, "reserved")
    i = Field(1, "the identifier is valid", default=1, tshark="vxlan.flag_i")
    reserved27 = Field(27, "reserved")
    vni = Field(24, "network identifier", tshark="vxlan.vni")
    reserved8 = Field(8, "reserved")
