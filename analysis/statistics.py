"""Statistical tests of starting PSNs, each with what it needs and what it can see.

The null hypothesis is always: independent draws, uniform over 24 bits. Each test gives a p-value,
or none where there are too few draws to say anything; then it says how many are needed. Tests that
look at several things at once correct for that (Bonferroni), so that each is wrong no more often
than it says.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import bdtr, pdtrc

from analysis.draws import Draw, psns
from analysis.pairing import Ints

BITS = 24
SIZE = 1 << BITS
POWER = 0.8
SIMULATED = 4000
CHUNK = 1_000_000
LARGE = 4096
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Tested:
    """What a test found. `p` is None where `n` draws are fewer than it `needs`.

    `says` is the result in words, `sees` what deviation `n` draws would show (at p < 0.01, 80 % of
    the time).
    """

    name: str
    n: int
    needs: int
    p: float | None
    statistic: float | None
    says: str
    sees: str = ""


def bits_of(values: Ints) -> Ints:
    """The bits of 24-bit values, most significant first: shape (n, 24)."""
    return values[:, None] >> np.arange(BITS - 1, -1, -1) & 1


def bit_bias(draws: Sequence[Draw], alpha: float) -> Tested:
    """Is a bit set more or less often than half the time? Exact binomial, corrected for 24 bits."""
    name, needs = "bit bias", least_for_stuck_bit(alpha / BITS)
    values = psns(draws)
    n = len(values)
    if n < needs:
        return _too_few(name, n, needs)
    ones = bits_of(values).sum(axis=0)
    p_each = fair_coin(ones, n)
    worst = int(p_each.argmin())
    p = min(1.0, float(p_each[worst]) * BITS)
    share = ones[worst] / n
    z = stats.norm.isf(alpha / BITS / 2) + stats.norm.isf(1 - POWER)
    return Tested(
        name,
        n,
        needs,
        p,
        float(share),
        f"bit {BITS - 1 - worst} is set in {share:.0%} of the draws, the furthest from half",
        f"a bit set less than {max(0.0, 0.5 - z / 2 / math.sqrt(n)):.0%} of the time, or more than "
        f"{min(1.0, 0.5 + z / 2 / math.sqrt(n)):.0%}",
    )


def fair_coin(heads: Array | int, n: int) -> Array:
    """Chance of `heads` of n tosses or what is at least as far from half: exact, two-sided."""
    found: Array = np.minimum(1.0, 2 * bdtr(np.minimum(heads, n - heads), n, 0.5))
    return found


def least_for_stuck_bit(alpha: float) -> int:
    """Draws from which on a bit that never changes is significant at `alpha` (two-sided)."""
    return math.ceil(1 - math.log2(alpha))


def needed(n: int, alpha: float = 0.01) -> list[tuple[str, int]]:
    """What `n` draws cannot show (at `alpha`, 80 % of the time), and how many could."""
    each = alpha / len(TESTS)
    z = float(stats.norm.isf(each / BITS / 2) + stats.norm.isf(1 - POWER))
    wanted = [("a bit that never changes", least_for_stuck_bit(each / BITS))]
    wanted += [
        (f"a bit set {share:.0%} of the time", math.ceil((z / 2 / (share - 0.5)) ** 2))
        for share in (0.75, 0.6, 0.51)
    ]
    wanted += [
        # A Poisson of 1.6 is not 0 in 80 % of all cases.
        (f"that there are only 2^{bits} different ones", math.ceil(math.sqrt(2 * 1.6 * 2**bits)))
        for bits in (16, 20)
    ]
    return sorted((one for one in wanted if one[1] > n), key=lambda one: one[1])


def bytes_uniform(draws: Sequence[Draw], alpha: float) -> Tested:
    """Are the values of each byte equally frequent? Chi-square, where five are expected of each."""
    name, needs = "byte chi-square", 5 * 256
    values = psns(draws)
    if len(values) < needs:
        return _too_few(name, len(values), needs)
    found = [
        stats.chisquare(np.bincount(values >> shift & 0xFF, minlength=256)) for shift in (16, 8, 0)
    ]
    worst = min(range(3), key=lambda number: found[number].pvalue)
    p = min(1.0, 3 * float(found[worst].pvalue))
    high = ("high", "middle", "low")[worst]
    chi = float(found[worst].statistic)
    return Tested(name, len(values), needs, p, chi, f"{high} byte: chi-square {chi:.0f} of 255")


def runs(draws: Sequence[Draw], alpha: float) -> Tested:
    """Do draws above and below the middle alternate as chance would? Wald-Wolfowitz, exact."""
    name, needs = "runs", 20
    above = psns(draws) >= SIZE // 2
    n, high = len(above), int(above.sum())
    if n < needs:
        return _too_few(name, n, needs)
    count = 1 + int((above[1:] != above[:-1]).sum())
    # Under the null each draw is independently high or low, so the changes are binomial.
    p = float(fair_coin(count - 1, n - 1))
    return Tested(
        name, n, needs, p, count, f"{count} runs, {(n + 1) / 2:.0f} expected, {high} high"
    )


def serial_correlation(draws: Sequence[Draw], alpha: float) -> Tested:
    """Does a draw tell about the next? Rank correlation of neighbours."""
    name, needs = "serial correlation", 20
    values = psns(draws)
    if len(values) < needs:
        return _too_few(name, len(values), needs)
    return _correlation(name, values[:-1], values[1:], (len(values), needs), "the next draw")


def with_qpn(draws: Sequence[Draw], alpha: float) -> Tested:
    """Does the PSN go with the queue pair number?"""
    return _with(draws, "correlation with QPN", "the queue pair number", lambda draw: draw.qpn)


def with_time(draws: Sequence[Draw], alpha: float) -> Tested:
    """Does the PSN go with the time?"""
    return _with(draws, "correlation with time", "the time", lambda draw: draw.time_ns)


def with_address(draws: Sequence[Draw], alpha: float) -> Tested:
    """Does the PSN go with the address of who drew it?"""
    return _with(draws, "correlation with address", "the address", lambda draw: draw.address)


def _with(
    draws: Sequence[Draw], name: str, what: str, value: Callable[[Draw], int | None]
) -> Tested:
    needs = 10
    known = [(draw.psn, found) for draw in draws if (found := value(draw)) is not None]
    distinct = sorted({found for _, found in known})
    if len(distinct) < needs:
        return _too_few(name, len(distinct), needs, f"different values of {what}")
    # Ranks: addresses of 128 bits are more than a float holds.
    order = {found: rank for rank, found in enumerate(distinct)}
    one = np.array([psn for psn, _ in known])
    other = np.array([order[found] for _, found in known])
    return _correlation(name, one, other, (len(known), needs), what)


def _correlation(name: str, one: Ints, other: Ints, numbers: tuple[int, int], what: str) -> Tested:
    n, needs = numbers
    if len(set(one.tolist())) < 2 or len(set(other.tolist())) < 2:
        return Tested(name, n, needs, None, None, "one value only")
    rho, p = (float(value) for value in stats.spearmanr(one, other))
    sees = math.tanh((stats.norm.isf(0.005) + stats.norm.isf(1 - POWER)) / math.sqrt(n - 3))
    return Tested(
        name,
        n,
        needs,
        p,
        rho,
        f"rank correlation {rho:+.2f} with {what}",
        f"a correlation beyond +-{sees:.2f}",
    )


def duplicates(draws: Sequence[Draw], alpha: float) -> Tested:
    """Do draws repeat more often than birthdays do? Poisson."""
    name, needs = "duplicates", 2
    values = psns(draws)
    n = len(values)
    if n < needs:
        return _too_few(name, n, needs)
    return _repeats(name, values, (n, needs), "equal PSNs")


def differences(draws: Sequence[Draw], alpha: float) -> Tested:
    """Do steps from one draw to the next repeat? They do where something counts. Poisson."""
    name, needs = "differences", 3
    values = psns(draws)
    n = len(values)
    if n < needs:
        return _too_few(name, n, needs)
    return _repeats(name, (values[1:] - values[:-1]) % SIZE, (n, needs), "equal steps")


def _repeats(name: str, values: Ints, numbers: tuple[int, int], what: str) -> Tested:
    n, needs = numbers
    pairs = sum(k * (k - 1) // 2 for k in Counter(values.tolist()).values())
    expected = len(values) * (len(values) - 1) / 2 / SIZE
    p = float(pdtrc(pairs - 1, expected)) if pairs else 1.0
    return Tested(
        name,
        n,
        needs,
        p,
        pairs,
        f"{pairs} pairs of {what}, {expected:.2g} expected by chance",
        # A Poisson of 1.6 is not 0 in 80 % of all cases.
        f"a source of fewer than {max(2, n * (n - 1) / 2 / 1.6):,.0f} values",
    )


def spread(draws: Sequence[Draw], alpha: float) -> Tested:
    """Do the draws cover the whole range evenly? Kolmogorov-Smirnov."""
    name, needs = "spread", 8
    values = psns(draws)
    if len(values) < needs:
        return _too_few(name, len(values), needs)
    found = stats.kstest((values + 0.5) / SIZE, "uniform")
    sees = 1.63 / math.sqrt(len(values))
    return Tested(
        name,
        len(values),
        needs,
        float(found.pvalue),
        float(found.statistic),
        f"furthest from even by {found.statistic:.2f}",
        f"a part of the range that is off by {sees:.0%} of all draws",
    )


def spacing(draws: Sequence[Draw], alpha: float) -> Tested:
    """Are the gaps between neighbours in size as chance leaves them? Greenwood, by simulation."""
    name, needs = "spacing", 10
    values = np.sort(psns(draws))
    n = len(values)
    if n < needs:
        return _too_few(name, n, needs)
    gaps = np.diff(np.concatenate((values, [values[0] + SIZE]))) / SIZE
    found = float((gaps**2).sum())
    mean, deviation = greenwood(n)
    null = _standard_greenwood(min(n, LARGE))
    place = int(np.searchsorted(null, (found - mean) / deviation))
    p = min(1.0, 2 * (min(place, len(null) - place) + 1) / (len(null) + 1))
    says = f"squared gaps add up to {found * n:.2f}/n, {mean * n:.2f}/n are expected"
    return Tested(name, n, needs, p, found, says)


def greenwood(n: int) -> tuple[float, float]:
    """Mean and standard deviation of the sum of squares of `n` random gaps (Moran 1947)."""
    variance = 4 * (n - 1) / ((n + 1) ** 2 * (n + 2) * (n + 3))
    return 2 / (n + 1), math.sqrt(variance)


@cache
def _standard_greenwood(n: int) -> Array:
    """Sorted sums of squares of `n` random gaps on a circle of length 1, in standard deviations.

    Simulated, always the same ones. From LARGE gaps on the shape hardly changes any more.
    """
    rng = np.random.default_rng(n)
    rows = max(1, CHUNK // n)
    found = []
    for _ in range(-(-SIMULATED // rows)):
        gaps = rng.exponential(size=(rows, n))
        found.append((gaps**2).sum(axis=1) / gaps.sum(axis=1) ** 2)
    mean, deviation = greenwood(n)
    return (np.sort(np.concatenate(found)) - mean) / deviation


def _too_few(name: str, n: int, needs: int, what: str = "draws") -> Tested:
    return Tested(name, n, needs, None, None, f"needs {needs} {what}, there are {n}")


Test = Callable[[Sequence[Draw], float], Tested]

TESTS: tuple[Test, ...] = (
    bit_bias,
    bytes_uniform,
    spread,
    spacing,
    runs,
    serial_correlation,
    duplicates,
    differences,
    with_qpn,
    with_time,
    with_address,
)


def examine(draws: Sequence[Draw], alpha: float = 0.01) -> list[Tested]:
    """Every test of `draws`; `alpha` is the level at which all of them together may be wrong."""
    return [test(draws, alpha / len(TESTS)) for test in TESTS]


def significant(tested: Sequence[Tested], alpha: float = 0.01) -> list[Tested]:
    """Those that reject, with the whole family held to `alpha` (Holm)."""
    ranked = sorted((t for t in tested if t.p is not None), key=lambda t: t.p or 0)
    rejected = []
    for number, test in enumerate(ranked):
        if (test.p or 0) * (len(TESTS) - number) > alpha:
            break
        rejected.append(test)
    return rejected
