"""How random are the starting PSNs, and what chose them? The answer of `rocelab psn`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.draws import Draw
from analysis.entropy import Estimate, estimates, guessing
from analysis.finding import Verdict
from analysis.fingerprints import find as find_fingerprints
from analysis.fingerprints.match import BITS, Match
from analysis.statistics import TESTS, Tested, examine, least_for_stuck_bit, significant

SCHEMA = 1
ALPHA = 0.01
LESSON = (
    "A random starting PSN is a speed bump, not authentication: it stops a blind sender for "
    "seconds, and everybody on the path reads it in the first packet"
)


@dataclass(frozen=True, slots=True)
class Survey:
    """Draws judged: every test, the tests that reject, sources that explain the draws.

    With fewer draws than `enough` not even a stuck bit can be told from chance.
    """

    draws: Sequence[Draw]
    tested: Sequence[Tested]
    rejected: Sequence[Tested]
    entropy: Sequence[Estimate]
    matches: Sequence[Match]
    enough: int

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
    def headline(self) -> str:
        """The result in a sentence."""
        n = len(self.draws)
        if self.matches:
            first = self.matches[0]
            left = f"leave {first.entropy:.0f} of {BITS} bits to guess"
            weak = left if first.entropy >= 1 else "can be told beforehand"
            return f"these starting PSNs {weak}: {first.says}"
        if self.rejected:
            return f"these starting PSNs are not random: {self.rejected[0].says}"
        if self.verdict is Verdict.PASS:
            return f"nothing tells these {n} starting PSNs from random ones, as far as {n} can show"
        return f"{n} starting PSNs show next to nothing: it takes {self.enough} to show a stuck bit"

    @property
    def meaning(self) -> str:
        """What it takes to guess one."""
        left = self.bits_left
        if left is None:
            says = (
                f"Fewer than {BITS} bits are left to guess, and even all of them: {guessing(BITS)}"
            )
        elif self.matches:
            says = f"With {left:.1f} bits to guess: {guessing(left)}"
        else:
            says = f"If they are uniform, {left:.0f} bits to guess: {guessing(left)}"
        return f"{says}. {LESSON}."


def survey(draws: Sequence[Draw], alpha: float = ALPHA) -> Survey:
    """Judge `draws`, in the order drawn; `alpha` is the share of healthy sources that fail."""
    tested = examine(draws, alpha / 2)
    return Survey(
        draws,
        tested,
        significant(tested, alpha / 2),
        estimates(draws),
        find_fingerprints(draws, alpha / 2),
        least_for_stuck_bit(alpha / 2 / len(TESTS) / BITS),
    )


def document(survey: Survey, *, draws: bool = True) -> dict[str, Any]:
    """Everything a machine needs of `survey`, as JSON values. Keys are only ever added."""
    rejected = {test.name for test in survey.rejected}
    return {
        "schema": SCHEMA,
        "verdict": str(survey.verdict),
        "headline": survey.headline,
        "count": len(survey.draws),
        "distinct": len({draw.psn for draw in survey.draws}),
        "needed_for_stuck_bit": survey.enough,
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
        "draws": [
            {
                "psn": draw.psn,
                "drawer": draw.drawer,
                "qpn": draw.qpn,
                "time_ns": draw.time_ns,
                "frame": draw.frame,
                "file": draw.file,
            }
            for draw in (survey.draws if draws else ())
        ],
    }
