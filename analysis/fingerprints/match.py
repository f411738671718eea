"""What a fingerprint finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.draws import Draw

BITS = 24


@dataclass(frozen=True, slots=True)
class Prediction:
    """A PSN worked out from others, and the one that was seen there (None: not seen yet)."""

    predicted: int
    seen: int | None
    frame: int | None = None

    @property
    def true(self) -> bool:
        """Whether it came true."""
        return self.predicted == self.seen


@dataclass(frozen=True, slots=True)
class Match:
    """A source that explains draws.

    `explained` of the draws looked at (`of`) fit; uniform draws do that with probability
    `false_positive`. `entropy` is what is left to guess, in bits a PSN.
    """

    name: str
    says: str
    explained: int
    of: int
    false_positive: float
    entropy: float
    predictions: tuple[Prediction, ...] = ()


def chance(exponent: float) -> float:
    """2 to the minus `exponent`, at most 1."""
    return float(min(1.0, 2.0**-exponent))


def by_drawer(draws: Sequence[Draw]) -> dict[str | None, list[Draw]]:
    """The draws of each host, in their order."""
    groups: defaultdict[str | None, list[Draw]] = defaultdict(list)
    for draw in draws:
        groups[draw.drawer].append(draw)
    return dict(groups)


def by_process(draws: Sequence[Draw]) -> list[list[Draw]]:
    """Draws that surely came out of one program, in their order."""
    groups: defaultdict[str, list[Draw]] = defaultdict(list)
    for draw in draws:
        if draw.process is not None:
            groups[draw.process].append(draw)
    return list(groups.values())
