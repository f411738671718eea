"""Some bits of every starting PSN are the same.

`rdma-multi-client` masks its random number with `| 1`, so every PSN is odd: 23 bits are left of 24.
A range that is too small (rand() & 0xffff) shows as high bits that stay 0. Looked for in all draws
together, then in those of each host. Chance: 2^-(n-1) for a bit to be the same in n draws; for k
bits to the power k, times the ways to choose k bits of 24, times one more than the hosts there are.
Fewer than 17 draws say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import comb

import numpy as np

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, chance, of_all_or_hosts

LOW_BIT_SET = 1
MASK = (1 << BITS) - 1


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if any bit, and not every one, is the same in all draws, or in all of a host."""
    return of_all_or_hosts(draws, _match)


def _match(draws: Sequence[Draw], whose: str, tried: int) -> Match | None:
    values = psns(draws)
    n = len(values)
    ones, zeros = int(np.bitwise_and.reduce(values)), int(~np.bitwise_or.reduce(values)) & MASK
    count = (ones | zeros).bit_count()
    if count in (0, BITS):
        return None
    known = " (`| 1`, as rdma-multi-client does)" if ones == LOW_BIT_SET and not zeros else ""
    return Match(
        "stuck-bits",
        f"in all {n} starting PSNs{whose} {_names(ones, zeros)}{known}: {BITS - count} bits are "
        f"left of {BITS}",
        n,
        n,
        min(1.0, tried * comb(BITS, count) * chance(count * (n - 1))),
        float(BITS - count),
    )


def _names(ones: int, zeros: int) -> str:
    """`bit 0 is 1, bits 16 to 23 are 0`."""
    states = [(bit, ones >> bit & 1, zeros >> bit & 1) for bit in range(BITS)]
    found = []
    for (one, zero), run in groupby(states, key=lambda state: state[1:]):
        bits = [bit for bit, *_ in run]
        if one or zero:
            which = f"bits {bits[0]} to {bits[-1]} are" if len(bits) > 1 else f"bit {bits[0]} is"
            found.append(f"{which} {one}")
    return ", ".join(found)
