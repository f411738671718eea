"""Addresses of packets as text, each pair put in words once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def address_pairs(table: Any, rows: Any) -> Iterator[tuple[str, str]]:
    """Source and destination IP address of each of `rows` of a PacketTable."""
    known: dict[bytes, tuple[str, str]] = {}
    both = (table[name][rows].tobytes() for name in ("src", "dst"))
    sources, targets = both
    for number, row in enumerate(rows.tolist()):
        at = slice(16 * number, 16 * number + 16)
        key = sources[at] + targets[at]
        pair = known.get(key)
        if pair is None:
            pair = known[key] = table.source(row), table.destination(row)
        yield pair
