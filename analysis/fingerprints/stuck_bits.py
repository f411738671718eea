"""Some bits of every starting PSN are the same.

`rdma-multi-client` masks its random number with `| 1`, so every PSN is odd: 23 bits are left of 24.
A range that is too small (rand() & 0xffff) shows as high bits that stay 0. Chance: 48 ways for a
bit to be stuck, 2^-n each; more bits at once are less likely still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb

import numpy as np

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, chance

LOW_BIT_SET = 1
DISTINCT = 2


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if any bit is the same in all draws (and not all bits are)."""
    values = psns(draws)
    n = len(values)
    if n < DISTINCT or len(set(values.tolist())) < DISTINCT:
        return
    ones, zeros = int(np.bitwise_and.reduce(values)), int(~np.bitwise_or.reduce(values)) & 0xFFFFFF
    stuck = ones | zeros
    count = stuck.bit_count()
    if not count:
        return
    names = ", ".join(f"bit {bit} is {ones >> bit & 1}" for bit in range(BITS) if stuck >> bit & 1)
    known = " (`| 1`, as rdma-multi-client does)" if ones == LOW_BIT_SET and not zeros else ""
    yield Match(
        "stuck-bits",
        f"in all {n} starting PSNs {names}{known}: {BITS - count} bits are left of {BITS}",
        n,
        n,
        min(1.0, comb(BITS, count) * chance(count * (n - 1))),
        float(BITS - count),
    )
