"""What befell each packet on a link that was recorded at both its ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analysis import vantage
from analysis.vantage import Rows
from dissectors.bth import BTH
from dissectors.icrc import ICRC_BAD
from dissectors.table import PacketTable
from dissectors.udp import UDP

CONGESTION_EXPERIENCED = 3
FATES = {
    "lost": "never arrived",
    "damaged": "arrived with a wrong ICRC",
    "duplicated": "arrived once more",
    "reordered": "arrived after packets sent later",
    "marked": "were marked: congestion experienced",
}


@dataclass(frozen=True, slots=True)
class Fate:
    """`row` is where it shows: of a lost packet where it left, else where it arrived.

    `left` is the row where the packet left; None where that is not to be told.
    """

    kind: str
    row: int
    left: int | None


def sent(table: PacketTable) -> int | None:
    """How many RoCE packets left for the other end; None where there is no such link."""
    links = vantage.links(table)
    roce = table.has(BTH)
    return sum(int(roce[left].sum()) for left, _ in links) if links else None


def fates(table: PacketTable) -> list[Fate]:
    """All that was spoilt, in capture order; empty where no link was recorded at both ends."""
    roce = table.has(BTH)
    found = [
        fate
        for left, arrived in vantage.links(table)
        for fate in _fates(table, left[roce[left]], arrived[roce[arrived]])
    ]
    return sorted(found, key=lambda fate: fate.row)


def _fates(table: PacketTable, left: Rows, arrived: Rows) -> Iterator[Fate]:
    """What befell the packets of one direction."""
    origins, gone, departures = _paired(table, left, arrived)
    order = {row: at for at, row in enumerate(left.tolist())}
    ecn = table["ipv4_ecn"] | table["ipv6_ecn"]
    furthest = -1
    damaged: list[int] = []
    for row in arrived.tolist():
        origin = origins.get(row)
        if origin is not None:
            if order[origin] < furthest:
                yield Fate("reordered", row, origin)
            furthest = max(furthest, order[origin])
            if ecn[row] == CONGESTION_EXPERIENCED != ecn[origin]:
                yield Fate("marked", row, origin)
        elif copied := [one for one in departures.get(_datagram(table, row), ()) if one < row]:
            yield Fate("duplicated", row, copied[-1])
        elif table["icrc_status"][row] == ICRC_BAD:
            damaged.append(row)
    # What arrived damaged is not lost too; which of those gone it was nobody can tell for sure.
    spoilt = _nearest(table, gone, damaged)
    yield from (Fate("damaged", row, spoilt.get(row)) for row in damaged)
    spared = set(spoilt.values())
    yield from (Fate("lost", row, row) for row in gone if row not in spared)


def _paired(
    table: PacketTable, left: Rows, arrived: Rows
) -> tuple[dict[int, int], list[int], dict[bytes, list[int]]]:
    """Where each arrival left (row -> row), the rows of those gone, and where what was sent left.

    Packets sent again are equal: of those that had left when as many arrived the latest did.
    """
    equal: dict[bytes, tuple[list[int], list[int]]] = {}
    for side, rows in enumerate((left, arrived)):
        for row in rows.tolist():
            equal.setdefault(_datagram(table, row), ([], []))[side].append(row)
    time_ns = table["time_ns"]
    origins: dict[int, int] = {}
    gone: list[int] = []
    for begun, came in equal.values():
        waiting, chosen = list(begun), []
        for row in reversed(came):
            while waiting and time_ns[waiting[-1]] > time_ns[row]:
                gone.append(waiting.pop())
            if waiting:
                chosen.append(waiting.pop())
        gone += waiting
        # An arrival for which none is left is the copy of one that came before it.
        for row in came:
            if chosen and time_ns[chosen[-1]] <= time_ns[row]:
                origins[row] = chosen.pop()
    return (
        origins,
        sorted(gone),
        {datagram: rows for datagram, (rows, _) in equal.items()},
    )


def _nearest(table: PacketTable, gone: list[int], damaged: list[int]) -> dict[int, int]:
    """For each damaged arrival the latest packet gone before it, of the same length."""
    length, time_ns = table["original_length"], table["time_ns"]
    spoilt: dict[int, int] = {}
    for row in damaged:
        fitting = [
            one
            for one in gone
            if one not in spoilt.values()
            and length[one] == length[row]
            and time_ns[one] <= time_ns[row]
        ]
        if fitting:
            spoilt[row] = fitting[-1]
    return spoilt


def _datagram(table: PacketTable, row: int) -> bytes:
    """From BTH to ICRC."""
    size = int(table["udp_length"][row]) - UDP.size
    return bytes(table.frame_bytes(row))[-size:]
