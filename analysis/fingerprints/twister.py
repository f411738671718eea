"""The whole state of a Mersenne Twister from PSNs that show 24 of each output's 32 bits.

Unknown are the 8 bits that each PSN does not show; every step of the recurrence is 32 linear
equations over GF(2) in the bits of four outputs. 15 of the 32 hold of seen bits alone (those are
the parities that `mt19937` tests), 17 tell something of the unseen: n PSNs in a row leave 8 n
unknowns and give 17 (n - 624) equations that help. 1247 PSNs are where all of them, but for an
output nothing depends on, have one solution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.pairing import Ints
from dissectors.compiled import compiled

WORDS, MIDDLE, WIDTH = 624, 397, 32
TWIST = 0x9908B0DF
TOP = 1 << (WIDTH - 1)
HIDDEN = 8
"""Bits of an output that a PSN does not show."""
ENOUGH = 1247
"""PSNs in a row from which the state is worked out."""

Array = np.ndarray[Any, np.dtype[Any]]


def following(psns: Ints, shift: int, count: int) -> list[int] | None:
    """The `count` PSNs that come after `psns` (ENOUGH in a row); None if no twister gives them.

    PSNs are the outputs' bits from `shift` on: 8 or 0.
    """
    outputs = _outputs(psns, shift)
    if outputs is None:
        return None
    words = [untempered(int(output)) for output in outputs[-WORDS:]]
    found = []
    for _ in range(count):
        low = words[1]
        y = words[0] & TOP | low & ~TOP
        words = [*words[1:], words[MIDDLE] ^ y >> 1 ^ (TWIST if low & 1 else 0)]
        found.append(tempered(words[-1]) >> shift & 0xFFFFFF)
    return found


def untempered(output: int) -> int:
    """The state word that gives `output`."""
    output ^= output >> 18
    output ^= output << 15 & 0xEFC60000
    word = output
    for _ in range(4):
        word = output ^ (word << 7 & 0x9D2C5680)
    output = word
    for _ in range(2):
        word = output ^ word >> 11
    return word


def tempered(word: int) -> int:
    """The output that a state word gives."""
    word ^= word >> 11
    word ^= word << 7 & 0x9D2C5680
    word ^= word << 15 & 0xEFC60000
    return word ^ word >> 18


def images() -> list[list[int]]:
    """For each bit of state word k + 624: output bits of k, k + 1, k + 397, k + 624 it sums up.

    The exclusive-or of all of them is zero.
    """
    back = [untempered(1 << bit) for bit in range(WIDTH)]  # state bits that an output bit enters
    found = []
    for bit in range(WIDTH):
        twisted = _twisted(1 << bit)
        ways = (twisted & TOP, twisted & ~TOP, 1 << bit, 1 << bit)
        found.append([_output_bits(mask, back) for mask in ways])
    return found


def _twisted(mask: int) -> int:
    """Which bits of (top of x[k], rest of x[k+1]) enter the parity `mask` of x[k+624]."""
    # x[k+624] = x[k+397] ^ (y >> 1) ^ (TWIST if y is odd)
    odd = (mask & TWIST).bit_count() % 2
    return (mask << 1 & (2 * TOP - 1)) | odd


def _output_bits(mask: int, back: list[int]) -> int:
    """Which output bits enter the parity `mask` of their state word."""
    return sum(((mask & word).bit_count() % 2) << bit for bit, word in enumerate(back))


def _outputs(psns: Ints, shift: int) -> Ints | None:
    """The whole outputs that show `psns`, or None."""
    n = len(psns)
    place = 0 if shift else WIDTH - HIDDEN  # of the hidden bits in an output
    known = psns << shift
    steps = np.arange(n - WORDS)
    rows = np.zeros((n - WORDS, WIDTH, -(-n // 8) * 8), np.uint8)
    right = np.zeros((n - WORDS, WIDTH), np.uint8)
    for bit, masks in enumerate(images()):
        for offset, mask in zip((0, 1, MIDDLE, WORDS), masks, strict=True):
            rows[steps, bit, steps + offset] ^= np.uint8(mask >> place & 0xFF)
            right[:, bit] ^= np.bitwise_count(known[steps + offset] & mask).astype(np.uint8) & 1
    matrix = rows.reshape(-1, rows.shape[2]).view("<u8")
    solution = _solve(np.ascontiguousarray(matrix), right.reshape(-1), 8 * n)
    if not len(solution):
        return None
    hidden = (solution.reshape(n, 8).astype(np.int64) << np.arange(8)).sum(axis=1)
    whole: Ints = known | hidden << place
    return whole


@compiled
def _solve(matrix: Array, right: Array, columns: int) -> Array:
    """Values of `columns` unknown bits with matrix x = right over GF(2); empty if there are none.

    What the equations leave open is 0.
    """
    rows, words = matrix.shape
    pivots = np.full(columns, -1, np.int64)
    rank = 0
    for column in range(columns):
        word, bit = column // 64, np.uint64(column % 64)
        at = rank
        while at < rows and not matrix[at, word] >> bit & np.uint64(1):
            at += 1
        if at == rows:
            continue
        if at != rank:
            for i in range(word, words):
                matrix[at, i], matrix[rank, i] = matrix[rank, i], matrix[at, i]
            right[at], right[rank] = right[rank], right[at]
        for row in range(rows):
            if row != rank and matrix[row, word] >> bit & np.uint64(1):
                for i in range(word, words):
                    matrix[row, i] ^= matrix[rank, i]
                right[row] ^= right[rank]
        pivots[column] = rank
        rank += 1
    if right[rank:].any():
        return np.zeros(0, np.uint8)
    found = np.zeros(columns, np.uint8)
    for column in range(columns):
        if pivots[column] >= 0:
            found[column] = right[pivots[column]]
    return found
