"""How hard a starting PSN is to guess: min-entropy estimates, and what they mean in seconds.

The estimates are those of NIST SP 800-90B: most common value (6.3.1) of whole PSNs and of single
bits, and collision (6.3.2) of the bits in a row. Each is a lower bound at 99 % confidence of what
its own model sees, so a source has at most the least of them (as the standard has it), and less
where none of the models fits: a counter looks well to all three. With n draws no estimate can
exceed about log2(n) bits for whole PSNs, however good the source.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from analysis.draws import Draw, psns
from analysis.pairing import Ints
from analysis.statistics import BITS, bits_of
from dissectors.compiled import compiled

Z = NormalDist().inv_cdf(0.995)
"""99 % confidence, two-sided (SP 800-90B writes 2.576)."""
COLLISION_NEEDS = 1000
PACKETS_PER_SECOND = 1_570_000
"""What one NIC sends (ReDMArk, USENIX Security 2021)."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Min-entropy of a PSN in bits as one model sees it, with 99 % confidence; None: too few."""

    name: str
    bits: float | None
    says: str


def most_common_value(symbols: Ints) -> float:
    """SP 800-90B 6.3.1: min-entropy a symbol, from at least two symbols."""
    n = len(symbols)
    share = max(Counter(symbols.tolist()).values()) / n
    upper = min(1.0, share + Z * math.sqrt(share * (1 - share) / (n - 1)))
    return max(0.0, -math.log2(upper))


def collision(bits: Ints) -> float:
    """SP 800-90B 6.3.2 for binary symbols: min-entropy a bit, from a few dozen bits on.

    Two equal bits come after two or three; the mean wait is 2 + 2 p (1 - p), solved for p.
    """
    twos, threes = _waits(bits)
    count = twos + threes
    mean = 2 + threes / count
    deviation = math.sqrt(twos * threes / count / (count - 1))
    lower = mean - Z * deviation / math.sqrt(count)
    if lower < 2:
        return 0.0
    p = 0.5 + math.sqrt(max(0.0, 0.25 - (lower - 2) / 2))
    return -math.log2(p)


@compiled
def _waits(bits: Ints) -> tuple[int, int]:
    """How often two equal bits come after two, and after three; a last wait cut off is left out."""
    twos = threes = at = 0
    while at + 2 <= len(bits):
        if bits[at] == bits[at + 1]:
            twos += 1
            at += 2
        elif at + 3 <= len(bits):
            threes += 1
            at += 3
        else:
            break
    return twos, threes


def estimates(draws: Sequence[Draw]) -> list[Estimate]:
    """All estimates for one PSN."""
    values = psns(draws)
    if len(values) < 2:
        return [Estimate("most common value", None, "needs 2 draws")]
    bits = bits_of(values)
    whole = most_common_value(values)
    each = sum(most_common_value(column) for column in bits.T)
    collided = collision(bits.reshape(-1)) if bits.size >= COLLISION_NEEDS else None
    return [
        Estimate(
            "most common value",
            whole,
            f"{len(values)} draws can show {math.log2(len(values)):.1f} bits at the very most",
        ),
        Estimate("most common value of each bit", each, "as if bits were independent"),
        Estimate(
            "collision",
            None if collided is None else BITS * collided,
            "bits in a row" if collided is not None else "needs 1000 bits: 42 draws",
        ),
    ]


def guessing(bits: float) -> str:
    """What `bits` of min-entropy mean to somebody who sends blind guesses."""
    guesses = (2.0**bits + 1) / 2
    sweep = 2.0**bits / PACKETS_PER_SECOND
    if guesses < 1.5:
        return "the first guess is right"
    seconds = f"{sweep:.1f} s" if sweep >= 0.1 else f"{sweep * 1000:.3g} ms"
    return (
        f"{guesses:,.0f} guesses on average for a sender who sees nothing, all of them in "
        f"{seconds} at {PACKETS_PER_SECOND / 1e6:.2f} million packets/s (one network card)"
    )
