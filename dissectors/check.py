"""The ICRC of many packets checked by compiled code, which the decoder told where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors.bth import BTH
from dissectors.compiled import compiled
from dissectors.crc import TABLES, crc
from dissectors.icrc import ICRC_BAD, ICRC_OK
from dissectors.lrh import LRH
from dissectors.memory import byte, copy, half, prefetch, set_byte, set_word, word
from dissectors.rules import MASK_SIZE, MAX_APART, NUMBERS, Array, rules
from dissectors.udp import ROCE_PORT, UDP

_BTH, _UDP, _LRH = NUMBERS[BTH], NUMBERS[UDP], NUMBERS[LRH]
_BTH_SIZE, _UDP_SIZE = BTH.size, UDP.size
AHEAD = 2
"""Rows between the packet at hand and the one whose headers are brought near."""


@compiled
def _mask(to: Any, masks: Any, kind: Any, size: Any) -> Any:
    """Set the variant bits of the header of `size` bytes at `to`, which has 7 bytes to spare."""
    mask = masks + MASK_SIZE * kind
    for place in range(0, size, 8):
        set_word(to + place, word(to + place) | word(mask + place))


@compiled
def _check(
    rows: Any,
    data: Any,
    position: Any,
    covered: Any,
    payload_offset: Any,
    payload_length: Any,
    sizes: Any,
    masks: Any,
    tables: Any,
    scratch: Any,
    status: Any,
) -> Any:
    """Set the status of every row whose `covered` is not 0. All but `rows` are addresses."""
    for row in range(rows):
        if row + AHEAD < rows:
            prefetch(data + word(position + 8 * (row + AHEAD)) + 64)
        place = word(covered + 8 * row)
        if place == 0:
            continue
        base = data + word(position + 8 * row)
        kind = (place >> 56) - 1
        network = base + (place & 0xFFFFFFFF)
        before = place >> 32 & 0xFFFF
        bth = network + before
        pad = byte(bth + 1) >> 4 & 3
        end = base + half(payload_offset + 4 * row) + half(payload_length + 4 * row) + pad
        # Up to BTH's end the headers are copied behind 8 bytes of ones, to be masked there.
        to = scratch + 8
        after = before + _BTH_SIZE
        copy(network, after, to)
        _mask(to, masks, kind, word(sizes + 8 * kind))
        if place >> 48 & 1:
            _mask(to + before - _UDP_SIZE, masks, _UDP, _UDP_SIZE)
        _mask(to + before, masks, _BTH, _BTH_SIZE)
        # A local route header without a network header has no route of ones before it.
        first = to if kind == _LRH else scratch
        state = crc(tables, first, to + after, 0xFFFFFFFF)
        state = crc(tables, network + after, end, state) ^ 0xFFFFFFFF
        set_byte(status + row, ICRC_OK if state == half(end) else ICRC_BAD)


def check(
    data: Array,
    position: Array,
    *,
    covered: Array,
    payload_offset: Array,
    payload_length: Array,
    status: Array,
) -> Array:
    """`status` with the ICRC checked of every row whose `covered` (see `rules.Found`) is not 0.

    What the decoder said of the frames at `position` of `data` must still be true of them.
    """
    known = rules(ROCE_PORT)
    scratch = np.zeros(8 + MAX_APART + _BTH_SIZE + 8, np.uint8)
    scratch[:8] = 0xFF
    checked = status.copy()
    arrays: list[Array] = [
        np.ascontiguousarray(data, np.uint8),
        np.ascontiguousarray(position, np.int64),
        np.ascontiguousarray(covered, np.uint64),
        np.ascontiguousarray(payload_offset, np.uint32),
        np.ascontiguousarray(payload_length, np.uint32),
        np.ascontiguousarray(known.size, np.int64),
        known.mask,
        TABLES,
        scratch,
        checked,
    ]
    _check(len(position), *(array.ctypes.data for array in arrays))
    return checked
