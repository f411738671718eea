"""Linux cooked captures: what tcpdump -i any writes instead of a link header."""

from __future__ import annotations

from dissectors.header import AUTO, Data, Field, Header
from dissectors.text import hexadecimal

PACKET_TYPES = {0: "to us", 1: "broadcast", 2: "multicast", 3: "to another host", 4: "from us"}


class SLL(Header):
    """Linux cooked capture, version 1 (libpcap LINKTYPE_LINUX_SLL)."""

    packet_type = Field(16, "sent or received", names=PACKET_TYPES, tshark="sll.pkttype")
    hardware_type = Field(16, "ARPHRD_ type of the interface", default=1, tshark="sll.hatype")
    address_length = Field(16, "bytes of the address in use", default=6, tshark="sll.halen")
    address = Data(8, "the sender's link-layer address")
    protocol = Field(
        16, "EtherType of what follows", default=AUTO, text=hexadecimal(4), tshark="sll.etype"
    )


class SLL2(Header):
    """Linux cooked capture, version 2 (libpcap LINKTYPE_LINUX_SLL2)."""

    protocol = Field(
        16, "EtherType of what follows", default=AUTO, text=hexadecimal(4), tshark="sll.etype"
    )
    reserved16 = Field(16, "reserved")
    interface = Field(32, "interface index", tshark="sll.ifindex")
    hardware_type = Field(16, "ARPHRD_ type of the interface", default=1, tshark="sll.hatype")
    packet_type = Field(8, "sent or received", names=PACKET_TYPES, tshark="sll.pkttype")
    address_length = Field(8, "bytes of the address in use", default=6, tshark="sll.halen")
    address = Data(8, "the sender's link-layer address")
