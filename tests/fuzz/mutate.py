"""Bytes made wrong: changed, cut, spliced, doubled, made up; the same for the same `Random`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

TELLING = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 254, 255)
"""Bytes at which lengths, counts and signs turn."""


def bits(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """A few bits the other way."""
    for _ in range(random.randint(1, 8)):
        at = random.randrange(len(data))
        data[at] ^= 1 << random.randrange(8)


def early(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """A few bytes of the first hundred: where the headers are."""
    for _ in range(random.randint(1, 4)):
        at = random.randrange(min(100, len(data)))
        data[at] = random.choice(TELLING) if random.random() < 0.5 else random.randrange(256)


def number(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """A 16- or 32-bit number: 0, one, the greatest, a little off what it was."""
    size = random.choice((2, 4))
    if len(data) < size:
        return
    at = random.randrange(len(data) - size + 1)
    order = random.choice(("big", "little"))
    old = int.from_bytes(data[at : at + size], order)
    top = 1 << 8 * size
    new = random.choice((0, 1, top - 1, top >> 1, old + 1, old - 1, old + 4, old * 2, ~old))
    data[at : at + size] = (new % top).to_bytes(size, order)


def cut(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """Only the beginning."""
    del data[random.randrange(len(data)) :]


def splice(random: Random, data: bytearray, others: Sequence[bytes]) -> None:
    """The beginning of one, the end of another."""
    other = random.choice(others)
    at = random.randrange(len(data))
    data[at:] = other[random.choice((at, random.randrange(len(other) + 1))) :]


def double(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """A piece a second time."""
    start = random.randrange(len(data))
    piece = data[start : start + random.randint(1, 64)]
    at = random.randrange(len(data))
    data[at:at] = piece


def drop(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """A piece left out."""
    start = random.randrange(len(data))
    del data[start : start + random.randint(1, 64)]


def noise(random: Random, data: bytearray, _others: Sequence[bytes]) -> None:
    """Any bytes at all."""
    data[:] = random.randbytes(random.randrange(200))


MUTATIONS: tuple[Callable[[Random, bytearray, Sequence[bytes]], None], ...] = (
    *(bits, early, early, number, number),
    *(cut, splice, double, drop, noise),
)


def mutated(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """`data` made wrong in one to three ways; `others` is what may be spliced in."""
    found = bytearray(data)
    for _ in range(random.randint(1, 3)):
        if found:
            random.choice(MUTATIONS)(random, found, others)
    return bytes(found)
