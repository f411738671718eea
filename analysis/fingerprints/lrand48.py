"""Starting PSNs come from lrand48(): perftest, ibv_*_pingpong, Ceph.

perftest and the pingpongs call srand48(getpid() * time(NULL)) once and take lrand48() & 0xffffff
for each queue pair in turn. Only 25 bits of that seed reach the PSNs: one PSN leaves two candidates
for the next one drawn in that process, two PSNs leave none.

Three things are looked for.

*Several PSNs of one process*, drawn in a row: all 2^25 seeds (chance: 65 places in the process
times 2^(25 - 24 n)).

*One PSN of each process*, or of programs that nothing is known of: the two seeds that give it, as
pid times second, with the capture's own clock; chance: as many pairs of pids and seconds as were
tried, over 2^25 (a low pid shortly before the exchange is unlikely by chance), all processes
together by Fisher's method. Up to four must each convince, of more half of them.

*A stream of one host* (Ceph draws from one generator for all connections): the 17 hidden bits of
the state under two PSNs of a host, others may have been drawn in between and the order may be
mixed up, then all its other PSNs looked up in that stream. Chance: 2^17 states times 256 places
over 2^24 for each pair tried, times 128 n over 2^24 for each further PSN that is found. The seed is
looked for at the stream's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from scipy.stats import chi2

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, Prediction, by_drawer, by_process, chance, of
from analysis.fingerprints.streams import (
    HIDDEN_BITS,
    SEED_BITS,
    advance,
    born,
    first_seeds,
    lrand48_seeds,
    lrand48_stream,
    pids_and_seconds,
    psn_of,
    retreat,
    seeded,
)

SEEDS = 1 << SEED_BITS
WINDOWS = (3, 60, 3600)
"""Seconds before the exchange in which the process may have begun, each tried."""
REACH = 128
"""Draws that a stream may have between two PSNs that are known, and before the first."""
ANCHORS, NEIGHBOURS = 8, 3
"""PSNs of a host that a stream is looked for under, each with so many that come after it."""
STREAMS = 4
"""Streams looked for under one host."""
SKIPPED = 64
"""Draws that a process may have made before the first PSN."""
PROCESSES = 200
HOSTS = 50
"""Processes and hosts looked at."""
CLOCKS_FROM = 946_684_800 * 10**9
"""An earlier time than 2000 is not that of a clock: the capture counts from its own beginning."""
CONVINCING = 0.05
FEW = 4
"""Of so many processes each must convince, of more half of them."""
SHOWN = 5


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """Matches of all three kinds."""
    processes = by_process(draws)
    several = [process for process in processes if len(process) > 1]
    known = list(_seeds(several))
    yield from known
    alone = [process for process in processes if len(process) == 1]
    alone += [[draw] for draw in draws if draw.process is None]
    yield from _pids(alone)
    if not known:
        yield from _streams(draws)


def stream(state: int, count: int) -> list[int]:
    """The `count` PSNs that come after `state`."""
    found = []
    for _ in range(count):
        state = advance(state)
        found.append(psn_of(state))
    return found


def _seeds(processes: Sequence[Sequence[Draw]]) -> Iterator[Match]:
    for process in processes[:PROCESSES]:
        for seed, before in lrand48_seeds([draw.psn for draw in process[:2]], SKIPPED):
            foretold = stream(seeded(seed), before + len(process) + 1)[before:]
            fits = sum(draw.psn == psn for draw, psn in zip(process, foretold, strict=False))
            if fits == len(process) or fits > 2:
                skipped = f", {before} drawn before" if before else ""
                how = f"srand48 of {seed:#x} (modulo 2^25){skipped}{_born(seed, process[0])}"
                yield _seeded(process, foretold, fits, how, min(PROCESSES, len(processes)))
                break


def _seeded(
    process: Sequence[Draw], foretold: Sequence[int], fits: int, how: str, tried: int
) -> Match:
    later = zip(foretold[2:], process[2:], strict=False)
    return Match(
        "lrand48",
        f"{fits} of {len(process)} starting PSNs of one process{of(process[0])} are "
        f"lrand48() & 0xffffff after {how}; the first two give the seed, the others follow",
        fits,
        len(process),
        min(1.0, tried * (SKIPPED + 1) * chance(BITS * fits - SEED_BITS)),
        1.0,
        (
            *(Prediction(psn, draw.psn, draw.frame) for psn, draw in later),
            Prediction(foretold[-1], None),
        ),
    )


def _born(seed: int, draw: Draw) -> str:
    origin = origin_of([seed], draw.time_ns)
    if origin is None or origin[0] > CONVINCING:
        return ""
    _, pid, second = origin
    return f": pid {pid} times {datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S} UTC"


def origin_of(seeds: Sequence[int], time_ns: int | None) -> tuple[float, int, int] | None:
    """How one of `seeds` came of pid * second: (chance, pid, second), least likely by chance."""
    if time_ns is None or time_ns < CLOCKS_FROM:
        return None
    tried, pid, second = pids_and_seconds(seeds, time_ns // 10**9, WINDOWS)
    return min(1.0, len(WINDOWS) * len(seeds) * tried / SEEDS), pid, second


def _pids(processes: Sequence[Sequence[Draw]]) -> Iterator[Match]:
    """Processes known by one PSN each: none convinces alone, all of them together may (Fisher)."""
    found = []
    for (draw,) in processes[:PROCESSES]:
        origin = origin_of(first_seeds(draw.psn), draw.time_ns)
        found.append((draw, origin or (1.0, 0, 0)))
    if not found:
        return
    total = -2 * sum(math.log(max(origin[0], 1e-12)) for _, origin in found)
    p = float(chi2.sf(total, 2 * len(found)))
    convinced = [(draw, origin) for draw, origin in found if origin[0] < CONVINCING]
    if len(convinced) < max(min(FEW, len(found)), len(found) / 2):
        return
    draw, (_, pid, second) = min(convinced, key=lambda one: one[1][0])
    when = datetime.fromtimestamp(second, UTC)
    yield Match(
        "lrand48",
        f"{len(convinced)} of {len(found)} processes started with lrand48() & 0xffffff after "
        f"srand48(pid * second): one{of(draw)} had pid {pid} at {when:%Y-%m-%d %H:%M:%S} UTC",
        len(convinced),
        len(found),
        p,
        math.log2(max(2, pid)),
        tuple(
            Prediction(stream(seeded(p * s), 2)[1], None, d.frame) for d, (_, p, s) in convinced[:3]
        ),
    )


def _streams(draws: Sequence[Draw]) -> Iterator[Match]:
    """Generators under the draws of a host, others having drawn in between."""
    hosts = sorted(by_drawer(draws).items(), key=lambda host: -len(host[1]))
    for drawer, mine in hosts[:HOSTS]:
        left: Sequence[Draw] = mine
        for _ in range(STREAMS):
            found = _followed(drawer, left, min(HOSTS, len(hosts)))
            if found is None:
                break
            match, values = found
            yield match
            left = [draw for draw in left if draw.psn not in values]


def _followed(
    drawer: str | None, draws: Sequence[Draw], tried: int
) -> tuple[Match, set[int]] | None:
    """The best stream under the first draws, and the PSNs in it."""
    values = np.unique(psns(draws))
    pairs = [
        (one.psn, other.psn)
        for at, one in enumerate(draws[:ANCHORS])
        for other in draws[at + 1 : at + 1 + NEIGHBOURS]
        if one.psn != other.psn
    ]
    found = [lrand48_stream(*pair, values, REACH) for pair in pairs]
    state, hits = max(filter(None, found), key=lambda one: len(one[1]), default=(0, []))
    if len(hits) < 3:
        return None
    frames = {draw.psn: draw.frame for draw in reversed(draws)}
    hit = {psn for _, psn in hits}
    # The first hit, and whichever of the pair lies further on, gave the state.
    further = len(hits) - 2
    log_p = (
        math.log2(len(pairs))
        + HIDDEN_BITS
        + math.log2(2 * REACH)
        - BITS
        + math.log2(further + 1)
        + further * math.log2(REACH * len(values) / (1 << BITS))
    )
    explained = sum(draw.psn in hit for draw in draws)
    following = Prediction(psn_of(_walked(state, hits[-1][0] + 1)), None)
    shown = [Prediction(psn, psn, frames[psn]) for _, psn in hits[2 : 2 + SHOWN]]
    match = Match(
        "lrand48",
        f"{explained} starting PSNs of {drawer or 'one host'} are from one stream of lrand48() & "
        f"0xffffff, {_gaps(hits)}{_beginning(_walked(state, hits[0][0]), draws[0])}",
        explained,
        len(draws),
        min(1.0, tried * chance(-log_p)),
        math.log2(max(1.0, (hits[-1][0] - hits[0][0]) / (len(hits) - 1))),
        (*shown, following),
    )
    return match, hit


def _walked(state: int, steps: int) -> int:
    for _ in range(abs(steps)):
        state = advance(state) if steps > 0 else retreat(state)
    return state


def _gaps(hits: Sequence[tuple[int, int]]) -> str:
    most = max(after - before for (before, _), (after, _) in pairwise(hits))
    return "drawn in a row" if most == 1 else f"at most {most - 1} others drawn in between"


def _beginning(state: int, draw: Draw) -> str:
    """What seeded the stream, if it began shortly before `state`."""
    found = born(retreat(state), REACH)
    if found is None:
        return ""
    seed, since = found
    when = f"{since} draws" if since else "just"
    return f"; seeded by srand48 of {seed:#x} (modulo 2^25) {when} before{_born(seed, draw)}"
