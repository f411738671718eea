"""What a fingerprint finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.draws import Draw
from analysis.pairing import Ints

BITS = 24
SIZE = 1 << BITS


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

    @property
    def chance(self) -> str:
        """`false_positive` in words; below the smallest float it is not 0."""
        return f"{self.false_positive:.0e}" if self.false_positive else "less than 1e-300"


def chance(exponent: float) -> float:
    """2 to the minus `exponent`, at most 1."""
    return float(min(1.0, 2.0**-exponent))


def of(draw: Draw) -> str:
    """Whose draw it is, to put behind `one process`."""
    return f" ({draw.drawer})" if draw.drawer else ""


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


def of_all_or_hosts(
    draws: Sequence[Draw], match: Callable[[Sequence[Draw], str, int], Match | None]
) -> Iterator[Match]:
    """Matches of a rule that holds for every draw: of all draws, or of each host where it does.

    `match` is given the draws, whose they are (words to put behind "PSNs"), and how many sets of
    draws there are to try.
    """
    hosts = by_drawer(draws)
    tried = 1 + len(hosts)
    whole = match(draws, "", tried) if draws else None
    if whole is not None:
        yield whole
    elif len(hosts) > 1:
        for drawer, mine in hosts.items():
            found = match(mine, f" of {drawer or 'unknown hosts'}", tried)
            if found is not None:
                yield found


def arc(values: Ints) -> tuple[int, int]:
    """Length and start of the shortest arc of the circle of 2^24 that holds all `values`."""
    ordered = np.sort(values)
    gaps = np.diff(np.concatenate((ordered, [ordered[0] + SIZE])))
    widest = int(gaps.argmax())
    return int(SIZE - gaps[widest]), int(ordered[(widest + 1) % len(ordered)])
