"""The generators themselves: drand48's (lrand48) and glibc's random(), searched at machine speed.

lrand48 (POSIX): X' = (0x5DEECE66D X + 11) mod 2^48, output X' >> 17; srand48(seed) sets X to seed
<< 16 | 0x330E. A PSN is the output's low 24 bits, bits 17 to 40 of X', and those depend on bits 0
to 40 of X alone: 25 bits of the seed, or 17 bits below a known PSN.

random() (glibc, TYPE_3): r[0] is the seed, r[i] = 16807 r[i-1] mod (2^31 - 1) up to 30, r[31..33] =
r[0..2], then r[i] = r[i-3] + r[i-31] mod 2^32, output r[i] >> 1, the first 310 of them thrown away.
So each output is a sum of the 31 seeded words with fixed weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from dissectors.compiled import compiled

MULTIPLIER = 0x5DEECE66D
INCREMENT = 11
STATE_BITS = 41
STATE_MASK = (1 << STATE_BITS) - 1
INVERSE = pow(MULTIPLIER, -1, 1 << STATE_BITS)
"""Steps backwards: state -> (state - INCREMENT) * INVERSE."""
LOW_WORD = 0x330E
SEED_BITS = 25
HIDDEN_BITS = 17
PSN_MASK = 0xFFFFFF
DEGREE, SEPARATION, DISCARDED = 31, 3, 310

Array = np.ndarray[Any, np.dtype[Any]]


def advance(state: int) -> int:
    """The next state of drand48, of which the low 41 bits matter."""
    return (state * MULTIPLIER + INCREMENT) & STATE_MASK


def retreat(state: int) -> int:
    """The state before."""
    return (state - INCREMENT) * INVERSE & STATE_MASK


def psn_of(state: int) -> int:
    """The PSN that a state gives."""
    return state >> HIDDEN_BITS & PSN_MASK


def seeded(seed: int) -> int:
    """The state after srand48(seed)."""
    return (seed << 16 | LOW_WORD) & STATE_MASK


def first_seeds(psn: int) -> list[int]:
    """The two seeds modulo 2^25 whose first PSN is `psn`."""
    return [seed for seed, _ in lrand48_seeds([psn])]


def lrand48_seeds(psns: Sequence[int], skip: int = 0) -> list[tuple[int, int]]:
    """All (seed modulo 2^25, draws before the first) after which lrand48 gives `psns` in a row.

    Up to `skip` draws may have gone before. All 2^25 seeds are covered, and none is tried: srand48
    sets the low 16 bits of the state, so they are known after every draw; with the 24 bits of a
    PSN above them one bit is left open, and the generator runs backwards.
    """
    found = []
    low = LOW_WORD
    for before in range(skip + 1):
        low = (low * MULTIPLIER + INCREMENT) & 0xFFFF
        for bit in (0, 1):
            state = seed = int(psns[0]) << HIDDEN_BITS | bit << 16 | low
            for psn in psns[1:]:
                state = advance(state)
                if psn_of(state) != psn:
                    break
            else:
                for _ in range(before + 1):
                    seed = retreat(seed)
                found.append((seed >> 16, before))
    return sorted(found)


def lrand48_stream(
    first: int, second: int, values: Array, reach: int
) -> tuple[int, list[tuple[int, int]]] | None:
    """The stream under `first` and `second`, at most `reach` draws apart, either way round.

    Gives the state at `first` and all (place, value) of the sorted distinct `values` that the
    stream hits with no gap longer than `reach`, by place; `first` is at place 0. None if no state
    gives both; where several do, it is the one that hits most.
    """
    found = [
        (int(state), sorted(_lrand48_hits(state, np.asarray(values, np.int64), reach)))
        for state in _lrand48_states(first, second, reach)
    ]
    return max(found, key=lambda one: len(one[1]), default=None)


def born(state: int, within: int) -> tuple[int, int] | None:
    """(seed modulo 2^25, draws since) if srand48 made the state less than `within` draws ago."""
    for since in range(within):
        if state & 0xFFFF == LOW_WORD:
            return state >> 16, since
        state = retreat(state)
    return None


def pids_and_seconds(
    seeds: Sequence[int], now: int, windows: Sequence[int]
) -> tuple[float, int, int]:
    """The pid times second, modulo 2^25, that gives one of `seeds` with fewest tried.

    Tried are all smaller pids times all seconds of the smallest of the `windows` (seconds before
    `now`, rising) that it lies in. Gives (how many those are, pid, second).
    """
    tried, pid, second = _pids_and_seconds(np.array(seeds), now, np.array(windows))
    return float(tried), int(pid), int(second)


def random_seeds(psns: Array, seeds: Array) -> list[int]:
    """Those of `seeds` after which glibc's random() gives `psns` from its first output on."""
    wanted = np.asarray(psns, np.int64)
    found = _random_seeds(wanted, np.asarray(seeds), _random_weights(len(wanted)))
    return [int(seed) for seed in found]


