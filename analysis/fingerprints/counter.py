"""Starting PSNs count: each is the one before plus the same step.

Looked for in the draws of each host, in order of time. From two draws the third is known. Chance:
the first two give the step, every further draw fits with 2^-24; a share of draws that fit is judged
by the binomial distribution (something else may have drawn in between).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from scipy.special import bdtrc

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction, by_drawer

SIZE = 1 << BITS


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match for each host whose draws count."""
    for drawer, mine in by_drawer(draws).items():
        steps = [(b.psn - a.psn) % SIZE for a, b in pairwise(mine)]
        if len(steps) < 2:
            continue
        step, times = Counter(steps).most_common(1)[0]
        if step == 0 or times < 2 or 2 * times < len(steps):
            continue
        # Any step may be the common one: the first with it is given away.
        p = min(1.0, len(steps) * float(bdtrc(times - 2, len(steps) - 1, 1 / SIZE)))
        signed = step if step < SIZE // 2 else step - SIZE
        yield Match(
            "counter",
            f"{times} of {len(steps)} starting PSNs of {drawer or 'one host'} are the one before "
            f"{signed:+d}",
            times + 1,
            len(mine),
            p,
            0.0,
            (
                *(
                    Prediction((a.psn + step) % SIZE, b.psn, b.frame)
                    for a, b in list(pairwise(mine))[1:4]
                ),
                Prediction((mine[-1].psn + step) % SIZE, None),
            ),
        )
