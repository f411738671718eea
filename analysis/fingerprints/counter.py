"""Starting PSNs count: each is the one before plus the same step.

Looked for in the draws of each host. *In order*: from two draws the third is known; chance: the
first two give the step, every further draw fits with 2^-24, and a share of draws that fit is judged
by the binomial distribution (something else may have drawn in between). *Out of order* (connections
made at the same time overtake one another): the PSNs lie side by side in a small part of the range,
most of them one step from their neighbour; chance: n arcs of that size, each holding the other n -
1 draws. Both times twice the hosts there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy.special import bdtrc

from analysis.draws import Draw, psns
from analysis.fingerprints.match import SIZE, Match, Prediction, arc, by_drawer

IMPROBABLE = 1e-4
WAYS = 2
SHOWN = 3
LEAST = 4
"""Draws that say something out of order."""


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match for each host whose draws count."""
    hosts = by_drawer(draws)
    for drawer, mine in hosts.items():
        who = drawer or "one host"
        ways = (
            _in_order(who, mine, WAYS * len(hosts)),
            _side_by_side(who, mine, WAYS * len(hosts)),
        )
        found = [match for match in ways if match and match.false_positive < IMPROBABLE]
        if found:
            yield max(found, key=lambda match: match.explained)


def _in_order(who: str, draws: Sequence[Draw], tried: int) -> Match | None:
    steps = [(b.psn - a.psn) % SIZE for a, b in pairwise(draws)]
    if len(steps) < 2:
        return None
    step, times = Counter(steps).most_common(1)[0]
    if step == 0 or times < 2 or 2 * times < len(steps):
        return None
    # Any step may be the common one: the first with it is given away.
    p = min(1.0, tried * len(steps) * float(bdtrc(times - 2, len(steps) - 1, 1 / SIZE)))
    return Match(
        "counter",
        f"{times} of {len(steps)} starting PSNs of {who} are the one before and {_signed(step):+d}",
        times + 1,
        len(draws),
        p,
        0.0,
        (
            *(
                Prediction((a.psn + step) % SIZE, b.psn, b.frame)
                for a, b in list(pairwise(draws))[1:4]
            ),
            Prediction((draws[-1].psn + step) % SIZE, None),
        ),
    )


def _side_by_side(who: str, draws: Sequence[Draw], tried: int) -> Match | None:
    values = np.unique(psns(draws))
    n = len(values)
    if n < LEAST:
        return None
    length, start = arc(values)
    gaps = np.diff(np.sort((values - start) % SIZE))
    step, times = Counter(gaps.tolist()).most_common(1)[0]
    if 2 * times < len(gaps):
        return None
    ordered = sorted(draws, key=lambda draw: (draw.psn - start) % SIZE)
    return Match(
        "counter",
        f"{times + 1} of {len(draws)} starting PSNs of {who} stand side by side from {start:#08x} "
        f"on, {step} apart; their order is mixed up",
        times + 1,
        len(draws),
        min(1.0, tried * n * (length / SIZE) ** (n - 1)),
        0.0,
        (
            *(
                Prediction((start + step * k) % SIZE, seen.psn, seen.frame)
                for k, seen in enumerate(ordered[2 : 2 + SHOWN], 2)
            ),
            Prediction((start + length + step) % SIZE, None),
        ),
    )


def _signed(step: int) -> int:
    return step if step < SIZE // 2 else step - SIZE
