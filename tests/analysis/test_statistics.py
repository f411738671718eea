"""The tests of randomness: against second implementations, and their error rates measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from analysis.draws import Draw, of_values
from analysis.finding import Verdict
from analysis.statistics import (
    SIZE,
    TESTS,
    bit_bias,
    bytes_uniform,
    duplicates,
    greenwood,
    least_for_stuck_bit,
    runs,
    serial_correlation,
    spacing,
    spread,
)
from analysis.survey import SHARE, survey

ALPHA = 0.01


def draws(values):
    return [Draw(int(value), "10.0.0.1", None, 17 + k, k * 10**6) for k, value in enumerate(values)]


def uniform(rng, n):
    return draws(rng.integers(0, SIZE, size=n))


def test_what_is_needed_for_a_stuck_bit():
    """FACTS: a pre-specified bit needs 7 connections at p < 0.01 one-sided; all 24 bits need 13."""
    assert least_for_stuck_bit(ALPHA / 24) == 13


def test_against_scipy():
    rng = np.random.default_rng(3)
    values = rng.integers(0, SIZE, size=2000)
    found = spread(draws(values), ALPHA)
    assert found.p == pytest.approx(stats.kstest(values / SIZE, "uniform").pvalue, rel=1e-3)
    counts = [np.bincount(values >> s & 255, minlength=256) for s in (16, 8, 0)]
    worst = min(stats.chisquare(c).pvalue for c in counts)
    assert bytes_uniform(draws(values), ALPHA).p == pytest.approx(min(1, 3 * worst))
    ones = [(values >> bit & 1).sum() for bit in range(24)]
    worst = min(stats.binomtest(int(k), 2000).pvalue for k in ones)
    assert bit_bias(draws(values), ALPHA).p == pytest.approx(min(1, 24 * worst))
    tau = stats.spearmanr(values[:-1], values[1:])
    assert serial_correlation(draws(values), ALPHA).p == pytest.approx(tau.pvalue)


def test_runs_of_the_published_example():
    """NIST SP 800-22, 2.3.4: 1001101011 has 7 runs; changes are 6 of 9, exactly binomial."""
    bits = [int(bit) for bit in "1001101011" * 2]
    found = runs(draws([bit << 23 for bit in bits]), ALPHA)
    changes = sum(a != b for a, b in pairwise(bits))
    assert found.statistic == changes + 1
    assert found.p == pytest.approx(stats.binomtest(changes, 19).pvalue)


@pytest.mark.parametrize("n", [10, 500, 20_000])
def test_squared_gaps_against_a_simulation(n):
    """Moran's moments, and a p-value that is uniform, also where the null is that of fewer gaps."""
    rng = np.random.default_rng(n)
    times = 120
    gaps = rng.dirichlet(np.ones(n), size=times)
    sums = (gaps**2).sum(axis=1)
    mean, deviation = greenwood(n)
    assert sums.mean() == pytest.approx(mean, abs=4 * deviation / times**0.5)
    assert sums.std() == pytest.approx(deviation, rel=0.5)
    found = [spacing(uniform(rng, n), ALPHA).p for _ in range(times // 4)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_duplicates_against_the_birthday_bound():
    """5793 draws of 2^24 have one pair on average: (n (n - 1) / 2) / 2^24."""
    rng = np.random.default_rng(5)
    values = rng.choice(SIZE, size=5793, replace=False)
    assert duplicates(draws(values), ALPHA).p == 1
    values[1:5] = values[0]
    found = duplicates(draws(values), ALPHA)
    assert found.statistic == 10
    assert found.p == pytest.approx(stats.poisson.sf(9, 5793 * 5792 / 2 / SIZE))


WEAK = {
    "half the range": lambda rng, n: rng.integers(0, SIZE // 2, size=n),
    "odd": lambda rng, n: rng.integers(0, SIZE, size=n) | 1,
    "sixteen bits": lambda rng, n: rng.integers(0, 1 << 16, size=n),
    "rising": lambda rng, n: np.sort(rng.integers(0, SIZE, size=n)),
    "few values": lambda rng, n: rng.integers(0, 50, size=n) * 335544,
    "alternating": lambda rng, n: (
        rng.integers(0, SIZE // 2, size=n) + SIZE // 2 * (np.arange(n) % 2)
    ),
    "by queue pair": lambda rng, n: (17 + np.arange(n)) * 1000 + rng.integers(0, 1000, size=n),
}


@pytest.mark.parametrize("source", WEAK)
def test_weak_sources_are_rejected_at_sixty_four_draws(source):
    rng = np.random.default_rng(11)
    found = survey(draws(WEAK[source](rng, 64)))
    assert found.verdict is Verdict.FAIL


def test_no_verdict_that_the_number_of_draws_cannot_carry():
    rng = np.random.default_rng(13)
    few = survey(uniform(rng, 5))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.enough == least_for_stuck_bit(ALPHA * (1 - SHARE) / len(TESTS) / 24) == 19
    assert "19" in few.headline
    assert survey(uniform(rng, 19)).verdict is Verdict.PASS


def test_values_from_a_file(tmp_path):
    path = tmp_path / "values.txt"
    path.write_text("# three\n0x6436e9\n5 17\n\n7, 18, 1000 # with time\n")
    found = of_values(path)
    assert [(d.psn, d.qpn, d.time_ns) for d in found] == [
        (0x6436E9, None, None),
        (5, 17, None),
        (7, 18, 1000),
    ]
    path.write_text("5\n0x1000000\n")
    with pytest.raises(ValueError, match="line 2"):
        of_values(path)
