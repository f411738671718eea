"""The compiled decoder: walks the headers of every frame by the rules and stores their bytes.

What it says of a frame is what `Packet.parse` says, or it marks the row as hard and leaves it to
that. It never reads outside a frame, and a frame lies inside the buffer (its caller's promise).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors import rules as column
from dissectors.bth import BTH
from dissectors.compiled import compiled
from dissectors.damage import DamageCode
from dissectors.icrc import ICRC_NOT_ROCE, ICRC_UNCHECKABLE
from dissectors.lrh import LRH
from dissectors.memory import byte, copy, half, prefetch, set_byte, set_half, set_word, word
from dissectors.rules import (
    EMPTY,
    MAX_APART,
    NUMBERS,
    WIDTH,
    Array,
    Found,
    Frames,
    Rules,
    Spread,
    first_headers,
)
from dissectors.udp import UDP

CUT, FRAGMENT, LENGTH = int(DamageCode.CUT), int(DamageCode.FRAGMENT), int(DamageCode.LENGTH)
VALUE, OPCODE, PAD = int(DamageCode.VALUE), int(DamageCode.OPCODE), int(DamageCode.PAD)

AHEAD = 8
"""Rows between the frame at hand and the one whose headers are brought near."""

PART = 1 << 16
"""Frames walked in one go, by one thread."""

_BTH, _UDP, _LRH = NUMBERS[BTH], NUMBERS[UDP], NUMBERS[LRH]
_BTH_SIZE = BTH.size


@compiled
def _rule(rules: Any, kind: Any, place: Any) -> Any:
    return word(rules + 8 * (WIDTH * kind + place))


@compiled
def _number(at: Any, field: Any) -> Any:
    """The value of the field whose four rules stand at address `field`, of a header at `at`."""
    at += word(field)
    size = word(field + 8)
    value = byte(at)
    if size > 1:
        value = value << 8 | byte(at + 1)
        if size > 2:
            value = value << 8 | byte(at + 2)
            if size > 3:
                value = value << 8 | byte(at + 3)
    return value >> word(field + 16) & word(field + 24)


@compiled
def _span(at: Any, rule: Any) -> Any:
    total = 0
    field = rule + 16
    while word(field + 8) > 0:
        total += _number(at, field)
        field += 32
    return word(rule) + word(rule + 8) * total


@compiled
def _within_limits(at: Any, rule: Any) -> Any:
    while word(rule + 8) > 0:
        value = _number(at, rule)
        if value < word(rule + 32) or value > word(rule + 40):
            return False
        rule += 48
    return True


@compiled
def _following(at: Any, rule: Any, following: Any) -> Any:
    if word(rule + 8) > 0:
        value = _number(at, rule)
        for row in range(word(rule + 32), word(rule + 40)):
            if word(following + 16 * row) == value:
                return word(following + 16 * row + 8)
    return -1


@compiled
def _is_fragment(at: Any, rule: Any) -> Any:
    while word(rule + 8) > 0:
        if _number(at, rule) != 0:
            return True
        rule += 32
    return False


@compiled
def _address(start: Any, size: Any, to: Any) -> None:
    """An IP address as 16 bytes; `to` holds zeros or another address."""
    if size == 4:
        set_word(to, 0)
        set_word(to + 8, half(start) << 32 | 0xFFFF0000)
    else:
        set_word(to, word(start))
        set_word(to + 8, word(start + 8))


@compiled
def _walk(
    start_row: Any,
    end_row: Any,
    rows: Any,
    data: Any,
    position: Any,
    captured: Any,
    original: Any,
    link: Any,
    first: Any,
    rules: Any,
    following: Any,
    opcodes: Any,
    store: Any,
    headers: Any,
    src: Any,
    dst: Any,
    payload_offset: Any,
    payload_length: Any,
    icrc_status: Any,
    covered: Any,
    damage: Any,
    hard: Any,
) -> None:
    """Decode frames `start_row` to `end_row` of `rows`. The others are addresses of what `walk` is
    given.
    """
    for row in range(start_row, end_row):
        base = data + word(position + 8 * row)
        if row + AHEAD < end_row:
            soon = data + word(position + 8 * (row + AHEAD))
            prefetch(soon)
            prefetch(soon + 64)
        there = half(captured + 4 * row)
        end = max(there, half(original + 4 * row))
        worst = CUT if there < end else 0
        start = 0
        network, network_kind, after_udp = -1, -1, 0
        carried = 0
        kind_of = first + 8 * (EMPTY + 1) * half(link + 4 * row)
        head = byte(base) if there > 0 else EMPTY
        kind = word(kind_of + 8 * head)
        while kind >= 0 and kind != _BTH:
            rule = rules + 8 * WIDTH * kind
            size = word(rule + 8 * column.SIZE)
            if start + size > min(end, there):
                worst = worst or LENGTH
                break
            if word(rule + 8 * column.HARD) != 0:
                set_byte(hard + row, 1)
                break
            at = base + start
            copy(at, size, store + rows * word(rule + 8 * column.STORE) + row * size)
            carried |= 1 << kind
            wide = word(rule + 8 * column.ADDRESS_SIZE)
            if wide > 0:
                address = at + word(rule + 8 * column.ADDRESS)
                _address(address, wide, src + 16 * row)
                _address(address + wide, wide, dst + 16 * row)
                network, network_kind, after_udp = start, kind, 0
            elif kind == _LRH:
                network, network_kind = start, kind
            elif kind == _UDP:
                after_udp = 1
            span = _span(at, rule + 8 * column.LENGTH)
            limited = word(rule + 8 * column.EXTENT + 8) > 0
            reach = _span(at, rule + 8 * column.EXTENT) if limited else span
            if reach < span or not _within_limits(at, rule + 8 * column.LIMITS):
                worst = VALUE
                start = min(start + max(span, size), there)
                break
            if limited:
                if start + reach > end:
                    worst = worst or LENGTH
                else:
                    end = start + reach
            start += span
            if start > min(end, there):
                worst = worst or LENGTH
                end = max(start, end)
                break
            if _is_fragment(at, rule + 8 * column.FRAGMENT):
                worst = worst or FRAGMENT
                break
            kind = _following(at, rule + 8 * column.FOLLOW, following)
        status = ICRC_NOT_ROCE
        payload = max(0, end - start)
        if kind == _BTH:
            bth = base + start
            limit = min(end, there)
            if start + _BTH_SIZE > limit:
                worst = worst or (CUT if start + _BTH_SIZE <= end else LENGTH)
            else:
                copy(
                    bth,
                    _BTH_SIZE,
                    store + rows * _rule(rules, kind, column.STORE) + row * _BTH_SIZE,
                )
                carried |= 1 << kind
                status = ICRC_UNCHECKABLE
                opcode = opcodes + 64 * byte(bth)
                start += _BTH_SIZE
                count = word(opcode)
                fits = count >= 0
                if not fits:
                    worst = worst or OPCODE
                for number in range(count):
                    kind = word(opcode + 8 + 8 * number)
                    size = _rule(rules, kind, column.SIZE)
                    if start + size > limit:
                        worst = worst or (CUT if start + size <= end else LENGTH)
                        fits = False
                        break
                    to = store + rows * _rule(rules, kind, column.STORE) + row * size
                    copy(base + start, size, to)
                    carried |= 1 << kind
                    start += size
                payload = end - start
                if fits:
                    length = payload - 4 - (byte(bth + 1) >> 4 & 3)
                    if length < 0:
                        worst = worst or PAD
                    else:
                        payload = length
                if worst == 0:
                    apart = bth - base - network
                    if network < 0 or apart > MAX_APART:
                        set_byte(hard + row, 1)
                    else:
                        place = network_kind + 1 << 56 | after_udp << 48 | apart << 32 | network
                        set_word(covered + 8 * row, place)
        set_word(headers + 8 * row, carried)
        set_half(payload_offset + 4 * row, start)
        set_half(payload_length + 4 * row, payload)
        set_byte(icrc_status + row, status)
        set_byte(damage + row, worst)


def walk(
    data: Array,
    frames: Frames,
    link_types: list[int],
    rules: Rules,
    found: Found,
    spread: Spread = map,
) -> None:
    """Fill `found` (all zeros) for every frame, but for those it marks as hard. `spread` may hand
    the parts to threads.

    Raises ValueError for frames that do not lie in `data`.
    """
    position = np.ascontiguousarray(frames.position, np.int64)
    lengths = [np.ascontiguousarray(each, np.uint32) for each in frames[1:]]
    rows = len(position)
    if not rows:
        return
    if position.min() < 0 or (position + lengths[0]).max() > len(data):
        raise ValueError(f"expected frames within {len(data)} bytes")
    if len({rows, *map(len, lengths)}) != 1 or lengths[2].max() >= len(link_types):
        raise ValueError("expected as many lengths and links as frames, and links that there are")
    arrays: list[Array] = [
        np.ascontiguousarray(data, np.uint8),
        position,
        *lengths,
        first_headers(link_types),
        rules.header,
        rules.following,
        rules.opcode,
        *found,
    ]
    addresses = [array.ctypes.data for array in arrays]

    def part(first: int) -> None:
        _walk(first, min(first + PART, rows), rows, *addresses)

    for _ in spread(part, range(0, rows, PART)):
        pass
