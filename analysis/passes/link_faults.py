"""What happened to packets between the two ends?

Where a link was recorded at both its ends (a run in virtual machines, or with a fault plan), every
RoCE packet stands twice in the capture: as it left and as it arrived. This pass pairs the two and
tells which packets were lost, damaged, duplicated, reordered or marked on the way. That is what the
network did; how the ends dealt with it is for psn-accounting.

Findings: `link-lost`, `link-damaged`, `link-duplicated`, `link-reordered`, `link-marked`
(congestion experienced), each with its frames: of a lost packet where it left, of others where it
arrived.

Verdicts: *pass*, whatever happened, for a network may do all this; *not-applicable* for a capture
made at one place.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis import vantage
from analysis.context import Context
from analysis.finding import Finding, PassResult, Severity, Verdict
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


def run(context: Context) -> PassResult:
    """Pair what left with what arrived."""
    links = vantage.links(context.whole)
    if not links:
        return PassResult(Verdict.NOT_APPLICABLE, "the link was not recorded at both its ends")
    table = context.whole
    fates: dict[str, list[int]] = {fate: [] for fate in FATES}
    roce = table.has(BTH)
    count = 0
    for sides in links:
        left, arrived = (rows[roce[rows]] for rows in sides)
        count += len(left)
        for fate, row in _fates(table, left, arrived):
            fates[fate].append(row)
    findings = tuple(
        Finding(
            f"link-{fate}",
            Severity.INFO,
            f"{len(rows)} of {count} RoCE packets {FATES[fate]}",
            tuple(table["frame"][sorted(rows)[:20]].tolist()),
        )
        for fate, rows in fates.items()
        if rows
    )
    told = ", ".join(f"{len(rows)} {fate}" for fate, rows in fates.items() if rows)
    return PassResult(Verdict.PASS, f"{count} RoCE packets sent; {told or 'all arrived'}", findings)


def _fates(table: PacketTable, left: Rows, arrived: Rows) -> Iterator[tuple[str, int]]:
    """What befell the packets of one direction, each with a row."""
    origins, gone, sent = _paired(table, left, arrived)
    order = {row: at for at, row in enumerate(left.tolist())}
    ecn = table["ipv4_ecn"] | table["ipv6_ecn"]
    furthest = -1
    damaged = []
    for row in arrived.tolist():
        origin = origins.get(row)
        if origin is not None:
            if order[origin] < furthest:
                yield "reordered", row
            furthest = max(furthest, order[origin])
            if ecn[row] == CONGESTION_EXPERIENCED != ecn[origin]:
                yield "marked", row
        elif _datagram(table, row) in sent:
            yield "duplicated", row
        elif table["icrc_status"][row] == ICRC_BAD:
            damaged.append(row)
            yield "damaged", row
    # What arrived damaged is not lost too; which of those gone it was nobody can tell for sure.
    spared = _nearest(table, gone, damaged)
    yield from (("lost", row) for row in gone if row not in spared)


def _paired(
    table: PacketTable, left: Rows, arrived: Rows
) -> tuple[dict[int, int], list[int], set[bytes]]:
    """Where each arrival left (row -> row), the rows of those gone, and all that was sent.

    Packets sent again are equal: of those that had left when as many arrived the latest did.
    """
    equal: dict[bytes, tuple[list[int], list[int]]] = {}
    for side, rows in enumerate((left, arrived)):
        for row in rows.tolist():
            equal.setdefault(_datagram(table, row), ([], []))[side].append(row)
    time_ns = table["time_ns"]
    origins: dict[int, int] = {}
    gone: list[int] = []
    for sent, came in equal.values():
        waiting, chosen = list(sent), []
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
    return origins, sorted(gone), {datagram for datagram, (sent, _) in equal.items() if sent}


def _nearest(table: PacketTable, gone: list[int], damaged: list[int]) -> set[int]:
    """For each damaged arrival the latest packet gone before it, of the same length."""
    length, time_ns = table["original_length"], table["time_ns"]
    spared: set[int] = set()
    for row in damaged:
        fitting = [
            one
            for one in gone
            if one not in spared and length[one] == length[row] and time_ns[one] <= time_ns[row]
        ]
        spared.update(fitting[-1:])
    return spared


def _datagram(table: PacketTable, row: int) -> bytes:
    """From BTH to ICRC."""
    size = int(table["udp_length"][row]) - UDP.size
    return bytes(table.frame_bytes(row))[-size:]
