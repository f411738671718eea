"""Every starting PSN is the queue pair's own number.

An early DingoCache did that. The number stands in every packet to that queue pair, and a queue pair
that is used again takes stale packets of its former connection for its own. Looked for in all draws
together, then in those of each host. Chance: 2^-24 a draw, times one more than the hosts there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction, chance, of_all_or_hosts


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if every draw whose QPN is known equals it, or one for each host of which."""
    return of_all_or_hosts([draw for draw in draws if draw.qpn is not None], _match)


def _match(draws: Sequence[Draw], whose: str, tried: int) -> Match | None:
    if any(draw.psn != draw.qpn for draw in draws):
        return None
    return Match(
        "equals-qpn",
        f"all {len(draws)} starting PSNs{whose} equal the queue pair's number",
        len(draws),
        len(draws),
        min(1.0, tried * chance(BITS * len(draws))),
        0.0,
        tuple(Prediction(draw.qpn or 0, draw.psn, draw.frame) for draw in draws[:3]),
    )
