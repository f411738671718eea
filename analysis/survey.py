"""How random are the starting PSNs, and what chose them? The answer of `rocelab psn`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.draws import Draw, psns
from analysis.entropy import Estimate, estimates, guessing
from analysis.finding import Verdict
from analysis.fingerprints import find as find_fingerprints
from analysis.fingerprints.match import BITS, Match
from analysis.statistics import (
    TESTS,
    Tested,
    bits_of,
    examine,
    least_for_stuck_bit,
    needed,
    significant,
)

SCHEMA = 1
SHARE = 0.8
"""Of the false alarms allowed, those left to fingerprints: what they find says more."""
TOLD = ("psn", "drawer", "qpn", "time_ns", "frame", "file")
"""What the document says of a draw."""
PARTS = 64
GAPS = 10_000
"""Gaps between neighbours that the document holds at most."""
ALPHA = 0.01
LESSON = (
    "A random starting PSN is a speed bump, not authentication: it stops a blind sender for "
    "seconds, and everybody on the path reads it in the first packet"
)


@dataclass(frozen=True, slots=True)
class Survey:
    """Draws judged: every test, the tests that reject, sources that explain the draws.

    With fewer draws than `enough` not even a stuck bit can be told from chance. `alpha` is the
    level that all tests together keep.
    """

    draws: Sequence[Draw]
    tested: Sequence[Tested]
    rejected: Sequence[Tested]
    entropy: Sequence[Estimate]
    matches: Sequence[Match]
    enough: int
    alpha: float

    @property
    def verdict(self) -> Verdict:
        """fail: predictable or not uniform; pass: nothing found that this many draws could show."""
        if self.matches or self.rejected:
            return Verdict.FAIL
        return Verdict.PASS if len(self.draws) >= self.enough else Verdict.INCONCLUSIVE

    @property
    def bits_left(self) -> float | None:
        """Bits that a guesser has to guess: what the best explanation leaves, or all 24.

        None where the PSNs are not uniform and nothing says what they are.
        """
        if self.rejected and not self.matches:
            return None
        return min((match.entropy for match in self.matches), default=float(BITS))

    @property
    def shown_bits(self) -> float | None:
        """Min-entropy that the draws themselves bear out: the least of the estimates."""
        known = [one.bits for one in self.entropy if one.bits is not None]
        return min(known, default=None)

    @property
    def judgement(self) -> str:
        """The result in a few words."""
        n = len(self.draws)
        if self.matches and (left := self.matches[0].entropy) >= 1:
            return f"these starting PSNs leave {left:.0f} of {BITS} bits to guess"
        if self.matches:
            return "these starting PSNs can be told beforehand"
        if self.rejected:
            return "these starting PSNs are not random"
        if self.verdict is Verdict.PASS:
            return f"nothing tells these {n:,} starting PSNs from random ones"
        return f"{n} starting PSN{'s' if n != 1 else ''} can show next to nothing"

    @property
    def headline(self) -> str:
        """The same in a sentence, with the reason."""
        if self.matches:
            why = f": {self.matches[0].says}"
        elif self.rejected:
            why = f": {self.rejected[0].says}"
        elif self.verdict is Verdict.PASS:
            why = f", as far as {len(self.draws):,} can show"
        else:
            why = f": it takes {self.enough} to show a stuck bit"
        return self.judgement + why

    @property
    def needed(self) -> list[tuple[str, int]]:
        """What so many draws cannot show, and how many it takes."""
        return needed(len(self.draws), self.alpha)

    @property
    def meaning(self) -> str:
        """What it takes to guess one."""
        left = self.bits_left
        if left is None:
            says = (
                f"Fewer than {BITS} bits are left to guess, and even all of them: {guessing(BITS)}"
            )
        elif self.matches and left < 1:
            says = "Nothing is left to guess"
        elif self.matches:
            says = f"With {left:.1f} bits to guess: {guessing(left)}"
        else:
            says = f"If they are uniform, {left:.0f} bits to guess: {guessing(left)}"
        return f"{says}. {LESSON}."


def survey(draws: Sequence[Draw], alpha: float = ALPHA) -> Survey:
    """Judge `draws`, in the order drawn; `alpha` is the share of healthy sources that fail."""
    level = (1 - SHARE) * alpha
    tested = examine(draws, level)
    return Survey(
        draws,
        tested,
        significant(tested, level),
        estimates(draws),
        find_fingerprints(draws, SHARE * alpha),
        least_for_stuck_bit(level / len(TESTS) / BITS),
        level,
    )


def document(survey: Survey) -> dict[str, Any]:
    """What a machine needs of `survey` but the draws, as JSON values. Keys are only ever added."""
    rejected = {test.name for test in survey.rejected}
    return {
        "schema": SCHEMA,
        "verdict": str(survey.verdict),
        "headline": survey.headline,
        "count": len(survey.draws),
        "distinct": len({draw.psn for draw in survey.draws}),
        "needed_for_stuck_bit": survey.enough,
        "needed": [{"for": what, "draws": count} for what, count in survey.needed],
        "figures": _figures(survey),
        "tests": [
            {
                "name": test.name,
                "n": test.n,
                "needs": test.needs,
                "p": test.p,
                "statistic": test.statistic,
                "says": test.says,
                "sees": test.sees,
                "rejects": test.name in rejected,
            }
            for test in survey.tested
        ],
        "min_entropy": [
            {"name": one.name, "bits": one.bits, "says": one.says} for one in survey.entropy
        ],
        "sources": [
            {
                "name": match.name,
                "says": match.says,
                "explained": match.explained,
                "of": match.of,
                "false_positive": match.false_positive,
                "bits_left": match.entropy,
                "predictions": [
                    {"predicted": p.predicted, "seen": p.seen, "frame": p.frame, "true": p.true}
                    for p in match.predictions
                ],
            }
            for match in survey.matches
        ],
        "bits_left": survey.bits_left,
        "bits_shown": survey.shown_bits,
        "meaning": survey.meaning,
    }


def members(survey: Survey) -> Iterator[tuple[str, Any]]:
    """Key and value of the document and, as an iterator, of every draw."""
    yield from document(survey).items()
    yield "draws", ({name: getattr(draw, name) for name in TOLD} for draw in survey.draws)


def _figures(survey: Survey) -> dict[str, Any]:
    """What the figures show, as numbers: bit 23 first, 64 equal parts of the range."""
    values = psns(survey.draws)
    ordered = np.sort(values)
    return {
        "bit_ones": bits_of(values).sum(axis=0).tolist(),
        "histogram": np.bincount(values * PARTS >> BITS, minlength=PARTS).tolist(),
        "gaps": np.diff(np.append(ordered, ordered[:1] + (1 << BITS))).tolist()[:GAPS],
    }
