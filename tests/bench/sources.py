"""Simulated surveys: starting PSNs from a good generator and from weak ones, each by its own code.

lrand48() and random() are libc's, the Mersenne Twister is Python's.
"""

from __future__ import annotations

import ctypes
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.draws import Draw

MASK = 0xFFFFFF
START = 1_763_700_000 * 10**9
MEAN_GAP = 10**8
"""Nanoseconds from one connection to the next, on average."""

libc = ctypes.CDLL("libc.so.6")
libc.lrand48.restype = libc.random.restype = ctypes.c_long
libc.srand48.argtypes = [ctypes.c_long]
libc.srandom.argtypes = [ctypes.c_uint]

Dice = np.random.Generator


def times(dice: Dice, n: int) -> Any:
    return START + np.cumsum(dice.exponential(MEAN_GAP, size=n)).astype(np.int64)


def survey(psns: Sequence[int], dice: Dice, *, hosts: int = 1, when: Any = None) -> list[Draw]:
    """Connections of as many hosts, each PSN drawn in an exchange of its own."""
    when = times(dice, len(psns)) if when is None else when
    return [
        Draw(int(psn), f"10.0.0.{1 + k % hosts}", f"exchange {k}", 17 + k // hosts, int(at))
        for k, (psn, at) in enumerate(zip(psns, when, strict=True))
    ]


def one_process(psns: Sequence[int]) -> list[Draw]:
    """Queue pairs of one program: their PSNs in one exchange, in order."""
    return [Draw(int(psn), "10.0.0.1", "exchange", 17 + k, START) for k, psn in enumerate(psns)]


def uniform(dice: Dice, n: int) -> Any:
    """24-bit outputs of a CSPRNG: SHAKE-256 of a key."""
    stream = np.frombuffer(hashlib.shake_256(dice.bytes(32)).digest(4 * n), "<u4")
    return stream.astype(np.int64) & MASK


def lrand48(seed: int, n: int) -> list[int]:
    libc.srand48(seed)
    return [libc.lrand48() & MASK for _ in range(n)]


def by_pid_and_second(dice: Dice, n: int) -> list[Draw]:
    """n programs, each with a pid and a start of its own, some seconds before its exchange."""
    when = times(dice, n)
    pids = dice.integers(2, 32768, size=n)
    ages = dice.integers(0, 3, size=n)
    seeds = [
        int(pid) * (int(at) // 10**9 - int(age))
        for pid, at, age in zip(pids, when, ages, strict=True)
    ]
    return survey([lrand48(seed, 1)[0] for seed in seeds], dice, hosts=2, when=when)


def stream(dice: Dice, n: int) -> list[Draw]:
    """One lrand48 for all connections, up to nine others drawing in between."""
    skips = np.cumsum(dice.integers(1, 10, size=n))
    drawn = lrand48(int(dice.integers(1 << 31)), int(skips[-1]) + 1)
    return survey([drawn[skip] for skip in skips], dice)


def shuffled_counter(dice: Dice, n: int) -> list[Draw]:
    values = (int(dice.integers(MASK)) + np.arange(n)) & MASK
    places = np.argsort(np.arange(n) + dice.normal(0, 3, size=n))
    return survey(values[places], dice)


def libc_random(dice: Dice, n: int) -> list[Draw]:
    libc.srandom(int(dice.integers(1 << 32)))
    return survey([libc.random() & MASK for _ in range(n)], dice)


def random_by_second(dice: Dice, n: int) -> list[Draw]:
    libc.srandom(START // 10**9 - int(dice.integers(100)))
    return one_process([libc.random() & MASK for _ in range(n)])


def microseconds(dice: Dice, n: int) -> list[Draw]:
    """The time in microseconds XOR a pid, seen on the wire up to 1 ms later."""
    when = times(dice, n)
    pid = int(dice.integers(2, 32768))
    return survey(when // 1000 & MASK ^ pid, dice, when=when + dice.integers(0, 10**6, size=n))


def seconds(dice: Dice, n: int) -> list[Draw]:
    """The time in seconds plus a constant."""
    when = times(dice, n)
    return survey((when // 10**9 + 0x123456) & MASK, dice, when=when)


def biased(dice: Dice, n: int) -> list[Draw]:
    """Bit 7 is set six times out of ten."""
    return survey(uniform(dice, n) & ~0x80 | (dice.random(n) < 0.6) << 7, dice)


def twister(dice: Dice, n: int) -> list[Draw]:
    generator = random.Random(int(dice.integers(1 << 31)))
    return survey([generator.getrandbits(24) for _ in range(n)], dice)


@dataclass(frozen=True, slots=True)
class Weak:
    """A source: `draw(dice, n)`, and the fingerprint that is to name it (none: tests alone)."""

    draw: Callable[[Dice, int], list[Draw]]
    fingerprint: str | None


def _plain(values: Callable[[Dice, int], Any]) -> Callable[[Dice, int], list[Draw]]:
    return lambda dice, n: survey(values(dice, n), dice)


WEAK = {
    "constant": Weak(_plain(lambda _, n: [3185] * n), "constant"),
    "PSN = QPN": Weak(_plain(lambda _, n: 17 + np.arange(n)), "equals-qpn"),
    "counter": Weak(_plain(lambda _, n: (99 + 7 * np.arange(n)) & MASK), "counter"),
    "counter, order mixed up": Weak(shuffled_counter, "counter"),
    "random, `| 1`": Weak(_plain(lambda dice, n: uniform(dice, n) | 1), "stuck-bits"),
    "random, 16 bits": Weak(_plain(lambda dice, n: uniform(dice, n) & 0xFFFF), "stuck-bits"),
    "microseconds XOR pid": Weak(microseconds, "time-mix"),
    "seconds + constant": Weak(seconds, "time-mix"),
    "lrand48, n queue pairs of one process": Weak(
        lambda dice, n: one_process(lrand48(int(dice.integers(1 << 31)), n)), "lrand48"
    ),
    "lrand48, n processes, pid * second": Weak(by_pid_and_second, "lrand48"),
    "lrand48, one stream, others in between": Weak(stream, "lrand48"),
    "random(), srandom(second), one process": Weak(random_by_second, "glibc-random"),
    "random(), any seed": Weak(libc_random, "glibc-random"),
    "Mersenne Twister": Weak(twister, "mt19937"),
    "lowest 60 % of the range": Weak(
        _plain(lambda dice, n: dice.integers(0, int(0.6 * MASK), size=n)), None
    ),
    "one bit set 60 % of the time": Weak(biased, None),
    "4096 values": Weak(_plain(lambda dice, n: dice.integers(0, 4096, size=n) * 4093 & MASK), None),
    "rising": Weak(_plain(lambda dice, n: np.sort(uniform(dice, n))), None),
}

GOOD = {
    "two hosts": lambda dice, n: survey(uniform(dice, n), dice, hosts=2),
    "one process": lambda dice, n: one_process(uniform(dice, n)),
}
