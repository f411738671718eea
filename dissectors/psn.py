"""24-bit serial arithmetic of packet sequence numbers (IBTA vol. 1, 9.7.2; RFC 1982 with
SERIAL_BITS 24).

Written with operators only, so that every function takes ints and numpy arrays alike: signed
arrays of at least 32 bits (int32, int64), because `difference` is signed.
"""

from __future__ import annotations

from typing import Any

BITS = 24
MASK = (1 << BITS) - 1
HALF = 1 << (BITS - 1)


def add(psn: Any, count: Any) -> Any:
    """The PSN `count` packets after `psn` (before it where `count` is negative)."""
    return (psn + count) & MASK


def forward(start: Any, end: Any) -> Any:
    """Steps forward from `start` to `end`: 0 to 2^24 - 1."""
    return (end - start) & MASK


def difference(a: Any, b: Any) -> Any:
    """Signed distance from `b` to `a`: positive where `a` is later, -2^23 to 2^23 - 1.

    Two PSNs exactly 2^23 apart have no order (RFC 1982, 3.2); as in the kernel's psn_compare the
    difference is then negative both ways.
    """
    return ((a - b + HALF) & MASK) - HALF


def before(a: Any, b: Any) -> Any:
    """Whether `a` comes before `b`."""
    return difference(a, b) < 0


def after(a: Any, b: Any) -> Any:
    """Whether `a` comes after `b`."""
    return difference(a, b) > 0


def span(length: Any, path_mtu: Any) -> Any:
    """PSNs that `length` bytes take at `path_mtu`: at least 1 (IBTA vol. 1, 9.7.4.1.2,
    9.7.5.1.1).
    """
    packets = (length + path_mtu - 1) // path_mtu
    return packets + (packets == 0)
