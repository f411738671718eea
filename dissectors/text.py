"""Field values in words: addresses, keys and flags as the field's tools write them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address


def printable(text: str) -> str:
    """`text` without control characters: what came from outside must not steer a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def hexadecimal(digits: int) -> Callable[[int], str]:
    """A formatter like 0x00c0ffee with at least `digits` digits."""
    return lambda value: f"0x{value:0{digits}x}"


def mac(value: int) -> str:
    """48-bit integer -> 52:54:00:00:00:01."""
    return value.to_bytes(6, "big").hex(":")


def ipv4(value: int) -> str:
    """32-bit integer -> 10.77.0.1."""
    return str(IPv4Address(value))


def ipv6(value: bytes) -> str:
    """16 bytes -> fe80::1, an IPv4-mapped address as ::ffff:10.77.0.1."""
    address = IPv6Address(value)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def psn(value: int) -> str:
    """A PSN as people quote it and as Wireshark shows it: 0xc0ffee (12648430)."""
    return f"0x{value:06x} ({value})"


def embedded_ip(value: bytes) -> str:
    """16 bytes that hold an IPv6 address, or an IPv4 one in the last four."""
    if not any(value[:12]) and any(value[12:14]):
        return str(IPv4Address(value[12:]))
    return ipv6(value)
