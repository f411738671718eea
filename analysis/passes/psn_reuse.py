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
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import pdtrc

from analysis.context import Context
from analysis.conversations import Connection
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.negotiated import End
from analysis.pairing import Ints
from dissectors import psn as serial

DATAGRAM = "UD"
"""UD has no connection whose packets could come late."""
IMPROBABLE = 0.001
LISTED = 20


class Start(NamedTuple):
    """Where a direction's PSNs start, how many it used, and the frame of its first request."""

    direction: int
    frame: int
    psn: int
    used: int

    def ends(self, connections: Sequence[Connection]) -> tuple[End, End]:
        """Sender and receiver."""
        connection = connections[self.direction // 2]
        ends = connection.a, connection.b
        return ends if self.direction % 2 == 0 else ends[::-1]


class Starts(NamedTuple):
    """Many of them: an array of each."""

    direction: Ints
    frame: Ints
    psn: Ints
    used: Ints


def run(context: Context) -> PassResult:
    """Compare the first request PSNs of all connections."""
    starts = _starts(context)
    if len(starts.psn) < 2:
        return PassResult(Verdict.NOT_APPLICABLE, "fewer than two starting PSNs")
    findings = [*_pairs(context, starts), *_repeated(starts)]
    distinct = len(np.unique(starts.psn))
    summary = f"{len(starts.psn)} starting PSNs, {distinct} of them distinct"
    return PassResult(Verdict.PASS, summary, tuple(findings))


def _starts(context: Context) -> Starts:
    """The first request of every direction that has one, in capture order."""
    sequences, table = context.sequences, context.table
    end = np.zeros(len(sequences.first), np.int64)
    np.maximum.at(
        end, sequences.direction, np.where(sequences.stray, 0, sequences.place + sequences.span)
    )
    connections = context.conversations.connections
    judged = np.repeat([connection.transport != DATAGRAM for connection in connections], 2)
    there = np.flatnonzero((sequences.first >= 0) & judged.astype(bool))
    at = sequences.first[there]
    used = end[there] - sequences.place[at]
    rows = sequences.rows[at]
    order = np.argsort(rows)
    columns = (there, table["frame"][rows], table["bth_psn"][rows].astype(np.int64), used)
    return Starts(*(column[order] for column in columns))


def _pairs(context: Context, starts: Starts) -> Iterator[Finding]:
    """Starts inside what the same two queue pairs had used before."""
    connections = context.conversations.connections
    ends = [frozenset((connection.a, connection.b)) for connection in connections]
    lives = Counter(ends)
    again = [lives[both] > 1 for both in ends]
    known: defaultdict[tuple[End, End], list[Start]] = defaultdict(list)
    for at in np.flatnonzero(np.array(again, bool)[starts.direction // 2]).tolist():
        start = Start(*(int(column[at]) for column in starts))
        life = known[start.ends(connections)]
        for before in life[-LISTED:]:
            if serial.forward(before.psn, start.psn) < before.used:
                yield _reused(before, start, start.ends(connections)[0])
        life.append(start)


def _reused(before: Start, start: Start, end: End) -> Finding:
    same = "the same PSN" if start.psn == before.psn else f"PSNs from {before.psn:#08x}"
    return Finding(
        "psn-pair-reused",
        Severity.WARNING,
        f"{end} starts at {start.psn:#08x}, and used {same} in connection "
        f"{before.direction // 2} with the same peer: late packets of that one fit in",
        (before.frame, start.frame),
        start.direction // 2,
    )


def _repeated(starts: Starts) -> Iterator[Finding]:
    """More equal PSNs than chance explains."""
    psns, count = np.unique(starts.psn, return_counts=True)
    pairs = int((count * (count - 1) // 2).sum())
    total = len(starts.psn)
    expected = total * (total - 1) / 2 / (1 << serial.BITS)
    chance = float(pdtrc(pairs - 1, expected)) if pairs else 1.0
    if pairs and chance < IMPROBABLE:
        most = int(count.argmax())
        frames = starts.frame[starts.psn == psns[most]][:LISTED]
        yield Finding(
            "psn-repeated",
            Severity.WARNING,
            f"{pairs} pairs of connections start with the same PSN, {expected:.2g} are expected by "
            f"chance (p = {chance:.1g}); {int(psns[most]):#08x} starts {count[most]} of them",
            tuple(frames.tolist()),
        )
