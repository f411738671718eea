"""Starting PSNs follow the clock.

A PSN taken from the time (seconds, milliseconds, ... , nanoseconds, low 24 bits), with or without a
constant added or a constant XORed, runs along with the capture's own clock. For each unit the
differences of PSN and time are taken around the circle of 2^24; if they all lie within a small arc,
the clock explains them. Chance: n arcs of that size, each holding the other n - 1 draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from analysis.draws import Draw
from analysis.fingerprints.match import BITS, Match, Prediction
from analysis.pairing import Ints

SIZE = 1 << BITS
UNITS = {
    "seconds": 10**9,
    "milliseconds": 10**6,
    "microseconds": 10**3,
    "units of 1.024 microseconds": 2**10,
    "units of 65.536 microseconds": 2**16,
    "nanoseconds": 1,
}
LEAST = 4
NARROW = 1 / 16
"""A wider arc of the circle is no explanation."""


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """The unit that explains the draws best, if any does."""
    known = [draw for draw in draws if draw.time_ns is not None]
    if len({draw.time_ns for draw in known}) < LEAST or len({draw.psn for draw in known}) < LEAST:
        return
    values = np.array([draw.psn for draw in known], np.int64)
    times = np.array([draw.time_ns or 0 for draw in known], np.int64)
    best: tuple[float, str, int, int] | None = None
    for name, unit in UNITS.items():
        ticks = times // unit
        if int(ticks.max() - ticks.min()) < LEAST:
            continue  # the clock hardly moved: a near-constant PSN would fit as well
        arc, start = _arc((values - ticks) % SIZE)
        n = len(known)
        p = min(1.0, len(UNITS) * n * (max(arc, 1) / SIZE) ** (n - 1))
        if arc <= NARROW * SIZE and (best is None or p < best[0]):
            best = p, name, arc, start
    if best is None:
        return
    p, name, arc, start = best
    ticks = times // UNITS[name]
    yield Match(
        "time-mix",
        f"the starting PSNs are the time in {name} plus {start:#08x}, to within {arc}",
        len(known),
        len(draws),
        p,
        float(np.log2(max(1, arc))),
        tuple(
            Prediction((start + int(tick)) % SIZE, draw.psn, draw.frame)
            for tick, draw in list(zip(ticks, known, strict=True))[:3]
        ),
    )


def _arc(values: Ints) -> tuple[int, int]:
    """Length and start of the shortest arc of the circle that holds all `values`."""
    ordered = np.sort(values)
    gaps = np.diff(np.concatenate((ordered, [ordered[0] + SIZE])))
    widest = int(gaps.argmax())
    return int(SIZE - gaps[widest]), int(ordered[(widest + 1) % len(ordered)])
