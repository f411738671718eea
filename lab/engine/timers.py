"""The local ACK timeout of a reliable connection."""

from __future__ import annotations


def ack_timeout_ns(code: int) -> int | None:
    """Nanoseconds for timeout `code` (0 to 31): 4.096 us * 2^code; None for 0, which never times
    out.

    IBTA vol. 1, 9.7.6.1.3.
    """
    return 4096 << code if code else None
