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
from typing import NamedTuple

import numpy as np
from scipy.special import pdtrc

from analysis.context import Context
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.negotiated import End
from dissectors import psn as serial

DATAGRAM = "UD"
"""UD has no connection whose packets could come late."""
IMPROBABLE = 0.001
LISTED = 20


class Start(NamedTuple):
    """Where a direction's PSNs start, how many it used, and the frame of its first request.

    `ends` are sender and receiver, as far as they are known.
    """

    frame: int
    psn: int
    used: int
    connection: int
    ends: tuple[str | None, int | None, str | None, int | None]


def run(context: Context) -> PassResult:
    """Compare the first request PSNs of all connections."""
    starts = _starts(context)
    if len(starts) < 2:
        return PassResult(Verdict.NOT_APPLICABLE, "fewer than two starting PSNs")
    findings = [*_pairs(starts), *_repeated(starts)]
    distinct = len({start.psn for start in starts})
    summary = f"{len(starts)} starting PSNs, {distinct} of them distinct"
    return PassResult(Verdict.PASS, summary, tuple(findings))


def _starts(context: Context) -> list[Start]:
    """The first request of every direction that has one."""
    sequences, table = context.sequences, context.table
    end = np.zeros(len(sequences.first), np.int64)
    np.maximum.at(
        end, sequences.direction, np.where(sequences.stray, 0, sequences.place + sequences.span)
    )
    there = np.flatnonzero(sequences.first >= 0)
    at = sequences.first[there]
    used = end[there] - sequences.place[at]
    rows = sequences.rows[at]
    columns = (there, table["frame"][rows], table["bth_psn"][rows], used)
    starts = []
    for direction, frame, psn, count in zip(*(c.tolist() for c in columns), strict=True):
        connection = context.conversations.connections[direction // 2]
        if connection.transport != DATAGRAM:
            a, b = connection.a, connection.b
            ends = (a.ip, a.qpn, b.ip, b.qpn) if direction % 2 == 0 else (b.ip, b.qpn, a.ip, a.qpn)
            starts.append(Start(frame, psn, count, connection.number, ends))
    return sorted(starts)


def _pairs(starts: list[Start]) -> Iterator[Finding]:
    """Starts inside what the same two queue pairs had used before."""
    lives: defaultdict[tuple[object, ...], list[Start]] = defaultdict(list)
    for start in starts:
        lives[start.ends].append(start)
    for life in lives.values():
        for number, start in enumerate(life):
            for before in life[max(0, number - LISTED) : number]:
                if serial.forward(before.psn, start.psn) < before.used:
                    yield _reused(before, start)


def _reused(before: Start, start: Start) -> Finding:
    same = "the same PSN" if start.psn == before.psn else f"PSNs from {before.psn:#08x}"
    ip, qpn, *_ = start.ends
    return Finding(
        "psn-pair-reused",
        Severity.WARNING,
        f"{End(ip, qpn)} starts at {start.psn:#08x}, and used {same} in connection "
        f"{before.connection} with the same peer: late packets of that one fit in",
        (before.frame, start.frame),
        start.connection,
    )


def _repeated(starts: list[Start]) -> Iterator[Finding]:
    """More equal PSNs than chance explains."""
    count = Counter(start.psn for start in starts)
    pairs = sum(n * (n - 1) // 2 for n in count.values())
    expected = len(starts) * (len(starts) - 1) / 2 / (1 << serial.BITS)
    chance = float(pdtrc(pairs - 1, expected)) if pairs else 1.0
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