@cache
def _random_weights(count: int) -> Array:
    """What each word of the seeded state counts in each of the first outputs, modulo 2^32."""
    words = [np.eye(DEGREE, dtype=np.int64)[i] for i in range(DEGREE)]
    words += words[:SEPARATION]  # r[31..33] = r[0..2]
    for _ in range(DISCARDED + count):
        words.append((words[-SEPARATION] + words[-DEGREE]) & 0xFFFFFFFF)
    return np.array(words[-count:])


@compiled
def _first(factor: int, modulus: int, low: int, high: int, limit: int) -> int:
    """The smallest x <= limit with low <= factor x mod modulus <= high, or -1.

    Euclid's algorithm; the limit shrinks as the numbers do, and keeps their products in 64 bits.
    """
    if low == 0:
        return 0
    if factor == 0 or limit == 0:
        return -1
    x = -(-low // factor)
    if factor * x <= high:
        return x if x <= limit else -1
    y = _first(
        modulus % factor, factor, -high % factor, -low % factor, limit * factor // modulus + 1
    )
    if y < 0:
        return -1
    x = -(-(low + modulus * y) // factor)
    return x if x <= limit else -1


@compiled
def _lrand48_states(first: int, second: int, reach: int) -> list[int]:
    """The states that show `first` and give `second` within `reach` steps, forward or backward.

    A number of steps multiplies the state by `factor` and adds `term`; which of the 2^17 states
    then fall among those that show `second` is a question of two lines, not of trying.
    """
    found = []
    start = first << HIDDEN_BITS
    width = 1 << HIDDEN_BITS
    for way in range(2):
        multiplier = INVERSE if way else MULTIPLIER
        increment = (-INCREMENT * INVERSE if way else INCREMENT) & STATE_MASK
        factor, term = 1, 0
        for _ in range(reach):
            factor = factor * multiplier & STATE_MASK
            term = (term * multiplier + increment) & STATE_MASK
            hidden = 0
            while hidden < width:
                left = ((second << HIDDEN_BITS) - factor * (start + hidden) - term) & STATE_MASK
                # A range that goes over the modulus begins with 0.
                step = 0
                if left + width <= STATE_MASK + 1:
                    step = _first(factor, STATE_MASK + 1, left, left + width - 1, width)
                if step < 0:
                    break
                hidden += step
                if hidden < width:
                    found.append(start + hidden)
                hidden += 1
    return found


@compiled
def _lrand48_hits(start: int, values: Array, reach: int) -> list[tuple[int, int]]:
    found = [(0, start >> HIDDEN_BITS)]
    for way in (1, -1):
        state = start
        place = last = 0
        # A value may be hit by chance, too; but a stream that never ends goes in circles.
        while abs(place - last) < reach and len(found) <= 2 * len(values):
            if way > 0:
                state = (state * MULTIPLIER + INCREMENT) & STATE_MASK
            else:
                state = (state - INCREMENT) * INVERSE & STATE_MASK
            place += way
            psn = state >> HIDDEN_BITS
            at = np.searchsorted(values, psn)
            if at < len(values) and values[at] == psn:
                found.append((place, psn))
                last = place
    return found


@compiled
def _pids_and_seconds(seeds: Array, now: int, windows: Array) -> tuple[int, int, int]:
    modulus = 1 << SEED_BITS
    best = (modulus * (windows[-1] + 1), 0, now)
    for age in range(-1, windows[-1]):
        second = now - age
        window = windows[np.searchsorted(windows, age, "right")]
        power = second & -second  # the largest power of two in it
        if power >= modulus:
            continue
        odd = second // power
        inverse = odd
        for _ in range(5):  # Newton: the bits that are right double
            inverse = inverse * (2 - odd * inverse) % modulus
        for seed in seeds:
            if seed % power == 0:
                pid = seed // power * inverse % (modulus // power)
                pid = pid if pid > 0 else modulus // power
                if pid * (window + 1) < best[0]:
                    best = (pid * (window + 1), pid, second)
    return best


@compiled
def _random_seeds(psns: Array, seeds: Array, weights: Array) -> list[int]:
    found = []
    state = np.empty(DEGREE, np.int64)
    for seed in seeds:
        word = seed if seed != 0 else 1
        state[0] = word
        for i in range(1, DEGREE):
            word = word % 2147483647 * 16807 % 2147483647
            state[i] = word
        fits = True
        for k in range(len(psns)):
            total = 0
            for i in range(DEGREE):
                total += weights[k, i] * state[i]
            if (total & 0xFFFFFFFF) >> 1 & PSN_MASK != psns[k]:
                fits = False
                break
        if fits:
            found.append(seed)
    return found
