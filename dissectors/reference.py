"""The reference page, from the declarations: headers with their bits, opcodes, syndromes, timers.

`python -m dissectors.reference > docs/reference.md` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from dissectors.aeth import NAK, NAK_NAMES, RNR_NAK, RNR_TIMER_NS, decode
from dissectors.bth import BTH
from dissectors.carriers import FOLLOWS
from dissectors.cm import IP_CM, MESSAGES, timeout
from dissectors.header import Field, Header, Variable
from dissectors.mad import MAD
from dissectors.opcode import Opcode
from dissectors.sa import RMPP, SA, PathRecord

Kind = type[Header]

ROW = 32
"""Bits in a line of a diagram."""
LONGEST = 4
"""Lines after which a long field is cut short in a diagram."""

TRANSPORT: tuple[Kind, ...] = (
    BTH,
    *dict.fromkeys(kind for row in Opcode for kind in row.headers),
)
MANAGEMENT: tuple[Kind, ...] = (MAD, *MESSAGES.values(), IP_CM, RMPP, SA, PathRecord)
AROUND: tuple[Kind, ...] = tuple(
    kind
    for kind in dict.fromkeys(
        kind for lower, (_, kinds) in FOLLOWS.items() for kind in (lower, *kinds.values())
    )
    if kind is not BTH
)
"""What carries RDMA, and what is found beside it."""

RULER = (
    " 0                   1                   2                   3\n"
    " 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1"
)


def table(titles: str, rows: Iterable[Iterable[object]]) -> Iterator[str]:
    """A Markdown table; `titles` are separated by |."""
    count = titles.count("|") + 1
    yield f"| {titles} |"
    yield "|" + " --- |" * count
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |"
    yield ""


def diagram(kind: Kind) -> str:
    """The header's bits as RFCs draw them, 32 a line; a name that is too long is cut."""
    lines = [RULER]
    border = "+" + "-+" * ROW
    cells = ""
    for field in kind.fields:
        left = field.bits
        if left == 0:
            lines.append(f"{border}\n|{field.name + ' ...':^{2 * ROW - 1}}|")
            break
        named = False
        while left:
            taken = min(left, ROW - len(cells) // 2)
            name = "" if named else field.name
            cells += f"{name[: 2 * taken - 1]:^{2 * taken - 1}}|"
            named, left = True, left - taken
            if len(cells) // 2 < ROW:
                continue
            lines.append(f"{border if name or cells.count('|') > 1 else _open(border)}\n|{cells}")
            cells = ""
            if left > LONGEST * ROW:
                lines.append(f"{_open(border)}\n|{'...':^{2 * ROW - 1}}|")
                left %= ROW
    if cells:
        lines.append(f"{border}\n|{cells}")
        border = border[: len(cells) + 1]
    return "\n".join([*lines, border])


def _open(border: str) -> str:
    """The border between two lines of one field."""
    return "+" + " " * (len(border) - 2) + "+"


def place(field: Field) -> str:
    """`4.1`: byte 4, bit 1 of it, the top bit being 0."""
    byte, bit = divmod(field.bit_offset, 8)
    return f"{byte}.{bit}" if bit or field.bits % 8 else str(byte)


def meaning(field: Field) -> str:
    """What the field is for, and its values where they have names."""
    values = ", ".join(f"{value} {name}" for value, name in field.names.items())
    return field.doc + (f": {values}" if values else "") + (" (not in the ICRC)" * field.variant)


def header(kind: Kind) -> Iterator[str]:
    """The section of one header."""
    words = " ".join((kind.__doc__ or "").split())
    size = f"{kind.size} bytes" + (" and a variable part" if issubclass(kind, Variable) else "")
    yield from (f"### {kind.__name__}", "", f"{words} {size}.", "", "```text", diagram(kind))
    yield from ("```", "")
    rows = (
        (
            f"`{field.name}`",
            place(field),
            field.bits or "rest",
            meaning(field),
            f"`{field.tshark}`" * bool(field.tshark),
        )
        for field in kind.fields
    )
    yield from table("field | at | bits | meaning | Wireshark", rows)


def opcodes() -> Iterator[str]:
    """The opcode table, with what follows from it."""
    rows = (
        (
            f"`0x{row:02x}`",
            f"`{row.name}`",
            ", ".join(kind.__name__ for kind in row.headers) or "none",
            "request" if row.is_request else "response" if row.is_response else "neither",
            {(1, 1): "whole", (1, 0): "starts", (0, 1): "ends", (0, 0): "within"}[
                row.starts_message, row.ends_message
            ]
            if row is not Opcode.CNP
            else "",
            "yes" if row.has_payload else "no",
        )
        for row in Opcode
    )
    yield from table("value | opcode | headers after BTH | role | of a message | payload", rows)


def syndromes() -> Iterator[str]:
    """AETH syndromes: credits, RNR timers, NAK causes."""
    yield from table(
        "syndrome | says", ((f"`0x{code:02x}`", decode(code).text) for code in range(32))
    )
    yield from ("NAKs (IBTA vol. 1, table 47); any other from `0x60` on is reserved:", "")
    yield from table("syndrome | says", ((f"`0x{c:02x}`", decode(c).text) for c in NAK_NAMES))
    yield from (
        f"RNR NAKs are `0x{RNR_NAK:02x}` to `0x{NAK - 33:02x}`; the low five bits are the timer"
        " code (IBTA vol. 1, table 48), which is also `min_rnr_timer` of the verbs:",
        "",
    )
    yield from table(
        "timer code | wait at least",
        ((code, f"{ns / 1e6:.2f} ms") for code, ns in enumerate(RNR_TIMER_NS)),
    )


def reference() -> str:
    """The page, as Markdown."""
    lines = [
        "# Reference",
        "",
        "Made from the declarations by `python -m dissectors.reference`; do not edit.",
        "Bits count from the top of a header's first byte. A field is `header.field` in commands"
        " (`bth.psn`), `header_field` as a column (`bth_psn`).",
        "Commands take Wireshark's names too. Management datagrams have no columns in a table, but"
        " `rocelab decode` filters and shows their fields as it does others:"
        " `--filter cm.req --fields frame,cm.req.local_qpn,cm.req.starting_psn`"
        " (`cm.req` is the header `CM_REQ`).",
        "In the diagrams a name longer than its field is cut.",
        "",
        "## Opcodes",
        "",
        "Everything but the headers is derived from the name (IBTA vol. 1, table 38; XRC: A14; CNP:"
        " A17.9; FLUSH and ATOMIC WRITE: A19).",
        "",
        *opcodes(),
        "## AETH syndromes",
        "",
        "ACKs carry the receives that the responder has left (IBTA vol. 1, table 45):",
        "",
        *syndromes(),
        "## Timeouts",
        "",
        "The ACK timeout of a queue pair and the timeouts of CM: 4.096 µs times 2 to the code; as"
        " `timeout` of a queue pair 0 is never.",
        "",
        *table("code | is", ((code, timeout(code).split("(")[1][:-1]) for code in range(32))),
    ]
    for title, kinds in SECTIONS.items():
        lines += [f"## {title}", ""]
        for kind in kinds:
            lines += header(kind)
    return "\n".join(lines).rstrip() + "\n"


SECTIONS = {
    "Transport headers": TRANSPORT,
    "Management datagrams": MANAGEMENT,
    "Carriers and neighbours": AROUND,
}

if __name__ == "__main__":
    sys.stdout.write(reference())
