"""What chose these PSNs?

A fingerprint is the mark that a known way of choosing starting PSNs leaves. Each says how many of
the draws it explains, how likely uniform random draws would look so by chance (its false-positive
rate), and, where the source can be computed, which PSN comes next: a prediction that the capture
then confirms is the strongest finding there is.

To add one: a module whose docstring is its page and whose `find(draws)` gives `Match`es, and its
name in `FINGERPRINTS`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from analysis.draws import Draw
from analysis.fingerprints.match import Match

FINGERPRINTS = (
    "constant",
    "equals-qpn",
    "counter",
    "stuck-bits",
    "time-mix",
    "lrand48",
    "glibc-random",
    "mt19937",
)
ALPHA = 0.008
NEARLY = 0.9
"""Share of the draws that one source must explain to be all there is to say."""


def find(draws: Sequence[Draw], alpha: float = ALPHA) -> list[Match]:
    """All matches that chance does not explain; first those that leave least to guess.

    `alpha` is the level at which all fingerprints together may be wrong.

    What explains all draws alone leaves nothing to say for weaker marks: a counter's high bits do
    not change, and a clock runs beside it.
    """
    found = [match for name in FINGERPRINTS for match in module(name).find(draws)]
    ranked = sorted(
        (match for match in found if match.false_positive * len(FINGERPRINTS) < alpha),
        key=lambda match: (match.entropy, match.false_positive),
    )
    explained: Counter[str] = Counter()
    for match in ranked:
        explained[match.name] += match.explained
    names = list(dict.fromkeys(match.name for match in ranked))
    whole = [name for name in names if explained[name] >= NEARLY * len(draws)]
    kept = names[: names.index(whole[0]) + 1] if whole else names
    return [match for match in ranked if match.name in kept]


def manual(name: str) -> str:
    """The page of the fingerprint called `name`."""
    return (module(name).__doc__ or "").strip()


def module(name: str) -> Any:
    """The module of the fingerprint called `name`."""
    return import_module(f"{__name__}.{name.replace('-', '_')}")
