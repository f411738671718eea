"""Every starting PSN is the same.

Known constants: 0 (librdmacm UD, ibacm, srp_daemon, NCCL, NVSHMEM), 3185 (DrTM, Sherman and what
grew out of them). Whoever has seen one connection knows all others. Chance: 2^-24 for every draw
after the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction, chance

KNOWN = {
    0: "as librdmacm for UD, ibacm, srp_daemon, NCCL and NVSHMEM do",
    3185: "as DrTM, Sherman and their kin do",
}


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if all draws are equal."""
    values = Counter(draw.psn for draw in draws)
    if len(draws) < 2 or len(values) != 1:
        return
    (psn,) = values
    known = f" ({KNOWN[psn]})" if psn in KNOWN else ""
    yield Match(
        "constant",
        f"all {len(draws)} starting PSNs are {psn:#08x} = {psn}{known}",
        len(draws),
        len(draws),
        chance(BITS * (len(draws) - 1)),
        0.0,
        tuple(Prediction(psn, draw.psn, draw.frame) for draw in draws[1:][:3]),
    )
