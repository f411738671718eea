"""What a user may call a column: ours (`bth.psn`), tshark's (`infiniband.bth.psn`), a header.

CM messages may be written with a dot too: `cm.req` for the header CM_REQ, `cm.req.starting_psn`.
"""

from __future__ import annotations

from functools import cache

from analysis.listing.columns import EVERY_FIELD, EVERY_HEADER
from analysis.listing.errors import ListingError
from dissectors.bth import BTH
from dissectors.header import Header
from dissectors.opcode import Opcode
from dissectors.table import BASE

TSHARK = {
    "frame.number": "frame",
    "frame.len": "original_length",
    "frame.cap_len": "captured_length",
    "frame.interface_id": "interface",
}
"""Its names of what the file says."""


@cache
def columns() -> dict[str, str]:
    """Every name of a column -> the column."""
    known = {name: name for name in BASE} | TSHARK
    for column, field in reversed(EVERY_FIELD.items()):
        # Reversed, so that of several fields with one name of tshark's the first declared wins.
        known |= {field.tshark: column} if field.tshark else {}
        known[field.path] = column
        known[field.path.replace("cm_", "cm.", 1)] = column
    return known


@cache
def headers() -> dict[str, type[Header]]:
    """Header by lower-case name, or tshark's."""
    known: dict[str, type[Header]] = {"infiniband": BTH}
    for kind in EVERY_HEADER:
        name = kind.__name__.lower()
        for each in (name, name.replace("cm_", "cm.", 1), f"infiniband.{name}"):
            known.setdefault(each, kind)
    return known


def column(name: str) -> str:
    """The column called `name`; raises ListingError."""
    found = columns().get(name)
    if found is None:
        last = name.rpartition(".")[2]
        near = sorted(known for known in columns() if known.rpartition(".")[2] == last)
        if name.isupper():
            near = sorted(op.name for op in Opcode if name in op.name)
        hint = f"did you mean {', '.join(near[:4])}?" if near else "docs/reference.md lists them"
        raise ListingError(f"no field {name!r}; {hint}")
    return found
