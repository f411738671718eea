"""The IPv4 identification that a received datagram had, told from its ICRC.

A socket does not say it, but the ICRC covers it, and a CRC is linear: two datagrams that differ in
the identification alone have ICRCs whose difference is a multiple, modulo the CRC's polynomial, of
the difference of the identifications. Division by that factor gives it back, or a number of more
than 16 bits where something else differs too.
"""

from __future__ import annotations

from functools import lru_cache

from dissectors.ip import IPv4
from dissectors.udp import UDP

POLYNOMIAL = 0xEDB88320
"""CRC-32's, bit-reflected without its highest term (IEEE 802.3)."""
_BITS = 32
_ONE = 1 << (_BITS - 1)
"""The polynomial 1: coefficients are bit-reflected, x^0 being the highest bit."""
_AFTER = IPv4.size + UDP.size - IPv4.id.bit_offset // 8
"""Bytes of IP and UDP header from the identification on."""


def _times(a: int, b: int) -> int:
    """Product of two polynomials modulo the CRC's."""
    product = 0
    for bit in range(_BITS):
        if b & _ONE >> bit:
            product ^= a
        a = a >> 1 ^ (POLYNOMIAL if a & 1 else 0)
    return product


# x^-1: P has the constant term 1, so that x * (P - 1) / x = -1 = 1.
_INVERSE = (POLYNOMIAL << 1 | 1) & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def _divisor(count: int) -> int:
    """x^-count."""
    result, power = _ONE, _INVERSE
    while count:
        if count & 1:
            result = _times(result, power)
        power = _times(power, power)
        count >>= 1
    return result


def identification(assumed: int, difference: int, length: int) -> int | None:
    """The identification of a datagram of `length` bytes of transport packet without ICRC, where
    with the `assumed` one the ICRC computed differs from the one found by `difference` (their
    exclusive or).

    None where no other identification explains the difference. A damaged packet is taken for one
    of another identification once in 2^16 times.
    """
    swapped = _times(difference, _divisor(8 * (_AFTER + length)))
    if swapped >> 16:
        return None
    return assumed ^ int.from_bytes(swapped.to_bytes(2, "little"), "big")
