"""Finding queue pairs by number and memory by key, in tables that compiled code reads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dissectors.memory import word
from lab.fast.fields import covers
from lab.fast.layout import region_at

EMPTY, DELETED = 0, -1
"""Neither is a queue pair number or a key in use."""
NONE = -1


@njit
def spread(value: int) -> Any:
    """A hash of a number of 32 bits (Knuth's multiplicative one)."""
    return (np.uint64(value) * np.uint64(2654435761) >> np.uint64(12)) & np.uint64(0xFFFFF)


@njit
def find_slot(port: Any, number: int) -> Any:
    """The slot of queue pair `number`, or NONE."""
    place = np.int64(spread(number)) & port.index_mask
    while word(port.index + 16 * place) != EMPTY:
        if word(port.index + 16 * place) == number:
            return word(port.index + 16 * place + 8)
        place = (place + 1) & port.index_mask
    return NONE


@njit
def reach(port: Any, key: int, va: int, length: int, access: int, domain: int) -> Any:
    """Where the `length` bytes are that `key` gives at `va`; 0 where it does not give them."""
    if key in (EMPTY, DELETED):
        return 0
    place = np.int64(spread(key)) & port.region_mask
    while True:
        region = region_at(port.regions, place)
        if region.key == EMPTY:
            return 0
        if region.key == key:
            start = va - region.base
            if (
                region.domain != domain
                or access & ~region.access
                or not covers(region.length, start, length)
            ):
                return 0
            return region.data + start
        place = (place + 1) & port.region_mask
