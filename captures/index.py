"""Where the frames of a pcap file lie, found by compiled code over the mapped file.

For an uncompressed file; others are read frame by frame. What is damage is said in the same words.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from captures import pcap
from captures.model import MAX_FRAME, NANOSECONDS, Contents
from captures.stream import Stream
from dissectors.compiled import compiled

Array = np.ndarray[Any, np.dtype[Any]]


class Index(NamedTuple):
    """The mapped file (uint8), and a row per frame: `position` of its first byte, captured and
    original length, and time (UTC nanoseconds since 1970).
    """

    data: Array
    position: Array
    captured: Array
    original: Array
    time_ns: Array


@compiled
def _word(data: Any, at: Any, big: Any) -> Any:
    value = np.int64(0)
    for place in range(4):
        value |= np.int64(data[at + place]) << (24 - 8 * place if big else 8 * place)
    return value


@compiled
def _records(data: Any, start: Any, big: Any, rows: Any, longest: Any) -> Any:
    """Fill `rows` (position, captured, original, seconds, fraction); how many, and where it ended.

    It ends at the end of the file, of `rows`, or at a record that does not fit.
    """
    count, at = 0, start
    while count < rows.shape[1] and at + 16 <= len(data):
        captured = _word(data, at + 8, big)
        if captured > longest or at + 16 + captured > len(data):
            break
        rows[0, count] = at + 16
        rows[1, count] = captured
        rows[2, count] = _word(data, at + 12, big)
        rows[3, count] = _word(data, at, big)
        rows[4, count] = _word(data, at + 4, big)
        count += 1
        at += 16 + captured
    return count, at


BATCH = 1 << 18
"""Frames found at a time."""


def index(path: str, contents: Contents) -> Index | None:
    """The frames of `path`, or None where it is no uncompressed pcap file.

    `contents` gets the interface and the damage. Raises CaptureError as the reader does, OSError.
    """
    with Path(path).open("rb") as file:
        if file.peek(4)[:4] not in pcap.MAGICS:
            return None
        order = pcap.read_header(Stream(path, file), contents)
        file.seek(0)
        data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    parts, at, count = [], pcap.HEADER_SIZE, BATCH
    while count == BATCH:
        rows = np.empty((5, BATCH), np.int64)
        count, at = _records(data, at, order == ">", rows, MAX_FRAME)
        parts.append(rows[:, :count])
    left = len(data) - at
    if 0 < left < pcap.RECORD_SIZE:
        contents.damage.append(pcap.header_damage(at, left))
    elif left:
        captured = int(data[at + 8 : at + 12].view(f"{order}u4")[0])
        contents.damage.append(pcap.record_damage(at, captured, left - pcap.RECORD_SIZE))
    rows = np.concatenate(parts, axis=1)
    scale = NANOSECONDS // contents.interfaces[0].ticks_per_second
    time_ns = rows[3] * NANOSECONDS + rows[4] * scale
    return Index(data, rows[0], rows[1].astype(np.uint32), rows[2].astype(np.uint32), time_ns)
