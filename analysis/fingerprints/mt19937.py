"""Starting PSNs come from a Mersenne Twister: Python's random, std::mt19937, numpy's RandomState.

The twister is linear: its state word k + 624 is the exclusive-or of words k, k + 1 and k + 397, and
the outputs are linear in the words. So even with 8 of 32 output bits unseen there are parities of
the PSNs k, k + 1, k + 397 and k + 624 that always come out even. With more than 624 draws in a row
they are checked (chance: 2^-parities for each draw), for PSNs that are the upper 24 bits
(getrandbits(24)) and the lower 24 bits (& 0xffffff) of the output. As many bits of the next PSN
follow from what was seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from scipy.special import bdtrc

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, by_drawer
from analysis.pairing import Ints, Mask

WORDS, MIDDLE, WIDTH = 624, 397, 32
TWIST = 0x9908B0DF
TOP = 1 << (WIDTH - 1)
LEAST = 3

UPPER = "the upper 24 bits"
LOWER = "the lower 24 bits"
SHIFTS = {UPPER: WIDTH - BITS, LOWER: 0}

Relation = tuple[int, int, int, int]


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match for each host whose draws obey the twister's parities."""
    for drawer, mine in by_drawer(draws).items():
        if len(mine) < WORDS + LEAST:
            continue
        values = psns(mine)
        for name, shift in SHIFTS.items():
            relations = parities(shift)
            holds = np.ones(len(values) - WORDS, bool)
            for relation in relations:
                holds &= _even(values, relation)
            fits, count = int(holds.sum()), len(relations)
            p = float(bdtrc(fits - 1, len(holds), 2.0**-count)) if fits else 1.0
            if fits > len(holds) // 2:
                yield Match(
                    "mt19937",
                    f"{fits} of {len(holds)} starting PSNs of {drawer or 'one host'} obey all "
                    f"{count} parities of {name} of a Mersenne Twister with the 624th before them",
                    fits,
                    len(draws),
                    min(1.0, len(SHIFTS) * p),
                    float(BITS - count),
                )


def _even(values: Ints, relation: Relation) -> Mask:
    """Whether the parity of `relation` is even, for each draw from WORDS on."""
    count = len(values) - WORDS
    total = np.zeros(count, np.int64)
    for offset, mask in zip((0, 1, MIDDLE, WORDS), relation, strict=True):
        total += np.bitwise_count(values[offset : offset + count] & mask)
    even: Mask = total % 2 == 0
    return even


@cache
def parities(shift: int) -> tuple[Relation, ...]:
    """Masks for the PSNs k, k + 1, k + 397, k + 624 whose common parity is always even.

    PSNs are the output's bits from `shift` on, 24 of them. A mask f over state word k + 624 gives f
    x[k+624] + f x[k+397] + (f A) x[k or k+1] = 0; it is of use where, in terms of outputs, none of
    the unseen bits is needed.
    """
    back = [untempered(1 << bit) for bit in range(WIDTH)]  # state bits that an output bit enters
    seen = ((1 << BITS) - 1) << shift
    images = []
    for bit in range(WIDTH):
        twisted = _twisted(1 << bit)
        ways = (twisted & TOP, twisted & ~TOP, 1 << bit, 1 << bit)
        images.append([_outputs(mask, back) for mask in ways])
    found = []
    for combination in _combinations([_unseen(image, seen) for image in images]):
        relation = [0, 0, 0, 0]
        for bit in range(WIDTH):
            if combination >> bit & 1:
                relation = [one ^ other for one, other in zip(relation, images[bit], strict=True)]
        masks = [mask >> shift for mask in relation]
        found.append((masks[0], masks[1], masks[2], masks[3]))
    return tuple(found)


def untempered(output: int) -> int:
    """The state word that gives `output`."""
    output ^= output >> 18
    output ^= output << 15 & 0xEFC60000
    word = output
    for _ in range(4):
        word = output ^ (word << 7 & 0x9D2C5680)
    output = word
    for _ in range(2):
        word = output ^ word >> 11
    return word


def _twisted(mask: int) -> int:
    """Which bits of (top of x[k], rest of x[k+1]) enter the parity `mask` of x[k+624]."""
    # x[k+624] = x[k+397] ^ (y >> 1) ^ (TWIST if y is odd)
    odd = (mask & TWIST).bit_count() % 2
    return (mask << 1 & (2 * TOP - 1)) | odd


def _outputs(mask: int, back: Sequence[int]) -> int:
    """Which output bits enter the parity `mask` of their state word."""
    return sum(((mask & word).bit_count() % 2) << bit for bit, word in enumerate(back))


def _unseen(image: Sequence[int], seen: int) -> int:
    """The unseen output bits of all four words in a row."""
    total = 0
    for mask in image:
        total = total << WIDTH | (mask & ~seen)
    return total


def _combinations(rows: Sequence[int]) -> list[int]:
    """All independent sets (as bit masks) of `rows` whose exclusive-or is zero."""
    pivots: dict[int, tuple[int, int]] = {}
    zero = []
    for number, row in enumerate(rows):
        value, used = row, 1 << number
        while value:
            top = value.bit_length()
            if top not in pivots:
                pivots[top] = value, used
                break
            value, used = value ^ pivots[top][0], used ^ pivots[top][1]
        else:
            zero.append(used)
    return zero
