"""The compiled decoder: walks the headers of every frame by the rules and stores their bytes.

What it says of a frame is what `Packet.parse` says, or it marks the row as hard and leaves it to
that. It never reads outside a frame, and a frame lies inside the buffer (its caller's promise).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors.compiled import compiled
from dissectors.crc import TABLES, crc
from dissectors.damage import DamageCode
from dissectors.icrc import ICRC_BAD, ICRC_NOT_ROCE, ICRC_OK, ICRC_UNCHECKABLE
from dissectors.rules import Array, Found, Frames, Rules, first_headers

CUT, FRAGMENT, LENGTH = int(DamageCode.CUT), int(DamageCode.FRAGMENT), int(DamageCode.LENGTH)
VALUE, OPCODE, PAD = int(DamageCode.VALUE), int(DamageCode.OPCODE), int(DamageCode.PAD)

SCRATCH = 512
"""Bytes of headers, from the network header on, whose ICRC is computed here; more is hard."""


@compiled
def _number(data: Any, at: Any, field: Any) -> Any:
    value = np.int64(0)
    for place in range(field[1]):
        value = value << 8 | np.int64(data[at + field[0] + place])
    return value >> field[2] & field[3]


@compiled
def _span(data: Any, at: Any, span: Any, fields: Any) -> Any:
    total = np.int64(0)
    for place in range(2, 5):
        if span[place] >= 0:
            total += _number(data, at, fields[span[place]])
    return span[0] + span[1] * total


@compiled
def _within_limits(data: Any, at: Any, limits: Any, fields: Any) -> Any:
    for place in range(0, 9, 3):
        if limits[place] >= 0:
            value = _number(data, at, fields[limits[place]])
            if value < limits[place + 1] or value > limits[place + 2]:
                return False
    return True


@compiled
def _following(data: Any, at: Any, kind: Any, rules: Any) -> Any:
    field, first, last = rules.follow[kind]
    if field >= 0:
        value = _number(data, at, rules.fields[field])
        for row in range(first, last):
            if rules.next[row, 0] == value:
                return rules.next[row, 1]
    return np.int64(-1)


@compiled
def _keep(data: Any, at: Any, kind: Any, row: Any, rules: Any, found: Any) -> Any:
    size = rules.size[kind]
    to = rules.store[kind] * len(found.headers) + row * size
    for place in range(size):
        found.store[to + place] = data[at + place]
    found.headers[row] |= np.uint64(1) << np.uint64(kind)


@compiled
def _address(data: Any, at: Any, size: Any, row: Any, to: Any) -> Any:
    for place in range(16 - size):
        to[row, place] = 0xFF if size == 4 and place >= 10 else 0
    for place in range(size):
        to[row, 16 - size + place] = data[at + place]


@compiled
def _carriers(data: Any, base: Any, there: Any, length: Any, kind: Any, row: Any, rules: Any,
              found: Any) -> Any:  # fmt: skip
    """Header that follows the carriers, where it starts, where it ends, damage, and the offsets
    of the innermost network header, its kind, and of UDP (-1 = none).
    """
    start, end = np.int64(0), length
    damage = np.int64(CUT if there < length else 0)
    network, network_kind, udp = np.int64(-1), np.int64(-1), np.int64(-1)
    while kind >= 0 and kind != rules.bth:
        limit = min(end, there)
        if start + rules.size[kind] > limit:
            damage = damage or np.int64(LENGTH)
            break
        if rules.hard[kind]:
            found.hard[row] = 1
            return np.int64(-1), start, end, damage, network, network_kind, udp
        at = base + start
        _keep(data, at, kind, row, rules, found)
        if rules.address[kind, 1] > 0:
            first, size = rules.address[kind]
            _address(data, at + first, size, row, found.src)
            _address(data, at + first + size, size, row, found.dst)
            network, network_kind, udp = start, kind, np.int64(-1)
        elif kind == rules.udp:
            udp = start
        span = _span(data, at, rules.length[kind], rules.fields)
        reach = np.int64(-1)
        if rules.extent[kind, 1] > 0:
            reach = _span(data, at, rules.extent[kind], rules.fields)
        if not _within_limits(data, at, rules.limits[kind], rules.fields) or 0 <= reach < span:
            start = min(start + max(span, rules.size[kind]), there)
            return np.int64(-1), start, end, np.int64(VALUE), network, network_kind, udp
        if reach >= 0:
            if start + reach > end:
                damage = damage or np.int64(LENGTH)
            else:
                end = start + reach
        start += span
        if start > min(end, there):
            damage = damage or np.int64(LENGTH)
            return np.int64(-1), start, max(start, end), damage, network, network_kind, udp
        part = False
        if rules.fragment[kind, 0] >= 0:
            for place in range(2):
                if _number(data, at, rules.fields[rules.fragment[kind, place]]) != 0:
                    part = True
        kind = _following(data, at, kind, rules)
        if part:
            damage = damage or np.int64(FRAGMENT)
            kind = np.int64(-1)
    return kind, start, end, damage, network, network_kind, udp


@compiled
def _transport(data: Any, base: Any, there: Any, start: Any, end: Any, row: Any, rules: Any,
               found: Any) -> Any:  # fmt: skip
    """Where the payload starts, its length on the wire, and the damage."""
    limit = min(end, there)
    size = rules.size[rules.bth]
    if start + size > limit:
        damage = CUT if start + size <= end else LENGTH
        return start, max(np.int64(0), end - start), np.int64(damage)
    bth = base + start
    _keep(data, bth, rules.bth, row, rules, found)
    headers = rules.opcode[data[bth]]
    start += size
    if headers[0] < 0:
        return start, end - start, np.int64(OPCODE)
    for place in range(headers[0]):
        kind = headers[1 + place]
        size = rules.size[kind]
        if start + size > limit:
            damage = CUT if start + size <= end else LENGTH
            return start, end - start, np.int64(damage)
        _keep(data, base + start, kind, row, rules, found)
        start += size
    length = end - start - 4 - _number(data, bth, rules.fields[rules.pad_count])
    if length < 0:
        return start, end - start, np.int64(PAD)
    return start, length, np.int64(0)


@compiled
def _icrc_is_right(data: Any, at: Any, network_kind: Any, udp: Any, bth: Any, check: Any,
                   rules: Any, tables: Any, scratch: Any) -> Any:  # fmt: skip
    """Whether the 4 bytes at `check` are the ICRC from the network header at `at` on.

    `udp` (-1 = none) and `bth` are counted from `at`; what lies up to BTH's end fits in `scratch`.
    """
    size = rules.size[rules.bth]
    for place in range(8):
        scratch[place] = 0xFF
    for place in range(bth + size):
        scratch[8 + place] = data[at + place]
    for place in range(rules.size[network_kind]):
        scratch[8 + place] |= rules.mask[network_kind, place]
    if udp >= 0:
        for place in range(rules.size[rules.udp]):
            scratch[8 + udp + place] |= rules.mask[rules.udp, place]
    for place in range(size):
        scratch[8 + bth + place] |= rules.mask[rules.bth, place]
    state = crc(tables, scratch, np.int64(0), 8 + bth + size, np.uint32(0xFFFFFFFF))
    state = ~crc(tables, data, at + bth + size, check, state)
    right = True
    for place in range(4):
        if data[check + place] != (state >> np.uint32(8 * place)) & np.uint32(0xFF):
            right = False
    return right


@compiled
def _walk(data: Any, frames: Any, first: Any, rules: Any, tables: Any, found: Any) -> Any:
    """Fill `found` for all `frames` in `data`; `first[link, first byte]` is a frame's first
    header.
    """
    scratch = np.empty(SCRATCH + 8, np.uint8)
    for row in range(len(frames.position)):
        base = np.int64(frames.position[row])
        there = np.int64(frames.captured[row])
        length = max(there, np.int64(frames.original[row]))
        kind = first[frames.link[row], data[base] if there > 0 else 256]
        kind, start, end, damage, network, network_kind, udp = _carriers(
            data, base, there, length, kind, row, rules, found
        )
        status = ICRC_NOT_ROCE
        if kind == rules.bth:
            bth = start
            start, payload, worse = _transport(data, base, there, start, end, row, rules, found)
            damage = damage or worse
            bit = np.uint64(1) << np.uint64(rules.bth)
            if found.headers[row] & bit:
                status = ICRC_UNCHECKABLE
                if damage == 0:
                    if network < 0 or bth - network + rules.size[rules.bth] > SCRATCH:
                        found.hard[row] = 1
                    elif _icrc_is_right(
                        data, base + network, network_kind,
                        udp - network if udp >= 0 else np.int64(-1), bth - network, base + end - 4,
                        rules, tables, scratch,
                    ):  # fmt: skip
                        status = ICRC_OK
                    else:
                        status = ICRC_BAD
        else:
            payload = max(np.int64(0), end - start)
        found.payload_offset[row] = start
        found.payload_length[row] = payload
        found.icrc_status[row] = status
        found.damage[row] = damage


def walk(data: Array, frames: Frames, link_types: list[int], rules: Rules, found: Found) -> None:
    """Fill `found` (all zeros) for every frame, but for those it marks as hard."""
    _walk(data, frames, first_headers(link_types), rules, TABLES, found)
