"""Atomic ACK Extended Transport Header."""

from __future__ import annotations

from dissectors.header import Field, Header


class AtomicAckETH(Header):
    """Atomic ACK Extended Transport Header (IBTA vol. 1, 9.3.6)."""

    original = Field(
        64, "value at the address before the operation", tshark="infiniband.atomicacketh.origremdt"
    )
