"""Starting PSNs follow the clock.

A PSN made of the time (seconds to nanoseconds, or the part of a second; its low 24 bits), with a
constant added or XORed (a pid, say), runs along with the capture's own clock. For each unit two
things are tried. *Added*: the differences of PSN and time, around the circle of 2^24, lie within a
small arc; chance: n arcs of that size, each holding the other n - 1 draws. *XORed*: PSN XOR time
has the same upper bits in all draws; chance: 2^-(n-1) for each bit. Both times the number of things
tried. Where the PSNs without the time lie as close together, the clock explains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from analysis.draws import Draw, psns
from analysis.fingerprints.match import BITS, SIZE, Match, Prediction, arc
from analysis.pairing import Ints

UNITS: dict[str, Callable[[Ints], Ints]] = {
    "seconds": lambda ns: ns // 10**9,
    "milliseconds": lambda ns: ns // 10**6,
    "microseconds": lambda ns: ns // 10**3,
    "nanoseconds": lambda ns: ns,
    "units of 1.024 microseconds": lambda ns: ns >> 10,
    "units of 65.536 microseconds": lambda ns: ns >> 16,
    "microseconds of the second": lambda ns: ns // 10**3 % 10**6,
    "nanoseconds of the second": lambda ns: ns % 10**9,
}
WAYS = 2
LEAST = 4
WIDEST = SIZE // 4
"""A wider arc of the circle is no explanation."""
NARROWER = 4
"""Times that the clock must make the PSNs lie closer together."""
SHOWN = 3


def find(draws: Sequence[Draw]) -> Iterator[Match]:
    """The unit and way that explain the draws best, if any does."""
    known = [draw for draw in draws if draw.time_ns is not None]
    if len({draw.time_ns for draw in known}) < LEAST or len({draw.psn for draw in known}) < LEAST:
        return
    values = psns(known)
    times = np.array([draw.time_ns or 0 for draw in known], np.int64)
    best: tuple[float, int, str, Ints] | None = None
    for unit, clock in UNITS.items():
        ticks = clock(times)
        for found in (_added(values, ticks, unit), _xored(values, ticks, unit)):
            if found is not None and (best is None or found[:2] < best[:2]):
                best = found
    if best is None:
        return
    p, width, says, foretold = best
    yield Match(
        "time-mix",
        says,
        len(known),
        len(draws),
        p,
        math.log2(max(1, width)),
        tuple(
            Prediction(int(psn), draw.psn, draw.frame)
            for psn, draw in list(zip(foretold, known, strict=True))[:SHOWN]
        ),
    )


def _added(values: Ints, ticks: Ints, unit: str) -> tuple[float, int, str, Ints] | None:
    """(chance, width of what is left to guess, the finding in words, the PSNs foretold)."""
    n = len(values)
    length, start = arc((values - ticks) % SIZE)
    if length > WIDEST or NARROWER * length > arc(values)[0]:
        return None
    p = min(1.0, WAYS * len(UNITS) * n * (max(length, 1) / SIZE) ** (n - 1))
    says = f"the starting PSNs are the time in {unit} plus {start:#08x}, to within {length}"
    return p, length, says, (start + ticks) % SIZE


def _xored(values: Ints, ticks: Ints, unit: str) -> tuple[float, int, str, Ints] | None:
    mixed = (values ^ ticks) % SIZE
    differing = int(np.bitwise_or.reduce(mixed ^ mixed[0])).bit_length()
    width = 1 << differing
    if width > WIDEST or NARROWER * width > arc(values)[0]:
        return None
    p = min(1.0, WAYS * len(UNITS) * 2.0 ** -((BITS - differing) * (len(values) - 1)))
    constant = int(mixed[0]) >> differing << differing
    says = f"the starting PSNs are the time in {unit} XOR {constant:#08x}, but for {differing} bits"
    return p, width, says, (constant ^ ticks) % SIZE
