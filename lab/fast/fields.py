"""Header fields for compiled code, from their declarations, and the engine's rules that are plain
arithmetic.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors import psn
from dissectors.header import Field
from lab.engine import checks, memory, requester
from lab.fast.raw import load, store


def _bytes_of(field: Field) -> tuple[int, int, int]:
    """(first byte, bytes, bits below) of those that hold `field`."""
    first, end = field.bit_offset // 8, -(-(field.bit_offset + field.bits) // 8)
    return first, end - first, 8 * end - field.bit_offset - field.bits


def getter(field: Field) -> Any:
    """A function of compiled code: address of the header -> the field's value."""
    first, size, shift = _bytes_of(field)
    mask = (1 << field.bits) - 1 if field.bits < 64 else -1

    @njit
    def get(header: int) -> Any:
        return load(header + first, size) >> shift & mask

    return get


def setter(*fields: Field) -> Any:
    """A function of compiled code: (address of the header, a value for each of `fields`) -> None.

    The fields' other bits in those bytes become 0. Fields after the third are not to be had.
    """
    assert len(fields) <= 3, fields
    first = min(field.bit_offset // 8 for field in fields)
    end = max(-(-(field.bit_offset + field.bits) // 8) for field in fields)
    size = end - first
    shifts = [8 * end - field.bit_offset - field.bits for field in fields] + [0, 0]
    one, two, three = shifts[:3]

    @njit
    def put(header: int, a: int, b: int = 0, c: int = 0) -> None:
        store(header + first, size, a << one | b << two | c << three)

    return put


add, forward, difference, span = map(njit, (psn.add, psn.forward, psn.difference, psn.span))
must_ask = njit(requester.must_ask)
fits, completes = njit(checks.fits), njit(checks.completes)
covers = njit(memory.covers)
