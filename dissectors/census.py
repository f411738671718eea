"""How many packets of a table follow each protocol path, and bear marks of congestion.

Packets that agree in what a path is made of are counted together and one of them is named; the
few whose headers do not tell all (tunnels, management) are named one by one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from dissectors.bth import BTH
from dissectors.damage import DamageCode
from dissectors.deth import DETH
from dissectors.erf import ERF
from dissectors.ethernet import SMALLEST_ETHERTYPE, Ethernet
from dissectors.gre import GRE
from dissectors.grh import GRH
from dissectors.grouping import groups
from dissectors.header import Header
from dissectors.hierarchy import FPDU, LEAVES, MPA, TLS, Path, content, path
from dissectors.ip import IPv4, IPv6, IPv6Authentication, IPv6Extension, IPv6Fragment
from dissectors.rules import HEADERS, Array
from dissectors.sll import SLL, SLL2
from dissectors.table import PacketTable
from dissectors.tcp import TCP
from dissectors.vxlan import VXLAN

ANY_ORDER: tuple[tuple[set[type[Header]], int], ...] = (
    ({ERF, GRE, VXLAN}, 0),
    ({IPv4, IPv6}, 1),
    ({IPv6Extension, IPv6Authentication, IPv6Fragment}, 1),
    ({Ethernet, SLL, SLL2}, 1),
)
"""Headers of which a packet with more than that many may hold any before any other."""

CONTENTS: tuple[Path, ...] = ((), TLS, MPA, FPDU)
Flow = frozenset[tuple[bytes, int]]
"""The two ends (address, port) of a TCP connection."""
MOST_FLOWS = 10_000
"""Streams of iWARP that are told apart: a capture may hold any number."""
BEGINNING = 16
"""Bytes of a TCP payload that tell what it is."""
LLC = 0xFE


def hierarchy(table: PacketTable, flows: set[Flow] | None = None) -> dict[Path, int]:
    """Path (see `dissectors.hierarchy`) -> packets, in order of the paths.

    `flows`, of a table that is part of a capture: streams that carry iWARP, those found before
    and, after the call, those found here too.
    """
    found: Counter[Path] = Counter()
    plain = _plain(table)
    for row in np.flatnonzero(~plain).tolist():
        found[path(table.packet(row))] += 1
    rows = np.flatnonzero(plain)
    detail = _detail(table, set() if flows is None else flows)[rows]
    for same in groups([table["headers"][rows], detail]):
        kept = CONTENTS[int(detail[same[0]]) >> 16 & 0xFF]
        named = path(table.packet(int(rows[same[0]])))
        found[named + FPDU if kept == FPDU else named] += len(same)
    return dict(sorted(found.items()))


def marks(table: PacketTable) -> dict[str, int]:
    """Packets that bear a mark of congestion, by its name; marks that none bears are left out."""
    ecn = {kind: table[kind.ecn.column] for kind in (IPv4, IPv6)}
    counted = {
        "ECN CE": sum(int(((column == 3) & table.has(kind)).sum()) for kind, column in ecn.items())
        + int(((table[GRH.traffic_class.column] & 3 == 3) & table.has(GRH)).sum()),
        "FECN": int(table[BTH.fecn.column].sum()),
        "BECN": int(table[BTH.becn.column].sum()),
    }
    return {name: count for name, count in counted.items() if count}


def _plain(table: PacketTable) -> Array:
    """Rows whose set of headers says their order: each stands once, so their lengths add up to
    where the payload is, and there are none that may stand in either order.
    """
    headers = table["headers"]
    plain = np.zeros(len(table), bool)
    for rows in groups([headers]):
        mask = int(headers[rows[0]])
        kinds = [kind for n, kind in enumerate(HEADERS) if mask >> n & 1]
        if any(len(group & set(kinds)) > most for group, most in ANY_ORDER):
            continue
        length = np.zeros(len(rows), np.int64)
        for kind in kinds:
            span = kind.LENGTH
            if span is None:
                length += kind.size
            else:
                said = (table[f"{kind.__name__.lower()}_{name}"][rows] for name in span.fields)
                length += span.base + span.scale * sum(column.astype(np.int64) for column in said)
        plain[rows] = length == table["payload_offset"][rows]
    # A header that contradicts itself may say any length.
    plain &= table["damage"] != DamageCode.VALUE
    return plain & ~(table.has(DETH) & (table[BTH.dest_qp.column] <= 1))


def _detail(table: PacketTable, flows: set[Flow]) -> Array:
    """What a path depends on beside the headers: opcode, what follows them, content, damage."""
    detail = table["damage"].astype(np.uint64) << np.uint64(24)
    roce = table.has(BTH)
    detail |= np.where(roce, table[BTH.opcode.column], 0).astype(np.uint64)
    others = np.flatnonzero(~roce)
    rest = table.select(others)
    leaf = np.zeros(len(rest), np.uint64)
    for kind, (field, names) in LEAVES.items():
        column = rest[f"{kind.__name__.lower()}_{field}"]
        for code, value in enumerate(names, 1):
            leaf[column == value] = code
    short = rest.has(Ethernet) & (rest[Ethernet.type.column] < SMALLEST_ETHERTYPE)
    leaf[short] = LLC
    detail[others] |= leaf << np.uint64(8) | _contents(rest, flows) << np.uint64(16)
    return detail


def _contents(table: PacketTable, flows: set[Flow]) -> Array:
    """For each row the index in CONTENTS of what its TCP payload is; iWARP joins `flows`."""
    found = np.zeros(len(table), np.uint64)
    for row in np.flatnonzero(table.has(TCP) & (table["payload_length"] > 0)).tolist():
        start = int(table["payload_offset"][row])
        end = start + min(BEGINNING, int(table["payload_length"][row]))
        found[row] = CONTENTS.index(content(table.frame_bytes(row)[start:end]))
    handshakes = np.flatnonzero(found == CONTENTS.index(MPA)).tolist()
    flows |= {_flow(table, row) for row in handshakes[: MOST_FLOWS - len(flows)]}
    if flows:
        open_rows = table.has(TCP) & (found == 0) & (table["payload_length"] > 0)
        for row in np.flatnonzero(open_rows).tolist():
            if _flow(table, row) in flows:
                found[row] = CONTENTS.index(FPDU)
    return found


def _flow(table: PacketTable, row: int) -> Flow:
    """The two ends of a TCP connection."""
    return frozenset(
        (bytes(table[address][row]), int(table[port][row]))
        for address, port in (("src", "tcp_src_port"), ("dst", "tcp_dst_port"))
    )
