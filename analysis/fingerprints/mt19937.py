"""Starting PSNs come from a Mersenne Twister: Python's random, std::mt19937, numpy's RandomState.

The twister is linear: its state word k + 624 is the exclusive-or of words k, k + 1 and k + 397, and
the outputs are linear in the words. PSNs that are the upper 24 bits of the outputs
(getrandbits(24)) or the lower 24 (& 0xffffff) are looked for, in the draws of each host in order,
with none missing.

More than 624 draws in a row: even with 8 of 32 bits unseen there are 15 parities of the PSNs k, k +
1, k + 397 and k + 624 that always come out even (chance: 2^-15 for each draw). 15 bits of the next
PSN follow from what was seen; 9 are left.

1247 draws in a row: 24 bits of each determine the whole state (fewer do not: 15 of the 24 bits
follow from earlier ones and tell nothing new), and every later PSN is foretold.

Not found: draws taken out of order or with others missing, and random.randrange(2**24), which takes
25 bits and throws half of the outputs away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from scipy.special import bdtrc

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, Prediction, by_drawer
from analysis.fingerprints.twister import ENOUGH, MIDDLE, WIDTH, WORDS, following, images
from analysis.pairing import Ints, Mask

LEAST = 3
"""Parities checked, and PSNs foretold, before anything is said."""
SHOWN = 4
UPPER = "the upper 24 bits"
LOWER = "the lower 24 bits"
SHIFTS = {UPPER: WIDTH - BITS, LOWER: 0}

Relation = tuple[int, int, int, int]


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match for each host whose draws obey the twister's parities."""
    hosts = by_drawer(draws)
    for drawer, mine in hosts.items():
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
                p = min(1.0, len(hosts) * len(SHIFTS) * p)
                yield _foretold(mine, holds, name, p) or Match(
                    "mt19937",
                    f"{fits} of {len(holds)} starting PSNs of {drawer or 'one host'} obey all "
                    f"{count} parities of {name} of a Mersenne Twister with the 624th before them",
                    WORDS + fits,
                    len(mine),
                    p,
                    float(BITS - count),
                )


def _foretold(draws: Sequence[Draw], holds: Mask, name: str, p: float) -> Match | None:
    """The state worked out from ENOUGH draws, and what it says of all later ones."""
    start, length = _longest(holds)
    if length + WORDS < ENOUGH:
        return None
    later = draws[start + ENOUGH :]
    values = psns(draws[start : start + ENOUGH])
    foretold = following(values, SHIFTS[name], len(later) + 1)
    if foretold is None:
        return None
    fits = sum(draw.psn == psn for draw, psn in zip(later, foretold, strict=False))
    if 2 * fits < len(later):
        return None
    return Match(
        "mt19937",
        f"{ENOUGH} starting PSNs in a row of {draws[0].drawer or 'one host'} give the whole state "
        f"of a Mersenne Twister whose outputs' {name.removeprefix('the ')} they are; {fits} of the "
        f"{len(later)} that come later are as foretold",
        ENOUGH + fits,
        len(draws),
        p,
        0.0,
        (
            *(
                Prediction(psn, draw.psn, draw.frame)
                for psn, draw in list(zip(foretold, later, strict=False))[:SHOWN]
            ),
            Prediction(foretold[-1], None),
        ),
    )


def _longest(holds: Mask) -> tuple[int, int]:
    """Start and length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], holds, [False]))))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    at = int(lengths.argmax())
    return int(starts[at]), int(lengths[at])


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
    seen = ((1 << BITS) - 1) << shift
    steps = images()
    found = []
    for combination in _combinations([_unseen(image, seen) for image in steps]):
        relation = [0, 0, 0, 0]
        for bit in range(WIDTH):
            if combination >> bit & 1:
                relation = [one ^ other for one, other in zip(relation, steps[bit], strict=True)]
        masks = [mask >> shift for mask in relation]
        found.append((masks[0], masks[1], masks[2], masks[3]))
    return tuple(found)


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
