"""A short run of the calibration, and the recorded one still says what is measured."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.bench.calibration import (
    ASKED,
    LEVEL,
    PAGE,
    SIZES,
    STEPS,
    alarms,
    bound,
    detection,
    false_alarms,
)
from tests.bench.sources import WEAK

SURVEYS = 40

# Draws at which each weak source is found every time, as the recorded table has it.
ENOUGH = {
    "constant": 4,
    "PSN = QPN": 4,
    "counter": 4,
    "counter, order mixed up": 8,
    "random, `| 1`": 32,
    "random, 16 bits": 16,
    "microseconds XOR pid": 8,
    "seconds + constant": 64,
    "lrand48, n queue pairs of one process": 2,
    "lrand48, n processes, pid * second": 16,
    "lrand48, one stream, others in between": 8,
    "random(), srandom(second), one process": 4,
    "random(), any seed": 64,
    "Mersenne Twister": 640,
    "lowest 60 % of the range": 64,
    "one bit set 60 % of the time": 1300,
    "4096 values": 256,
    "rising": 32,
}


@pytest.mark.parametrize("n", [20, 64])
def test_good_sources_are_blamed_no_more_often_than_said(n):
    (count,) = false_alarms([n], SURVEYS, seed=2).values()
    most = bound(SURVEYS, 2 * len(ASKED))
    assert all(count[name] <= most for name in ASKED), count


def test_every_source_has_its_number():
    assert set(ENOUGH) == set(WEAK)
    assert set(ENOUGH.values()) <= set(STEPS)


@pytest.mark.parametrize("name", ENOUGH)
def test_weak_sources_are_found_and_named(name):
    n = ENOUGH[name]
    failed, named = detection([name], [n], 3, seed=3)[name][n]
    assert failed == 1
    assert named == (WEAK[name].fingerprint is not None)


def test_what_is_blamed_can_be_blamed():
    """The names under which alarms are counted are those of the table."""
    raised = {
        one
        for name, n in ENOUGH.items()
        for one in alarms(WEAK[name].draw(np.random.default_rng(4), n))
    }
    assert raised <= set(ASKED)
    assert len(raised) > len(ASKED) - 3, set(ASKED) - raised


def test_the_recorded_page_has_every_row():
    rows = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines()]
    for name in (*ASKED, *(name.replace("|", "\\|") for name in WEAK)):
        assert name in rows, f"python -m tests.bench.calibration --write: no row {name!r}"


def test_the_recorded_rates_keep_the_level():
    """1,000 surveys for each n: no rate above what the nominal level gives by chance."""
    text = PAGE.read_text()
    (surveys,) = re.findall(r"CSPRNG, ([\d,]+) for each n", text)
    count = int(surveys.replace(",", ""))
    assert count >= 1000
    most = 100 * bound(count, len(ASKED) * len(SIZES)) / count
    false = text.partition("## Detection")[0]
    rates = [float(rate) for rate in re.findall(r"\| +([\d.]+)%(?= \|)", false)]
    assert len(rates) == len(ASKED) * len(SIZES)
    assert max(rates) <= most
    assert LEVEL == 0.01
