"""CRC-32 in compiled code: by carry-less multiplication where the processor has it, else by tables.

Folding after Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
Instruction" (Intel, 2009); the constants are x^n mod P, bit-reflected, for the distances folded.
A state is zlib's value inverted, as an int64 of 32 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding

from dissectors.compiled import compiled
from dissectors.memory import byte, fold, half, high, low, pair, pair_at, word

POLYNOMIAL = 0xEDB88320


def _tables() -> np.ndarray[Any, np.dtype[np.uint32]]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    rows = [table]
    for _ in range(15):
        rows.append(rows[-1] >> 8 ^ rows[0][rows[-1] & 0xFF])
    return np.array(rows, np.uint32)


TABLES = _tables()
"""`TABLES[n][b]`: CRC of byte b with n zero bytes behind it."""


@compiled
def _of_word(tables: Any, value: Any, behind: Any) -> Any:
    """CRC of 8 bytes with `behind` bytes behind them."""
    tables += 1024 * behind
    return (
        half(tables + 7168 + (value << 2 & 0x3FC))
        ^ half(tables + 6144 + (value >> 6 & 0x3FC))
        ^ half(tables + 5120 + (value >> 14 & 0x3FC))
        ^ half(tables + 4096 + (value >> 22 & 0x3FC))
        ^ half(tables + 3072 + (value >> 30 & 0x3FC))
        ^ half(tables + 2048 + (value >> 38 & 0x3FC))
        ^ half(tables + 1024 + (value >> 46 & 0x3FC))
        ^ half(tables + (value >> 54 & 0x3FC))
    )


@compiled
def by_tables(tables: Any, start: Any, end: Any, state: Any) -> Any:
    """`state` continued over the bytes from address `start` to `end`."""
    while end - start >= 16:
        state = _of_word(tables, word(start) ^ state, 8) ^ _of_word(tables, word(start + 8), 0)
        start += 16
    if end - start >= 8:
        state = _of_word(tables, word(start) ^ state, 0)
        start += 8
    while start < end:
        state = half(tables + ((state ^ byte(start)) << 2 & 0x3FC)) ^ state >> 8
        start += 1
    return state


@compiled
def by_multiplication(tables: Any, start: Any, end: Any, state: Any) -> Any:
    """As `by_tables`; long data four blocks of 16 bytes at a time."""
    if end - start >= 32:
        near = pair(0x1751997D0, 0x0CCAA009E)
        a = pair_at(start)
        a = pair(low(a) ^ state, high(a))
        start += 16
        if end - start >= 112:
            far = pair(0x154442BD4, 0x1C6E41596)
            b, c, d = pair_at(start), pair_at(start + 16), pair_at(start + 32)
            start += 48
            while end - start >= 64:
                a = fold(a, far, pair_at(start))
                b = fold(b, far, pair_at(start + 16))
                c = fold(c, far, pair_at(start + 32))
                d = fold(d, far, pair_at(start + 48))
                start += 64
            a = fold(fold(fold(a, near, b), near, c), near, d)
        while end - start >= 16:
            a = fold(a, near, pair_at(start))
            start += 16
        # What is left is 16 bytes with the same remainder as all that was folded.
        state = _of_word(tables, low(a), 8) ^ _of_word(tables, high(a), 0)
    return by_tables(tables, start, end, state)


crc = by_multiplication if binding.get_host_cpu_features().get("pclmul") else by_tables
"""The faster one that this processor can run."""
