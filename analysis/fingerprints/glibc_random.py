"""Starting PSNs come from glibc's rand() or random().

Its outputs add up: each is the sum of the third and the thirty-first before it, or one more. With
more than 34 draws of a host, in order and with none missing, that is checked directly (chance:
2^-23 for each) and the next one is known but for that one; with about 100 the carries are worked
out, too, and all that follow are foretold exactly. With fewer, the likely seeds are tried on the
draws of one process: 0 to 65535, and every second of the two days before the draw
(srand(time(NULL))); chance: seeds tried times 2^-24 for each draw. Both times the hosts or
processes there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import bdtrc

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, Match, Prediction, by_drawer, by_process, chance, of
from analysis.fingerprints.streams import DEGREE, SEPARATION, random_seeds
from analysis.pairing import Ints

SIZE = 1 << BITS
SMALL = 1 << 16
DAYS = 2 * 86400
LEAST = 3
PROCESSES = 50
SHOWN = 4

Predictions = tuple[Prediction, ...]


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """Matches of both kinds."""
    hosts = by_drawer(draws)
    for drawer, mine in hosts.items():
        if len(mine) > DEGREE + LEAST:
            yield from _sums(drawer, mine, len(hosts))
    processes = [each for each in by_process(draws) if 1 < len(each) <= DEGREE + LEAST]
    for process in processes[:PROCESSES]:
        yield from _seeds(process, min(PROCESSES, len(processes)))


def _sums(drawer: str | None, draws: Sequence[Draw], tried: int) -> Iterator[Match]:
    values = psns(draws)
    sums = (values[DEGREE - SEPARATION : -SEPARATION] + values[:-DEGREE]) % SIZE
    off = (values[DEGREE:] - sums) % SIZE
    fits = int((off <= 1).sum())
    p = float(bdtrc(fits - 1, len(off), 2 / SIZE)) if fits else 1.0
    if fits < LEAST:
        return
    yield Match(
        "glibc-random",
        f"{fits} of {len(off)} starting PSNs of {drawer or 'one host'} are the sum of the third "
        "and the 31st before, or one more: rand() or random() & 0xffffff",
        DEGREE + fits,
        len(draws),
        min(1.0, tried * p),
        *_foretold(draws, sums, off),
    )


def _foretold(draws: Sequence[Draw], sums: Ints, off: Ints) -> tuple[float, Predictions]:
    """Bits left to guess, and predictions: exact ones where the carries are worked out.

    Every state word has a lowest bit that no PSN shows; the bits add up as the words do, without
    carry, and a sum is one more where both of its bits are set. So each such sum tells two of the
    31 unknown bits, or sums of them.
    """
    following = int((draws[-SEPARATION].psn + draws[-DEGREE].psn) % SIZE)
    forms = [1 << k for k in range(DEGREE)]  # of the unknown bits, which are summed up
    for _ in range(len(off) + 1):
        forms.append(forms[-SEPARATION] ^ forms[-DEGREE])
    known: dict[int, tuple[int, int]] = {}  # top bit -> form reduced, its value
    exact: list[Prediction] = []
    for k, one_more in enumerate(off.tolist()):
        place = k + DEGREE
        pair = forms[place - SEPARATION], forms[place - DEGREE]
        bits = [_value(form, known) for form in pair]
        if None not in bits:
            foretold = int(sums[k] + (bits == [1, 1])) % SIZE
            exact.append(Prediction(foretold, draws[place].psn, draws[place].frame))
        elif one_more == 1:
            for form in pair:
                _learn(form, known)
    bits = [_value(forms[len(draws) - gap], known) for gap in (SEPARATION, DEGREE)]
    if None in bits:
        return 1.0, (*exact[-SHOWN:], Prediction(following, None))
    last = Prediction((following + (bits == [1, 1])) % SIZE, None)
    return 0.0, (*exact[-SHOWN:], last)


def _reduced(form: int, value: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """`form` with all that is known taken out of it, and what is left of its value."""
    for top in sorted(known, reverse=True):
        if form >> top & 1:
            form, value = form ^ known[top][0], value ^ known[top][1]
    return form, value


def _value(form: int, known: dict[int, tuple[int, int]]) -> int | None:
    """The value of a sum of unknown bits, if it is settled."""
    left, value = _reduced(form, 0, known)
    return None if left else value


def _learn(form: int, known: dict[int, tuple[int, int]]) -> None:
    """Take in that the sum `form` of unknown bits is 1."""
    left, value = _reduced(form, 1, known)
    if left:
        known[left.bit_length() - 1] = left, value


def _seeds(process: Sequence[Draw], tried: int) -> Iterator[Match]:
    seeds = np.arange(SMALL)
    time_ns = process[0].time_ns
    if time_ns is not None:
        now = time_ns // 10**9
        seeds = np.concatenate((seeds, np.arange(now - DAYS, now + 2)))
    found = random_seeds(psns(process), seeds)
    if found:
        yield Match(
            "glibc-random",
            f"all {len(process)} starting PSNs of one process{of(process[0])} are rand() & "
            f"0xffffff after srand({found[0]})",
            len(process),
            len(process),
            min(1.0, tried * chance(BITS * len(process) - math.log2(len(seeds)))),
            0.0,
            tuple(Prediction(draw.psn, draw.psn, draw.frame) for draw in process[1:4]),
        )
