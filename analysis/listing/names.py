"""What a user may call a column: ours (`bth.psn`), tshark's (`infiniband.bth.psn`), a header."""

from __future__ import annotations

from functools import cache

from analysis.listing.errors import ListingError
from dissectors.header import Header
from dissectors.rules import HEADERS
from dissectors.table import BASE, FIELDS


@cache
def columns() -> dict[str, str]:
    """Every name of a column -> the column."""
    known = {name: name for name in BASE}
    for column, field in reversed(FIELDS.items()):
        # Reversed, so that of several fields with one name of tshark's the first declared wins.
        known |= {field.tshark: column} if field.tshark else {}
        known[field.path] = column
    return known


@cache
def headers() -> dict[str, type[Header]]:
    """Header by lower-case name."""
    return {kind.__name__.lower(): kind for kind in HEADERS}


def column(name: str) -> str:
    """The column called `name`; raises ListingError."""
    found = columns().get(name)
    if found is None:
        last = name.rpartition(".")[2]
        near = sorted(known for known in columns() if known.rpartition(".")[2] == last)
        hint = f"did you mean {', '.join(near[:4])}?" if near else "docs/reference.md lists them"
        raise ListingError(f"no field {name!r}; {hint}")
    return found
