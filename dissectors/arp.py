"""Address Resolution Protocol."""

from __future__ import annotations

from dissectors.header import Field, Header
from dissectors.text import hexadecimal, ipv4, mac


class ARP(Header):
    """Address Resolution Protocol for IPv4 over Ethernet (RFC 826)."""

    hardware = Field(16, "hardware type, 1 is Ethernet", default=1, tshark="arp.hw.type")
    protocol = Field(
        16, "protocol type", default=0x0800, text=hexadecimal(4), tshark="arp.proto.type"
    )
    hardware_size = Field(8, "bytes of a hardware address", default=6, tshark="arp.hw.size")
    protocol_size = Field(8, "bytes of a protocol address", default=4, tshark="arp.proto.size")
    operation = Field(
        16, "what is asked", default=1, names={1: "request", 2: "reply"}, tshark="arp.opcode"
    )
    sender_mac = Field(48, "sender's MAC address", text=mac, tshark="arp.src.hw_mac")
    sender_ip = Field(32, "sender's IP address", text=ipv4, tshark="arp.src.proto_ipv4")
    target_mac = Field(48, "target's MAC address", text=mac, tshark="arp.dst.hw_mac")
    target_ip = Field(32, "target's IP address", text=ipv4, tshark="arp.dst.proto_ipv4")
