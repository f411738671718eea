"""The generators themselves: drand48's (lrand48) and glibc's random(), searched at machine speed.

lrand48 (POSIX): X' = (0x5DEECE66D X + 11) mod 2^48, output X' >> 17; srand48(seed) sets X to seed
<< 16 | 0x330E. A PSN is the output's low 24 bits, bits 17 to 40 of X', and those depend on bits 0
to 40 of X alone: 25 bits of the seed, or 17 bits below a known PSN.

random() (glibc, TYPE_3): r[i] = r[i-3] + r[i-31] mod 2^32, output r[i] >> 1; the first 344 values
come of the seed, the first 310 of those after 34 are thrown away.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors.compiled import compiled

MULTIPLIER = 0x5DEECE66D
INCREMENT = 11
STATE_BITS = 41
STATE_MASK = (1 << STATE_BITS) - 1
INVERSE = pow(MULTIPLIER, -1, 1 << STATE_BITS)
LOW_WORD = 0x330E
SEED_BITS = 25
HIDDEN_BITS = 17
PSN_MASK = 0xFFFFFF
DEGREE, SEPARATION, DISCARDED = 31, 3, 310

Array = np.ndarray[Any, np.dtype[Any]]


def advance(state: int) -> int:
    """The next state of drand48, of which the low 41 bits matter."""
    return (state * MULTIPLIER + INCREMENT) & STATE_MASK


def psn_of(state: int) -> int:
    """The PSN that a state gives."""
    return state >> HIDDEN_BITS & PSN_MASK


def seeded(seed: int) -> int:
    """The state after srand48(seed)."""
    return (seed << 16 | LOW_WORD) & STATE_MASK


def first_seeds(psn: int) -> list[int]:
    """The seeds modulo 2^25 whose first PSN is `psn`: two on average. Worked out backwards."""
    after = psn << HIDDEN_BITS | np.arange(1 << HIDDEN_BITS, dtype=np.uint64)
    before = (after - np.uint64(INCREMENT)) * np.uint64(INVERSE) & np.uint64(STATE_MASK)
    fits = before & np.uint64(0xFFFF) == LOW_WORD
    return [int(state) >> 16 for state in before[fits]]


def lrand48_seeds(psns: Array, skip: int = 0) -> list[tuple[int, int]]:
    """All (seed modulo 2^25, draws before the first) after which lrand48 gives `psns` in a row.

    Up to `skip` draws may have gone before. All 2^25 seeds are tried.
    """
    found = _lrand48_seeds(np.asarray(psns, np.int64), skip)
    return [(int(seed), int(before)) for seed, before in found]


def lrand48_states(first: int, second: int, furthest: int) -> list[tuple[int, int]]:
    """All (state at `first`, lag) with which lrand48 gives `second` `lag` draws after `first`."""
    found = _lrand48_states(first, second, furthest)
    return [(int(state), int(lag)) for state, lag in found]


def random_seeds(psns: Array, seeds: Array) -> list[int]:
    """Those of `seeds` after which glibc's random() gives `psns` from its first output on."""
    return [int(seed) for seed in _random_seeds(np.asarray(psns, np.int64), np.asarray(seeds))]


@compiled
def _lrand48_seeds(psns: Array, skip: int) -> list[tuple[int, int]]:
    found = []
    for seed in range(1 << SEED_BITS):
        state = seed << 16 | LOW_WORD
        for before in range(skip + 1):
            state = (state * MULTIPLIER + INCREMENT) & STATE_MASK
            if state >> HIDDEN_BITS != psns[0]:
                continue
            ahead = state
            fits = True
            for psn in psns[1:]:
                ahead = (ahead * MULTIPLIER + INCREMENT) & STATE_MASK
                if ahead >> HIDDEN_BITS != psn:
                    fits = False
                    break
            if fits:
                found.append((seed, before))
    return found


@compiled
def _lrand48_states(first: int, second: int, furthest: int) -> list[tuple[int, int]]:
    found = []
    for hidden in range(1 << HIDDEN_BITS):
        start = first << HIDDEN_BITS | hidden
        state = start
        for lag in range(1, furthest + 1):
            state = (state * MULTIPLIER + INCREMENT) & STATE_MASK
            if state >> HIDDEN_BITS == second:
                found.append((start, lag))
    return found


@compiled
def _random_seeds(psns: Array, seeds: Array) -> list[int]:
    found = []
    state = np.empty(DEGREE, np.int64)
    for seed in seeds:
        word = seed if seed != 0 else 1
        state[0] = word
        for i in range(1, DEGREE):
            # 16807 times the word, modulo 2^31 - 1, by Schrage's method as glibc does.
            high, low = word // 127773, word % 127773
            word = 16807 * low - 2836 * high
            if word < 0:
                word += 2147483647
            state[i] = word
        front, rear = SEPARATION, 0
        fits = True
        for i in range(DISCARDED + len(psns)):
            state[front] = (state[front] + state[rear]) & 0xFFFFFFFF
            output = state[front] >> 1
            front = front + 1 if front + 1 < DEGREE else 0
            rear = rear + 1 if rear + 1 < DEGREE else 0
            if i >= DISCARDED and output & PSN_MASK != psns[i - DISCARDED]:
                fits = False
                break
        if fits:
            found.append(seed)
    return found
