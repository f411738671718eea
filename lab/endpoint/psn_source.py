"""Who chooses a queue pair's `sq_psn`: the system's CSPRNG, or a weak source for class to find.

The weak ones are what programs in use do: `odd` rdma-multi-client, `lrand48` perftest and the
pingpongs, `constant` DrTM and Sherman, `qpn` an early DingoCache.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

MASK = 0xFFFFFF
CONSTANT = 3185
DEFAULT = "csprng"

Choose = Callable[[int, int], int]
"""(connection's number, its QPN) -> sq_psn."""


@dataclass(frozen=True, slots=True)
class Dice:
    """24 random bits a connection: the CSPRNG's, or those of a seed, the role and the number."""

    seed: int | None
    role: str

    def generator(self, number: int) -> Callable[[int], int]:
        """Gives so many random bits at each call."""
        if self.seed is None:
            return secrets.randbits
        return random.Random(f"{self.seed} {self.role} {number}").getrandbits


def csprng(dice: Dice) -> Choose:
    """Random, none twice in this process."""
    given: set[int] = set()

    def choose(number: int, _qpn: int) -> int:
        draw = dice.generator(number)
        while (psn := draw(24)) in given:
            pass
        given.add(psn)
        return psn

    return choose


def odd(dice: Dice) -> Choose:
    """Random with the lowest bit set: 23 bits."""
    return lambda number, _qpn: dice.generator(number)(24) | 1


def lrand48(dice: Dice) -> Choose:
    """What perftest does: the seed is its pid times the second, each PSN 24 bits of a draw."""
    seed = os.getpid() * int(time.time()) if dice.seed is None else dice.seed
    state = [(seed & 0xFFFFFFFF) << 16 | 0x330E]

    def choose(_number: int, _qpn: int) -> int:
        state[0] = (state[0] * 0x5DEECE66D + 11) % (1 << 48)
        return state[0] >> 17 & MASK

    return choose


def counter(dice: Dice) -> Choose:
    """A random beginning, then one more each time."""
    following = [dice.generator(0)(24)]

    def choose(_number: int, _qpn: int) -> int:
        psn = following[0]
        following[0] = (psn + 1) & MASK
        return psn

    return choose


def qpn(_dice: Dice) -> Choose:
    """The queue pair's number."""
    return lambda _number, qpn: qpn & MASK


def constant(_dice: Dice) -> Choose:
    """Always the same."""
    return lambda _number, _qpn: CONSTANT


SOURCES: dict[str, Callable[[Dice], Choose]] = {
    "csprng": csprng,
    "odd": odd,
    "lrand48": lrand48,
    "counter": counter,
    "qpn": qpn,
    "constant": constant,
}
