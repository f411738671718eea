"""BSD loopback link headers."""

from __future__ import annotations

from dissectors.header import AUTO, Field, Header
from dissectors.text import hexadecimal


class Loopback(Header):
    """BSD null or loopback header (libpcap LINKTYPE_NULL, LINKTYPE_LOOP)."""

    family = Field(
        32,
        "address family, in the byte order of the capturing host",
        default=AUTO,
        text=hexadecimal(8),
    )
