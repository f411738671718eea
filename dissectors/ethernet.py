"""Ethernet II and its VLAN tags."""

from __future__ import annotations

from dissectors.header import AUTO, Field, Header
from dissectors.text import hexadecimal, mac


class Ethernet(Header):
    """Ethernet II header (IEEE 802.3, 3.2)."""

    dst = Field(48, "destination MAC address", text=mac, tshark="eth.dst")
    src = Field(48, "source MAC address", text=mac, tshark="eth.src")
    type = Field(
        16, "EtherType of what follows", default=AUTO, text=hexadecimal(4), tshark="eth.type"
    )


class VLAN(Header):
    """VLAN tag, C-tag or S-tag (IEEE 802.1Q, 9.6), without the EtherType before it."""

    priority = Field(3, "priority code point", tshark="vlan.priority")
    dei = Field(1, "drop eligible", tshark="vlan.dei")
    id = Field(12, "VLAN identifier", tshark="vlan.id")
    type = Field(
        16, "EtherType of what follows", default=AUTO, text=hexadecimal(4), tshark="vlan.etype"
    )


ETHERTYPE_VLAN = 0x8100
ETHERTYPE_QINQ = 0x88A8
ETHERTYPE_ROCE_V1 = 0x8915
SMALLEST_ETHERTYPE = 0x0600
"""Below it the field is an IEEE 802.3 length."""
