"""Were starting PSNs used again?

A queue pair that starts where an earlier connection of the same two queue pairs was still counting
may take that connection's late packets for its own: that is what a fresh, unpredictable PSN for
every connection protects from (besides making it harder to guess).

Findings: `psn-pair-reused` (an end started again with the same queue pair number and the same PSN,
or inside the PSNs that its earlier connection had used), `psn-repeated` (more connections start
with the same PSN than chance gives: among n random PSNs, n(n-1)/2^25 pairs are equal).

This pass never fails: what the reuse means for the source of the PSNs is the question of `rocelab
psn`. *not-applicable* with fewer than two connections.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import poisson

from analysis.context import Context
from analysis.conversations import SIDES
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.negotiated import End
from dissectors import psn as serial

DATAGRAM = "UD"
"""UD has no connection whose packets could come late."""
IMPROBABLE = 0.001
LISTED = 20


@dataclass(frozen=True, slots=True)
class Start:
    """Where a direction's PSNs start, how many it used, and the frame of its first request."""

    connection: int
    ends: tuple[End, End]
    psn: int
    used: int
    frame: int


def run(context: Context) -> PassResult:
    """Compare the first request PSNs of all connections."""
    starts = list(_starts(context))
    if len(starts) < 2:
        return PassResult(Verdict.NOT_APPLICABLE, "fewer than two starting PSNs")
    findings = [*_pairs(starts), *_repeated(starts)]
    distinct = len({start.psn for start in starts})
    summary = f"{len(starts)} starting PSNs, {distinct} of them distinct"
    return PassResult(Verdict.PASS, summary, tuple(findings))


def _starts(context: Context) -> Iterator[Start]:
    sequences, table = context.sequences, context.table
    end = np.zeros(len(sequences.first), np.int64)
    np.maximum.at(
        end, sequences.direction, np.where(sequences.stray, 0, sequences.place + sequences.span)
    )
    for connection in context.conversations.connections:
        if connection.transport == DATAGRAM:
            continue
        ends = connection.a, connection.b
        for number, _ in enumerate(SIDES):
            direction = 2 * connection.number + number
            at = int(sequences.first[direction])
            if at >= 0:
                row = int(sequences.rows[at])
                yield Start(
                    connection.number,
                    (ends[number], ends[1 - number]),
                    int(table["bth_psn"][row]),
                    int(end[direction] - sequences.place[at]),
                    context.frame(row),
                )


def _pairs(starts: list[Start]) -> Iterator[Finding]:
    """Starts inside what the same two queue pairs had used before."""
    earlier: defaultdict[tuple[End, End], list[Start]] = defaultdict(list)
    for start in sorted(starts, key=lambda one: one.frame):
        for before in earlier[start.ends][-LISTED:]:
            if serial.forward(before.psn, start.psn) < before.used:
                same = "the same PSN" if start.psn == before.psn else f"PSNs from {before.psn:#08x}"
                yield Finding(
                    "psn-pair-reused",
                    Severity.WARNING,
                    f"{start.ends[0]} starts at {start.psn:#08x}, and used {same} in connection "
                    f"{before.connection} with the same peer: late packets of that one fit in",
                    (before.frame, start.frame),
                    start.connection,
                )
        earlier[start.ends].append(start)


def _repeated(starts: list[Start]) -> Iterator[Finding]:
    """More equal PSNs than chance explains."""
    count = Counter(start.psn for start in starts)
    pairs = sum(n * (n - 1) // 2 for n in count.values())
    expected = len(starts) * (len(starts) - 1) / 2 / (1 << serial.BITS)
    chance = float(poisson.sf(pairs - 1, expected))
    if pairs and chance < IMPROBABLE:
        psn, most = count.most_common(1)[0]
        frames = tuple(start.frame for start in starts if start.psn == psn)[:LISTED]
        yield Finding(
            "psn-repeated",
            Severity.WARNING,
            f"{pairs} pairs of connections start with the same PSN, {expected:.2g} are expected by "
            f"chance (p = {chance:.1g}); {psn:#08x} starts {most} of them",
            frames,
        )
