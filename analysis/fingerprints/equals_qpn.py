"""Every starting PSN is the queue pair's own number.

An early DingoCache did that. The number stands in every packet to that queue pair, and a queue pair
that is used again takes stale packets of its former connection for its own. Chance: 2^-24 a draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction, chance


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if every draw whose QPN is known equals it."""
    known = [draw for draw in draws if draw.qpn is not None]
    if known and all(draw.psn == draw.qpn for draw in known):
        yield Match(
            "equals-qpn",
            f"all {len(known)} starting PSNs equal the queue pair's number",
            len(known),
            len(draws),
            chance(BITS * len(known)),
            0.0,
            tuple(Prediction(draw.qpn or 0, draw.psn, draw.frame) for draw in known[:3]),
        )
