"""Every starting PSN is the same.

Known constants: 0 (librdmacm UD, ibacm, srp_daemon, NCCL, NVSHMEM), 3185 (DrTM, Sherman and what
grew out of them). Whoever has seen one connection knows all others. Looked for in all draws
together, then in those of each host. Chance: 2^-24 for every draw after the first, times one more
than the hosts there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction, chance, of_all_or_hosts

KNOWN = {
    0: "as librdmacm for UD, ibacm, srp_daemon, NCCL and NVSHMEM do",
    3185: "as DrTM, Sherman and their kin do",
}


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """One match if all draws are equal, or one for each host whose draws are."""
    return of_all_or_hosts(draws, _match)


def _match(draws: Sequence[Draw], whose: str, tried: int) -> Match | None:
    psn = draws[0].psn
    if len(draws) < 2 or any(draw.psn != psn for draw in draws):
        return None
    known = f" ({KNOWN[psn]})" if psn in KNOWN else ""
    return Match(
        "constant",
        f"all {len(draws)} starting PSNs{whose} are {psn:#08x} = {psn}{known}",
        len(draws),
        len(draws),
        min(1.0, tried * chance(BITS * (len(draws) - 1))),
        0.0,
        tuple(Prediction(psn, draw.psn, draw.frame) for draw in draws[1:][:3]),
    )
