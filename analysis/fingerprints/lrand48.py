"""Starting PSNs come from lrand48(): perftest, ibv_*_pingpong, Ceph.

perftest and the pingpongs call srand48(getpid() * time(NULL)) once and take lrand48() & 0xffffff
for each queue pair in turn. Only 25 bits of that seed reach the PSNs: one PSN leaves two candidates
for the next one drawn in that process, two PSNs leave none.

Three things are looked for. *Several PSNs of one process*: all 2^25 seeds are tried (chance: 2^(25
- 24 n)). *One PSN of a process*: the two seeds that give it, as pid times second, with the
capture's own clock; chance: as many pairs of pids and seconds as were tried, over 2^25 (a low pid
shortly before the exchange is unlikely by chance). *A stream that began long ago* (Ceph draws from
one generator for all connections): the 17 hidden bits of the state under three PSNs of one host,
with other draws in between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
from scipy.stats import chi2

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, Prediction, by_drawer, by_process, chance
from analysis.fingerprints.streams import (
    SEED_BITS,
    advance,
    first_seeds,
    lrand48_seeds,
    lrand48_states,
    psn_of,
    seeded,
)
from analysis.pairing import Ints

SEEDS = 1 << SEED_BITS
WINDOWS = (3, 60, 3600)
"""Seconds before the exchange in which the process may have begun, each tried."""
FURTHEST = 32
"""Draws that may lie between two PSNs of a stream."""
STREAMS = 8
SKIPPED = 8
"""Draws that a process may have made before the first PSN."""
PROCESSES = 200
CONVINCING = 0.05


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """Matches of all three kinds."""
    processes = by_process(draws)
    several = [process for process in processes if len(process) > 1]
    yield from _seeds(several, len(draws))
    yield from _pids([process for process in processes if len(process) == 1], len(draws))
    if not several:
        yield from _streams(draws)


def stream(state: int, count: int) -> list[int]:
    """The `count` PSNs that come after `state`."""
    found = []
    for _ in range(count):
        state = advance(state)
        found.append(psn_of(state))
    return found


def _seeds(processes: Sequence[Sequence[Draw]], of: int) -> Iterator[Match]:
    for process in processes[:PROCESSES]:
        known = psns(process[:2])
        seeds = [(s, 0) for s in first_seeds(int(known[0])) if stream(seeded(s), 2)[1] == known[1]]
        for seed, before in seeds or lrand48_seeds(known, SKIPPED):
            foretold = stream(seeded(seed), before + len(process) + 1)[before:]
            fits = sum(draw.psn == psn for draw, psn in zip(process, foretold, strict=False))
            if fits == len(process) or fits > 2:
                skipped = f", {before} drawn before" if before else ""
                how = f"srand48 of {seed:#x} (modulo 2^25){skipped}{_born(seed, process[0])}"
                yield _seeded(process, foretold, fits, how, of)
                break


def _seeded(
    process: Sequence[Draw], foretold: Sequence[int], fits: int, how: str, of: int
) -> Match:
    later = zip(foretold[2:], process[2:], strict=False)
    return Match(
        "lrand48",
        f"{fits} of {len(process)} starting PSNs of one process ({process[0].drawer}) are "
        f"lrand48() & 0xffffff after {how}; the first two give the seed, the others follow",
        fits,
        of,
        min(1.0, (SKIPPED + 2) * chance(BITS * fits - SEED_BITS)),
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
    if time_ns is None:
        return None
    ages = np.arange(-1, WINDOWS[-1])
    seconds = time_ns // 10**9 - ages
    window = np.array(WINDOWS)[np.searchsorted(WINDOWS, ages, "right")]
    best: tuple[float, int, int] | None = None
    for seed in seeds:
        pids = _pids_of(seed, seconds)
        tried = len(WINDOWS) * len(seeds) * (window + 1) * pids
        at = int(tried.argmin())
        found = min(1.0, float(tried[at]) / SEEDS), int(pids[at]), int(seconds[at])
        best = found if best is None else min(best, found)
    return best


def _pids_of(seed: int, seconds: Ints) -> Ints:
    """The smallest pid with pid * second = seed modulo 2^25, by second; SEEDS if there is none."""
    power = seconds & -seconds  # the largest power of two in each
    odd = seconds // power
    inverse = odd
    for _ in range(5):  # Newton: the bits that are right double
        inverse = inverse * (2 - odd * inverse) % SEEDS
    modulus = np.maximum(1, SEEDS // power)
    pids = seed // power * inverse % modulus
    pids = np.where(pids == 0, modulus, pids)
    found: Ints = np.where((seed % power == 0) & (power < SEEDS), pids, SEEDS)
    return found


def _pids(processes: Sequence[Sequence[Draw]], of: int) -> Iterator[Match]:
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
    if not convinced or 2 * len(convinced) < len(found):
        return
    draw, (_, pid, second) = min(convinced, key=lambda one: one[1][0])
    when = datetime.fromtimestamp(second, UTC)
    yield Match(
        "lrand48",
        f"{len(convinced)} of {len(found)} processes started with lrand48() & 0xffffff after "
        f"srand48(pid * second): {draw.drawer} with pid {pid} at {when:%Y-%m-%d %H:%M:%S} UTC",
        len(convinced),
        of,
        p,
        math.log2(max(2, pid)),
        tuple(
            Prediction(stream(seeded(p * s), 2)[1], None, d.frame) for d, (_, p, s) in convinced[:3]
        ),
    )


def _streams(draws: Sequence[Draw]) -> Iterator[Match]:
    """One generator under the draws of a host, others having drawn in between."""
    for drawer, mine in by_drawer(draws).items():
        for start in range(min(STREAMS, len(mine) - 2)):
            match = _followed(drawer, mine[start:], len(draws))
            if match is not None:
                yield match
                break


def _followed(drawer: str | None, draws: Sequence[Draw], of: int) -> Match | None:
    for state, lag in lrand48_states(draws[0].psn, draws[1].psn, FURTHEST):
        for _ in range(lag):
            state = advance(state)  # noqa: PLW2901
        predictions = []
        for draw in draws[2:]:
            ahead = state
            for _ in range(FURTHEST):
                ahead = advance(ahead)
                if psn_of(ahead) == draw.psn:
                    predictions.append(Prediction(draw.psn, draw.psn, draw.frame))
                    state = ahead  # noqa: PLW2901
                    break
        if predictions:
            fits = len(predictions)
            tries = math.log2(FURTHEST) * (fits + 1) + 17
            return Match(
                "lrand48",
                f"{fits + 2} starting PSNs of {drawer or 'one host'} are one stream of lrand48() & "
                f"0xffffff, at most {FURTHEST} draws apart",
                fits + 2,
                of,
                min(1.0, STREAMS * chance(BITS * (fits + 1) - tries)),
                math.log2(FURTHEST),
                (*predictions[:5], Prediction(psn_of(advance(state)), None)),
            )
    return None
