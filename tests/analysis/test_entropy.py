"""Min-entropy against the results that NIST's own SP 800-90B tool ships as its reference data."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.draws import Draw
from analysis.entropy import collision, estimates, guessing, most_common_value


def test_most_common_value_of_nist_data_pi():
    """selftest/refdata/data.pi.res: 662972 ones of 1165666 bits."""
    bits = np.zeros(1165666, np.int64)
    bits[:662972] = 1
    assert most_common_value(bits) == pytest.approx(0.81114057970407438, abs=1e-12)


def test_most_common_value_of_the_standard_s_example():
    """SP 800-90B, 6.3.1."""
    symbols = np.array([0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 0, 1, 1, 0, 2, 2, 1, 0, 2, 1])
    assert most_common_value(symbols) == pytest.approx(0.5363, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [
        (477455, 1165666, 0.56953759345777466),  # data.pi.res
        (4013, 10000, 0.69146412099724186),  # rand1_short.res, whose last wait is cut off
    ],
)
def test_collision_of_nist_data(count, total, expected):
    """As many waits of two and of three bits as the reference data had: v and the sum of t."""
    threes = total - 2 * count
    bits = np.array([0, 0] * (count - threes) + [0, 1, 0] * threes)
    assert collision(bits) == pytest.approx(expected, abs=2e-8)


def test_constant_psns_have_no_entropy():
    found = {one.name: one.bits for one in estimates([Draw(3185)] * 100)}
    assert found["most common value"] == 0
    assert found["most common value of each bit"] == 0


def test_few_draws_cannot_show_much():
    """Twenty draws, all different, are compatible with a source of two bits."""
    found = estimates([Draw(number * 0x12345) for number in range(20)])
    assert found[0].bits < 3.0
    assert found[2].bits is None


def test_guessing_in_words():
    assert "8,388,608 guesses on average" in guessing(24)
    assert "10.7 s" in guessing(24)
    assert guessing(0) == "the first guess is right"
